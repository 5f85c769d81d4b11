"""Everything a platform needs on a machine of a developer: keys, officers, tokens, files, API keys.

    secrets/   the signer's two keystores, their passphrase, the officers' own keys, API tokens
    config.toml  assets.toml  markets.toml  dev.json
    rosters/   the officers' roster   policies/  the first policy
    data/      the engine's journal     signer/  the signer's store     strongroom.db

All of it protects nothing: keys lie beside each other in one folder, passphrases beside keystores.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import migrating
from app.devpolicy import begin_dev_policy, dev_policy, write_dev_policy
from app.devroster import THRESHOLD, dev_roster, write_dev_roster
from app.files import chain_config
from app.opening import open_database, open_platform
from app.settings import Settings, read_settings
from app.signer_home import export_accounts
from app.toml_text import toml_text
from chains.base import NATIVE
from chains.registry import open_chain
from core.clock import Clock, SystemClock
from core.entropy import Entropy, SystemEntropy
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from custody import access, catalogue
from custody.db import Database
from custody.keys.accounts_file import render_accounts
from custody.keys.attestation import AttestationKey
from custody.keys.officer_keys import officer_keygen
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.roster import Officer
from custody.keys.secret import Secret
from custody.keys.signers.keystore import CHEAP, create_keystore, fresh_seed
from custody.wallets.inventory import OWN_WALLETS

if TYPE_CHECKING:
    from infra.devnet.nodes import AnvilNode

TEMPLATE = Path(__file__).with_name("dev.toml")
CHAIN = ChainId("devnet")
OFFICERS = ("ada", "ben", "cleo")
STAFF = ((access.Role.OPS, "olga"), (access.Role.AUDITOR, "anton"))
CUSTOMERS = ("alice", "bob")
WALLET_COINS = 100
ACCOUNTS = "accounts.toml"
DEPOSIT_KEYS = 20
"""So many are listed where keys derive from nothing public."""
ROSTERS = "rosters"
POLICIES = "policies"
MARKER, DONE = ".strongroom-dev", "dev.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevAsset:
    """One listed asset of the development chain."""

    symbol: str
    key: str
    scale: int


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
    entropy: Entropy | None = None,
    clock: Clock | None = None,
) -> DevSetup:
    """Make a whole setup beside a local node, or return the one that is there already.

    `overrides` are settings by table, as in {"engine": {"lease_ms": 2000}}. A folder whose making
    broke off is made again. Refused: exists_with_other_content (a folder of somebody else).
    """
    if (folder / DONE).exists():
        return _load(folder, node.url, http_host, http_port)
    _fresh_folder(folder)
    entropy, clock = entropy or SystemEntropy(), clock or SystemClock()
    template = tomllib.loads(TEMPLATE.read_text("utf-8"))
    attestation_key = _make_keystores(folder, entropy)
    officers = _make_officers(folder, entropy)
    start_height = node.height() + 1
    assets = _deploy(node, template)
    chain_table = {
        **template["chains"][CHAIN],
        "node_urls": [node.url],
        "chain_number": int(node.call("eth_chainId"), 16),
        "genesis_hash": _genesis_hash(node),
        "start_height": start_height,
    }
    setup = DevSetup(
        folder=folder,
        node_url=node.url,
        http_host=http_host,
        http_port=http_port,
        assets=assets,
        markets=tuple(market["name"] for market in template["markets"]),
    )
    # The roster names the chain's network, which only a chain opened by settings knows.
    _write_files(setup, template, chain_table, "00" * 32, database_url, overrides or {})
    roster_hash = _make_roster(setup, officers, attestation_key, clock)
    _write_files(setup, template, chain_table, roster_hash, database_url, overrides or {})
    policy = dev_policy(OFFICERS, threshold=THRESHOLD, issued_ns=clock.now_ns())
    signing = [setup.officer_key_file(person) for person in OFFICERS[:THRESHOLD]]
    write_dev_policy(folder / POLICIES, policy, signing)
    accounts = export_accounts(setup.settings(), deposit_keys=DEPOSIT_KEYS)
    (folder / ACCOUNTS).write_bytes(render_accounts(accounts))
    db = open_database(setup.settings())
    migrating.upgrade(db)
    _open_accounts(setup, db, customers, clock=clock, entropy=entropy)
    db.close()
    begin_dev_policy(setup.settings(), clock=clock)
    (folder / DONE).write_text(_dump(setup), "utf-8")
    return setup


def fund_wallets(setup: DevSetup, node: AnvilNode, *, coins: int = WALLET_COINS) -> dict[str, str]:
    """Send native coins from the node's own accounts to our hot and gas wallets; return addresses.

    The follower sees these payments and books them as funding by the operator.
    """
    from infra.devnet.deploy import Deployer

    platform = open_platform(setup.settings())
    home, deployer = platform.home(CHAIN), Deployer(node)
    found = {
        account: home.chain.address_of(home.public_key_of(account, 0)) for account in OWN_WALLETS
    }
    platform.close()
    for address in found.values():
        deployer.pay(address, coins * 10 ** setup.assets[0].scale)
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


def _deploy(node: AnvilNode, template: Mapping[str, Any]) -> tuple[DevAsset, ...]:
    from infra.devnet.deploy import Deployer

    deployer, native = Deployer(node), template["native"]
    assets = [DevAsset(symbol=native["symbol"], key=NATIVE, scale=native["scale"])]
    for token in template["tokens"]:
        name, symbol, scale = token["name"], token["symbol"], token["scale"]
        contract = deployer.deploy(token["contract"], name, symbol, scale)
        assets.append(DevAsset(symbol=symbol, key=contract.address, scale=scale))
    return tuple(assets)


def _genesis_hash(node: AnvilNode) -> str:
    with_transactions = False
    return str(node.call("eth_getBlockByNumber", "0x0", with_transactions)["hash"])


def _write_files(
    setup: DevSetup,
    template: Mapping[str, Any],
    chain_table: Mapping[str, object],
    roster_hash: str,
    database_url: str | None,
    overrides: Mapping[str, Mapping[str, object]],
) -> None:
    folder, keys = setup.folder, {asset.symbol: asset.key for asset in setup.assets}
    listed = [
        {
            "chain": CHAIN,
            "key": keys[entry["symbol"]],
            **{name: value for name, value in entry.items() if name not in ("contract", "name")},
        }
        for entry in (template["native"], *template["tokens"])
    ]
    markets = [
        {
            **market,
            "base": {"chain": CHAIN, "key": keys[market["base"]]},
            "quote": {"chain": CHAIN, "key": keys[market["quote"]]},
        }
        for market in template["markets"]
    ]
    tables: dict[str, dict[str, object]] = {
        "database": {"url": database_url or f"sqlite:///{folder.resolve() / 'strongroom.db'}"},
        "data": {"folder": "data"},
        "address_book": {"notices_folder": "notices"},
        "http": {"host": setup.http_host, "port": setup.http_port},
        "catalogue": {"assets_file": "assets.toml", "markets_file": "markets.toml"},
        "officers": {
            "roster_folder": ROSTERS,
            "policy_folder": POLICIES,
            "roster_sha256": roster_hash,
        },
        "signer": {
            "socket": "signer.sock",
            "accounts_file": ACCOUNTS,
            "folder": "signer",
            "local": {"file": "secrets/keystore", "passphrase_file": "secrets/passphrase"},
            "attestation": {
                "file": "secrets/attestation",
                "passphrase_file": "secrets/passphrase",
            },
        },
    }
    for name, values in overrides.items():
        if name == "chain":
            chain_table = {**chain_table, **values}
        else:
            tables.setdefault(name, {}).update(values)
    (folder / "assets.toml").write_text(toml_text({"asset": listed}), "utf-8")
    (folder / "markets.toml").write_text(toml_text({"market": markets}), "utf-8")
    text = toml_text({**tables, "chains": {CHAIN: chain_table}})
    (folder / "config.toml").write_text(text, "utf-8")


def _make_roster(
    setup: DevSetup, officers: Sequence[Officer], attestation_key: AttestationKey, clock: Clock
) -> str:
    """Have the officers sign the first roster of the development chain; return its hash."""
    settings = setup.settings().chains[CHAIN]
    chain = open_chain(chain_config(CHAIN, settings, ()))
    traits = chain.traits
    chain.close()
    roster = dev_roster(
        officers,
        traits,
        attestation_key=attestation_key.public_key,
        scales={asset.key: asset.scale for asset in setup.assets},
        node_urls=[setup.node_url],
        sweep_fee_max=settings.sweeps.fee_max,
        network_fee_max=settings.network_fee_max,
        now_ns=clock.now_ns(),
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
    )
