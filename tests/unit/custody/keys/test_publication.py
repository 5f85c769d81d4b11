"""A policy counts when those published it whom the one before it asks, and no author of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import SECOND_NS
from core.errors import Corrupt, Reason, Refused
from custody.keys.policy_book import KnownPolicy, PoliciesInMemory, PolicyShelf, read_policies
from custody.keys.publication import (
    MARKER,
    Publication,
    check_document,
    check_publication,
    parse_publication,
    publication_signable,
    render_publication,
    sign_publication,
)
from custody.keys.roster import Roster, Verdict
from custody.policy.document import BadPolicy
from tests.unit.custody.keys.officers import (
    ADA,
    BEA,
    CAI,
    NOW_NS,
    ROSTER,
    officer,
    officer_key,
    roster_of,
)
from tests.unit.custody.keys.policyroom import QUORUM, document, policy, published

FIRST = document()
FIRST_POLICY = policy()
BOARD = {"board": ["bea", "cai"]}
STRICT = document(publish="2 of officers and 1 of board", groups=BOARD)
STRICT_POLICY = policy(publish="2 of officers and 1 of board", groups=BOARD)
DELAY_NS = 3_600 * SECOND_NS
EVE = officer_key("eve")


def after(previous: Any, **options: Any) -> bytes:
    """Return a version after another, which asks one officer for everything."""
    lax = {**QUORUM, "quorum": "1 of officers"}
    return document((lax,), after=previous, **options)


def refusal(publication: Publication, previous: Any = None, roster: Roster = ROSTER) -> Reason:
    with pytest.raises(Refused) as refused:
        check_publication(publication, previous, roster=roster, now_ns=NOW_NS)
    return refused.value.reason


def test_the_first_version_needs_the_rosters_quorum() -> None:
    good = published(FIRST, ADA, BEA)
    assert check_publication(good, None, roster=ROSTER, now_ns=NOW_NS) == FIRST_POLICY
    assert refusal(published(FIRST)) is Reason.QUORUM_NOT_MET
    assert refusal(published(FIRST, ADA)) is Reason.QUORUM_NOT_MET
    assert refusal(published(FIRST, ADA, EVE)) is Reason.NOT_AN_OFFICER


def test_the_next_version_needs_the_quorum_of_the_one_before() -> None:
    text = after(STRICT_POLICY)
    for keys in ((ADA, BEA, CAI), (BEA, CAI)):
        good = published(text, *keys)
        found = len(keys) == 3
        if found:
            assert check_publication(good, STRICT_POLICY, roster=ROSTER, now_ns=NOW_NS).serial == 2
        else:  # the seats of officers and of the board are different persons'
            assert refusal(good, STRICT_POLICY) is Reason.QUORUM_NOT_MET
    own = document(publish="1 of officers", after=STRICT_POLICY)
    assert refusal(published(own, ADA, BEA), STRICT_POLICY) is Reason.QUORUM_NOT_MET


def test_the_rosters_threshold_counts_beside_a_lax_quorum() -> None:
    lax = policy(publish="1 of officers")
    assert refusal(published(after(lax), ADA), lax) is Reason.QUORUM_NOT_MET
    check_publication(published(after(lax), ADA, BEA), lax, roster=ROSTER, now_ns=NOW_NS)


def test_W04_who_wrote_a_policy_does_not_publish_it() -> None:
    good = published(FIRST, ADA, BEA, authors=["cai"])
    check_publication(good, None, roster=ROSTER, now_ns=NOW_NS)
    assert refusal(published(FIRST, ADA, BEA, authors=["bea"])) is Reason.INITIATOR_CANNOT_APPROVE
    assert refusal(replace(good, authors=())) is Reason.BAD_SIGNATURE  # left out by the platform
    assert refusal(replace(good, authors=("dan",))) is Reason.BAD_SIGNATURE


def test_one_person_with_two_keys_is_one_person() -> None:
    roster = roster_of(officer("ada"), officer("ada", key="ada's phone"), officer("bea"))
    phone = officer_key("ada's phone")
    assert refusal(published(FIRST, ADA, phone), roster=roster) is Reason.ALREADY_APPROVED
    good = published(FIRST, ADA, phone, BEA)
    check_publication(good, None, roster=roster, now_ns=NOW_NS)


def test_one_rejection_ends_it_and_is_no_approval() -> None:
    no = sign_publication(CAI, FIRST_POLICY, (), Verdict.REJECT)
    good = published(FIRST, ADA, BEA)
    rejected = replace(good, approvals=(*good.approvals, no))
    assert refusal(rejected) is Reason.REJECTED_BY_OFFICER
    turned = replace(no, verdict=Verdict.APPROVE)
    assert refusal(replace(good, approvals=(good.approvals[0], turned))) is Reason.BAD_SIGNATURE


def test_approvals_of_another_version_are_worth_nothing() -> None:
    other = published(after(FIRST_POLICY), ADA, BEA)
    assert refusal(replace(other, document=FIRST)) is Reason.BAD_SIGNATURE
    twin = document(issued_ns=7)
    assert refusal(replace(published(FIRST, ADA, BEA), document=twin)) is Reason.BAD_SIGNATURE


def test_an_officer_counts_while_active() -> None:
    gone = roster_of(officer("ada"), officer("bea", active_until_ns=NOW_NS), officer("cai"))
    assert refusal(published(FIRST, ADA, BEA), roster=gone) is Reason.NOT_AN_OFFICER
    check_publication(published(FIRST, ADA, CAI), None, roster=gone, now_ns=NOW_NS)


@pytest.mark.parametrize(
    ("text", "previous", "reason"),
    [
        (FIRST, FIRST_POLICY, Reason.UNKNOWN_POLICY),
        (after(FIRST_POLICY), None, Reason.UNKNOWN_POLICY),
        (after(STRICT_POLICY), FIRST_POLICY, Reason.UNKNOWN_POLICY),
        (after(FIRST_POLICY, issued_ns=5), policy(issued_ns=6), Reason.UNKNOWN_POLICY),
        (FIRST.removesuffix(b"\n"), None, Reason.MALFORMED),
        (FIRST + MARKER, None, Reason.MALFORMED),
        (document(({**QUORUM, "id": "rotation"},)), None, Reason.MALFORMED),
        (b"version = 2\n", None, Reason.UNKNOWN_VERSION),
    ],
)
def test_what_does_not_follow_is_refused(text: bytes, previous: Any, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        check_document(text, previous)
    assert refused.value.reason is reason


def test_a_version_issued_before_the_one_it_follows_is_refused() -> None:
    first = policy(issued_ns=10)
    assert check_document(after(first, issued_ns=10), first).serial == 2
    with pytest.raises(Refused) as refused:
        check_document(after(first, issued_ns=9), first)
    assert refused.value.reason is Reason.ISSUED_TOO_LONG_AGO


def test_a_bad_document_is_refused_with_file_line_rule_and_reason() -> None:
    bad = document(({**QUORUM, "quorum": "2 of nobody"},))
    with pytest.raises(BadPolicy) as refused:
        check_document(bad, None, name="draft.toml")
    (line,) = [n for n, one in enumerate(bad.split(b"\n"), 1) if b"2 of nobody" in one]
    assert f"draft.toml:{line}: rule 'quorum': quorum: there is no group" in refused.value.detail


def test_the_message_says_everything_that_counts() -> None:
    messages = {
        publication_signable(one, authors, verdict).message
        for one in (FIRST_POLICY, STRICT_POLICY, policy(after=FIRST_POLICY))
        for authors in ((), ("ada",), ("ada", "ben"))
        for verdict in Verdict
    }
    assert len(messages) == 18


@pytest.mark.parametrize("authors", [(), ("ada",), ("ada", "ben")])
def test_a_file_has_one_spelling(authors: tuple[str, ...]) -> None:
    made = published(FIRST, ADA, BEA, authors=authors)
    made = replace(made, approvals=(*made.approvals, replace(made.approvals[0], evidence=b"{}")))
    data = render_publication(made)
    assert parse_publication(data) == made
    lines_end = data.index(MARKER) + len(MARKER) + len(data.split(MARKER)[1].split(b"\n")[0]) + 1
    for size in range(len(data)):
        if size >= lines_end and data[size - 1] == ord("\n"):
            cut = parse_publication(data[:size])  # fewer approvals: another publication
            assert len(cut.approvals) < len(made.approvals)
            continue
        with pytest.raises(Refused):
            parse_publication(data[:size])
    for wrong in (data + b"\n", data.replace(b"# approve", b"#  approve"), data + b"x\n"):
        with pytest.raises(Refused):
            parse_publication(wrong)


@pytest.mark.parametrize("authors", [("ben", "ada"), ("ada", "ada"), ("Ada",), ("",)])
def test_authors_are_sorted_names(authors: tuple[str, ...]) -> None:
    good = published(FIRST, ADA, BEA)
    assert refusal(replace(good, authors=authors)) is Reason.MALFORMED


# ---- the book


def known(*versions: bytes) -> PoliciesInMemory:
    book = PoliciesInMemory()
    for number, text in enumerate(versions):
        book.learn(published(text, ADA, BEA), roster=ROSTER, now_ns=NOW_NS + number * DELAY_NS)
    return book


def test_the_next_version_is_in_force_after_the_delay_of_the_one_before() -> None:
    second = document(after=FIRST_POLICY, delay_s=0)
    book = known(FIRST, second)
    learned = book.versions[1]
    assert (learned.learned_at_ns, learned.in_force_from_ns) == (
        NOW_NS + DELAY_NS,
        NOW_NS + 2 * DELAY_NS,
    )
    for now_ns, serial in ((NOW_NS, 1), (NOW_NS + 2 * DELAY_NS - 1, 1), (NOW_NS + 2 * DELAY_NS, 2)):
        assert book.newest(now_ns).serial == serial
    with pytest.raises(Refused) as refused:
        book.policy(learned.policy.hash, NOW_NS + 2 * DELAY_NS - 1)
    assert refused.value.reason is Reason.TOO_EARLY
    assert book.policy(learned.policy.hash, NOW_NS + 2 * DELAY_NS).serial == 2
    assert book.policy(FIRST_POLICY.hash, NOW_NS + 9 * DELAY_NS).serial == 1  # kept for ever


def test_an_unknown_policy_is_unknown() -> None:
    book = known(FIRST)
    for wrong in (b"\0" * 32, STRICT_POLICY.hash):
        with pytest.raises(Refused) as refused:
            book.policy(wrong, NOW_NS)
        assert refused.value.reason is Reason.UNKNOWN_POLICY
    for empty, now_ns in ((book, NOW_NS - 1), (PoliciesInMemory(), NOW_NS)):
        with pytest.raises(Refused) as refused:
            empty.newest(now_ns)
        assert refused.value.reason is Reason.UNKNOWN_POLICY


def test_learning_again_neither_restarts_nor_shortens_the_delay() -> None:
    second = published(document(after=FIRST_POLICY), ADA, BEA)
    book = known(FIRST)
    first_time = book.learn(second, roster=ROSTER, now_ns=NOW_NS + 5)
    for now_ns in (NOW_NS, NOW_NS + 6):
        assert book.learn(second, roster=ROSTER, now_ns=now_ns) == first_time
    assert first_time.in_force_from_ns == NOW_NS + 5 + DELAY_NS


def test_a_version_is_not_learned_on_one_that_is_not_in_force() -> None:
    """Nor does a lax version shorten what comes before it: the delay is that of the one before."""
    second = policy(after=FIRST_POLICY, delay_s=0)
    book = known(FIRST)
    book.learn(
        published(document(after=FIRST_POLICY, delay_s=0), ADA, BEA), roster=ROSTER, now_ns=NOW_NS
    )
    third = published(document(after=second), ADA, BEA)
    with pytest.raises(Refused) as refused:
        book.learn(third, roster=ROSTER, now_ns=NOW_NS + DELAY_NS - 1)
    assert refused.value.reason is Reason.TOO_EARLY
    assert book.learn(third, roster=ROSTER, now_ns=NOW_NS + DELAY_NS).policy.serial == 3


def test_a_clock_that_steps_back_learns_nothing_earlier() -> None:
    book = known(FIRST)
    again = published(document(after=FIRST_POLICY), ADA, BEA)
    assert book.learn(again, roster=ROSTER, now_ns=1).learned_at_ns == NOW_NS


def roster_by_hash(roster_hash: bytes) -> Roster:
    if roster_hash != ROSTER.hash:
        raise Refused(Reason.ROSTER_MISMATCH)
    return ROSTER


@pytest.fixture
def shelf(tmp_path: Path) -> PolicyShelf:
    """Return a shelf with two versions."""
    made = PolicyShelf(tmp_path / "policies", roster_by_hash)
    made.learn(published(FIRST, ADA, BEA), roster=ROSTER, now_ns=NOW_NS)
    second = published(document(after=FIRST_POLICY), BEA, CAI, authors=["ada"])
    made.learn(second, roster=ROSTER, now_ns=NOW_NS + 1)
    return made


def test_what_was_learned_is_known_after_the_next_start(shelf: PolicyShelf) -> None:
    again = PolicyShelf(shelf.folder, roster_by_hash)
    assert again.versions == shelf.versions
    assert [one.policy.serial for one in again.versions] == [1, 2]


def test_the_roster_of_that_day_counts_at_the_next_start(shelf: PolicyShelf) -> None:
    """Officers may leave; what they published stays."""
    with pytest.raises(Corrupt):
        PolicyShelf(shelf.folder, lambda _hash: roster_of(officer("dan"), officer("eve")))


def test_a_draft_that_a_crash_left_behind_was_never_learned(shelf: PolicyShelf) -> None:
    (shelf.folder / ".known-0003.toml.77.new").write_bytes(b"half a policy")
    assert PolicyShelf(shelf.folder, roster_by_hash).versions == shelf.versions


@pytest.mark.parametrize("name", ["known-0004.toml", "notes.txt", "known-3.toml", ".hidden"])
def test_a_foreign_file_is_corrupt(shelf: PolicyShelf, name: str) -> None:
    (shelf.folder / name).write_bytes((shelf.folder / "known-0002.toml").read_bytes())
    with pytest.raises(Corrupt):
        PolicyShelf(shelf.folder, roster_by_hash)


def test_a_version_missing_in_between_is_corrupt(shelf: PolicyShelf) -> None:
    (shelf.folder / "known-0001.toml").unlink()
    with pytest.raises(Corrupt):
        PolicyShelf(shelf.folder, roster_by_hash)


def test_a_file_that_is_cut_off_or_changed_anywhere_is_corrupt(shelf: PolicyShelf) -> None:
    path = shelf.folder / "known-0002.toml"
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 7)] + [whole[:-1], whole + b"\n"]
    damaged += [
        whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        for position in range(0, len(whole), 11)
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(Corrupt):
            read_policies(shelf.folder, roster_by_hash)
    path.write_bytes(whole)
    assert len(read_policies(shelf.folder, roster_by_hash)) == 2


def rejected(known: KnownPolicy, *names: str) -> Publication:
    noes = tuple(
        sign_publication(officer_key(name), known.policy, known.publication.authors, Verdict.REJECT)
        for name in names
    )
    return replace(known.publication, approvals=(*known.publication.approvals, *noes))


def test_an_officer_stops_a_version_while_its_delay_runs(shelf: PolicyShelf) -> None:
    second = shelf.versions[1]

    def learn(said: Publication, now_ns: int) -> Reason | None:
        try:
            shelf.learn(said, roster=ROSTER, now_ns=now_ns)
        except Refused as refused:
            return refused.reason
        return None

    assert learn(rejected(second, "eve"), NOW_NS + 2) is None  # nobody of ours
    forged = replace(rejected(second, "ada").approvals[-1], signature=b"s" * 64)
    assert learn(replace(second.publication, approvals=(forged,)), NOW_NS + 2) is None
    assert len(shelf.versions) == 2
    assert learn(rejected(second, "cai"), NOW_NS + 2) is Reason.REJECTED_BY_OFFICER
    for book in (shelf, PolicyShelf(shelf.folder, roster_by_hash)):
        assert [one.policy.serial for one in book.versions] == [1]
        with pytest.raises(Refused) as refused:
            book.learn(second.publication, roster=ROSTER, now_ns=NOW_NS + 3)
        assert refused.value.reason is Reason.REJECTED_BY_OFFICER
    other = document((), after=shelf.versions[0].policy)
    shelf.learn(published(other, ADA, BEA), roster=ROSTER, now_ns=NOW_NS + 3)
    assert len(PolicyShelf(shelf.folder, roster_by_hash).versions) == 2


def test_a_version_in_force_is_not_stopped_any_more(shelf: PolicyShelf) -> None:
    second = shelf.versions[1]
    late = second.in_force_from_ns
    assert shelf.learn(rejected(second, "cai"), roster=ROSTER, now_ns=late) == second
    assert len(shelf.versions) == 2


def test_a_file_made_by_hand_needs_the_quorum_too(shelf: PolicyShelf) -> None:
    """Whoever writes into the signer's folder has no officers' keys."""
    third = published(document(after=shelf.versions[1].policy), ADA)
    forged = replace(shelf.versions[1], publication=third).message()
    (shelf.folder / "known-0003.toml").write_bytes(forged)
    with pytest.raises(Corrupt):
        PolicyShelf(shelf.folder, roster_by_hash)
