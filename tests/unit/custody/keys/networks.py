"""Networks to sign for in tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chains.base import ChainTraits
from core.ids import ChainId

_TEST_NETWORK = ChainTraits(
    chain=ChainId("local"),
    network="31337:0xabc",
    is_main_network=False,
    coin_type=1,
    curve="secp256k1",
    reorg_limit=64,
)


def traits(**changes: Any) -> ChainTraits:
    """Return the facts of a test network, with changes."""
    return replace(_TEST_NETWORK, **changes)
