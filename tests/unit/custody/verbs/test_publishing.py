"""W04: the next policy needs the quorum of the one in force, its delay, and none of its authors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from core.clock import SECOND_NS
from core.errors import Reason, Refused
from custody import policies, policy_proposals, publishing, publishing_step
from custody.keys.desk import KeyDesk
from custody.keys.publication import sign_publication
from custody.keys.roster import Verdict
from custody.policy.document import BadPolicy
from custody.policy.rules import Policy
from custody.policy_proposals import Proposal, ProposalState
from custody.withdrawals.states import WithdrawalState
from tests.support.house import House, officer_key, open_house
from tests.support.policies import document, required

DELAY_S = 600
WAITING = document().replace(b"delay_s = 0\n[price]", b"delay_s = %d\n[price]" % DELAY_S)
FAR = "0xThere"


@pytest.fixture
def world() -> FakeWorld:
    """Return a young chain."""
    return FakeWorld(finality_depth=2)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    """Return a house whose policy may change after ten minutes."""
    with open_house(
        database_url, FakeChain(world), world.listed_assets(), policy=WAITING
    ) as opened:
        yield opened


def in_force(house: House) -> Policy:
    with house.platform.db.read() as conn:
        return policies.in_force(conn, house.clock.now_ns())


def following(house: House, *entries: str, **options: Any) -> bytes:
    before = in_force(house)
    options = {"serial": before.serial + 1, "previous": before.hash, **options}
    return document(*(entries or (required("one", quorum="1 of officers"),)), **options)


def draft(house: House, body: bytes, author: str = "ops") -> bytes:
    now_ns = house.clock.now_ns()
    run = partial(publishing.draft, body=body, author=author, now_ns=now_ns)
    return house.platform.db.run(run).hash


def propose(house: House, body: bytes, by: str = "ops") -> Proposal:
    hash_ = draft(house, body, by)
    return house.platform.db.run(
        lambda conn: publishing.propose(
            conn, hash_, by=by, roster=house.platform.roster, now_ns=house.clock.now_ns()
        )
    )


def say(house: House, row: Proposal, person: str, verdict: Verdict = Verdict.APPROVE) -> Proposal:
    given = sign_publication(officer_key(person), row.policy, row.authors, verdict)
    return house.platform.db.run(
        lambda conn: publishing.approve(
            conn, row.hash, given, roster=house.platform.roster, now_ns=house.clock.now_ns()
        )
    )


def step(house: House) -> int:
    platform = house.platform
    return publishing_step.step(platform.db, platform.signer, clock=platform.clock)


def state(house: House, row: Proposal) -> Proposal:
    with house.platform.db.read() as conn:
        return policy_proposals.get(conn, row.hash)


def signers_policies(house: House) -> list[int]:
    assert isinstance(house.platform.signer, KeyDesk)
    return [one.policy.serial for one in house.platform.signer.book.versions]


def refusal(work: Any, *args: Any) -> Reason:
    with pytest.raises(Refused) as refused:
        work(*args)
    return refused.value.reason


def test_a_policy_is_in_force_after_quorum_and_delay_at_platform_and_signer(house: House) -> None:
    row = propose(house, following(house))
    assert (row.state, row.authors, row.due_ns) == (ProposalState.PROPOSED, ("ops",), None)
    assert say(house, row, "ada").state is ProposalState.PROPOSED
    assert step(house) == 0
    approved = say(house, row, "ben")
    assert approved.state is ProposalState.APPROVED
    assert step(house) == 1
    due = state(house, row)
    assert (due.state, due.due_ns) == (
        ProposalState.DUE,
        house.clock.now_ns() + DELAY_S * SECOND_NS,
    )
    house.clock.advance(DELAY_S * SECOND_NS - 1)
    assert (step(house), in_force(house).serial) == (0, 1)
    house.clock.advance(1)
    assert (step(house), in_force(house).hash) == (1, row.hash)
    assert state(house, row).state is ProposalState.ACTIVE
    assert signers_policies(house) == [1, 2]


def test_W04_who_wrote_it_does_not_approve_it(house: House) -> None:
    body = following(house)
    draft(house, body.replace(b"1 of officers", b"3 of officers"), "ben")  # edited it before
    row = propose(house, body, "ops")
    assert row.authors == ("ben", "ops")
    assert refusal(say, house, row, "ben") is Reason.INITIATOR_CANNOT_APPROVE
    assert say(house, row, "ada").state is ProposalState.PROPOSED
    assert say(house, row, "cleo").state is ProposalState.APPROVED


def test_W04_the_proposer_does_not_approve_and_may_leave_no_quorum(house: House) -> None:
    row = propose(house, following(house), "ada")
    assert refusal(say, house, row, "ada") is Reason.INITIATOR_CANNOT_APPROVE
    body = following(house, required("two"))
    draft(house, body, "ben")
    assert refusal(propose, house, body, "ada") is Reason.QUORUM_NOT_MET  # only cleo is left


@pytest.mark.parametrize("persons", [("ada",), ("ada", "ada")])
def test_one_person_is_no_quorum(house: House, persons: tuple[str, ...]) -> None:
    row = propose(house, following(house))
    for person in persons:
        assert say(house, row, person).state is ProposalState.PROPOSED
    assert step(house) == 0
    assert say(house, row, "cleo").state is ProposalState.APPROVED


def test_one_rejection_ends_it(house: House) -> None:
    row = propose(house, following(house))
    say(house, row, "ada")
    ended = say(house, row, "cleo", Verdict.REJECT)
    assert (ended.state, ended.reason) == (ProposalState.REJECTED, "rejected by cleo")
    assert refusal(say, house, row, "ben") is Reason.ILLEGAL_TRANSITION
    assert (step(house), in_force(house).serial) == (0, 1)


def test_a_rejection_while_it_is_due_stops_it_at_the_signer_too(house: House) -> None:
    row = propose(house, following(house))
    for person in ("ada", "ben"):
        say(house, row, person)
    step(house)
    assert signers_policies(house) == [1, 2]
    assert say(house, row, "ben", Verdict.REJECT).state is ProposalState.REJECTED  # thought better
    assert (step(house), signers_policies(house)) == (1, [1])
    assert step(house) == 0
    house.clock.advance(2 * DELAY_S * SECOND_NS)
    assert (step(house), in_force(house).serial) == (0, 1)
    other = propose(house, following(house, required("two", quorum="2 of officers")))
    for person in ("ada", "ben"):
        say(house, other, person)
    step(house)
    house.clock.advance(DELAY_S * SECOND_NS)
    assert (step(house), in_force(house).hash) == (1, other.hash)


def test_a_rejection_that_comes_too_late_for_the_signer_stops_nothing(house: House) -> None:
    row = propose(house, following(house))
    for person in ("ada", "ben"):
        say(house, row, person)
    step(house)
    house.clock.advance(DELAY_S * SECOND_NS)
    say(house, row, "cleo", Verdict.REJECT)
    assert step(house) == 1
    assert (in_force(house).hash, state(house, row).state) == (row.hash, ProposalState.ACTIVE)


def test_a_version_that_came_second_is_overtaken(house: House) -> None:
    first, second = propose(house, following(house)), propose(house, following(house, required()))
    for row in (first, second):
        for person in ("ada", "ben"):
            say(house, row, person)
    step(house)
    assert state(house, second).state is ProposalState.APPROVED  # the signer counts the first down
    house.clock.advance(DELAY_S * SECOND_NS)
    third = propose(house, following(house, required("x")))
    step(house)
    assert in_force(house).hash == first.hash
    assert {state(house, row).state for row in (second, third)} == {ProposalState.OVERTAKEN}
    assert signers_policies(house) == [1, 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"serial": 1, "previous": b""}, Reason.UNKNOWN_POLICY),
        ({"serial": 3}, Reason.UNKNOWN_POLICY),
        ({"previous": b"\1" * 32}, Reason.UNKNOWN_POLICY),
    ],
)
def test_a_document_that_does_not_follow_is_refused(
    house: House, change: dict[str, Any], reason: Reason
) -> None:
    body = following(house, **change)
    assert refusal(draft, house, body) is reason
    assert in_force(house).serial == 1


def test_a_bad_document_is_refused_with_line_and_rule_and_the_one_in_force_stays(
    house: House,
) -> None:
    bad = following(house, required("odd", quorum="2 of nobody"))
    with pytest.raises(BadPolicy) as refused:
        draft(house, bad)
    line = next(n for n, text in enumerate(bad.split(b"\n"), 1) if b"2 of nobody" in text)
    assert f"document:{line}: rule 'odd': quorum: there is no group" in refused.value.detail
    assert in_force(house).serial == 1
    assert refusal(propose, house, following(house, persons=["dan"])) is Reason.QUORUM_NOT_MET
    assert in_force(house).serial == 1


def test_a_forged_or_foreign_verdict_is_refused(house: House) -> None:
    row = propose(house, following(house))
    good = sign_publication(officer_key("ada"), row.policy, row.authors)
    other = sign_publication(officer_key("ada"), row.policy, ())
    stranger = sign_publication(officer_key("eve"), row.policy, row.authors)
    cases = (
        (other, Reason.BAD_SIGNATURE),
        (stranger, Reason.NOT_AN_OFFICER),
        (replace(good, verdict=Verdict.REJECT), Reason.BAD_SIGNATURE),
    )
    for given, reason in cases:
        run = partial(
            publishing.approve, policy_hash=row.hash, approval=given,
            roster=house.platform.roster, now_ns=house.clock.now_ns(),
        )  # fmt: skip
        assert refusal(house.platform.db.run, run) is reason
    assert say(house, row, "ada").state is ProposalState.PROPOSED


def test_the_signer_refuses_what_the_database_made_up(house: House) -> None:
    """Whoever writes the rows has no officers' keys: the version in force stays at the signer."""
    row = propose(house, following(house))
    say(house, row, "ada")
    table = policy_proposals.policy_proposals
    house.platform.db.run(
        lambda conn: conn.execute(
            table.update().values(state="approved", approved_at_ns=house.clock.now_ns())
        )
    )
    assert step(house) == 1
    assert (state(house, row).state, signers_policies(house)) == (ProposalState.REFUSED, [1])
    assert in_force(house).serial == 1


def test_W04_what_waits_keeps_the_policy_of_its_request(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 50_000)
    world.fund(house.own_address("hot"), 10**9)
    world.mine(3)
    house.run(2)
    asked = house.withdraw(alice, NATIVE, 10_000, world.outsider("far"))
    house.run(2)
    row = propose(house, following(house, required("strict", quorum="3 of officers")))
    for person in ("ada", "ben"):
        say(house, row, person)
    step(house)
    house.clock.advance(DELAY_S * SECOND_NS)
    step(house)
    assert in_force(house).hash == row.hash
    house.approve(asked.withdrawal_id)  # two: the rule of its own policy
    for _ in range(4):
        house.run()
        world.mine(2)
    house.run()
    assert house.withdrawal(asked.withdrawal_id).state is WithdrawalState.CONFIRMED
