"""Sanctions lists are read strictly: half a list is worse than none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Reason, Refused
from custody.screening import sdn
from custody.screening.sdn import Listed, comparable, parse
from tests.unit.custody.screening.samples import BASE58, ENTRIES, HEX, advanced, plain

ETH = "Digital Currency Address - ETH"
FOUND = {Listed("ETH", HEX, "1001"), Listed("XBT", BASE58, "1003"), Listed("USDT", HEX, "1003")}


def why(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        parse([data])
    assert caught.value.reason is Reason.MALFORMED
    return caught.value.detail


@pytest.mark.parametrize("data", [plain(), advanced()], ids=["plain", "advanced"])
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_both_published_forms_give_the_same_addresses(data: bytes, size: int) -> None:
    found = parse(data[i : i + size] for i in range(0, len(data), size))
    assert set(found.addresses) == FOUND
    assert (found.published, found.parties) == ("2026-11-20", len(ENTRIES))


def test_space_around_an_address_is_the_files_and_not_the_addresses() -> None:
    (one,) = parse([plain([("1", [(ETH, f"\n   {HEX}\n ")])])]).addresses
    assert one.address == HEX


def test_case_counts_only_where_it_distinguishes_addresses() -> None:
    assert comparable(HEX) == comparable(HEX.lower()) == comparable(HEX.upper().replace("0X", "0x"))
    upper = "BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ"
    assert comparable(upper) == upper.lower()
    assert comparable(BASE58) == BASE58 != comparable(BASE58.lower())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not XML"),
        (b"<sdnList>", "not XML"),
        (plain()[:-20], "not XML"),
        (b"<other/>", "no list"),
        (b"<!DOCTYPE sdnList [<!ENTITY a 'b'>]><sdnList/>", "a document type"),
        (plain(count=4), "3 records of 4"),
        (plain(ENTRIES[:2], count=3), "2 records of 3"),
        (plain(date="20.11.2026"), "the date"),
        (plain().replace(b"Publish_Date", b"Published"), "no date"),
        (plain([]), "no party"),
        (advanced().replace(b"FixedRef", b"Ref"), "a party without its number"),
        (advanced(year="two"), "the date"),
        (plain([("1", [(ETH, "")])]), "an address of party 1"),
        (plain([("1", [(ETH, "0x12 34567890")])]), "an address of party 1"),
        (plain([("1", [(ETH, "0xаbcdefabcdef")])]), "an address of party 1"),
        (plain([("1", [(ETH, "a" * 257)])]), "an address of party 1"),
        (plain([("1", [("Digital Currency Address - ", HEX)])]), "the currency"),
        (plain([("1", [("Digital Currency Address - eth", HEX)])]), "the currency"),
        (plain([("x", [(ETH, HEX)])]), "a party without its number"),
        (b"<sdnList>" + b"<a>" * 40, "nested"),
    ],
)
def test_what_is_not_exactly_a_list_is_refused(data: bytes, expected: str) -> None:
    assert expected in why(data)


def test_a_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdn, "FILE_BYTES_MAX", 100)
    with pytest.raises(Refused) as caught:
        parse([plain()])
    assert caught.value.reason is Reason.TOO_LARGE
    monkeypatch.undo()
    monkeypatch.setattr(sdn, "ADDRESSES_MAX", 2)
    with pytest.raises(Refused) as caught:
        parse([plain()])
    assert caught.value.reason is Reason.TOO_LARGE


def outcome(data: bytes) -> Reason | None:
    try:
        parse([data])
    except Refused as refused:
        return refused.reason
    return None


@settings(max_examples=300, deadline=None)
@given(data=st.data(), form=st.sampled_from([plain(), advanced()]))
def test_no_bytes_make_the_reader_fail_otherwise_than_by_refusing(
    data: st.DataObject, form: bytes
) -> None:
    at = data.draw(st.integers(0, len(form) - 1))
    cut = data.draw(st.integers(0, 40))
    new = data.draw(st.binary(max_size=20))
    assert outcome(form[:at] + new + form[at + cut :]) in (None, Reason.MALFORMED)
