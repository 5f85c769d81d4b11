"""The guard over Ed25519 keys on a real network: what officers approved is signed and lands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from solders.keypair import Keypair

from chains.base import NATIVE, FeeRate, SignedTx, SpendIntent, SpendKind, UnsignedTx
from chains.solana import programs
from chains.solana.address import to_text
from core.clock import DAY_NS, ManualClock
from core.errors import Reason, Refused
from custody.keys.audit import Auditor, audit
from custody.keys.authority import Approvals, Standing
from custody.keys.guard import Guard, SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.roster import Roster, SpendLimit, sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.roster_text import sealed
from custody.keys.signers import KeyRef, LocalSigner
from tests.support.solana import Call, draft_of, with_key
from tests.support.solana_town import CHAIN, Town, start_town
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.guardroom import SEED
from tests.unit.custody.keys.networks import traits
from tests.unit.custody.keys.officers import ADA, BEA, HOUR_NS, ROSTER
from tests.unit.custody.keys.policyroom import LAW, POLICY

HOT, GAS, DEPOSIT = KeyRef("hot", 0), KeyRef("gas", 0), KeyRef("deposits", 0)
EMPTIED, OTHER_DEPOSIT = KeyRef("deposits", 1), KeyRef("deposits", 2)
SIGNER = LocalSigner(SEED, traits(coin_type=501, curve="ed25519"))
_COIN = 10**9
RATE = FeeRate(8, 8)


def address(key: KeyRef) -> str:
    return to_text(SIGNER.public_key(key))


@dataclass(slots=True)
class Desk:
    """A guard with an empty log over a network."""

    town: Town
    guard: Guard
    clock: ManualClock
    asked: int = 0

    def spend(self, amount: int, asset_key: str = NATIVE, to: str = "") -> SpendIntent:
        """Return a withdrawal that nobody asked for yet."""
        self.asked += 1
        receiver = to or str(Keypair().pubkey())
        intent = self.town.intent(address(HOT), receiver, amount, asset_key)
        return replace(
            intent, spend_id=f"sp_{self.asked}", cause_id=f"wd_{self.asked}", fee_max=3_000_000
        )

    def built(self, intent: SpendIntent, *, ticket: str, rate: FeeRate = RATE) -> UnsignedTx:
        chain = self.town.chain
        units = chain.fee_units(intent)
        return chain.build(intent, nonce=0, rate=rate, units=units, ticket=ticket)

    def approved(self, spend: SpendIntent, unsigned: UnsignedTx) -> SignRequest:
        """Return the request for a withdrawal that two officers approved."""
        withdrawal = WithdrawalIntent(
            withdrawal_id=spend.cause_id, customer_no=7, initiator="customer:7",
            chain=spend.chain, network=spend.network, asset_key=spend.asset_key,
            destination=spend.destination, amount=spend.amount, fee_minor=0,
            network_fee_max=spend.fee_max, policy_version=1,
            expires_ns=self.clock.now_ns() + HOUR_NS, wallet="hot",
            policy_hash=POLICY.hash.hex(), decision_hash=NO_POLICY, excluded=(), not_before_ns=0,
        )  # fmt: skip
        verdicts = tuple(sign_approval(key, withdrawal) for key in (ADA, BEA))
        return SignRequest(spend, Approvals(withdrawal, verdicts), unsigned, HOT)

    def sweep(self, source: KeyRef, amount: int, asset_key: str = NATIVE) -> SignRequest:
        """Return the request of a sweep under the mandate; gas pays for it."""
        self.asked += 1
        kind = SpendKind.SWEEP
        intent = self.town.intent(address(source), address(HOT), amount, asset_key, kind)
        intent = replace(intent, spend_id=f"sw_{self.asked}", cause_id=f"job_{self.asked}")
        unsigned = self.built(
            replace(intent, fee_max=100_000), ticket=self.town.ticket(address(GAS))
        )
        return SignRequest(
            replace(intent, fee_max=100_000), Standing("mandate sweep"), unsigned, source,
            (GAS, source),
        )  # fmt: skip

    def cancellation(self, spend: SpendIntent, ticket: str, source: KeyRef = HOT) -> SignRequest:
        """Return the request that uses up a spend's ticket and moves nothing."""
        intent = replace(
            self.town.cancellation(address(source)),
            spend_id=f"{spend.spend_id}_cancel", cause_id=spend.spend_id, fee_max=100_000,
        )  # fmt: skip
        unsigned = self.built(intent, ticket=ticket, rate=FeeRate(20, 20))
        keys = () if source == HOT else (GAS, source)
        return SignRequest(intent, Standing("mandate cancellation"), unsigned, source, keys)

    def signed(self, request: SignRequest) -> SignedTx:
        return self.town.chain.assemble(request.unsigned, sign_once(self.guard, request))

    def lands(self, signed: SignedTx) -> int:
        """Send it and return what it moved."""
        self.town.chain.broadcast(signed.raw)
        self.town.front.pass_slots()
        status = self.town.chain.tx_status(signed.tx_id)
        assert status.succeeded
        return status.effect_amount


def _mandate(
    town: Town, kind: SpendKind, destinations: tuple[str, ...], caps: tuple[AssetCap, ...]
) -> Mandate:
    return Mandate(
        f"mandate {kind.value}", kind, CHAIN, town.params.network, destinations, (), caps,
        10 * _COIN, 100 * _COIN, 0, ManualClock().now_ns() + 400 * DAY_NS,
    )  # fmt: skip


def _roster(town: Town) -> Roster:
    keys = (NATIVE, *town.params.scales)
    caps = tuple(AssetCap(key, 10**12, 10**13) for key in sorted(keys))
    limits = tuple(SpendLimit(CHAIN, key, 10**12, 10**13, _COIN, 10 * _COIN) for key in keys)
    mandates = (
        _mandate(town, SpendKind.CANCELLATION, (), ()),
        _mandate(town, SpendKind.SWEEP, (address(HOT),), caps),
    )
    return sealed(replace(ROSTER, limits=limits, mandates=mandates))


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with start_town(hot=address(HOT), gas=address(GAS), deposit=address(DEPOSIT)) as town:
        clock = ManualClock()
        guard = Guard(shelf_in_memory(), town.chain, SIGNER, _roster(town), clock, LAW)
        yield Desk(town, guard, clock)


def _refused(desk: Desk, request: SignRequest) -> Reason:
    before = len(desk.guard.shelf.entries())
    with pytest.raises(Refused) as refused:
        sign_once(desk.guard, request)
    assert len(desk.guard.shelf.entries()) == before, "nothing was signed"
    return refused.value.reason


@pytest.mark.parametrize("asset", ["coins", "tokens", "tokens of the newer program"])
def test_an_approved_withdrawal_is_signed_and_lands(desk: Desk, asset: str) -> None:
    town = desk.town
    key = {"coins": NATIVE, "tokens": town.token.key}.get(asset, town.new_token.key)
    spend = desk.spend(_COIN, key)
    request = desk.approved(spend, desk.built(spend, ticket=town.ticket(address(HOT))))
    signed = desk.signed(request)

    assert sign_once(desk.guard, request) == signed.raw[1:65], "asked again, the same bytes"
    assert desk.lands(signed) == _COIN


def test_a_sweep_is_signed_by_gas_and_the_deposit_key_and_by_no_others(desk: Desk) -> None:
    request = desk.sweep(DEPOSIT, 5_000, desk.town.token.key)
    for keys in ((), (GAS,), (DEPOSIT,), (DEPOSIT, GAS), (GAS, HOT), (HOT, DEPOSIT), (GAS, GAS),
                 (GAS, DEPOSIT, HOT)):  # fmt: skip
        assert _refused(desk, replace(request, input_keys=keys)) is Reason.FOREIGN_INPUT

    assert desk.lands(desk.signed(request)) == 5_000


def test_a_withdrawal_that_another_wallet_pays_the_fee_of_is_refused(desk: Desk) -> None:
    spend = desk.spend(_COIN)
    unsigned = desk.built(spend, ticket=desk.town.ticket(address(GAS)))
    request = replace(desk.approved(spend, unsigned), input_keys=(GAS, HOT))

    assert _refused(desk, request) is Reason.FOREIGN_INPUT


def test_coins_of_a_deposit_address_are_swept_though_it_has_no_ticket(desk: Desk) -> None:
    desk.town.node.pay(address(EMPTIED), _COIN)
    desk.town.front.pass_slots()

    assert desk.lands(desk.signed(desk.sweep(EMPTIED, _COIN))) == _COIN
    assert desk.town.lamports(address(EMPTIED)) == 0


def test_a_replacement_uses_the_same_ticket_and_of_both_exactly_one_lands(desk: Desk) -> None:
    spend, ticket = desk.spend(_COIN), desk.town.ticket(address(HOT))
    first = desk.signed(desk.approved(spend, desk.built(spend, ticket=ticket)))
    other_ticket = desk.town.ticket(address(HOT), 1)
    dearer = FeeRate(9, 9)
    elsewhere = desk.built(spend, ticket=other_ticket, rate=dearer)
    assert _refused(desk, desk.approved(spend, elsewhere)) is Reason.EQUIVOCATION
    second = desk.signed(desk.approved(spend, desk.built(spend, ticket=ticket, rate=dearer)))

    assert desk.lands(second) == _COIN
    desk.town.chain.broadcast(first.raw)
    desk.town.front.pass_slots()
    assert desk.town.chain.tx_status(first.tx_id).block is None
    assert desk.town.lamports(spend.destination) == _COIN


def test_a_ticket_belongs_to_one_spend(desk: Desk) -> None:
    ticket = desk.town.ticket(address(HOT))
    spend, other = desk.spend(_COIN), desk.spend(_COIN)
    desk.signed(desk.approved(spend, desk.built(spend, ticket=ticket)))

    request = desk.approved(other, desk.built(other, ticket=ticket, rate=FeeRate(90, 90)))
    assert _refused(desk, request) is Reason.EQUIVOCATION
    desk.lands(desk.signed(desk.cancellation(spend, ticket)))


def test_after_a_final_cancellation_the_withdrawal_may_be_paid_with_another_ticket(
    desk: Desk,
) -> None:
    town, ticket = desk.town, desk.town.ticket(address(HOT))
    spend = desk.spend(_COIN)
    first = desk.signed(desk.approved(spend, desk.built(spend, ticket=ticket)))
    again = replace(spend, spend_id=f"{spend.spend_id}_again")
    other_ticket = town.ticket(address(HOT), 1)
    request = desk.approved(again, desk.built(again, ticket=other_ticket))
    assert _refused(desk, request) is Reason.EQUIVOCATION
    cancelled = desk.signed(desk.cancellation(spend, ticket))
    assert _refused(desk, request) is Reason.EQUIVOCATION, "signed is not landed"
    town.chain.broadcast(cancelled.raw)
    town.front.pass_slots()

    assert desk.lands(desk.signed(request)) == _COIN
    town.chain.broadcast(first.raw)
    town.front.pass_slots()
    assert town.chain.tx_status(first.tx_id).block is None
    assert town.lamports(spend.destination) == _COIN


def test_a_sweep_is_cancelled_by_the_same_two_keys(desk: Desk) -> None:
    town = desk.town
    town.node.pay(address(OTHER_DEPOSIT), _COIN)
    town.front.pass_slots()
    request = desk.sweep(OTHER_DEPOSIT, _COIN)
    signed = desk.signed(request)
    ticket = town.chain.decode(request.unsigned.payload, sender=request.unsigned.sender).ticket
    cancelled = desk.signed(desk.cancellation(request.intent, ticket, OTHER_DEPOSIT))
    desk.lands(cancelled)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    assert town.chain.tx_status(signed.tx_id).block is None
    assert town.lamports(address(OTHER_DEPOSIT)) == _COIN


def test_S08_no_tampered_message_is_signed_and_each_honest_twin_is(desk: Desk) -> None:
    """Officers approved the payment, the bytes do something else."""
    town, thief = desk.town, bytes(Keypair().pubkey())
    hot, mint = SIGNER.public_key(HOT), bytes(town.token.mint)
    own = programs.token_account(hot, mint, programs.TOKEN)
    theirs = programs.token_account(thief, mint, programs.TOKEN)
    signs, pays = (hot, True, False), (hot, True, True)
    ticket = town.ticket(address(HOT))
    coins, tokens = desk.spend(_COIN), desk.spend(77, town.token.key)
    twins = {one.asset_key: desk.built(one, ticket=ticket) for one in (coins, tokens)}
    spends = {one.asset_key: one for one in (coins, tokens)}

    def system(number: int, rest: bytes, *accounts: tuple[bytes, bool, bool]) -> Call:
        return Call(programs.SYSTEM, accounts, number.to_bytes(4, "little") + rest)

    def token(data: bytes, *accounts: tuple[bytes, bool, bool]) -> Call:
        return Call(programs.TOKEN, accounts, data)

    def amount(value: int) -> bytes:
        return value.to_bytes(8, "little")

    added = {
        "a second payment": system(2, amount(1), pays, (thief, False, True)),
        "an owner": system(1, thief, pays),
        "tokens beside": token(
            b"\x0c" + amount(1) + b"\x06", (own, False, True), (mint, False, False),
            (theirs, False, True), signs,
        ),
        "an approval": token(b"\x04" + amount(9), (own, False, True), (thief, False, False), signs),
        "an authority": token(b"\x06\x02\x01" + thief, (own, False, True), signs),
        "a closing": token(b"\x09", (own, False, True), (thief, False, True), signs),
        "a stranger's program": Call(thief, (pays,), b"take"),
    }  # fmt: skip
    more, other = amount(_COIN + 1), amount(78)
    changed: dict[tuple[str, str], Callable[[Call], Call]] = {
        ("another receiver", NATIVE): lambda call: with_key(call, 1, thief),
        ("another account", town.token.key): lambda call: with_key(call, 2, theirs),
        ("another amount", NATIVE): lambda call: replace(call, data=call.data[:4] + more),
        ("more tokens", town.token.key): lambda call: replace(
            call, data=call.data[:1] + other + call.data[9:]
        ),
        ("another mint", town.token.key): lambda call: with_key(call, 1, thief),
    }
    tampered: list[tuple[str, str, bytes]] = []
    for name, call in added.items():
        for key, twin in twins.items():
            for at in (0, 3, None):
                draft = draft_of(twin.payload)
                draft.calls.insert(len(draft.calls) if at is None else at, call)
                tampered.append((f"{name} at {at}", key, draft.compiled()))
    for (name, key), edit in changed.items():
        draft = draft_of(twins[key].payload)
        draft.calls[-1] = edit(draft.calls[-1])
        tampered.append((name, key, draft.compiled()))
    assert len(tampered) >= 40

    reasons = set()
    for name, key, payload in tampered:
        told = _told(desk, twins[key], payload)
        reason = _refused(desk, desk.approved(spends[key], told))
        reasons.add(reason)
        assert reason is not Reason.MALFORMED, name
    assert len(reasons) >= 6
    for spend in spends.values():
        fresh = desk.built(spend, ticket=town.ticket(address(HOT)))
        assert desk.lands(desk.signed(desk.approved(spend, fresh))) == spend.amount


def _told(desk: Desk, twin: UnsignedTx, payload: bytes) -> UnsignedTx:
    """Return what a truthful caller says beside the bytes, so that nothing else is refused."""
    fee_max = twin.fee_max
    with contextlib.suppress(Refused):
        fee_max = desk.town.chain.decode(payload, sender=twin.sender).fee_max
    return replace(twin, payload=payload, digest=payload, fee_max=fee_max)


def test_an_auditor_finds_nothing_wrong_in_the_log_of_all_this(desk: Desk) -> None:
    rosters = RosterChain((desk.guard.roster,))
    auditor = Auditor(
        rosters, {CHAIN: desk.town.chain}, lambda _, key: SIGNER.public_key(key), law=LAW
    )
    entries = desk.guard.shelf.entries()

    assert len(entries) > 8
    assert audit(entries, auditor) == []
