"""A new chain as it begins: every method of the seam is there, and every answer is empty.

`source()` writes the class out of the protocol, as somebody would who starts a chain; `harness`
runs the facts over it; tests/conformance/only_skeleton.py puts it in the place of every chain.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chains.base import NATIVE, Chain, Coin
from core.errors import Reason
from tests.conformance.harness import BLOCKS_TO_FINAL, Key, Slot

EMPTY: Mapping[object, str] = {
    int: "0",
    str: "''",
    bytes: "b''",
    bool: "False",
    Any: "None",
    types.NoneType: "None",
}


def source() -> str:
    """Return the text of a class `Skeleton` that has all that chains.base.Chain has."""
    lines = ["class Skeleton:"]
    for name in sorted(_names(Chain)):
        member = inspect.getattr_static(Chain, name)
        is_property = isinstance(member, property)
        function = member.fget if is_property else member
        assert function is not None
        answer = _empty(typing.get_type_hints(function)["return"])
        lines += ["    @property"] if is_property else []
        lines += [f"    def {name}{_parameters(function)}:", f"        return {answer}", ""]
    return "\n".join(lines)


def build() -> type:
    """Return the class."""
    import chains as room
    import chains.base
    import chains.incoming
    import chains.multisig
    import chains.outgoing

    space: dict[str, Any] = {"chains": room}
    exec(compile(source(), "skeleton", "exec"), space)
    made: type = space["Skeleton"]
    return made


@dataclasses.dataclass(frozen=True)
class AnyKey:
    """A key that signs whatever it is given."""

    public_key: bytes

    def sign(self, digest: bytes) -> bytes:
        """Return 65 bytes."""
        return hashlib.sha512(self.public_key + digest).digest() + b"\x00"


class SkeletonHarness:
    """A harness whose chain nothing happens on."""

    tokens: tuple[str, ...] = ("token",)
    token, odd_token, picky_token = "token", "odd", "picky"
    coin = 10**6
    least = 1
    units = 100
    ripening = 2
    blocks_to_final = BLOCKS_TO_FINAL

    def __init__(self) -> None:
        self.chain: Chain = build()()
        self._funded: list[str] = []

    def key(self, name: str) -> Key:
        return AnyKey(name.encode())

    def amounts(self, asset_key: str) -> Sequence[int]:
        return (1, 2)

    def slot(self, address: str, number: int = 0) -> Slot:
        return Slot(coins=tuple(self.coins(address)[:1]))

    def coins(self, address: str) -> list[Coin]:
        count = self._funded.count(address)
        return [Coin(f"coin {number}", address, self.coin) for number in range(count)]

    def connect(self) -> Chain:
        return self.chain

    def impostor(self) -> Chain:
        return self.chain

    def outsider(self, name: str) -> str:
        return name

    def bad_addresses(self) -> Mapping[str, tuple[str, Reason]]:
        return {"zero": ("zero", Reason.FORBIDDEN_DESTINATION)}

    def pay(self, to: str, asset_key: str, amount: int) -> str:
        return "transaction"

    def pay_and_fail(self, to: str, amount: int) -> str:
        return "transaction"

    def fund(self, address: str, amount: int, asset_key: str = NATIVE) -> None:
        self._funded.append(address)

    def nothing(self, *_: object) -> None:
        """Do nothing."""

    mine = mine_to = reorg = refuse = enable_batches = nothing
    stall_finality = resume_finality = nothing


@contextlib.contextmanager
def harness() -> Iterator[SkeletonHarness]:
    """Run the facts over a skeleton."""
    yield SkeletonHarness()


def _names(protocol: type) -> set[str]:
    return {
        name
        for base in protocol.__mro__
        if base.__module__.startswith("chains")
        for name in vars(base)
        if not name.startswith("_")
    }


def _parameters(function: Any) -> str:
    plain = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in inspect.signature(function).parameters.values()
    ]
    return str(inspect.Signature(plain))


def _empty(kind: Any) -> str:
    """Return the text of the emptiest value of a type."""
    kind = getattr(kind, "__supertype__", kind)
    if kind in EMPTY:
        return EMPTY[kind]
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return "None" if types.NoneType in arguments else _empty(arguments[0])
    if origin is not None:
        bare = {tuple: "()", Sequence: "()", Mapping: "{}", frozenset: "frozenset()"}
        return bare[origin]
    if issubclass(kind, enum.Enum):
        return f"{kind.__module__}.{kind.__name__}({next(iter(kind)).value!r})"
    hints = typing.get_type_hints(kind)
    fields = [
        f"{field.name}={_empty(hints[field.name])}"
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING
    ]
    return f"{kind.__module__}.{kind.__name__}({', '.join(fields)})"
