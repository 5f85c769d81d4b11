"""A settings file that is complete, for tests of what reads it."""

from __future__ import annotations

CHAIN: dict[str, object] = {
    "kind": "fake",
    "node_urls": ["http://127.0.0.1:8545"],
    "chain_number": 31337,
    "genesis_hash": "0x00",
    "fee_floor": 1,
    "fee_cap": 10,
    "tip": 1,
    "network_fee_max": "1208925819614629174706176",
    "sweeps": {"cost_multiple": 7},
}
TABLES: dict[str, dict[str, object]] = {
    "database": {"url": "sqlite:///books.db"},
    "data": {"folder": "data"},
    "catalogue": {"assets_file": "assets.toml", "markets_file": "/etc/markets.toml"},
    "officers": {
        "roster_folder": "rosters",
        "policy_folder": "policies",
        "roster_sha256": "ab" * 32,
    },
    "signer": {"socket": "signer.sock", "accounts_file": "accounts.toml"},
    "chains": {"devnet": CHAIN},
}
