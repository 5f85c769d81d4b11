"""Travel-rule data as IVMS101 spells it: who sends, who receives, and which providers serve them.

Strict: unknown members, wrong types, lengths and codes are refused, and of what is refused only the
place is named, never the value: personal data stands in no error, log or metric.
Source: interVASP IVMS101, issue 1: components, codes and the constraints named C1 to C12 there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NoReturn

from core.errors import Reason, Refused

LIST_MAX = 10
Check = Callable[[Any, str], None]

NAME_TYPES = frozenset({"ALIA", "BIRT", "MAID", "LEGL", "MISC"})
LEGAL_NAME_TYPES = frozenset({"LEGL", "SHRT", "TRAD"})
ADDRESS_TYPES = frozenset({"HOME", "BIZZ", "GEOG"})
ID_TYPES = frozenset(
    {"ARNU", "CCPT", "RAID", "DRLC", "FIIN", "TXID", "SOCS", "IDCD", "LEIX", "MISC"}
)
LEGAL_ID_TYPES = frozenset({"RAID", "MISC", "LEIX", "TXID"})
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_AUTHORITY = re.compile(r"RA[0-9]{6}", re.ASCII)
_LEI = re.compile(r"[0-9A-Z]{18}[0-9]{2}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def check(data: object, *, address: str, today: date) -> None:
    """Return when a message is complete for a payment to an address.

    Refused: missing_field, malformed; the detail is the place in the message.
    """
    _object(
        data,
        "ivms101",
        {
            "originator": _party("originatorPersons", _customer(today), is_originator=True),
            "beneficiary": _party("beneficiaryPersons", _customer(today), is_originator=False),
            "originatingVASP": _vasp("originatingVASP", today),
        },
        {"beneficiaryVASP": _vasp("beneficiaryVASP", today), "transferPath": _nothing},
    )
    assert isinstance(data, Mapping)
    if address not in data["beneficiary"]["accountNumber"]:
        _malformed("ivms101.beneficiary.accountNumber: another address than the payment's")


def _party(persons: str, person: Check, *, is_originator: bool) -> Check:
    def look(value: Any, where: str) -> None:
        _object(value, where, {persons: _many(person), "accountNumber": _many(_text(100))}, {})
        if is_originator:
            for n, one in enumerate(value[persons]):
                _identified(one, f"{where}.{persons}[{n}]")

    return look


def _vasp(name: str, today: date) -> Check:
    def look(value: Any, where: str) -> None:
        _object(value, where, {name: _person(today)}, {})

    return look


def _customer(today: date) -> Check:
    return _person(today)


def _person(today: date) -> Check:
    def look(value: Any, where: str) -> None:
        _object(value, where, {}, {"naturalPerson": _natural(today), "legalPerson": _legal})
        if len(value) != 1:
            _malformed(f"{where}: either a natural or a legal person")

    return look


def _natural(today: date) -> Check:
    def born(value: Any, where: str) -> None:
        required = {"dateOfBirth": _before(today), "placeOfBirth": _text(70)}
        _object(value, where, required, {})

    def look(value: Any, where: str) -> None:
        _object(
            value,
            where,
            {"name": _natural_name},
            {
                "geographicAddress": _many(_geographic),
                "nationalIdentification": _national(ID_TYPES, is_legal=False),
                "customerIdentification": _text(50),
                "dateAndPlaceOfBirth": born,
                "countryOfResidence": _pattern(_COUNTRY),
            },
        )

    return look


def _natural_name(value: Any, where: str) -> None:
    def identifier(one: Any, place: str) -> None:
        required = {"primaryIdentifier": _text(100), "nameIdentifierType": _code(NAME_TYPES)}
        _object(one, place, required, {"secondaryIdentifier": _text(100)})

    _names(value, where, identifier, "nameIdentifierType")


def _legal(value: Any, where: str) -> None:
    def name(one: Any, place: str) -> None:
        def identifier(each: Any, spot: str) -> None:
            required = {
                "legalPersonName": _text(100),
                "legalPersonNameIdentifierType": _code(LEGAL_NAME_TYPES),
            }
            _object(each, spot, required, {})

        _names(one, place, identifier, "legalPersonNameIdentifierType")

    _object(
        value,
        where,
        {"name": name},
        {
            "geographicAddress": _many(_geographic),
            "customerNumber": _text(50),
            "customerIdentification": _text(50),
            "nationalIdentification": _national(LEGAL_ID_TYPES, is_legal=True),
            "countryOfRegistration": _pattern(_COUNTRY),
        },
    )


def _names(value: Any, where: str, identifier: Check, kind: str) -> None:
    """C5, C6: one of the names is the legal one."""
    other = {"localNameIdentifier": _many(identifier), "phoneticNameIdentifier": _many(identifier)}
    _object(value, where, {"nameIdentifier": _many(identifier)}, other)
    if not any(one[kind] == "LEGL" for one in value["nameIdentifier"]):
        _malformed(f"{where}.nameIdentifier: none is the legal name (LEGL)")


def _identified(person: Mapping[str, Any], where: str) -> None:
    """C1, C4: an originator is identified by more than his name."""
    (inner,) = person.values()
    ways = (
        "geographicAddress",
        "nationalIdentification",
        "customerIdentification",
        "customerNumber",
        "dateAndPlaceOfBirth",
    )
    if not any(way in inner for way in ways):
        _missing(f"{where}: an address, an identification or a date of birth")


def _geographic(value: Any, where: str) -> None:
    """C8: address lines, or a street with a building."""
    texts = {
        "department": 50, "subDepartment": 70, "streetName": 70, "buildingNumber": 16,
        "buildingName": 35, "floor": 70, "postBox": 16, "room": 70, "postCode": 16,
        "townLocationName": 35, "districtName": 35, "countrySubDivision": 35,
    }  # fmt: skip
    optional: dict[str, Check] = {name: _text(length) for name, length in texts.items()}
    required: dict[str, Check] = {
        "addressType": _code(ADDRESS_TYPES),
        "townName": _text(35),
        "country": _pattern(_COUNTRY),
    }
    _object(value, where, required, {**optional, "addressLine": _many(_text(70))})
    has_building = "buildingName" in value or "buildingNumber" in value
    if "addressLine" not in value and not ("streetName" in value and has_building):
        _missing(f"{where}: address lines, or a street with a building")


def _national(types: frozenset[str], *, is_legal: bool) -> Check:
    """C7, C9, C11: what a legal person is registered under, and by whom."""

    def look(value: Any, where: str) -> None:
        _object(
            value,
            where,
            {"nationalIdentifier": _text(35), "nationalIdentifierType": _code(types)},
            {
                "countryOfIssue": _pattern(_COUNTRY),
                "registrationAuthority": _pattern(_AUTHORITY),
            },
        )
        is_lei = value["nationalIdentifierType"] == "LEIX"
        if is_lei and not _is_lei(value["nationalIdentifier"]):
            _malformed(f"{where}.nationalIdentifier: no LEI (ISO 17442)")
        if is_legal and "countryOfIssue" in value:
            _malformed(f"{where}.countryOfIssue: not of a legal person")
        if (is_lei or not is_legal) and "registrationAuthority" in value:
            _malformed(f"{where}.registrationAuthority: not with this identifier")
        if is_legal and not is_lei and "registrationAuthority" not in value:
            _missing(f"{where}.registrationAuthority")

    return look


def _is_lei(text: str) -> bool:
    """ISO 17442: twenty characters whose ISO 7064 remainder (97-10) is one."""
    if _LEI.fullmatch(text) is None:
        return False
    return int("".join(str(int(char, 36)) for char in text)) % 97 == 1


# ---- shapes


def _object(
    value: Any, where: str, required: Mapping[str, Check], optional: Mapping[str, Check]
) -> None:
    if not isinstance(value, Mapping):
        _malformed(f"{where}: an object")
    if value.keys() - required.keys() - optional.keys():
        _malformed(f"{where}: a member that does not belong there")
    for name, look in required.items():
        if name not in value:
            _missing(f"{where}.{name}")
        look(value[name], f"{where}.{name}")
    for name, look in optional.items():
        if name in value:
            look(value[name], f"{where}.{name}")


def _many(look: Check) -> Check:
    def each(value: Any, where: str) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            _malformed(f"{where}: a list")
        if not 1 <= len(value) <= LIST_MAX:
            _malformed(f"{where}: 1..{LIST_MAX} of them")
        for n, one in enumerate(value):
            look(one, f"{where}[{n}]")

    return each


def _text(length: int) -> Check:
    def look(value: Any, where: str) -> None:
        if not isinstance(value, str) or not 1 <= len(value) <= length or value != value.strip():
            _malformed(f"{where}: 1..{length} characters")
        if not value.isprintable():
            _malformed(f"{where}: plain text")

    return look


def _code(codes: frozenset[str]) -> Check:
    def look(value: Any, where: str) -> None:
        if not isinstance(value, str) or value not in codes:
            _malformed(f"{where}: one of {', '.join(sorted(codes))}")

    return look


def _pattern(pattern: re.Pattern[str]) -> Check:
    def look(value: Any, where: str) -> None:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            _malformed(f"{where}: as {pattern.pattern}")

    return look


def _before(today: date) -> Check:
    """C2: a date of birth is in the past."""

    def look(value: Any, where: str) -> None:
        if not isinstance(value, str) or _DATE.fullmatch(value) is None:
            _malformed(f"{where}: YYYY-MM-DD")
        try:
            born = date.fromisoformat(value)
        except ValueError:
            _malformed(f"{where}: no such day")
        if born >= today:
            _malformed(f"{where}: not in the past")

    return look


def _nothing(value: Any, where: str) -> None:
    if value:
        _malformed(f"{where}: payments go through nobody between")


def _malformed(detail: str) -> NoReturn:
    raise Refused(Reason.MALFORMED, detail) from None


def _missing(detail: str) -> NoReturn:
    raise Refused(Reason.MISSING_FIELD, detail) from None
