"""The stops that a signer obeys: told by officers, kept in its own folder, asked by every guard.

One file per order, named by the SHA-256 of its canonical message (custody.keys.stop_order). What is
in the folder was verified when it came, so a restart stops what was stopped, whoever is an officer
then. Orders may come in any order and more than once: what counts is which are there.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Collection

from chains.base import SpendIntent
from core.errors import Corrupt, Reason, Refused
from core.ids import CustomerNo
from custody.keys.roster import Roster
from custody.keys.statement import StatementKind
from custody.keys.stop_order import (
    SignedStop,
    StopOrder,
    decode_own,
    encode_signed,
    order_of,
    reaches,
    scopes_over,
    verify_stop,
)
from engine.files import Storage

PER_KEY_MAX = 1_000
"""Orders that one key ever signs: no officer can fill the book so that others cannot stop."""
SHOWN_MAX = 1_000


class StopBook:
    """What is stopped. Thread-safe."""

    def __init__(self, storage: Storage | None = None) -> None:
        """Read the folder; None keeps nothing beyond this object, for tests and the simulator.

        Corrupt: a file in it is no order. Unavailable: the disk.
        """
        self._storage = storage
        self._lock = threading.Lock()
        self._orders: dict[str, StopOrder] = {}
        self._papers: dict[str, SignedStop] = {}
        self._of_scope: defaultdict[str, list[StopOrder]] = defaultdict(list)
        self._lifted: defaultdict[str, set[str]] = defaultdict(set)  # scopes of resumptions
        self._unsaved: set[str] = set()
        self._by_key: Counter[bytes] = Counter()
        for name in [] if storage is None else storage.names():
            assert storage is not None
            data = storage.read(name)
            if hashlib.sha256(data).hexdigest() != name:
                raise Corrupt(f"stop {name} is damaged")
            self._take(decode_own(data))

    def obey(self, signed: SignedStop, *, roster: Roster, now_ns: int) -> None:
        """Take an order; when it returns, a stop holds and is on the disk.

        The same order again changes nothing. Refused: exists_with_other_content (an id that another
        order has), too_large (one key signed a thousand), intent_mismatch (a pause outside of a
        resumption's scope), and as verify_stop. Unavailable: the disk; a stop holds all the same
        until the signer ends.
        """
        order = order_of(signed.statement)
        with self._lock:
            known = self._orders.get(order.order_id)
            if known not in (None, order):
                raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, order.order_id)
            if known is not None and order.order_id not in self._unsaved:
                return
            if any(self._by_key[one.public_key] >= PER_KEY_MAX for one in signed.signatures):
                raise Refused(Reason.TOO_LARGE, f"one key signed {PER_KEY_MAX} stops already")
            verify_stop(roster, signed, now_ns=now_ns)
            for pause in (self._orders.get(lifted) for lifted in order.lifts):
                if pause is not None and not reaches(order.scope, pause.scope):
                    raise Refused(Reason.INTENT_MISMATCH, f"{pause.order_id} is of {pause.scope}")
            if known is None and order.kind is not StatementKind.RESUME:
                self._unsaved.add(order.order_id)
                self._take(signed)  # first: a disk that fails must not keep money moving
            self._save(signed)
            self._unsaved.discard(order.order_id)
            if order.kind is StatementKind.RESUME:
                self._take(signed)

    def in_force(self, now_ns: int) -> list[SignedStop]:
        """Return the pauses that nobody lifted and the freezes that are not over; at most 1,000."""
        with self._lock:
            found = [one for one in self._orders.values() if self._holds(one, now_ns)]
            return [self._papers[one.order_id] for one in found[:SHOWN_MAX]]

    def refuse(
        self, intent: SpendIntent, customers: Collection[CustomerNo], *, now_ns: int
    ) -> None:
        """Refused: paused, when a stop covers a spend or one of those whom it pays for."""
        scopes = scopes_over(intent.chain, intent.asset_key, customers)
        with self._lock:
            for order in (one for scope in scopes for one in self._of_scope.get(scope, ())):
                if self._holds(order, now_ns):
                    raise Refused(Reason.PAUSED, f"{order.scope} by {order.order_id}")

    def _holds(self, order: StopOrder, now_ns: int) -> bool:
        if order.kind is StatementKind.FREEZE:
            return now_ns < order.until_ns
        lifted_by = self._lifted.get(order.order_id, ())
        return order.kind is StatementKind.PAUSE and not any(
            reaches(scope, order.scope) for scope in lifted_by
        )

    def _take(self, signed: SignedStop) -> None:
        order = order_of(signed.statement)
        self._orders[order.order_id], self._papers[order.order_id] = order, signed
        self._of_scope[order.scope].append(order)
        for lifted in order.lifts:
            self._lifted[lifted].add(order.scope)
        self._by_key.update({one.public_key for one in signed.signatures})

    def _save(self, signed: SignedStop) -> None:
        if self._storage is not None:
            data = encode_signed(signed)
            self._storage.write_atomic(hashlib.sha256(data).hexdigest(), data)
