"""Small lists of our own in the published forms; names and numbers are made up."""

from __future__ import annotations

from collections.abc import Sequence

HEX = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01"
BASE58 = "1MadeUpAddressNobodyOwnsXXXXYYYY"
Entry = tuple[str, Sequence[tuple[str, str]]]
ENTRIES: tuple[Entry, ...] = (
    ("1001", [("Passport", "X123"), ("Digital Currency Address - ETH", HEX)]),
    ("1002", []),
    ("1003", [("Digital Currency Address - XBT", BASE58),
              ("Digital Currency Address - USDT", HEX)]),
)  # fmt: skip


def plain(
    entries: Sequence[Entry] = ENTRIES, *, date: str = "11/20/2026", count: int | None = None
) -> bytes:
    """Return a list in the plain form."""
    body = "".join(
        f"<sdnEntry><uid>{uid}</uid><lastName>MADE UP</lastName><sdnType>Entity</sdnType><idList>"
        + "".join(
            f"<id><uid>{n}</uid><idType>{kind}</idType><idNumber>{number}</idNumber></id>"
            for n, (kind, number) in enumerate(ids)
        )
        + "</idList></sdnEntry>\n"
        for uid, ids in entries
    )
    records = len(entries) if count is None else count
    return (
        '<?xml version="1.0" standalone="yes"?>\n'
        '<sdnList xmlns="https://lists.example/XML">'
        f"<publshInformation><Publish_Date>{date}</Publish_Date>"
        f"<Record_Count>{records}</Record_Count></publshInformation>\n{body}</sdnList>"
    ).encode()


def advanced(entries: Sequence[Entry] = ENTRIES, *, year: str = "2026") -> bytes:
    """Return the same list in the advanced form."""
    kinds = sorted({kind for _, ids in entries for kind, _ in ids})
    types = "".join(f'<FeatureType ID="{n}">{kind}</FeatureType>' for n, kind in enumerate(kinds))
    parties = "".join(
        f'<DistinctParty FixedRef="{uid}"><Profile ID="{uid}">'
        + "".join(
            f'<Feature ID="{n}" FeatureTypeID="{kinds.index(kind)}"><FeatureVersion>'
            f'<VersionDetail DetailTypeID="1432">{number}</VersionDetail>'
            "</FeatureVersion></Feature>"
            for n, (kind, number) in enumerate(ids)
        )
        + "</Profile></DistinctParty>"
        for uid, ids in entries
    )
    return (
        '<Sanctions xmlns="https://lists.example/ADVANCED"><DateOfIssue CalendarTypeID="1">'
        f"<Year>{year}</Year><Month>11</Month><Day>20</Day></DateOfIssue>"
        f"<ReferenceValueSets><FeatureTypeValues>{types}</FeatureTypeValues></ReferenceValueSets>"
        f"<DistinctParties>{parties}</DistinctParties></Sanctions>"
    ).encode()
