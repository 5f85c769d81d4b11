"""Where a process may die: around every commit, signature, broadcast and sync of the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from tests.simulation.dice import KeyedRandom


class SimulatedCrash(BaseException):  # nobody but the world may catch it, worker loops least of all
    """A process is gone, or with power=True the whole machine with everything unsynced."""

    def __init__(self, point: str, number: int, *, power: bool) -> None:
        super().__init__(f"crash {number} at {point}{' (power loss)' if power else ''}")
        self.point = point
        self.power = power


class CrashPoints:
    """Counts the points that are reached and decides where to die.

    Either at exactly one number (`at`, for enumeration) or by odds per kind of point.
    """

    def __init__(self, dice: KeyedRandom, odds_ppm: Mapping[str, int] | None = None) -> None:
        self._dice = dice
        self._odds_ppm = dict(odds_ppm or {})
        self.at: int | None = None
        self.is_armed = False
        self.passed = 0
        self.reached: Counter[str] = Counter()
        self.crashed: Counter[str] = Counter()
        self.on_crash: Callable[[str], None] = lambda _point: None

    def reach(self, point: str) -> None:
        """Pass a point of this name, or crash there."""
        if not self.is_armed:
            return
        self.passed += 1
        self.reached[point] += 1
        odds_ppm = self._odds_ppm.get(point, 0)
        dies = self.passed == self.at
        if not dies and odds_ppm:
            dies = self._dice.chance(f"crash/{point}", odds_ppm)
        if dies:
            self.crashed[point] += 1
            self.on_crash(point)
            power = self._dice.chance("crash/power", 400_000)
            raise SimulatedCrash(point, self.passed, power=power)
