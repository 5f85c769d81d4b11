"""Travel-rule messages are complete and well formed, and what is refused names no person."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Reason, Refused
from custody.screening import ivms101

TODAY = date(2026, 11, 20)
ADDRESS = "f" + "ab" * 24
SECRET = "Zebedee"
"""A name that no error may repeat."""
LEI = "5493001KJTIIGC8Y1R12"


def message() -> dict[str, Any]:
    """Return a complete message of a person who pays a company."""
    return {
        "originator": {
            "originatorPersons": [
                {
                    "naturalPerson": {
                        "name": {
                            "nameIdentifier": [
                                {
                                    "primaryIdentifier": SECRET,
                                    "secondaryIdentifier": "Zed",
                                    "nameIdentifierType": "LEGL",
                                }
                            ]
                        },
                        "geographicAddress": [
                            {
                                "addressType": "HOME",
                                "streetName": "Long Lane",
                                "buildingNumber": "7",
                                "townName": "Zug",
                                "country": "CH",
                            }
                        ],
                        "dateAndPlaceOfBirth": {"dateOfBirth": "1990-02-28", "placeOfBirth": "Zug"},
                    }
                }
            ],
            "accountNumber": ["customer-7"],
        },
        "beneficiary": {
            "beneficiaryPersons": [{"legalPerson": company("Shop Ltd")}],
            "accountNumber": [ADDRESS],
        },
        "originatingVASP": {"originatingVASP": {"legalPerson": company("Strongroom AG")}},
    }


def company(name: str) -> dict[str, Any]:
    return {
        "name": {
            "nameIdentifier": [{"legalPersonName": name, "legalPersonNameIdentifierType": "LEGL"}]
        },
        "nationalIdentification": {"nationalIdentifier": LEI, "nationalIdentifierType": "LEIX"},
        "countryOfRegistration": "CH",
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the message with one place set, or with value None taken out."""
    made = message()
    *way, last = (int(step) if step.isdecimal() else step for step in path.split("/"))
    at: Any = made
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


def refusal(data: object) -> Refused:
    with pytest.raises(Refused) as caught:
        ivms101.check(data, address=ADDRESS, today=TODAY)
    return caught.value


def test_a_complete_message_is_taken() -> None:
    ivms101.check(message(), address=ADDRESS, today=TODAY)
    with_receiver = {
        **message(),
        "beneficiaryVASP": {"beneficiaryVASP": {"legalPerson": company("B")}},
    }
    ivms101.check(with_receiver, address=ADDRESS, today=TODAY)


PERSON = "originator/originatorPersons/0/naturalPerson"
WHERE = f"{PERSON}/geographicAddress/0"
FIRM = "originatingVASP/originatingVASP/legalPerson"


@pytest.mark.parametrize(
    ("path", "value", "reason", "place"),
    [
        ("originator", None, Reason.MISSING_FIELD, "ivms101.originator"),
        ("beneficiary", None, Reason.MISSING_FIELD, "ivms101.beneficiary"),
        ("originatingVASP", None, Reason.MISSING_FIELD, "ivms101.originatingVASP"),
        ("more", 1, Reason.MALFORMED, "does not belong"),
        ("originator/accountNumber", [], Reason.MALFORMED, "accountNumber"),
        ("originator/originatorPersons", [], Reason.MALFORMED, "originatorPersons"),
        ("beneficiary/accountNumber", ["another"], Reason.MALFORMED, "another address"),
        ("beneficiary/beneficiaryPersons/0", {}, Reason.MALFORMED, "either a natural or a legal"),
        (f"{PERSON}/name/nameIdentifier/0/nameIdentifierType", "BIRT", Reason.MALFORMED, "LEGL"),
        (f"{PERSON}/name/nameIdentifier/0/primaryIdentifier", "", Reason.MALFORMED, "1..100"),
        (f"{PERSON}/name/nameIdentifier/0/primaryIdentifier", SECRET * 20, Reason.MALFORMED,
         "1..100"),
        (f"{PERSON}/name/nameIdentifier/0/primaryIdentifier", SECRET + "\n", Reason.MALFORMED,
         "characters"),
        (f"{PERSON}/name/nameIdentifier/0/primaryIdentifier", SECRET + "\u202e" + SECRET,
         Reason.MALFORMED, "plain text"),
        (f"{PERSON}/name/nameIdentifier/0/primaryIdentifier", [SECRET], Reason.MALFORMED, "1..100"),
        (f"{PERSON}/dateAndPlaceOfBirth/dateOfBirth", "2026-11-20", Reason.MALFORMED,
         "not in the past"),
        (f"{PERSON}/dateAndPlaceOfBirth/dateOfBirth", "1990-02-30", Reason.MALFORMED,
         "no such day"),
        (f"{PERSON}/countryOfResidence", "Schweiz", Reason.MALFORMED, "countryOfResidence"),
        (f"{WHERE}/buildingNumber", None, Reason.MISSING_FIELD, "a street with a building"),
        (f"{WHERE}/country", None, Reason.MISSING_FIELD, "country"),
        (f"{WHERE}/addressType", "CASTLE", Reason.MALFORMED, "addressType"),
        (f"{FIRM}/nationalIdentification/nationalIdentifier", LEI[:-1] + "3", Reason.MALFORMED,
         "no LEI"),
        (f"{FIRM}/nationalIdentification/nationalIdentifierType", "CCPT", Reason.MALFORMED,
         "one of"),
        (f"{FIRM}/nationalIdentification/nationalIdentifierType", "RAID", Reason.MISSING_FIELD,
         "registrationAuthority"),
        (f"{FIRM}/nationalIdentification/countryOfIssue", "CH", Reason.MALFORMED,
         "not of a legal person"),
        (f"{FIRM}/nationalIdentification/registrationAuthority", "RA000548", Reason.MALFORMED,
         "not with this identifier"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_place_and_never_by_its_value(
    path: str, value: Any, reason: Reason, place: str
) -> None:
    found = refusal(changed(path, value))
    assert found.reason is reason
    assert place in found.detail
    assert SECRET not in str(found)


def test_an_originator_is_identified_by_more_than_a_name() -> None:
    bare = changed(f"{PERSON}/geographicAddress", None)
    ivms101.check(bare, address=ADDRESS, today=TODAY)  # control: a date of birth is enough
    del bare["originator"]["originatorPersons"][0]["naturalPerson"]["dateAndPlaceOfBirth"]
    assert refusal(bare).reason is Reason.MISSING_FIELD


@pytest.mark.parametrize("data", [None, 1, "x", [], {"originator": 1}])
def test_what_is_no_message_is_refused(data: object) -> None:
    assert refusal(data).reason in (Reason.MALFORMED, Reason.MISSING_FIELD)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just([]), st.just({})
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_change_makes_the_check_fail_otherwise_than_by_refusing(data: st.DataObject) -> None:
    made: Any = copy.deepcopy(message())
    at, depth = made, data.draw(st.integers(0, 7))
    for _ in range(depth):
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key]:
            break
        at = at[key]
    keys = list(at) if isinstance(at, dict) else list(range(len(at)))
    at[data.draw(st.sampled_from(keys))] = data.draw(LEAVES)
    found = outcome(made)
    assert found is None or found.reason in (Reason.MALFORMED, Reason.MISSING_FIELD)
    assert SECRET not in str(found)


def outcome(data: Any) -> Refused | None:
    try:
        ivms101.check(data, address=ADDRESS, today=TODAY)
    except Refused as refused:
        return refused
    return None
