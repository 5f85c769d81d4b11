"""K05, I15: who writes into the database cannot make us show an address that is not the customer's.

Each case is noticed by one pass of the address watch, refused by the API, and stops nobody else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import generate_latest

from app.metrics import PlatformCollector
from core.clock import SECOND_NS
from core.errors import Unavailable
from core.ids import ChainId, CustomerNo
from custody import audit_log, chain_state
from custody.keys.attestation import AddressClaim, AttestationKey, check_document
from custody.keys.roster_files import RosterChain
from custody.keys.roster_text import sealed
from custody.keys.secret import Secret
from custody.wallets.addresses import ABANDONED_NS, addresses
from custody.wallets.rederive import BAD_ADDRESS, AddressWatch
from tests.support.api import Caller, Front, open_front, problem_of
from tests.support.house import ATTESTATION_KEY

PATH = "/v1/deposit-addresses"
BODY = {"chain": "fake"}
LIST = f"{PATH}?chain=fake"


@pytest.fixture
def front(database_url: str) -> Iterator[Front]:
    with open_front(database_url) as opened:
        yield opened


@dataclass(frozen=True)
class Victim:
    """Somebody with one address, issued under a key."""

    front: Front
    caller: Caller
    shown: dict[str, Any]

    def write(self, **values: Any) -> None:
        """Change the row as a superuser of the database would."""
        self.front.house.platform.db.run(
            lambda conn: conn.execute(
                addresses.update()
                .where(addresses.c.address == self.shown["address"])
                .values(**values)
            )
        )

    def row(self) -> Any:
        with self.front.house.platform.db.read() as conn:
            query = sa.select(addresses).where(addresses.c.address == self.shown["address"])
            return conn.execute(query).one()


def victim(front: Front, name: str) -> Victim:
    caller = front.customer(name)
    return Victim(front, caller, caller.post(PATH, BODY, key="first").json())


def one_pass(front: Front) -> None:
    assert front.house.step("rederive") == 0


def incidents(front: Front) -> list[str]:
    with front.house.platform.db.read() as conn:
        found = chain_state.open_incidents(conn)
    return [one.detail for one in found if one.kind == BAD_ADDRESS]


def metrics(front: Front) -> dict[str, float]:
    front.context.registry.register(PlatformCollector(front.house.platform))
    lines = generate_latest(front.context.registry).decode().splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if "#" not in line
    }


def readiness(front: Front) -> dict[str, Any]:
    page = front.client.request("GET", "/readyz?verbose").json()
    (found,) = [check for check in page["checks"] if check["name"] == "addresses"]
    return {"status": page["status"], **found}


def substitute(alice: Victim, _bob: Victim) -> None:
    alice.write(address=alice.front.world.outsider("thief"))


def swap(alice: Victim, bob: Victim) -> None:
    alice.write(customer_no=bob.shown["customer_no"])
    bob.write(customer_no=alice.shown["customer_no"])


def copy_attestation(alice: Victim, bob: Victim) -> None:
    alice.write(attestation=bob.row().attestation)


def copy_everything(alice: Victim, bob: Victim) -> None:
    """Give alice's customer the row of bob's, attestation and all."""
    bob.write(customer_no=alice.shown["customer_no"])


def forge(alice: Victim, _bob: Victim) -> None:
    """Sign with a key of one's own."""
    thief = AttestationKey(Secret(b"thief" * 8))
    address = alice.front.world.outsider("thief")
    alice.write(address=address, attestation=thief.sign(address.encode()))


def move(alice: Victim, _bob: Victim) -> None:
    alice.write(key_index=77)


ATTACKS = (substitute, swap, copy_attestation, copy_everything, forge, move)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.__name__)
def test_a_changed_row_is_noticed_in_one_pass_and_never_shown(
    front: Front, attack: Callable[[Victim, Victim], None]
) -> None:
    alice, bob, carol = (victim(front, name) for name in ("alice", "bob", "carol"))
    one_pass(front)
    assert not incidents(front)
    assert readiness(front)["ok"]
    attack(alice, bob)

    one_pass(front)
    assert incidents(front)
    found = readiness(front)
    assert (found["status"], found["ok"]) == ("degraded", False)
    assert metrics(front)['strongroom_chain_bad_addresses{chain="fake"}'] == len(incidents(front))
    one_pass(front)
    assert len(incidents(front)) == len(set(incidents(front))), (
        "once each, however often it is seen"
    )

    thief = front.world.outsider("thief")
    answers = [
        answer
        for who in (alice, bob)
        for answer in (who.caller.get(LIST), who.caller.post(PATH, BODY, key="first"))
    ]
    refused = [answer for answer in answers if answer.status_code == 500]
    assert refused
    for answer in refused:
        document = problem_of(answer, 500, "bad_attestation")
        assert document["retryable"] is False
        assert "deposits/" not in answer.text
    for answer in answers:
        assert thief not in answer.text
        if answer.status_code != 500:  # what is still shown is what the signer said
            whose = alice if answer in answers[:2] else bob
            rows = answer.json()["data"] if "data" in answer.json() else [answer.json()]
            for row in rows:
                assert verified(row, whose) == row["address"]
    assert carol.caller.get(LIST).json()["data"] == [carol.shown], "the others are not disturbed"
    assert front.corrupt == [], "nobody stops the process by one row"


def verified(row: dict[str, Any], whose: Victim) -> str:
    return check_document(
        row,
        public_key=ATTESTATION_KEY.public_key.hex(),
        chain=ChainId("fake"),
        customer_no=CustomerNo(whose.shown["customer_no"]),
    )


def test_a_repaired_row_is_shown_again_and_the_audit_log_remembers(front: Front) -> None:
    alice = victim(front, "alice")
    alice.write(key_index=5)
    one_pass(front)
    assert incidents(front)
    alice.write(key_index=alice.shown["key_index"])
    one_pass(front)
    assert not incidents(front)
    assert alice.caller.get(LIST).json()["data"] == [alice.shown]
    with front.house.platform.db.read() as conn:
        records = conn.execute(
            sa.select(audit_log.audit_records.c.action).where(
                audit_log.audit_records.c.action.like("incident.bad_address%")
            )
        ).scalars()
        assert list(records) == ["incident.bad_address"] * 2 + ["incident.bad_address.closed"]
        assert audit_log.verify(conn) is None


def test_customers_cannot_be_swapped_by_wiping_the_attestations(front: Front) -> None:
    """The rows look as if they had never been attested; the signer remembers whose they are."""
    alice, bob = victim(front, "alice"), victim(front, "bob")
    swap(alice, bob)
    alice.write(attestation=None)
    bob.write(attestation=None)
    front.house.clock.advance(ABANDONED_NS + SECOND_NS)
    assert front.house.step("attest") == 2, "the own wallets, nobody else"
    assert sorted(incidents(front)) == [
        "deposits/0 was not attested", "deposits/1 was not attested"
    ]  # fmt: skip
    for who in (alice, bob):
        assert who.caller.get(LIST).json()["data"] == []
        problem_of(who.caller.post(PATH, BODY, key="first"), 500, "bad_attestation")
        problem_of(who.caller.post(PATH, BODY), 500, "bad_attestation")
    assert alice.row().attestation is None


def test_a_wiped_attestation_comes_back_as_it_was(front: Front) -> None:
    alice = victim(front, "alice")
    alice.write(attestation=None)
    assert alice.caller.get(LIST).json()["data"] == []
    front.house.clock.advance(ABANDONED_NS + SECOND_NS)
    assert front.house.step("attest") > 0
    assert alice.caller.get(LIST).json()["data"] == [alice.shown]


def remove(front: Front, who: Victim) -> None:
    front.house.platform.db.run(
        lambda conn: conn.execute(
            addresses.delete().where(addresses.c.address == who.shown["address"])
        )
    )


def test_a_removed_row_is_noticed(front: Front) -> None:
    alice, _ = victim(front, "alice"), victim(front, "bob")
    remove(front, alice)
    one_pass(front)
    assert incidents(front) == ["1 addresses are missing between the first and the last"]
    problem_of(alice.caller.post(PATH, BODY, key="first"), 500, "bad_attestation")


def test_the_index_of_a_removed_row_goes_to_nobody_else(front: Front) -> None:
    alice = victim(front, "alice")
    remove(front, alice)
    mallory = front.customer("mallory")
    document = problem_of(mallory.post(PATH, BODY), 500, "bad_attestation")
    assert alice.shown["address"] not in str(document)


def test_rows_of_nowhere_are_findings_and_stop_nothing(front: Front) -> None:
    alice, bob = victim(front, "alice"), victim(front, "bob")
    alice.write(account="nobody", customer_no=None)
    bob.write(key_index=1 << 40)
    one_pass(front)
    assert "nobody/0 is no key of ours" in incidents(front)
    assert f"deposits/{1 << 40} is no key of ours" in incidents(front)


def test_a_pass_goes_through_all_rows_in_bounded_batches(front: Front) -> None:
    platform, home = front.house.platform, front.house.home
    people = [victim(front, f"c{n}") for n in range(7)]
    watch = AddressWatch(home.chain, lambda: platform.attestation_key, home.public_key_again, 4)
    people[6].write(address=front.world.outsider("thief"))
    found = [watch.step(platform.db, clock=platform.clock) for _ in range(3)]
    assert (watch.passes, watch.findings, sum(found)) == (1, 1, 1)
    assert found == [0, 1, 0], "4 and 4 rows, and the own wallets at the end"


# ---- the signer away, and a process that dies between the two transactions


class Away:
    """A signer that nobody reaches."""

    def attest(self, _claim: AddressClaim) -> bytes:
        raise Unavailable("the signer's socket")


@contextlib.contextmanager
def away(front: Front) -> Iterator[None]:
    platform = front.house.platform
    signer = platform.signer
    object.__setattr__(platform, "signer", Away())
    try:
        yield
    finally:
        object.__setattr__(platform, "signer", signer)


def test_without_the_signer_no_new_address_and_the_old_ones_as_ever(front: Front) -> None:
    alice = victim(front, "alice")
    with away(front):
        for _ in range(3):
            answer = alice.caller.post(PATH, BODY, key="second")
            assert problem_of(answer, 503, "unavailable")["retryable"] is True
        assert alice.caller.get(LIST).json()["data"] == [alice.shown]
        assert alice.caller.post(PATH, BODY, key="first").json() == alice.shown
        with pytest.raises(Unavailable):
            front.house.address(CustomerNo(alice.shown["customer_no"]))
    again = alice.caller.post(PATH, BODY, key="second")
    assert again.status_code == 201
    assert again.json()["key_index"] == 1, "three tries under one key took one index"
    assert alice.caller.post(PATH, BODY, key="second").json() == again.json()


def test_what_was_reserved_is_completed_later_and_watched_meanwhile(front: Front) -> None:
    house, caller = front.house, front.customer("alice", TOK=10 * 10**6)
    with away(front):
        problem_of(caller.post(PATH, BODY, key="cut"), 503, "unavailable")
    with house.platform.db.read() as conn:
        row = conn.execute(sa.select(addresses).where(addresses.c.key_index == 1)).one()
    assert row.attestation is None
    assert metrics(front)['strongroom_chain_pending_addresses{chain="fake"}'] >= 1

    wanted = {"asset": front.asset("TOK"), "destination": row.address, "amount": "1"}
    problem_of(caller.post("/v1/withdrawals", wanted, key="own"), 422, "own_address")
    front.world.mine()
    house.run(1)
    front.world.pay(row.address, front.key_of("TOK"), 5 * 10**6)
    front.world.mine(4)
    house.run(2)
    assert house.balance(CustomerNo(row.customer_no), front.key_of("TOK")) == 15 * 10**6

    house.clock.advance(ABANDONED_NS)
    house.step("attest")
    shown = caller.get(LIST).json()["data"]
    assert row.address in [one["address"] for one in shown]
    assert caller.post(PATH, BODY, key="cut").json()["address"] == row.address


def test_an_abandoned_index_goes_to_the_same_customer_first(front: Front) -> None:
    alice, bob = front.customer("alice"), front.customer("bob")
    with away(front):
        problem_of(alice.post(PATH, BODY, key="lost"), 503, "unavailable")
    assert bob.post(PATH, BODY).json()["key_index"] == 1
    front.house.clock.advance(ABANDONED_NS)
    assert alice.post(PATH, BODY).json()["key_index"] == 0
    assert bob.post(PATH, BODY).json()["key_index"] == 2
    assert alice.post(PATH, BODY, key="lost").json()["key_index"] == 0


def test_own_wallets_are_attested_too(front: Front) -> None:
    house = front.house
    house.clock.advance(ABANDONED_NS)
    assert house.step("attest") == 2
    one_pass(front)
    assert not incidents(front)
    house.platform.db.run(
        lambda conn: conn.execute(
            addresses.update()
            .where(addresses.c.account == "hot")
            .values(address=front.world.outsider("thief"))
        )
    )
    one_pass(front)
    (found,) = incidents(front)
    assert found.startswith("hot/0 derives to ")


def test_a_signer_with_another_key_than_the_rosters_issues_nothing(front: Front) -> None:
    platform = front.house.platform
    other = AttestationKey(Secret(bytes(32))).public_key
    roster = sealed(replace(platform.roster, attestation_key=other))
    object.__setattr__(platform, "rosters", RosterChain((roster,)))
    caller = front.customer("alice")
    problem_of(caller.post(PATH, BODY), 500, "bad_attestation")
    assert caller.get(LIST).json()["data"] == []


def test_a_roster_without_an_attestation_key_shows_no_address(front: Front) -> None:
    alice, platform = victim(front, "alice"), front.house.platform
    roster = sealed(replace(platform.roster, attestation_key=None))
    object.__setattr__(platform, "rosters", RosterChain((roster,)))
    problem_of(alice.caller.get(LIST), 503, "unavailable")
    problem_of(alice.caller.post(PATH, BODY), 503, "unavailable")
    with pytest.raises(Unavailable):
        front.house.step("rederive")
