"""A key service that keys stand in for: it answers as told, and counts."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chains.base import NATIVE, SpendIntent, SpendKind, UnsignedTx
from core.ids import ChainId
from core.money import AMOUNT_LIMIT
from custody.keys.attestation import AddressClaim
from custody.keys.authority import Allowance, Approvals, Authority, Standing
from custody.keys.guard import SignRequest
from custody.keys.intent import WithdrawalIntent
from custody.keys.issued_keys import IssuedKey
from custody.keys.publication import Publication
from custody.keys.roster import Approval, Verdict
from custody.keys.service import Answer, PolicyStanding, SignerStatus
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Entry
from custody.keys.stop_order import SignedStop

ALPHA, BETA = ChainId("alpha"), ChainId("beta")


def request(name: str = "sp_1", chain: ChainId = ALPHA, *, by: str = "approvals") -> SignRequest:
    """Return a request with every field set, large amounts included."""
    huge = AMOUNT_LIMIT - 7
    intent = SpendIntent(
        name, SpendKind.WITHDRAWAL, "wd_1", chain, "net", NATIVE, "from", "to", huge, huge - 1
    )
    withdrawal = WithdrawalIntent(
        withdrawal_id="wd_1", customer_no=7, initiator="customer:7", chain=chain, network="net",
        asset_key=NATIVE, destination="to", amount=huge, fee_minor=50, network_fee_max=huge - 1,
        policy_version=3, expires_ns=1 << 60, rule="rule", wallet="hot", policy_hash="5e" * 32,
        decision_hash="d0" * 32, excluded=("ada", "ben"), not_before_ns=1 << 59,
    )  # fmt: skip
    given = (Approval(b"k" * 32, Verdict.APPROVE, b"s" * 64),)
    key = KeyRef("deposits", 9)
    authorities: dict[str, Authority] = {
        "approvals": Approvals(withdrawal, given),
        "a rule": Allowance("dev-withdrawal", withdrawal),
        "mandate": Standing("dev-sweep", None),
        "mandate with key": Standing("dev-sweep", key),
    }
    return SignRequest(
        intent=intent,
        authority=authorities[by],
        unsigned=UnsignedTx(chain, "from", 1 << 40, b"payload" * 9, b"d" * 32, huge),
        key=KeyRef("hot", 0),
        input_keys=(KeyRef("hot", 0), key),
        change_keys=(KeyRef("hot", 3),),
    )


def signature_of(asked: SignRequest) -> bytes:
    """Return what the stand-in signs: the same bytes for the same request, whoever asks."""
    return hashlib.sha512(repr(asked).encode()).digest() + b"\0"


@dataclass
class StandIn:
    """Signs everything. `before_sign` may wait, raise, or look at the batch."""

    before_sign: Callable[[Sequence[SignRequest]], None] = lambda _requests: None
    judge: Callable[[SignRequest], Answer] = signature_of
    batches: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    checks: int = 0
    orders: list[SignedStop] = field(default_factory=list)
    ailment: Exception | None = None

    def sign(self, requests: Sequence[SignRequest]) -> list[Answer]:
        with self.lock:
            self.batches.append(len(requests))
        self.before_sign(requests)
        return [self.judge(request) for request in requests]

    def attest(self, claim: AddressClaim) -> bytes:
        return hashlib.sha512(repr(claim).encode()).digest()

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        return [
            IssuedKey(account, index, b"\2" * 33, b"\3" * 64)
            for index in range(first, first + count)
        ]

    def account_xpub(self, chain: ChainId, account: str) -> str:
        return f"xpub of {account} on {chain}"

    def prove_control(self, chain: ChainId, key: KeyRef, address: str, challenge: bytes) -> bytes:
        return repr((chain, key, address, challenge)).encode()

    def entries(self, after: int, limit: int) -> list[Entry]:
        return []

    def learn_policy(self, publication: Publication) -> PolicyStanding:
        return PolicyStanding(2, publication.hash, 5, 5 + len(publication.approvals))

    def known_policy(self, serial: int) -> bytes:
        return b"file of version %d" % serial

    def status(self) -> SignerStatus:
        return SignerStatus((ALPHA, BETA), 41, b"r" * 32)

    def obey(self, order: SignedStop) -> None:
        self.orders.append(order)

    def stops(self) -> list[SignedStop]:
        return list(self.orders)

    def check(self) -> None:
        self.checks += 1
        if self.ailment is not None:
            raise self.ailment

    def close(self) -> None:
        """Nothing to let go of."""
