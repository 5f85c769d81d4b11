"""What may go wrong between us and a node: one small value per fault, for `tests.support.proxy`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One JSON-RPC request as the client sent it."""

    method: str
    params: Any
    body: dict[str, Any] = field(repr=False)


class Ending(Enum):
    """How the connection goes on after what was written."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Wire:
    """What is put on the wire when it is not simply a JSON-RPC answer."""

    status: int | None = None
    """None writes nothing at all."""
    body: bytes = b""
    declared_length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = Ending.KEEP


@dataclass(frozen=True, slots=True)
class Outcome:
    """Either an answer or a wire; happened tells whether the client could notice anything."""

    answer: Answer | None = None
    wire: Wire | None = None
    delay_s: float = 0
    happened: bool = True


class Forward(Protocol):
    """Sends the call to the node (or to another one) and returns the node's answer."""

    def __call__(self, url: str | None = None) -> Answer: ...


class Fault(Protocol):
    """One way of treating one call."""

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        ...


def answer_to(call: Call, **content: Any) -> Answer:
    """Return a well-formed answer with the id of the call."""
    return {"jsonrpc": "2.0", "id": call.body.get("id"), **content}


@dataclass(frozen=True, slots=True)
class _Broken:
    after_forwarding: bool = False
    """True: the node did the work and nobody hears of it."""

    def _end(self, forward: Forward, ending: Ending) -> Outcome:
        if self.after_forwarding:
            forward()
        return Outcome(wire=Wire(ending=ending))


@dataclass(frozen=True, slots=True)
class Close(_Broken):
    """Close the connection without a word."""

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return self._end(forward, Ending.CLOSE)


@dataclass(frozen=True, slots=True)
class Reset(_Broken):
    """Reset the connection."""

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return self._end(forward, Ending.RESET)


@dataclass(frozen=True, slots=True)
class Hang(_Broken):
    """Say nothing until the client gives up or the proxy stops."""

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return self._end(forward, Ending.HANG)


@dataclass(frozen=True, slots=True)
class Result:
    """Answer with this result, without asking the node. `Result(None)` is a null."""

    value: Any

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return Outcome(answer=answer_to(call, result=self.value))


@dataclass(frozen=True, slots=True)
class Error:
    """Answer with a JSON-RPC error; with after_forwarding the node did the work all the same."""

    code: int
    message: str
    data: Any = None
    after_forwarding: bool = False

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        if self.after_forwarding:
            forward()
        error = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return Outcome(answer=answer_to(call, error=error))


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an HTTP status and no JSON: 429, 500, 503, …"""

    code: int
    retry_after_s: int | None = None
    after_forwarding: bool = False

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        if self.after_forwarding:
            forward()
        retry = () if self.retry_after_s is None else (("Retry-After", str(self.retry_after_s)),)
        return Outcome(wire=Wire(status=self.code, body=b"no\n", headers=retry))


@dataclass(frozen=True, slots=True)
class Body:
    """Answer 200 with exactly these bytes: a login page, an empty body, broken JSON."""

    content: bytes

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return Outcome(wire=Wire(status=200, body=self.content))


@dataclass(frozen=True, slots=True)
class Truncated:
    """Forward, then send only the first part of the node's answer.

    honest_length False promises the whole length and closes early; True is a complete HTTP answer
    whose JSON ends in the middle.
    """

    keep_bytes: int = 20
    honest_length: bool = False

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        whole = json.dumps(forward()).encode()
        part = whole[: min(self.keep_bytes, len(whole) - 1)]
        if self.honest_length:
            return Outcome(wire=Wire(status=200, body=part))
        wire = Wire(status=200, body=part, declared_length=len(whole), ending=Ending.CLOSE)
        return Outcome(wire=wire)


@dataclass(frozen=True, slots=True)
class Slow:
    """Forward at once and answer correctly, but late."""

    seconds: float

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return Outcome(answer=forward(), delay_s=self.seconds)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Forward and answer with change(params, result). Counts only when the result changed."""

    change: Callable[[Any, Any], Any]

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        answer = forward()
        if "result" not in answer:
            return Outcome(answer=answer, happened=False)
        # The copy lets a change edit the result in place.
        changed = self.change(call.params, json.loads(json.dumps(answer["result"])))
        happened = bool(changed != answer["result"])
        return Outcome(answer={**answer, "result": changed}, happened=happened)


@dataclass(frozen=True, slots=True)
class Routed:
    """Ask another node instead."""

    url: str

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return Outcome(answer=forward(self.url))


@dataclass(frozen=True, slots=True)
class Huge:
    """Answer with a well-formed result of about this many bytes."""

    size_bytes: int

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return Outcome(answer=answer_to(call, result="0x" + "0" * self.size_bytes))


@dataclass(frozen=True, slots=True)
class WrongId:
    """Forward and answer under the id of another request."""

    def act(self, call: Call, forward: Forward) -> Outcome:
        """Treat the call."""
        return Outcome(answer={**forward(), "id": "somebody-else"})
