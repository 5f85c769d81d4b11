"""From settings to a platform: the one place that opens databases, chains, keys and files."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from app.bootstrap import ChainHome, Platform, prepare
from app.files import chain_config, open_publications, open_rosters
from app.markets import assets_of, list_markets, load_markets
from app.notices import FolderNotifier
from app.settings import Settings
from app.settings_chains import ChainSettings
from app.settings_customers import book_terms
from app.settings_screening import open_providers, screening_terms
from app.settings_values import SettingsError
from app.signer_client import SignerClient
from chains.assets import load_assets
from chains.base import Chain, ChainTraits
from chains.registry import open_chain
from core.clock import SECOND_NS, Clock, SystemClock
from core.entropy import Entropy, SystemEntropy
from core.errors import Corrupt, Refused
from core.ids import ChainId
from custody.db import Database
from custody.keys.accounts_file import check_accounts, parse_accounts
from custody.keys.derivation import AccountKeys, PublicKeys
from custody.keys.private_file import read_private_file
from custody.keys.roster import Roster
from custody.keys.rotation import accounts_in_use
from custody.spending.drive import Patience
from custody.wallets.addresses import DEPOSITS
from custody.wallets.inventory import OWN_WALLETS
from custody.withdrawals.notices import NobodyTold, Notifier
from custody.withdrawals.workflow import WithdrawalTerms
from sweeper.policy import SweepRules

MILLISECOND_NS = 1_000_000


def open_database(settings: Settings) -> Database:
    """Open the configured database; nothing is created or changed."""
    url = settings.database.url
    if settings.database.password_file is not None:
        password = read_private_file(settings.database.password_file).decode().strip()
        url = sa.make_url(url).set(password=password).render_as_string(hide_password=False)
    return Database.open(url)


def open_platform(
    settings: Settings, *, clock: Clock | None = None, entropy: Entropy | None = None
) -> Platform:
    """Open everything the settings name; asks no node yet.

    No private key is among it: signatures come from the signer's socket, addresses from the
    accounts that it exported. Corrupt: the roster is not the pinned one, was not signed by the
    quorum before it, or its key did not attest to the accounts. SettingsError: a data file is not
    as it must be.
    """
    rosters = open_rosters(settings)
    chains = open_chains(settings)
    keys = {
        name: open_accounts(settings, rosters.pinned, chain.traits)
        for name, chain in chains.items()
    }
    return Platform(
        db=open_database(settings),
        clock=clock or SystemClock(),
        entropy=entropy or SystemEntropy(),
        rosters=rosters,
        signer=SignerClient(settings.signer.socket),
        genesis=open_publications(settings)[0],
        book=book_terms(settings.address_book),
        notifier=_notifier(settings),
        providers=open_providers(settings.screening),
        chains={
            name: _home(chain, settings.chains[name], keys[name], settings)
            for name, chain in chains.items()
        },
    )


def _notifier(settings: Settings) -> Notifier:
    folder = settings.address_book.notices_folder
    return NobodyTold() if folder is None else FolderNotifier(folder)


def open_chains(settings: Settings) -> dict[ChainId, Chain]:
    """Open every configured chain over the platform's nodes. SettingsError."""
    try:
        specs = load_assets(settings.catalogue.assets_file)
        return {
            name: open_chain(chain_config(name, chain, assets_of(specs, [name])))
            for name, chain in settings.chains.items()
        }
    except (ValueError, OSError) as error:
        raise SettingsError([str(error)]) from error


def list_everything(settings: Settings, platform: Platform) -> None:
    """Check every chain's identity and bring the catalogue to what the data files say.

    Idempotent. Unavailable: a node does not answer. Corrupt: it is another network.
    """
    chains = list(platform.chains)
    try:
        specs = assets_of(load_assets(settings.catalogue.assets_file), chains)
        desired = load_markets(settings.catalogue.markets_file)
    except ValueError as error:
        raise SettingsError([str(error)]) from error
    prepare(platform, assets=specs, markets=())
    try:
        platform.db.run(lambda conn: list_markets(conn, desired, chains=chains))
    except (ValueError, Refused) as error:
        raise SettingsError([f"{settings.catalogue.markets_file.name}: {error}"]) from error


def attestation_key_of(roster: Roster) -> bytes:
    """Return the key that attests to accounts and addresses. SettingsError: there is none."""
    if roster.attestation_key is None:
        raise SettingsError([f"roster {roster.serial} names no attestation key of the signer"])
    return roster.attestation_key


def open_accounts(settings: Settings, roster: Roster, traits: ChainTraits) -> dict[str, PublicKeys]:
    """Return the accounts of a chain, each attested by the signer that the roster names.

    Corrupt: one is not. SettingsError: one is missing.
    """
    public_key = attestation_key_of(roster)
    try:
        data = settings.signer.accounts_file.read_bytes()
        found = check_accounts(public_key, parse_accounts(data), traits.chain, traits.network)
    except OSError as error:
        raise SettingsError([f"signer.accounts_file: {error}"]) from error
    except Refused as refused:
        raise Corrupt(f"the signer's accounts of {traits.chain}: {refused}") from refused
    wanted = {DEPOSITS, *accounts_in_use(roster, traits.chain, OWN_WALLETS)}
    if missing := sorted(wanted - found.keys()):
        raise SettingsError([f"signer.accounts_file: {traits.chain} without {', '.join(missing)}"])
    return found


def _home(
    chain: Chain, settings: ChainSettings, keys: Mapping[str, PublicKeys], whole: Settings
) -> ChainHome:
    has_derivation = all(isinstance(one, AccountKeys) for one in keys.values())
    return ChainHome(
        chain=chain,
        keys=keys if has_derivation else {},  # listed ones are for auditors: more are made later
        terms=WithdrawalTerms(
            network_fee_max=settings.network_fee_max,
            expiry_ns=settings.approval_expiry_s * SECOND_NS,
            book=book_terms(whole.address_book),
            screening=screening_terms(whole.screening),
        ),
        sweeps=SweepRules(
            cost_multiple=settings.sweeps.cost_multiple,
            fee_max=settings.sweeps.fee_max,
            top_up_max=settings.sweeps.top_up_max,
            top_up_percent=settings.sweeps.top_up_percent,
            rate_max=settings.sweeps.rate_max,
        ),
        patience=Patience(
            resend_after_ns=settings.patience.resend_after_ms * MILLISECOND_NS,
            bump_after_ns=settings.patience.bump_after_ms * MILLISECOND_NS,
        ),
        start_height=settings.start_height,
    )
