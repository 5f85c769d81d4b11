"""Which engine does the work: the native one where it was built, else the reference."""

from __future__ import annotations

import enum
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import Unavailable
from engine.base import Engine, Limits
from engine.recovery import EngineFactory, ReferenceFactory
from engine.reference import DEFAULT_LIMITS

if TYPE_CHECKING:
    from engine.native.engine import NativeEngine


class EngineKind(enum.StrEnum):
    """Both give the same events and hashes; they differ in speed alone."""

    AUTO = "auto"
    """Native where it was built."""
    NATIVE = "native"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class NativeFactory:
    """Makes native engines under the same limits every time."""

    limits: Limits = DEFAULT_LIMITS
    reserve_orders: int = 0
    """Orders for which memory is taken at once; tables that grow later keep everybody waiting."""

    @property
    def kind(self) -> str:
        """Return which: reference or native."""
        return EngineKind.NATIVE.value

    def new(self) -> Engine:
        """Return an engine before its first command. Unavailable: not so much memory."""
        from engine.native.engine import NativeEngine

        return self._reserved(NativeEngine(self.limits))

    def load(self, dump: bytes) -> Engine:
        """Return the engine of a dump. Corrupt: it is damaged, or made under other limits."""
        from engine.native.engine import NativeEngine

        return self._reserved(NativeEngine.load(dump, self.limits))

    def _reserved(self, engine: NativeEngine) -> Engine:
        if not engine.reserve(min(self.reserve_orders, self.limits.remembered_orders)):
            raise Unavailable(f"there is no memory for {self.reserve_orders} orders")
        return engine


def native_is_built() -> bool:
    """Return whether this installation was built where a compiler was."""
    return importlib.util.find_spec("engine.native._core") is not None


def engine_factory(
    kind: EngineKind = EngineKind.AUTO,
    limits: Limits = DEFAULT_LIMITS,
    *,
    reserve_orders: int = 0,
) -> EngineFactory:
    """Return the factory of a kind; the reference reserves nothing.

    Unavailable: native was asked for and is not built.
    """
    if kind is EngineKind.REFERENCE:
        return ReferenceFactory(limits)
    if native_is_built():
        return NativeFactory(limits, reserve_orders)
    if kind is EngineKind.NATIVE:
        raise Unavailable("the native engine is not built: install again where a compiler is")
    return ReferenceFactory(limits)
