"""The asset list is data, read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from chains.assets import AssetFileError, load_assets, parse_assets
from chains.base import NATIVE, AssetSpec
from chains.evm.address import checksum, raw_address
from core.ids import ChainId

GOOD = """
[[asset]]
chain = "devnet"
key = "native"
symbol = "ETH"
scale = 18
deposit_minimum = "0.001"
withdrawal_minimum = "1"
withdrawal_fee = "0"
sweep_minimum = "123456789.000000000000000001"
odd = true
"""


def test_amounts_become_exact_integers_of_the_smallest_unit() -> None:
    assert parse_assets(GOOD) == (
        AssetSpec(
            chain=ChainId("devnet"),
            key=NATIVE,
            symbol="ETH",
            scale=18,
            deposit_minimum=10**15,
            withdrawal_minimum=10**18,
            withdrawal_fee=0,
            sweep_minimum=123456789_000000000000000001,
            odd=True,
        ),
    )
    assert parse_assets("") == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('symbol = "ETH"', 'symbol = "ETH"\nname = "Ether"'),
        ("odd = true", "odd = 1"),
        ("odd = true", 'odd = "true"'),
        ("scale = 18", "scale = true"),
        ("scale = 18", "scale = -1"),
        ("scale = 18", "scale = 78"),
        ("scale = 18", 'scale = "18"'),
        ("scale = 18", "scale = 17"),
        ("scale = 18\n", ""),
        ('"0.001"', "0.001"),
        ('"0.001"', '"1e-3"'),
        ('"0.001"', '"-1"'),
        ('"0.001"', '"1_000"'),
        ('key = "native"', 'key = ""'),
        ('key = "native"', "key = 5"),
        ("[[asset]]", "[asset]"),
        ("[[asset]]", "[[assets]]"),
        ("[[asset]]", "asset = 5\n[[asset]]"),
        ("odd = true", "odd = true\n[other]\nx = 1"),
        ("odd = true", "odd ="),
    ],
)
def test_anything_else_stops_the_start(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(AssetFileError):
        parse_assets(GOOD.replace(old, new, 1))


def test_the_same_contract_or_symbol_twice_on_a_chain_is_refused() -> None:
    for second in (
        GOOD.replace("ETH", "ETH2"),
        GOOD.replace("native", "0xab").replace("ETH", "eth"),
    ):
        with pytest.raises(AssetFileError, match="twice"):
            parse_assets(GOOD + second)
    elsewhere = parse_assets(GOOD + GOOD.replace("devnet", "othernet"))
    assert [asset.chain for asset in elsewhere] == ["devnet", "othernet"]


def test_the_file_that_is_shipped_is_in_order() -> None:
    assets = load_assets()
    assert {"devnet", "ethereum"} <= {asset.chain for asset in assets}
    for asset in assets:
        assert asset.withdrawal_minimum > asset.withdrawal_fee
        assert 0 < asset.deposit_minimum <= asset.sweep_minimum
        if asset.key != NATIVE:
            assert checksum(raw_address(asset.key)) == asset.key


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetFileError, match=r"none\.toml"):
        load_assets(tmp_path / "none.toml")
