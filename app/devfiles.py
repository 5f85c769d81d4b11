"""The files of a development setup: settings, assets, markets, from the template and the nodes."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.toml_text import toml_text
from core.ids import ChainId
from custody.keys.private_file import write_private_file

if TYPE_CHECKING:
    from app.devsetup import DevSetup

TEMPLATE = Path(__file__).with_name("dev.toml")
ACCOUNTS = "accounts.toml"
ROSTERS = "rosters"
POLICIES = "policies"
_OURS = frozenset({"token", "name", "price_usd", "wallet_coins"})
"""What the template says of an asset for the setup alone."""


def template_of(chains: Collection[ChainId]) -> dict[str, Any]:
    """Return the template, as far as it is about these chains."""
    whole = tomllib.loads(TEMPLATE.read_text("utf-8"))
    assets = [entry for entry in whole["assets"] if entry["chain"] in chains]
    listed = {entry["symbol"] for entry in assets}
    return {
        "chains": {name: whole["chains"][name] for name in chains},
        "assets": assets,
        "markets": [one for one in whole["markets"] if {one["base"], one["quote"]} <= listed],
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the files of a setup are written from."""

    setup: DevSetup
    template: Mapping[str, Any]
    facts: Mapping[ChainId, Mapping[str, object]]
    """What only the running nodes know, by chain; it may grow between two writings."""
    database_url: str | None
    overrides: Mapping[str, Mapping[str, object]]

    def write(self, roster_hash: str) -> None:
        """Write settings, assets and markets, in place of those that are there."""
        folder, keys = self.setup.folder, {one.symbol: one for one in self.setup.assets}
        listed = [
            {
                "key": keys[entry["symbol"]].key,
                **{name: value for name, value in entry.items() if name not in _OURS},
            }
            for entry in self.template["assets"]
        ]
        sides = {one.symbol: {"chain": one.chain, "key": one.key} for one in self.setup.assets}
        markets = [
            {**market, "base": sides[market["base"]], "quote": sides[market["quote"]]}
            for market in self.template["markets"]
        ]
        tables, chains = self._tables(roster_hash), self._chains()
        for name, values in self.overrides.items():
            if name == "chain":
                chains[self.setup.chain] |= values
            else:
                tables.setdefault(name, {}).update(values)
        (folder / "assets.toml").write_text(toml_text({"asset": listed}), "utf-8")
        (folder / "markets.toml").write_text(toml_text({"market": markets}), "utf-8")
        (folder / "config.toml").write_text(toml_text({**tables, "chains": chains}), "utf-8")

    def _chains(self) -> dict[str, dict[str, object]]:
        found = {}
        for name, facts in self.facts.items():
            table = {**self.template["chains"][name], **facts}
            (url,) = table.pop("node_urls")
            if urlsplit(url).password is None:
                table["node_urls"] = [url]
            else:
                file = self.setup.folder / "secrets" / f"nodes-{name}"
                if not file.exists():
                    write_private_file(file, url.encode() + b"\n")
                table["node_urls_file"] = f"secrets/{file.name}"
            found[str(name)] = table
        return found

    def _tables(self, roster_hash: str) -> dict[str, dict[str, object]]:
        folder = self.setup.folder
        database = self.database_url or f"sqlite:///{folder.resolve() / 'strongroom.db'}"
        return {
            "database": {"url": database},
            "data": {"folder": "data"},
            "address_book": {"notices_folder": "notices"},
            "http": {"host": self.setup.http_host, "port": self.setup.http_port},
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
