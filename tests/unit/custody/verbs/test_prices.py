"""Prices are exact, dated, told by somebody, and never rewritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.price_feed import read_feed
from core.clock import SECOND_NS
from core.errors import Reason, Refused
from core.ids import AssetNo
from custody import audit_log, prices
from custody.policy.request import Price
from custody.prices import Quote, parse_price
from tests.support.house import House

NOW = 1_700_000_000_000_000_000


@pytest.fixture
def conn(house: House) -> Iterator[sa.Connection]:
    with house.platform.db.transaction() as opened:
        yield opened


def quote(text: str, at_ns: int = NOW, source: str = "desk", asset_no: int = 1) -> Quote:
    return Quote(AssetNo(asset_no), Price(parse_price(text), at_ns, source))


def record(conn: sa.Connection, *quotes: Quote) -> int:
    return prices.record_all(conn, quotes, by="olga", now_ns=NOW)


def refused(conn: sa.Connection, *quotes: Quote) -> Reason:
    with pytest.raises(Refused) as error:
        record(conn, *quotes)
    return error.value.reason


def test_the_latest_price_is_the_one_with_the_newest_time_not_the_last_one_told(
    conn: sa.Connection,
) -> None:
    assert prices.latest(conn, AssetNo(1)) is None
    assert record(conn, quote("3012.000000000001"), quote("2999", NOW - 1)) == 2
    assert prices.latest(conn, AssetNo(1)) == Price(3_012_000_000_000_001, NOW, "desk")
    assert prices.latest(conn, AssetNo(2)) is None
    told = [one.price.value for one in prices.history(conn, AssetNo(1))]
    assert told == [parse_price("3012.000000000001"), parse_price("2999")]


def test_the_same_price_again_changes_nothing_and_another_one_of_that_time_is_refused(
    conn: sa.Connection,
) -> None:
    assert record(conn, quote("1.5")) == 1
    assert record(conn, quote("1.5"), quote("1.6", source="other desk")) == 1
    assert refused(conn, quote("1.6")) is Reason.EXISTS_WITH_OTHER_CONTENT
    assert [one.action for one in audit_log.records(conn)].count("price.record") == 2


@pytest.mark.parametrize("text", [1.5, 3012, "3012,5", "1e3", "-1", "NaN", "0.0000000000001", ""])
def test_a_price_never_comes_from_a_float_nor_from_anything_but_plain_decimal_text(
    text: object,
) -> None:
    with pytest.raises(Refused) as error:
        parse_price(text)
    assert error.value.reason is Reason.MALFORMED_AMOUNT


def test_what_would_make_limits_in_usd_void_is_refused(conn: sa.Connection) -> None:
    assert refused(conn, quote("0")) is Reason.INVALID_PRICE
    assert refused(conn, quote("1", NOW + 6 * SECOND_NS)) is Reason.ISSUED_IN_FUTURE
    assert refused(conn, quote("1", source="\u0430desk")) is Reason.MALFORMED
    assert record(conn, quote("1", NOW + 5 * SECOND_NS)) == 1


def test_one_bad_price_of_a_batch_leaves_none_of_it(house: House) -> None:
    with pytest.raises(Refused):
        house.platform.db.run(lambda conn: record(conn, quote("1"), quote("0", NOW - 1)))
    with house.platform.db.read() as conn:
        assert prices.latest(conn, AssetNo(1)) is None


def test_the_database_itself_refuses_to_change_a_price(house: House) -> None:
    house.platform.db.run(lambda conn: record(conn, quote("1")))
    with pytest.raises(sa.exc.IntegrityError):
        house.platform.db.run(lambda conn: conn.execute(prices.prices.update().values(value=2)))


GOOD = '[[prices]]\nasset = "a/b"\nprice = "1.5"\nat = 2026-11-20T17:00:00+01:00\nsource = "desk"\n'


def test_a_feed_is_read_into_what_the_api_takes(tmp_path: Path) -> None:
    file = tmp_path / "feed.toml"
    file.write_text(GOOD)
    wanted = {"asset": "a/b", "price": "1.5", "at": "2026-11-20T16:00:00Z", "source": "desk"}
    assert read_feed(file) == [wanted]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"1.5"', "1.5", Reason.MALFORMED_AMOUNT),
        ('"1.5"', "2", Reason.MALFORMED_AMOUNT),
        ("+01:00", "", Reason.MALFORMED),
        ('source = "desk"\n', "", Reason.MISSING_FIELD),
        ('source = "desk"', 'source = "desk"\nnote = "x"', Reason.MALFORMED),
        ("[[prices]]", "[prices]", Reason.MALFORMED),
        ("[[prices]]", "x = 1\n[[prices]]", Reason.MALFORMED),
        ("[[prices]]", "[[prices]", Reason.MALFORMED),
    ],
)
def test_a_bad_feed_is_refused_with_its_file(
    tmp_path: Path, old: str, new: str, reason: Reason
) -> None:
    file = tmp_path / "feed.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(Refused, match=r"feed\.toml") as error:
        read_feed(file)
    assert error.value.reason is reason
