"""Address books: confirmed by a code, cooled down, never edited; on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from chains.base import NATIVE, Standing
from chains.fake import FakeChain, FakeWorld
from core.clock import DAY_NS, ManualClock
from core.entropy import SeededEntropy
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from custody import audit_log, catalogue, chain_state
from custody.access import Role, issue
from custody.db import Database
from custody.keys.roster import Delegate
from custody.keys.secret import Secret
from custody.policy.request import Destination, DestinationKind, Finding, Verdict
from custody.withdrawals import addressbook, book_rows, destinations, security
from custody.withdrawals.addressbook import Created
from custody.withdrawals.book_rows import BookTerms, Entry, EntryState, NewEntry
from custody.withdrawals.destinations import likeness
from custody.withdrawals.security import SecurityChange
from tests.support.house import make_roster

CHAIN = ChainId("fake")
TERMS = BookTerms(tries_max=3, codes_max=2, entries_max=4)
ENTROPY = SeededEntropy(1, "codes")
WORLD = FakeWorld()
SHOP = WORLD.outsider("shop")
SMALL = 10**6
"""One USD."""


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    opened.run(lambda conn: chain_state.register(conn, CHAIN, "net"))
    opened.run(lambda conn: chain_state.register(conn, ChainId("other"), "net-2"))
    yield opened
    opened.close()


@pytest.fixture
def alice(db: Database) -> CustomerNo:
    return db.run(lambda conn: catalogue.add_customer(conn, "alice", now_ns=1)).customer_no


def asked(alice: CustomerNo, name: str = "e1", to: str = SHOP, **changes: str) -> NewEntry:
    values = {"label": "shop", "editor": f"customer:{alice}", **changes}
    return NewEntry(client_entry_id=name, customer_no=alice, chain=CHAIN, address=to, **values)


def create(db: Database, entry: NewEntry, *, now_ns: int = 0) -> Created:
    return db.run(
        lambda conn: addressbook.create(conn, entry, terms=TERMS, entropy=ENTROPY, now_ns=now_ns)
    )


def code_of(created: Created) -> Secret:
    assert created.notice is not None
    return created.notice.code


def confirm(db: Database, entry: Entry, code: Secret, *, now_ns: int = 0) -> Entry:
    done = db.run(
        lambda conn: addressbook.confirm(
            conn, entry.customer_no, entry.entry_id, code, now_ns=now_ns
        )
    )
    return done.checked()


def confirmed(db: Database, entry: NewEntry, *, now_ns: int = 0) -> Entry:
    made = create(db, entry, now_ns=now_ns)
    return confirm(db, made.entry, code_of(made), now_ns=now_ns)


def require(db: Database, alice: CustomerNo, *, required: bool = True, now_ns: int = 0) -> None:
    db.run(
        lambda conn: addressbook.set_required(
            conn, alice, required=required, by="alice", terms=TERMS, now_ns=now_ns
        )
    )


def seen(
    db: Database,
    alice: CustomerNo,
    address: str,
    now_ns: int,
    value_usd: int | None = SMALL,
    standing: Standing | None = None,
) -> tuple[Destination, list[str]]:
    with db.read() as conn:
        found, against = addressbook.destination_of(
            conn, CHAIN, alice, address, now_ns,
            value_usd=value_usd, standing=standing, terms=TERMS,
        )  # fmt: skip
    assert all(finding.verdict is Verdict.BLOCK for finding in against)
    return found, [finding.code for finding in against]


def refusal(act: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


def test_an_entry_counts_only_when_it_is_confirmed_and_cooled_down(
    db: Database, alice: CustomerNo
) -> None:
    require(db, alice)
    assert seen(db, alice, SHOP, 0)[1] == ["not_in_address_book"]
    made = create(db, asked(alice))
    assert seen(db, alice, SHOP, 10**20)[1] == ["not_in_address_book"], "it was never confirmed"
    confirm(db, made.entry, code_of(made), now_ns=100)
    assert seen(db, alice, SHOP, 100 + DAY_NS - 1)[1] == ["cooling_down"]
    destination, against = seen(db, alice, SHOP, 100 + DAY_NS)
    assert against == []
    assert (destination.entry, destination.entry_age_ns) == (made.entry.entry_id, DAY_NS)
    assert destination.last_editor == f"customer:{alice}"


@pytest.mark.parametrize("value_usd", [TERMS.large_usd, None])
def test_a_large_payment_and_one_without_a_price_wait_longer(
    db: Database, alice: CustomerNo, value_usd: int | None
) -> None:
    require(db, alice)
    confirmed(db, asked(alice))
    assert seen(db, alice, SHOP, DAY_NS, TERMS.large_usd - 1)[1] == []
    assert seen(db, alice, SHOP, 3 * DAY_NS - 1, value_usd)[1] == ["cooling_down"]
    assert seen(db, alice, SHOP, 3 * DAY_NS, value_usd)[1] == []


def test_the_code_is_nowhere_but_in_the_notice(db: Database, alice: CustomerNo) -> None:
    made = create(db, asked(alice))
    code = code_of(made).reveal().decode()
    with db.read() as conn:
        stored = str(conn.exec_driver_sql("SELECT * FROM address_entries").one())
        logged = str(audit_log.records(conn))
    for text in (stored, logged, repr(made)):
        assert code not in text
        assert code.replace("-", "") not in text


def test_wrong_codes_are_counted_until_none_is_left(db: Database, alice: CustomerNo) -> None:
    made = create(db, asked(alice))
    right, wrong = code_of(made), addressbook.parse_code("AAAA-AAAA-AAAA-AAAA")
    for _ in range(TERMS.tries_max):
        assert refusal(lambda: confirm(db, made.entry, wrong)) is Reason.WRONG_CODE
    assert refusal(lambda: confirm(db, made.entry, right)) is Reason.WRONG_CODE, "too late"

    def renew() -> Created:
        return db.run(
            lambda conn: addressbook.renew_code(
                conn, alice, made.entry.entry_id, by="x", terms=TERMS, entropy=ENTROPY, now_ns=0
            )
        )

    second = renew()
    assert refusal(lambda: confirm(db, made.entry, right)) is Reason.WRONG_CODE, "the old one"
    assert refusal(renew) is Reason.WRONG_CODE, "an entry gets so many codes and no more"
    assert confirm(db, made.entry, code_of(second)).state is EntryState.CONFIRMED


def test_a_code_expires_and_is_good_for_one_entry(db: Database, alice: CustomerNo) -> None:
    made = create(db, asked(alice))
    other = create(db, asked(alice, "e2", WORLD.outsider("other")))
    assert refusal(lambda: confirm(db, made.entry, code_of(other))) is Reason.WRONG_CODE
    late = TERMS.code_ttl_ns
    assert refusal(lambda: confirm(db, made.entry, code_of(made), now_ns=late)) is (
        Reason.WRONG_CODE
    )
    confirm(db, made.entry, code_of(made), now_ns=late - 1)


def test_the_same_request_is_the_same_entry_without_a_second_code(
    db: Database, alice: CustomerNo
) -> None:
    made = create(db, asked(alice))
    again = create(db, asked(alice))
    assert (again.entry, again.notice) == (made.entry, None)
    for other in (asked(alice, label="bank"), asked(alice, to=WORLD.outsider("b"))):
        assert refusal(partial(create, db, other)) is Reason.EXISTS_WITH_OTHER_CONTENT
    twice = asked(alice, "e2")
    assert refusal(lambda: create(db, twice)) is Reason.EXISTS_WITH_OTHER_CONTENT


def test_an_edit_is_a_removal_and_a_new_entry_that_waits_again(
    db: Database, alice: CustomerNo
) -> None:
    require(db, alice)
    entry = confirmed(db, asked(alice))
    assert seen(db, alice, SHOP, DAY_NS)[1] == []
    for _ in range(2):
        gone = db.run(
            lambda conn: addressbook.remove(conn, alice, entry.entry_id, by="olga", now_ns=DAY_NS)
        )
        assert gone.state is EntryState.REMOVED
    assert seen(db, alice, SHOP, DAY_NS)[1] == ["not_in_address_book"]
    made = confirmed(db, asked(alice, "e2", editor="olga"), now_ns=DAY_NS)
    assert seen(db, alice, SHOP, DAY_NS + 1)[1] == ["cooling_down"]
    assert seen(db, alice, SHOP, 2 * DAY_NS)[0].last_editor == "olga"
    code = addressbook.parse_code("AAAA-AAAA-AAAA-AAAA")
    assert refusal(lambda: confirm(db, entry, code)) is Reason.ILLEGAL_TRANSITION
    assert made.entry_id != entry.entry_id


def test_a_book_is_bounded_and_removing_does_not_make_room_at_once(
    db: Database, alice: CustomerNo
) -> None:
    made = [
        create(db, asked(alice, f"e{n}", WORLD.outsider(f"to{n}")), now_ns=1)
        for n in range(TERMS.entries_max)
    ]
    more = asked(alice, "more", WORLD.outsider("more"))
    assert refusal(lambda: create(db, more)) is Reason.TOO_MANY_ENTRIES
    entry_id = made[0].entry.entry_id
    db.run(lambda conn: addressbook.remove(conn, alice, entry_id, by="x", now_ns=2))
    assert refusal(lambda: create(db, more, now_ns=DAY_NS)) is Reason.TOO_MANY_ENTRIES
    create(db, more, now_ns=DAY_NS + 1)


def test_nobody_sees_or_confirms_the_entry_of_another(db: Database, alice: CustomerNo) -> None:
    made = create(db, asked(alice))
    thief = db.run(lambda conn: catalogue.add_customer(conn, "thief", now_ns=1)).customer_no
    with db.read() as conn:
        assert book_rows.entries(conn, thief) == []
        assert refusal(lambda: book_rows.get(conn, thief, made.entry.entry_id)) is Reason.NOT_FOUND
    stolen = code_of(made)
    act = partial(
        addressbook.confirm, customer_no=thief, entry_id=made.entry.entry_id, code=stolen, now_ns=0
    )
    assert refusal(partial(db.run, act)) is Reason.NOT_FOUND


@pytest.mark.parametrize(
    "changes",
    [{"label": ""}, {"label": "x" * 65}, {"label": "a\nb"}, {"label": "Аlice"}, {"tag": " "},
     {"tag": "x" * 129}, {"name": ""}, {"name": "a b"}, {"name": "x" * 129}],
)  # fmt: skip
def test_an_entry_that_is_not_plain_text_is_refused(
    db: Database, alice: CustomerNo, changes: dict[str, str]
) -> None:
    assert refusal(lambda: create(db, asked(alice, **changes))) is Reason.MALFORMED


def test_codes_are_read_as_people_type_them() -> None:
    for text in ("abcd-efgh-ijkl-mn23", "ABCDEFGHIJKLMN23", " ABCD-EFGH-IJKL-MN23\n"):
        assert addressbook.parse_code(text).reveal() == b"ABCD-EFGH-IJKL-MN23"
    for text in ("", "ABCD", "ABCD-EFGH-IJKL-MN2", "ABCD-EFGH-IJKL-MN18", "Аbcd-efgh-ijkl-mn23"):
        assert refusal(partial(addressbook.parse_code, text)) is Reason.WRONG_CODE


# ---- security changes


def held(db: Database, alice: CustomerNo, now_ns: int, *, at_release: bool) -> list[Finding]:
    with db.read() as conn:
        return list(security.findings(conn, alice, now_ns, at_release=at_release))


@pytest.mark.parametrize("kind", list(SecurityChange))
def test_a_security_change_holds_withdrawals_for_a_day(
    db: Database, alice: CustomerNo, kind: SecurityChange
) -> None:
    assert held(db, alice, 5, at_release=False) == []
    db.run(lambda conn: security.record_change(conn, alice, kind, 5))
    for at_release, verdict in ((False, Verdict.BLOCK), (True, Verdict.WAIT)):
        (finding,) = held(db, alice, 5 + DAY_NS - 1, at_release=at_release)
        assert (finding.verdict, finding.code) == (verdict, "security_hold")
        assert held(db, alice, 5 + DAY_NS, at_release=at_release) == []
    db.run(lambda conn: security.record_change(conn, alice, kind, 3))
    assert held(db, alice, 5 + DAY_NS - 1, at_release=True), "an older change shortens nothing"


def test_switching_the_book_off_holds_and_switching_it_on_does_not(
    db: Database, alice: CustomerNo
) -> None:
    require(db, alice, now_ns=10)
    require(db, alice, now_ns=11)
    assert held(db, alice, 12, at_release=False) == []
    require(db, alice, required=False, now_ns=20)
    assert held(db, alice, 21, at_release=False)
    assert seen(db, alice, SHOP, 21)[1] == []
    require(db, alice, required=False, now_ns=20 + DAY_NS)
    assert held(db, alice, 21 + DAY_NS, at_release=False) == [], "it was off already"


def test_a_further_api_key_is_a_security_change_and_the_first_is_none(
    db: Database, alice: CustomerNo
) -> None:
    clock = ManualClock()
    for wanted in (False, True):
        db.run(
            lambda conn: issue(
                conn, Role.CUSTOMER, str(alice), by="olga", clock=clock, entropy=ENTROPY
            )
        )
        assert bool(held(db, alice, clock.now_ns(), at_release=False)) is wanted


# ---- look-alikes


def alike(text: str, *, keep: int = 3) -> str:
    """Return an address with the same ends and another middle, as one that was ground for it."""
    body = text[1:]
    middle = "".join("0" if char != "0" else "1" for char in body[keep:-keep])
    return text[0] + body[:keep] + middle + body[-keep:]


def use(db: Database, alice: CustomerNo, address: str) -> None:
    db.run(lambda conn: destinations.note_used(conn, CHAIN, alice, address, 1))


def test_a_look_alike_of_a_used_address_is_refused(db: Database, alice: CustomerNo) -> None:
    use(db, alice, SHOP)
    assert seen(db, alice, alike(SHOP), 0)[1] == ["look_alike"]
    assert seen(db, alice, SHOP, 0)[1] == []
    assert seen(db, alice, alike(SHOP, keep=2), 0)[1] == [], "control: other ends"
    stranger = db.run(lambda conn: catalogue.add_customer(conn, "bob", now_ns=1)).customer_no
    assert seen(db, stranger, alike(SHOP), 0)[1] == [], "control: he never used the other one"


def test_a_look_alike_in_the_confirmed_book_is_meant(db: Database, alice: CustomerNo) -> None:
    use(db, alice, SHOP)
    made = create(db, asked(alice, to=alike(SHOP)))
    assert seen(db, alice, alike(SHOP), 0)[1] == ["look_alike"], "not confirmed yet"
    confirm(db, made.entry, code_of(made))
    assert seen(db, alice, alike(SHOP), 0)[1] == []
    assert seen(db, alice, SHOP, 0)[1] == [], "the one that was used first stays usable"


def test_a_look_alike_of_a_confirmed_entry_is_refused(db: Database, alice: CustomerNo) -> None:
    confirmed(db, asked(alice))
    assert seen(db, alice, alike(SHOP), 10 * DAY_NS)[1] == ["look_alike"]


def test_likeness_leaves_out_what_all_addresses_share() -> None:
    assert likeness("0xAbC0000000000000000000000000000000000DeF") == "abc~def"
    assert likeness("bcrt1qxyz000000000000000000000000000000qqq") == "xyz~qqq"
    assert likeness("1BoatSLRHtKNngkdXEeobR76b53LETtpyT") == "boa~pyt"
    assert likeness("f" + "123" + "0" * 40 + "9ab") == "123~9ab"


# ---- what stands there


@pytest.mark.parametrize(
    ("standing", "kind", "codes"),
    [
        (None, DestinationKind.EXTERNAL, []),
        (Standing.ACCOUNT, DestinationKind.EXTERNAL, []),
        (Standing.CONTRACT, DestinationKind.CONTRACT, []),
        (Standing.REFUSES, DestinationKind.CONTRACT, ["forbidden_destination"]),
    ],
)
def test_what_the_node_found_decides_the_kind(
    db: Database,
    alice: CustomerNo,
    standing: Standing | None,
    kind: DestinationKind,
    codes: list[str],
) -> None:
    destination, against = seen(db, alice, SHOP, 0, standing=standing)
    assert (destination.kind, against) == (kind, codes)


def test_the_contracts_that_our_accounts_run_are_no_destination() -> None:
    world = FakeWorld()
    chain, ours, other = FakeChain(world), world.deploy("delegate"), world.deploy("other")
    roster = make_roster(delegates=(Delegate(chain.traits.chain, ours),))
    survey = partial(destinations.survey, chain, asset_key=NATIVE, roster=roster)
    assert refusal(lambda: survey(ours)) is Reason.FORBIDDEN_DESTINATION
    assert survey(other) is Standing.CONTRACT, "control"


def test_every_listed_tokens_contract_is_forbidden(db: Database, alice: CustomerNo) -> None:
    world = FakeWorld()
    tokens = [world.add_token(name) for name in ("AAA", "BBB")]
    for spec in world.listed_assets():
        db.run(partial(catalogue.list_asset, spec=spec))
    for token, standing in itertools.product(tokens, (None, *Standing)):
        assert seen(db, alice, token, 0, standing=standing)[1] == ["forbidden_destination"]
    assert NATIVE not in tokens
