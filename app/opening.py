"""From settings to a platform: the one place that opens databases, chains, keys and files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from app.bootstrap import ChainHome, Platform, account_keys, key_desk, prepare
from app.markets import assets_of, list_markets, load_markets
from app.settings import ChainSettings, Settings
from app.settings_values import SettingsError
from chains.assets import load_assets
from chains.base import AssetSpec, Chain
from chains.registry import ChainConfig, open_chain
from core.clock import SECOND_NS, Clock, SystemClock
from core.entropy import Entropy, SystemEntropy
from core.errors import Corrupt, Refused
from core.ids import ChainId
from custody.db import Database
from custody.keys.attestation import AttestationKey
from custody.keys.desk import Notary
from custody.keys.owners import OwnersInMemory
from custody.keys.private_file import read_private_file
from custody.keys.roster_files import RosterChain, load_rosters
from custody.keys.secret import Secret
from custody.keys.service import KeyService
from custody.keys.signers.keystore import open_keystore
from custody.keys.signers.local import LocalSigner
from custody.keys.store import Shelf
from custody.spending.drive import Patience
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

    Refused: a key file is not as it must be. Corrupt: the roster is not the pinned one, or was not
    signed by the quorum before it. SettingsError: a data file is not as it must be.
    """
    try:
        specs = load_assets(settings.catalogue.assets_file)
        rosters = open_rosters(settings)
        passphrase = Secret(read_private_file(settings.keystore.passphrase_file).strip())
        seed = open_keystore(settings.keystore.file, passphrase)
        attestation_key = AttestationKey.open(settings.keystore.attestation_file, passphrase)
        chains = {
            name: open_chain(chain_config(name, chain, assets_of(specs, [name])))
            for name, chain in settings.chains.items()
        }
        signers = {name: (chain, LocalSigner(seed, chain.traits)) for name, chain in chains.items()}
    except (ValueError, OSError) as error:
        raise SettingsError([str(error)]) from error
    db, clock = open_database(settings), clock or SystemClock()
    notary = Notary(attestation_key, dict.fromkeys(chains, OwnersInMemory()))
    shelf = Shelf(settings.data.folder / "signer")
    desk = key_desk(shelf, clock, rosters.pinned, signers, notary)
    return Platform(
        db=db,
        clock=clock,
        entropy=entropy or SystemEntropy(),
        rosters=rosters,
        signer=desk,
        chains={name: _home(chain, settings.chains[name], desk) for name, chain in chains.items()},
    )


def open_rosters(settings: Settings) -> RosterChain:
    """Return the pinned roster and all before it.

    Corrupt: no such file, or a version is not signed by the quorum before it. SettingsError: no
    SHA-256.
    """
    try:
        pinned = bytes.fromhex(settings.officers.roster_sha256)
    except ValueError:
        pinned = b""
    if len(pinned) != hashlib.sha256().digest_size:
        raise SettingsError(["officers.roster_sha256: 64 hex digits"])
    try:
        return load_rosters(settings.officers.roster_folder, pinned)
    except Refused as refused:
        raise Corrupt(f"the rosters in {settings.officers.roster_folder}: {refused}") from refused


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


def chain_config(
    name: ChainId, settings: ChainSettings, assets: Sequence[AssetSpec]
) -> ChainConfig:
    """Return what the registry opens a chain with."""
    urls = settings.node_urls
    if settings.node_urls_file is not None:
        urls = tuple(read_private_file(settings.node_urls_file).decode().split())
    return ChainConfig(
        kind=settings.kind,
        chain=name,
        node_urls=urls,
        quorum=settings.quorum,
        chain_number=settings.chain_number,
        genesis_hash=settings.genesis_hash,
        fee_floor=settings.fee_floor,
        fee_cap=settings.fee_cap,
        tip=settings.tip,
        assets=tuple(assets),
        units_cap=settings.units_cap,
        reorg_limit=settings.reorg_limit,
        timeout_ms=settings.timeout_ms,
    )


def _home(chain: Chain, settings: ChainSettings, signer: KeyService) -> ChainHome:
    name = chain.traits.chain
    return ChainHome(
        chain=chain,
        keys=account_keys(partial(signer.account_xpub, name)),
        terms=WithdrawalTerms(
            network_fee_max=settings.network_fee_max,
            expiry_ns=settings.approval_expiry_s * SECOND_NS,
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
