"""Chains plug in at one place, and cost their libraries only when opened."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from chains.registry import CHAINS, open_chain
from core.errors import Reason, Refused
from core.ids import ChainId
from tests.support.evm import config_for, listed

CONFIG = config_for(["http://127.0.0.1:9"], genesis="0x" + "0" * 64)


def test_every_kind_is_named_once() -> None:
    assert set(CHAINS) >= {"bitcoin", "evm", "fake"}


def test_a_configured_chain_opens_without_asking_a_node() -> None:
    chain = open_chain(CONFIG)
    assert chain.traits.network == "eip155:31337/0x" + "0" * 64
    assert not chain.traits.is_main_network
    assert open_chain(replace(CONFIG, chain_number=1)).traits.is_main_network


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        open_chain(replace(CONFIG, kind="abacus"))
    assert refusal.value.reason is Reason.UNKNOWN_CHAIN


def test_an_asset_of_another_chain_stops_the_start() -> None:
    asset = replace(listed("0x5FbDB2315678afecb367f032d93F642f64180aa3"), chain=ChainId("other"))
    with pytest.raises(ValueError, match="other"):
        open_chain(replace(CONFIG, assets=(asset,)))


def imported_by(code: str) -> set[str]:
    """Return the top-level modules a fresh interpreter holds after running code."""
    printing = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", printing], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_registry_alone_imports_no_chain_library() -> None:
    libraries = {"httpx", "coincurve", "eth_account", "web3", "rlp", "eth_hash"}
    assert not libraries & imported_by("import chains.registry, chains.assets")


def test_reading_a_chain_never_pays_for_the_builder_s_libraries() -> None:
    modules = imported_by("import chains.evm")
    assert "coincurve" in modules
    assert not {"web3", "eth_account", "rlp", "eth_abi", "eth_utils"} & modules
