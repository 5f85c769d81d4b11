"""W06 and S09 on a real node: bytes that hide anything are refused, their honest twin is paid.

Payloads are written here with the reference rlp library, as a thief's builder would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import rlp  # type: ignore[import-untyped]
from eth_abi.abi import encode as abi
from eth_utils.crypto import keccak

from chains.base import NATIVE, BroadcastOutcome, SpendIntent, SpendKind, UnsignedTx
from core.clock import ManualClock
from core.errors import Reason, Refused
from custody.keys.authority import Approvals
from custody.keys.guard import Guard, SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.roster import sign_approval
from custody.keys.signers import LocalSigner
from custody.keys.store import Shelf
from tests.conformance.chains import ODD_TOKEN_CHAINS
from tests.conformance.harness import OddTokenHarness
from tests.unit.custody.keys.guardroom import HOT, SEED
from tests.unit.custody.keys.officers import ADA, BEA, HOUR_NS, ROSTER
from tests.unit.custody.keys.policyroom import LAW, POLICY

GWEI = 10**9
GAS = 100_000
AMOUNT = 1_234_567


@dataclass(frozen=True)
class Desk:
    """A guard on the node with one approved token withdrawal."""

    harness: OddTokenHarness
    guard: Guard
    spend: SpendIntent
    authority: Approvals

    def request(self, payload: bytes, *, fee_max: int = GAS * 3 * GWEI) -> SignRequest:
        """Return the request to sign bytes for the approved withdrawal."""
        unsigned = UnsignedTx(
            self.spend.chain, self.spend.source, 0, payload, keccak(payload), fee_max
        )
        return SignRequest(self.spend, self.authority, unsigned, HOT)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("guard")
    with ODD_TOKEN_CHAINS["evm"]() as harness:
        shelf = Shelf(folder / "signer")
        clock, chain = ManualClock(), harness.chain
        traits = chain.traits
        signer = LocalSigner(SEED, traits)
        guard = Guard(shelf, chain, signer, ROSTER, clock, LAW)
        source = guard.address_of(HOT)
        harness.fund(source, 10**18)
        harness.fund(source, 10 * AMOUNT, harness.token)
        withdrawal = WithdrawalIntent(
            withdrawal_id="wd_1",
            customer_no=1,
            initiator="customer:1",
            chain=traits.chain,
            network=traits.network,
            asset_key=harness.token,
            destination=harness.outsider("customer"),
            amount=AMOUNT,
            fee_minor=1,
            network_fee_max=GAS * 100 * GWEI,
            policy_version=1,
            expires_ns=clock.now_ns() + HOUR_NS,
            wallet="hot",
            policy_hash=POLICY.hash.hex(),
            decision_hash=NO_POLICY,
            excluded=(),
            not_before_ns=0,
        )
        spend = SpendIntent(
            spend_id="sp_1",
            kind=SpendKind.WITHDRAWAL,
            cause_id="wd_1",
            chain=traits.chain,
            network=traits.network,
            asset_key=harness.token,
            source=source,
            destination=withdrawal.destination,
            amount=AMOUNT,
            fee_max=withdrawal.network_fee_max,
        )
        verdicts = (sign_approval(ADA, withdrawal), sign_approval(BEA, withdrawal))
        yield Desk(harness, guard, spend, Approvals(withdrawal, verdicts))
        shelf.close()


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def call(signature: str, *values: object) -> bytes:
    types = signature.partition("(")[2].rstrip(")").split(",")
    return keccak(signature.encode())[:4] + abi(types, values)


@dataclass(frozen=True)
class Parts:
    """The fields of a type-2 transaction, all honest until replaced."""

    chain_number: int
    to: bytes
    data: bytes
    nonce: int = 0
    tip: int = GWEI
    rate: int = 3 * GWEI
    gas: int = GAS
    value: int = 0
    access: tuple[object, ...] = ()

    def bytes(self, kind: int = 2) -> bytes:
        """Serialise."""
        items: list[object] = [self.chain_number, self.nonce, self.tip, self.rate, self.gas]
        items += [self.to, self.value, self.data, list(self.access)]
        return bytes([kind]) + bytes(rlp.encode(items))


def honest(desk: Desk) -> Parts:
    number = int(desk.spend.network.split(":")[1].split("/")[0])  # eip155:<number>/<genesis>
    data = call("transfer(address,uint256)", desk.spend.destination, AMOUNT)
    return Parts(number, raw(desk.spend.asset_key), data)


def corpus(desk: Desk) -> dict[str, tuple[bytes, Reason]]:
    """Return every tampered payload and why it is refused."""
    good, thief = honest(desk), desk.harness.outsider("thief")
    token, to = desk.spend.asset_key, desk.spend.destination
    look_alike = to[:8] + thief[8:-6] + to[-6:]
    no, bad = Reason.INTENT_MISMATCH, Reason.UNDECODABLE
    allow, owner = Reason.APPROVAL_CALL, Reason.OWNER_CHANGE
    odd, nowhere = Reason.UNKNOWN_CALL, Reason.MISSING_NETWORK

    def calling(signature: str, *values: object) -> bytes:
        return replace(good, data=call(signature, *values)).bytes()

    legacy = [good.nonce, good.rate, good.gas, good.to, 0, good.data]
    other = raw(desk.harness.odd_token)
    authorisation = [good.chain_number, raw(thief), 0, 0, 1, 1]
    items = [*rlp.decode(good.bytes()[1:]), [authorisation]]
    safe = "execTransaction(address,uint256,bytes,uint8)"
    return {
        "to a thief": (calling("transfer(address,uint256)", thief, AMOUNT), no),
        "to a look-alike": (calling("transfer(address,uint256)", look_alike.lower(), AMOUNT), no),
        "more": (calling("transfer(address,uint256)", to, AMOUNT + 1), no),
        "less": (calling("transfer(address,uint256)", to, AMOUNT - 1), no),
        "everything": (calling("transfer(address,uint256)", to, 2**256 - 1), no),
        "nothing": (calling("transfer(address,uint256)", to, 0), no),
        "another token": (replace(good, to=other).bytes(), no),
        "native instead": (replace(good, to=raw(to), value=AMOUNT, data=b"").bytes(), no),
        "native beside": (replace(good, value=1).bytes(), bad),
        "approve": (calling("approve(address,uint256)", thief, 2**256 - 1), allow),
        "increaseAllowance": (calling("increaseAllowance(address,uint256)", thief, AMOUNT), allow),
        "transferFrom": (
            calling("transferFrom(address,address,uint256)", desk.spend.source, thief, AMOUNT),
            odd,
        ),
        "setApprovalForAll": (calling("setApprovalForAll(address,bool)", thief, True), allow),
        "transferOwnership": (calling("transferOwnership(address)", thief), owner),
        "upgradeTo": (calling("upgradeTo(address)", thief), owner),
        "enableModule": (calling("enableModule(address)", thief), owner),
        "delegatecall": (calling(safe, thief, 0, good.data, 1), odd),
        "multicall": (calling("multicall(bytes)", good.data), odd),
        "unknown selector": (replace(good, data=b"\xde\xad\xbe\xef" + good.data[4:]).bytes(), odd),
        "selector alone": (replace(good, data=good.data[:4]).bytes(), bad),
        "call data cut": (replace(good, data=good.data[:-1]).bytes(), bad),
        "call data longer": (replace(good, data=good.data + b"\0").bytes(), bad),
        "dirty address": (
            replace(good, data=good.data[:4] + b"\1" + good.data[5:]).bytes(),
            bad,
        ),
        "contract creation": (replace(good, to=b"").bytes(), bad),
        "access list": (replace(good, access=((raw(token), ()),)).bytes(), bad),
        "no chain id": (bytes(rlp.encode(legacy)), nowhere),
        "legacy with chain id": (bytes(rlp.encode([*legacy, good.chain_number, 0, 0])), bad),
        "chain id 0": (replace(good, chain_number=0).bytes(), nowhere),
        "main network": (replace(good, chain_number=1).bytes(), Reason.WRONG_NETWORK),
        "type 1": (good.bytes(1), bad),
        "type 3": (good.bytes(3), bad),
        "type 4 with a delegate": (b"\x04" + bytes(rlp.encode(items)), bad),
        "type 2 with an authorisation": (b"\x02" + bytes(rlp.encode(items)), bad),
        "personal message": (b"\x19Ethereum Signed Message:\n32" + bytes(32), bad),
        "typed data": (b"\x19\x01" + bytes(64), bad),
        "trailing byte": (good.bytes() + b"\0", bad),
        "empty": (b"", bad),
        "another nonce": (replace(good, nonce=1).bytes(), no),
        "ten thousand gwei": (replace(good, rate=10_000 * GWEI).bytes(), Reason.FEE_ABOVE_CAP),
        "thirty million gas": (replace(good, gas=30_000_000).bytes(), Reason.FEE_ABOVE_CAP),
        "above the approved fee": (replace(good, rate=101 * GWEI).bytes(), Reason.FEE_ABOVE_CAP),
        "tip above rate": (replace(good, tip=4 * GWEI).bytes(), bad),
    }


def told(desk: Desk, payload: bytes) -> SignRequest:
    """Return the request with the fee a truthful caller names, so that nothing else is refused."""
    request = desk.request(payload)
    try:
        decoded = desk.guard.chain.decode(payload, sender=desk.spend.source)
    except Refused:
        return request
    return replace(request, unsigned=replace(request.unsigned, fee_max=decoded.fee_max))


def test_no_tampered_payload_is_signed_and_the_honest_twin_is_paid(desk: Desk) -> None:
    tampered = corpus(desk)
    assert len(tampered) >= 40
    got: dict[str, Reason] = {}
    for name, (payload, _) in tampered.items():
        with pytest.raises(Refused) as refused:
            sign_once(desk.guard, told(desk, payload))
        got[name] = refused.value.reason
    assert got == {name: reason for name, (_, reason) in tampered.items()}
    assert desk.guard.shelf.entries() == []

    request = desk.request(honest(desk).bytes())
    signed = desk.guard.chain.assemble(request.unsigned, sign_once(desk.guard, request))
    assert desk.guard.chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    desk.harness.mine(1)
    status = desk.guard.chain.tx_status(signed.tx_id)
    assert status.succeeded
    assert status.effect_amount == AMOUNT
    assert desk.spend.asset_key != NATIVE


@pytest.mark.parametrize(
    "destination",
    ["0x" + "00" * 20, "0x" + "00" * 19 + "09", "token", "lower"],
    ids=["zero", "precompile", "token's own contract", "no checksum"],
)
def test_an_approved_destination_that_loses_money_is_refused(desk: Desk, destination: str) -> None:
    """Officers signed it, the bytes agree with it, and still it is not paid."""
    to = {"token": desk.spend.asset_key, "lower": desk.spend.destination.lower()}.get(
        destination, destination
    )
    withdrawal = replace(desk.authority.withdrawal, withdrawal_id="wd_burn", destination=to)
    verdicts = (sign_approval(ADA, withdrawal), sign_approval(BEA, withdrawal))
    spend = replace(desk.spend, spend_id="sp_burn", cause_id="wd_burn", destination=to)
    data = call("transfer(address,uint256)", to, AMOUNT)
    request = replace(
        desk.request(replace(honest(desk), data=data, nonce=1).bytes()),
        intent=spend,
        authority=Approvals(withdrawal, verdicts),
    )
    with pytest.raises(Refused) as refused:
        sign_once(desk.guard, replace(request, unsigned=replace(request.unsigned, nonce=1)))
    expected = Reason.INVALID_ADDRESS if destination == "lower" else Reason.FORBIDDEN_DESTINATION
    assert refused.value.reason is expected
