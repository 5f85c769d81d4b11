"""Everything a platform needs on a machine of a developer: keys, officers, tokens, files, API keys.

    secrets/   the signer's two keystores, their passphrase, the officers' own keys, API tokens
    config.toml  assets.toml  markets.toml  dev.json
    rosters/   the officers' roster   policies/  the first policy
    data/      the engine's journal     signer/  the signer's store     strongroom.db

All of it protects nothing: keys lie beside each other in one folder, passphrases beside keystores.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import migrating
from app.devfiles import ACCOUNTS, POLICIES, ROSTERS, Plan, template_of
from app.devpolicy import begin_dev_policy, dev_policy, write_dev_policy
from app.devroster import THRESHOLD, DevChain, dev_roster, write_dev_roster
from app.files import chain_config
from app.opening import open_database
from app.settings import Settings, read_settings
from app.signer_home import export_accounts
from chains.base import NATIVE
from chains.registry import open_chain
from core.clock import Clock, SystemClock
from core.entropy import Entropy, SystemEntropy
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from custody import access, catalogue
from custody.db import Database
from custody.keys.accounts_file import keys_of, parse_accounts, render_accounts
from custody.keys.attestation import AttestationKey
from custody.keys.officer_keys import officer_keygen
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.roster import Officer
from custody.keys.secret import Secret
from custody.keys.signers.keystore import CHEAP, create_keystore, fresh_seed
from custody.wallets.inventory import OWN_WALLETS

if TYPE_CHECKING:
    from infra.devnet.networks import DevNetwork
    from infra.devnet.nodes import AnvilNode

CHAIN = ChainId("devnet")
OFFICERS = ("ada", "ben", "cleo")
STAFF = ((access.Role.OPS, "olga"), (access.Role.AUDITOR, "anton"))
CUSTOMERS = ("alice", "bob")
DEPOSIT_KEYS = 20
"""So many are listed where keys derive from nothing public."""
MARKER, DONE = ".strongroom-dev", "dev.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevAsset:
    """One listed asset of a development chain."""

    symbol: str
    key: str
    scale: int
    chain: ChainId = CHAIN
    price_usd: int = 0
    wallet_coins: int = 0
    """So many whole coins each own wallet begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSetup:
    """What was made. Paths are inside the folder."""

    folder: Path
    node_url: str
    http_host: str
    http_port: int
    assets: tuple[DevAsset, ...]
    markets: tuple[str, ...]
    chain: ChainId = CHAIN
    """The first one."""
    chains: tuple[ChainId, ...] = (CHAIN,)

    @property
    def config_file(self) -> Path:
        """Return the settings file of both processes."""
        return self.folder / "config.toml"

    @property
    def http_url(self) -> str:
        """Return where the API answers."""
        return f"http://{self.http_host}:{self.http_port}"

    def asset(self, symbol: str) -> DevAsset:
        """Return an asset by its symbol."""
        return next(asset for asset in self.assets if asset.symbol == symbol)

    def settings(self) -> Settings:
        """Read the settings file; the environment does not count."""
        return read_settings(self.config_file, {})

    def officer_key_file(self, person: str) -> Path:
        """Return the file of an officer's own key."""
        return _secrets(self.folder) / f"officer-{person}.pem"

    def token_file(self, who: str) -> Path:
        """Return the file with the API token of a customer, an officer or one of the staff."""
        return _secrets(self.folder) / f"token-{who}"

    def token(self, who: str) -> str:
        """Return an API token."""
        return read_private_file(self.token_file(who)).decode("ascii").strip()


def make_dev(
    folder: Path,
    node: AnvilNode,
    *,
    http_port: int,
    http_host: str = "127.0.0.1",
    database_url: str | None = None,
    customers: Sequence[str] = CUSTOMERS,
    overrides: Mapping[str, Mapping[str, object]] | None = None,
    others: Sequence[DevNetwork] = (),
    entropy: Entropy | None = None,
    clock: Clock | None = None,
) -> DevSetup:
    """Make a whole setup beside local nodes, or return the one that is there already.

    `overrides` are settings by table, as in {"engine": {"lease_ms": 2000}}; `others` are networks
    beside the first. A folder whose making broke off is made again. Refused:
    exists_with_other_content (a folder of somebody else).
    """
    from infra.devnet.networks import AnvilNetwork

    if (folder / DONE).exists():
        return _load(folder, node.url, http_host, http_port)
    _fresh_folder(folder)
    entropy, clock = entropy or SystemEntropy(), clock or SystemClock()
    first: DevNetwork = AnvilNetwork(node)
    networks = {ChainId(one.chain): one for one in (first, *others)}
    template = template_of(networks)
    attestation_key = _make_keystores(folder, entropy)
    officers = _make_officers(folder, entropy)
    facts = {name: network.facts() for name, network in networks.items()}
    assets = _list_assets(networks, template)
    setup = DevSetup(
        folder=folder,
        node_url=node.url,
        http_host=http_host,
        http_port=http_port,
        assets=assets,
        markets=tuple(market["name"] for market in template["markets"]),
        chains=tuple(networks),
    )
    plan = Plan(setup, template, facts, database_url, overrides or {})
    # The roster names the chains' networks, which only chains opened by settings know; what own
    # wallets need on a chain, only whoever has their addresses.
    plan.write("00" * 32)
    accounts = export_accounts(setup.settings(), deposit_keys=DEPOSIT_KEYS)
    (folder / ACCOUNTS).write_bytes(render_accounts(accounts))
    for name, network in networks.items():
        facts[name] |= network.furnish(own_addresses(setup, name))
    plan.write("00" * 32)
    plan.write(_make_roster(setup, networks, officers, attestation_key, clock))
    policy = dev_policy(OFFICERS, threshold=THRESHOLD, issued_ns=clock.now_ns())
    signing = [setup.officer_key_file(person) for person in OFFICERS[:THRESHOLD]]
    write_dev_policy(folder / POLICIES, policy, signing)
    db = open_database(setup.settings())
    migrating.upgrade(db)
    _open_accounts(setup, db, customers, clock=clock, entropy=entropy)
    db.close()
    begin_dev_policy(
        setup.settings(), {asset.symbol: asset.price_usd for asset in assets}, clock=clock
    )
    (folder / DONE).write_text(_dump(setup), "utf-8")
    return setup


def own_addresses(setup: DevSetup, chain_id: ChainId) -> dict[str, str]:
    """Return the addresses of a chain's own wallets by wallet, from the exported accounts."""
    lines = [one.line for one in parse_accounts((setup.folder / ACCOUNTS).read_bytes())]
    chain = open_chain(chain_config(chain_id, setup.settings().chains[chain_id], ()))
    with contextlib.closing(chain):
        return {
            line.account: chain.address_of(keys_of(line).public_key(0))
            for line in lines
            if line.chain == chain_id and line.account in OWN_WALLETS
        }


def fund_wallets(
    setup: DevSetup, node: AnvilNode, *, coins: int | None = None, others: Sequence[DevNetwork] = ()
) -> dict[str, str]:
    """Send native coins from the nodes' own money to our hot and gas wallets; return addresses.

    The follower sees these payments and books them as funding by the operator. Addresses are those
    of the first chain by wallet, of the others by chain and wallet.
    """
    from infra.devnet.networks import AnvilNetwork

    found, first = {}, AnvilNetwork(node)
    networks: Sequence[DevNetwork] = (first, *others)
    for network in networks:
        name = ChainId(network.chain)
        native = next(one for one in setup.assets if (one.chain, one.key) == (name, NATIVE))
        amount = (coins or native.wallet_coins) * 10**native.scale
        for account, address in own_addresses(setup, name).items():
            network.pay(address, amount)
            found[account if name == setup.chain else f"{name} {account}"] = address
    return found


def remove_dev(folder: Path) -> None:
    """Remove a setup with everything in it.

    Refused: exists_with_other_content, when it was not made by make_dev.
    """
    if folder.exists():
        _refuse_foreign(folder)
        shutil.rmtree(folder)


def _fresh_folder(folder: Path) -> None:
    remove_dev(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("Made by `strongroom up` or a test; may be removed as a whole.\n")
    _secrets(folder).mkdir(mode=0o700)


def _refuse_foreign(folder: Path) -> None:
    if any(folder.iterdir()) and not (folder / MARKER).exists():
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"{folder} was not made by us")


def _secrets(folder: Path) -> Path:
    return folder / "secrets"


def _make_keystores(folder: Path, entropy: Entropy) -> AttestationKey:
    passphrase = Secret(entropy.token_bytes(16).hex().encode())
    write_private_file(_secrets(folder) / "passphrase", passphrase.reveal() + b"\n")
    create_keystore(
        _secrets(folder) / "keystore", passphrase, fresh_seed(entropy), entropy=entropy, cost=CHEAP
    )
    return AttestationKey.create(
        _secrets(folder) / "attestation", passphrase, entropy=entropy, cost=CHEAP
    )


def _make_officers(folder: Path, entropy: Entropy) -> list[Officer]:
    return [
        Officer(person, officer_keygen(_secrets(folder) / f"officer-{person}.pem", entropy=entropy))
        for person in OFFICERS
    ]


def _list_assets(
    networks: Mapping[ChainId, DevNetwork], template: Mapping[str, Any]
) -> tuple[DevAsset, ...]:
    assets = []
    for entry in template["assets"]:
        symbol, scale, chain = entry["symbol"], entry["scale"], ChainId(entry["chain"])
        key = NATIVE
        if "token" in entry:
            key = networks[chain].list_token(entry["token"], entry["name"], symbol, scale)
        price, coins = entry["price_usd"], entry.get("wallet_coins", 0)
        assets.append(
            DevAsset(
                symbol=symbol, key=key, scale=scale, chain=chain, price_usd=price,
                wallet_coins=coins,
            )
        )  # fmt: skip
    return tuple(assets)


def _make_roster(
    setup: DevSetup,
    networks: Mapping[ChainId, DevNetwork],
    officers: Sequence[Officer],
    attestation_key: AttestationKey,
    clock: Clock,
) -> str:
    """Have the officers sign the first roster of the development chains; return its hash."""
    parts = []
    for name, settings in setup.settings().chains.items():
        chain = open_chain(chain_config(name, settings, ()))
        with contextlib.closing(chain):
            parts.append(
                DevChain(
                    traits=chain.traits,
                    scales={one.key: one.scale for one in setup.assets if one.chain == name},
                    node_urls=(networks[name].url,),
                    sweep_fee_max=settings.sweeps.fee_max,
                    network_fee_max=settings.network_fee_max,
                )
            )
    roster = dev_roster(
        officers, parts, attestation_key=attestation_key.public_key, now_ns=clock.now_ns()
    )
    files = [setup.officer_key_file(person) for person in OFFICERS[:THRESHOLD]]
    write_dev_roster(setup.folder / ROSTERS, roster, files)
    return roster.hash.hex()


def _open_accounts(
    setup: DevSetup, db: Database, customers: Sequence[str], *, clock: Clock, entropy: Entropy
) -> None:
    people = [*STAFF, *((access.Role.OFFICER, person) for person in OFFICERS)]

    def issue(role: access.Role, subject: str, who: str) -> None:
        made = db.run(
            lambda conn: access.issue(conn, role, subject, by="dev", clock=clock, entropy=entropy)
        )
        write_private_file(setup.token_file(who), made.token.reveal() + b"\n")

    for role, person in people:
        issue(role, person, person)

    def open_customer(name: str) -> CustomerNo:
        return db.run(
            lambda conn: catalogue.add_customer(conn, name, now_ns=clock.now_ns())
        ).customer_no

    for name in customers:
        issue(access.Role.CUSTOMER, str(open_customer(name)), name)


def _dump(setup: DevSetup) -> str:
    page = {
        "node_url": setup.node_url,
        "http_host": setup.http_host,
        "http_port": setup.http_port,
        "assets": [asdict(asset) for asset in setup.assets],
        "markets": setup.markets,
        "chains": setup.chains,
    }
    return json.dumps(page, indent=1) + "\n"


def _load(folder: Path, node_url: str, http_host: str, http_port: int) -> DevSetup:
    page = json.loads((folder / DONE).read_text("utf-8"))
    now = (node_url, http_host, http_port)
    if (page["node_url"], page["http_host"], page["http_port"]) != now:
        raise Refused(
            Reason.EXISTS_WITH_OTHER_CONTENT, f"{folder} belongs to {page['node_url']}, not {now}"
        )
    return DevSetup(
        folder=folder,
        node_url=node_url,
        http_host=http_host,
        http_port=http_port,
        assets=tuple(DevAsset(**asset) for asset in page["assets"]),
        markets=tuple(page["markets"]),
        chains=tuple(page["chains"]),
    )
