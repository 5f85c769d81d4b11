"""No tampered request is ever signed, each is refused for its own reason, and its twin is signed.

W04, W05, W06, W07, S01, S09. The cases stand in tampered_payloads, tampered_rights and
tampered_policies.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from core.errors import Reason, Refused
from custody.keys.audit import Auditor, Finding, audit
from custody.keys.authority import Allowance, Approvals, read_evidence
from custody.keys.guard import SignRequest, sign_once
from custody.keys.policy_book import PoliciesInMemory
from custody.keys.roster import sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.ruling import Law
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.evmroom import (
    COLD,
    DEPOSIT,
    SAFE,
    BusyChain,
    EvmRoom,
    approved,
    room_of,
)
from tests.unit.custody.keys.officers import (
    ADA,
    BEA,
    CAI,
    HOUR_NS,
    ROSTER,
    officer,
    officer_key,
)
from tests.unit.custody.keys.policyroom import DOCUMENT, POLICY, document, law_of
from tests.unit.custody.keys.tampered_payloads import PAYLOADS, Case
from tests.unit.custody.keys.tampered_policies import RULINGS, allowed, learning
from tests.unit.custody.keys.tampered_rights import RIGHTS, some_of

CASES = [*PAYLOADS, *RIGHTS, *RULINGS]


@pytest.fixture
def evm() -> EvmRoom:
    """Return a room whose store is empty."""
    return room_of(shelf_in_memory())


def refusal(room: EvmRoom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def played(case: Case, room: EvmRoom) -> tuple[Reason, int]:
    """Show a case to the guard: why it was refused, and how many signatures that added."""
    twin = case.twin(room)
    tampered_room, tampered = case.tamper(room, twin)
    before = room.entries()
    reason = refusal(tampered_room, tampered)
    signed = {(entry.record.digest, entry.record.spend_id) for entry in room.entries()}
    assert (tampered.unsigned.digest, tampered.intent.spend_id) not in signed
    return reason, len(room.entries()) - len(before)


def twin_signs(case: Case, room: EvmRoom) -> bool:
    """Return whether the untampered request is signed, by the key that it names."""
    twin = case.twin(room)
    signer = room.signer_of(twin)
    entry = room.entries()[-1]
    assert entry.record.digest == twin.unsigned.digest
    return signer == room.address(twin.key).lower()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_tampered_request_is_refused_and_its_twin_signs(case: Case, evm: EvmRoom) -> None:
    assert played(case, evm) == (case.reason, 0)
    assert twin_signs(case, room_of(shelf_in_memory()))


def test_the_corpus_is_large_and_nothing_in_it_was_signed() -> None:
    names = [case.name for case in CASES]
    reasons: Counter[str] = Counter()
    signed = twins = 0
    for case in CASES:
        reason, added = played(case, room_of(shelf_in_memory()))
        assert reason is case.reason, case.name
        reasons[reason.value] += 1
        signed += added
        twins += twin_signs(case, room_of(shelf_in_memory()))
    print(f"{len(CASES)} tampered, {signed} signed, {twins} twins signed, {dict(reasons)}")
    assert len(set(names)) == len(names) >= 140
    assert len({(case.name, case.reason) for case in CASES}) == len(CASES)
    assert (signed, twins) == (0, len(CASES))
    assert len(reasons) >= 25


def test_W07_no_permutation_of_harvested_approvals_signs(evm: EvmRoom) -> None:
    attempts = [evm.withdrawal(f"wd_failed_{number}") for number in range(3)]
    harvest = [sign_approval(key, one) for one in attempts for key in (ADA, BEA, CAI)][:7]
    asked, chosen = evm.safe(), some_of(harvest)
    assert isinstance(asked.authority, Approvals)
    for approvals in chosen:
        request = replace(asked, authority=replace(asked.authority, approvals=approvals))
        assert refusal(evm, request) is Reason.BAD_SIGNATURE
    assert len(chosen) == 7 * 6 + 7 * 6 * 5
    assert evm.entries() == []
    assert evm.signer_of(asked) == evm.address(COLD).lower()


def test_W06_an_owner_signs_for_the_contract_wallet_and_the_record_says_so(evm: EvmRoom) -> None:
    for number, asked in enumerate((evm.safe(), evm.safe("wd_2", nonce=8)), 1):
        assert evm.signer_of(asked) == evm.address(COLD).lower()
        record = evm.entries()[-1].record
        assert (record.sender, record.claims) == (SAFE, (f"{SAFE}/{6 + number}",))
        assert (record.account, record.fee_max) == ("cold", 0)


def findings(room: EvmRoom) -> list[Finding]:
    auditor = Auditor(
        RosterChain((room.guard.roster,)),
        {room.guard.chain.traits.chain: room.guard.chain},
        lambda _chain, key: room.guard.signer.public_key(key),
        law=room.guard.law,
    )
    return audit(room.entries(), auditor)


def test_the_auditor_judges_wallets_and_delegations_as_the_guard_does(evm: EvmRoom) -> None:
    requests = (evm.safe(), evm.safe("wd_2", nonce=9), evm.coins("wd_3"), evm.delegating())
    for asked in requests:
        evm.signer_of(asked)
    assert findings(evm) == []
    without = evm.with_roster(wallets=(), delegates=())
    assert {finding.invariant for finding in findings(without)} == {"I8", "I9"}


def test_W06_a_wallets_withdrawal_is_paid_once_whatever_the_node_says(evm: EvmRoom) -> None:
    """A node that calls every nonce used proves nothing dead of a contract wallet."""
    evm.signer_of(evm.safe())
    lied_to = evm.with_guard(chain=BusyChain.like(evm.guard.chain))
    assert refusal(lied_to, evm.safe(nonce=8)) is Reason.EQUIVOCATION
    assert refusal(lied_to, evm.safe(nonce=9)) is Reason.EQUIVOCATION
    for nonce in range(3):
        lied_to.signer_of(evm.coins(f"wd_a{nonce}", nonce=nonce))
    assert refusal(lied_to, evm.coins(nonce=3)) is Reason.EQUIVOCATION
    assert lied_to.signer_of(evm.safe("wd_2", nonce=8))


def test_S09_a_delegation_uses_up_the_nonce_of_its_account(evm: EvmRoom) -> None:
    asked = evm.delegating()
    assert evm.signer_of(asked) == evm.address(DEPOSIT).lower()
    assert refusal(evm, evm.sweep("job_2")) is Reason.EQUIVOCATION


def test_W04_a_removed_officers_approvals_are_void_and_a_new_ones_count(evm: EvmRoom) -> None:

    asked = evm.coins()
    assert isinstance(asked.authority, Approvals)
    later = evm.with_roster(officers=(officer("ada"), officer("cai"), officer("dan")))
    assert refusal(later, asked) is Reason.NOT_AN_OFFICER
    fresh = approved(asked.authority.withdrawal, ADA, officer_key("dan"))
    assert later.signer_of(replace(asked, authority=fresh))


def test_W04_what_was_decided_under_an_older_policy_is_still_signed(evm: EvmRoom) -> None:
    """The newest one only forbids, by hard denies that the payment itself decides."""
    stricter = learning(document((), after=POLICY), late_ns=HOUR_NS)
    room, asked = stricter(evm, evm.coins())
    assert room.guard.law.book.newest(room.clock.now_ns()).serial == 2
    room.signer_of(asked)


def test_an_auditor_finds_what_was_paid_without_the_policy_of_that_day(evm: EvmRoom) -> None:
    evm.signer_of(evm.coins())
    evm.signer_of(allowed(evm, "wd_2", nonce=1))
    assert findings(evm) == []
    record = evm.entries()[-1].record
    authority, _ = read_evidence(record.evidence)
    assert (isinstance(authority, Allowance), record.authority) == (True, "mandate")
    for law in (Law(PoliciesInMemory(), {}), published_late(evm)):
        found = findings(evm.with_guard(law=law))
        assert {finding.position for finding in found} >= {2}
        assert {finding.invariant for finding in found} <= {"I8"}


def published_late(room: EvmRoom) -> Law:
    """Return a law whose first policy was learned after everything was signed."""
    return law_of(ROSTER, DOCUMENT, ADA, BEA, now_ns=room.clock.now_ns() + 1)
