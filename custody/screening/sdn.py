"""The published sanctions list: digital currency addresses out of the SDN list's XML, strictly.

Two published forms are read, told apart by their first element:

    sdnList      publshInformation/Publish_Date (MM/DD/YYYY) and Record_Count;
                 sdnEntry/uid and sdnEntry/idList/id with idType and idNumber
    Sanctions    DateOfIssue; FeatureType values by ID; DistinctParty/@FixedRef with
                 Feature/@FeatureTypeID … VersionDetail

An address stands under the type "Digital Currency Address - <symbol>". What is not exactly so is
refused: half a list is worse than none. Source: OFAC, SDN data formats and FAQ 563.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat

from core.errors import Reason, Refused

FILE_BYTES_MAX = 512 << 20
ADDRESSES_MAX = 1_000_000
DEPTH_MAX = 32
TEXT_MAX = 4_096
"""Characters of one element that are kept; longer ones hold no address."""
PREFIX = "Digital Currency Address - "
_SYMBOL = re.compile(r"[A-Z0-9]{2,16}", re.ASCII)
_ADDRESS = re.compile(r"[\x21-\x7e]{10,256}", re.ASCII)
_PARTY = re.compile(r"[0-9]{1,18}", re.ASCII)
_DATE = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})", re.ASCII)
_HEX = re.compile(r"0[xX][0-9a-fA-F]{40}", re.ASCII)
_BECH32_UPPER = re.compile(r"[A-Z]{2,10}1[02-9AC-HJ-NP-Z]{6,90}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listed:
    """One address of a list, as published."""

    symbol: str
    address: str
    party: str
    """Number of the person or entity in the list."""


@dataclass(frozen=True, slots=True)
class SanctionsList:
    """What a file says."""

    published: str
    """YYYY-MM-DD."""
    parties: int
    addresses: tuple[Listed, ...]


def comparable(address: str) -> str:
    """Return an address as it is compared: without the case that does not distinguish addresses.

    The symbol is not compared: one key holds every asset of every network it is used on.
    """
    is_caseless = _HEX.fullmatch(address) or _BECH32_UPPER.fullmatch(address)
    return address.lower() if is_caseless else address


def parse(chunks: Iterable[bytes]) -> SanctionsList:
    """Read a list. Refused: malformed (and why), too_large."""
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reading.begin
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = reading.doctype
    parser.EntityDeclHandler = reading.doctype
    parser.buffer_text = True
    size = 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > FILE_BYTES_MAX:
                raise Refused(Reason.TOO_LARGE, f"a list has at most {FILE_BYTES_MAX} bytes")
            parser.Parse(chunk, False)  # noqa: FBT003
        parser.Parse(b"", True)  # noqa: FBT003
    except expat.ExpatError as error:
        raise _bad(f"not XML at line {error.lineno}") from error
    return reading.finished()


@dataclass(slots=True)
class _Reading:
    """The state of one pass: where we are, and what was found so far."""

    path: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    length: int = 0
    form: str = ""
    published: str = ""
    date: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    parties: int = 0
    party: str = ""
    kind: str = ""
    number: str = ""
    symbols: dict[str, str] = field(default_factory=dict)
    """Id of a feature type -> symbol, in the advanced form."""
    feature: str = ""
    feature_type: str = ""
    found: list[Listed] = field(default_factory=list)

    def doctype(self, *_: object) -> None:
        raise _bad("a document type or entity")

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self.path:
            if name not in ("sdnList", "Sanctions"):
                raise _bad("no list of the published forms")
            self.form = name
        self.path.append(name)
        if len(self.path) > DEPTH_MAX:
            raise _bad("nested too deep")
        self.words, self.length = [], 0
        if name == "sdnEntry":
            self.party = ""
        elif name == "id" and self.form == "sdnList":
            self.kind = self.number = ""
        elif name == "DistinctParty":
            self.party = attributes.get("FixedRef", "")
            self._count()
        elif name == "FeatureType":
            self.feature_type = attributes.get("ID", "")
        elif name == "Feature":
            self.feature = self.symbols.get(attributes.get("FeatureTypeID", ""), "")

    def text(self, data: str) -> None:
        if self.length <= TEXT_MAX:
            self.words.append(data)
        self.length += len(data)

    def end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        text = "".join(self.words).strip() if self.length <= TEXT_MAX else ""
        if self.form == "sdnList":
            self._end_plain(name, text)
        else:
            self._end_advanced(name, text)
        self.path.pop()
        self.words, self.length = [], 0

    def _end_plain(self, name: str, text: str) -> None:
        parent = self.path[-2] if len(self.path) > 1 else ""
        if (parent, name) == ("sdnEntry", "uid"):
            self.party = text
        elif name == "sdnEntry":
            self._count()
        elif (parent, name) == ("id", "idType"):
            self.kind = text
        elif (parent, name) == ("id", "idNumber"):
            self.number = text
        elif name == "id" and self.kind.startswith(PREFIX.strip()):
            self._add(self.kind, self.number)
        elif name == "Publish_Date":
            match = _DATE.fullmatch(text)
            if match is None:
                raise _bad("the date of publication")
            self.published = f"{match[3]}-{match[1]}-{match[2]}"
        elif name == "Record_Count":
            if not (text.isascii() and text.isdecimal() and len(text) < 10):
                raise _bad("the number of records")
            self.promised = int(text)

    def _end_advanced(self, name: str, text: str) -> None:
        if name in ("Year", "Month", "Day") and self.path[-2:-1] == ["DateOfIssue"]:
            if not (text.isascii() and text.isdecimal() and len(text) <= 4):
                raise _bad("the date of issue")
            self.date[name] = text
        elif name == "FeatureType" and text.startswith(PREFIX.strip()):
            self.symbols[self.feature_type] = text
        elif name == "VersionDetail" and self.feature:
            self._add(self.feature, text)
        elif name == "Feature":
            self.feature = ""

    def _count(self) -> None:
        if _PARTY.fullmatch(self.party) is None:
            raise _bad("a party without its number")
        self.parties += 1

    def _add(self, kind: str, address: str) -> None:
        symbol = kind.removeprefix(PREFIX)
        if _SYMBOL.fullmatch(symbol) is None:
            raise _bad(f"the currency of an address of party {self.party[:18]}")
        if _ADDRESS.fullmatch(address) is None:
            raise _bad(f"an address of party {self.party[:18]}")
        self.found.append(Listed(symbol, address, self.party))
        if len(self.found) > ADDRESSES_MAX:
            raise Refused(Reason.TOO_LARGE, f"a list has at most {ADDRESSES_MAX} addresses")

    def finished(self) -> SanctionsList:
        if self.form == "Sanctions" and len(self.date) == 3:
            year, month, day = (int(self.date[name]) for name in ("Year", "Month", "Day"))
            self.published = f"{year:04d}-{month:02d}-{day:02d}"
        if not self.published:
            raise _bad("no date of publication")
        if self.form == "sdnList" and self.promised != self.parties:
            raise _bad(f"{self.parties} records of {self.promised}")
        if not self.parties:
            raise _bad("no party at all")
        unique = dict.fromkeys(self.found)
        return SanctionsList(self.published, self.parties, tuple(unique))


def _bad(why: str) -> Refused:
    return Refused(Reason.MALFORMED, f"sanctions list: {why}")
