"""A plot of latencies by percentile, as SVG written by hand: nothing to install, nothing to load.

Across: how many did not take longer, each step ten times rarer (0 %, 90 %, 99 %, 99.9 % ...).
Upwards: microseconds, each line ten times longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from engine.laboratory.histogram import Histogram

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 92, 48, 56, 74
LEGEND_LINE = 22
COLOURS = ("#0b62a8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be185d", "#404040")
"""Told apart on white, in print, and (with the dashes) without colours."""
DASHES = ("", "9 4", "2 4", "12 4 2 4", "5 3", "1 3", "14 6", "3 2 8 2")
NS_PER_US = 1_000
_RARER_MOST = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One series of the plot."""

    name: str
    latencies: Histogram


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to places on the page."""

    rarer: int
    low: int
    high: int

    def across(self, share_above: float) -> float:
        """Return x of a share (above 0) of values that are greater; clamped to the page."""
        rare = min(-math.log10(share_above), self.rarer)
        return LEFT + rare / self.rarer * (WIDTH - LEFT - RIGHT)

    def up(self, ns: int) -> float:
        """Return y of a duration."""
        share = (math.log10(max(ns, 1)) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)


def latency_plot(title: str, lines: Sequence[Line]) -> str:
    """Return the SVG text. ValueError: no line, or one without a value."""
    if not lines or not all(line.latencies.count for line in lines):
        raise ValueError("a plot needs lines with values")
    most = max(line.latencies.count for line in lines)
    frame = _Frame(
        rarer=min(max(math.ceil(math.log10(most)), 2), _RARER_MOST),
        low=math.floor(math.log10(max(min(line.latencies.min for line in lines), 1))),
        high=math.floor(math.log10(max(line.latencies.max for line in lines) + 1)) + 1,
    )
    parts = [*_page(title, HEIGHT + LEGEND_LINE * len(lines)), *_grid(frame)]
    for number, line in enumerate(lines):
        parts.append(_curve(frame, line, number))
    parts += _legend(lines)
    return "\n".join([*parts, "</svg>", ""])


def _page(title: str, height: int) -> list[str]:
    return [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-label="{_attribute(title)}" '
            'font-family="system-ui, sans-serif" font-size="13" fill="#222">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 32, title, 'font-size="18" font-weight="600"'),
    ]


def _grid(frame: _Frame) -> list[str]:
    parts: list[str] = []
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for power in range(frame.low, frame.high + 1):
        y = frame.up(10**power)
        parts.append(_rule(LEFT, y, right, y, "#d4d4d4"))
        parts.append(_text(LEFT - 10, y + 4, _microseconds(power), 'text-anchor="end"'))
        for tenth in range(2, 10) if power < frame.high else ():
            y = frame.up(tenth * 10**power)
            parts.append(_rule(LEFT, y, right, y, "#f0f0f0"))
    for rare in range(frame.rarer + 1):
        shares = (0.5,) if rare == 0 else ()
        for share in (*shares, 10.0**-rare):
            x = frame.across(share)
            parts.append(_rule(x, TOP, x, bottom, "#e0e0e0"))
            parts.append(_text(x, bottom + 20, _percent(share), 'text-anchor="middle"'))
    middle_x, middle_y = (LEFT + right) / 2, (TOP + bottom) / 2
    parts.append(_text(middle_x, HEIGHT - 30, "share that took no longer", 'text-anchor="middle"'))
    turned = f'text-anchor="middle" transform="rotate(-90 24 {middle_y:.1f})"'
    parts.append(_text(24, middle_y, "latency, µs (each line 10 ×)", turned))
    return parts


def _curve(frame: _Frame, line: Line, number: int) -> str:
    """Draw steps: a value holds from where its predecessor ends up to its own share."""
    count = line.latencies.count
    points: list[tuple[float, float]] = []
    x = frame.across(1.0)
    for not_above, ns in line.latencies.steps():
        y = frame.up(ns)
        points.append((x, y))
        x = frame.across(max(count - not_above, 0.5) / count)
        points.append((x, y))
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(points))
    return (
        f'<polyline points="{at}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" '
        f'stroke-width="2.2" stroke-linejoin="round"{_dashes(number)}/>'
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out what lies within a third of a pixel of the last point kept."""
    kept = [points[0]]
    for x, y in points[1:-1]:
        if abs(x - kept[-1][0]) + abs(y - kept[-1][1]) >= 0.3:
            kept.append((x, y))
    return [*kept, points[-1]]


def _legend(lines: Sequence[Line]) -> list[str]:
    parts: list[str] = []
    for number, line in enumerate(lines):
        y = HEIGHT - 2 + LEGEND_LINE * number
        parts.append(
            f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + 44}" y2="{y}" stroke-width="2.2" '
            f'stroke="{COLOURS[number % len(COLOURS)]}"{_dashes(number)}/>'
        )
        shown = line.latencies.shown()
        figures = f"p50 {_us(shown['p50'])}, p99 {_us(shown['p99'])}, max {_us(shown['max'])} µs"
        parts.append(_text(LEFT + 54, y + 4, f"{line.name}: {figures}"))
    return parts


def _dashes(number: int) -> str:
    dashes = DASHES[number % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})


def _microseconds(power: int) -> str:
    """Return 10^power nanoseconds as microseconds."""
    return f"{10 ** (power - 3):,}" if power >= 3 else f"0.{'0' * (2 - power)}1"


def _us(ns: int) -> str:
    """Return microseconds with three figures that count."""
    whole, rest = divmod(ns, NS_PER_US)
    if whole >= 100:
        return f"{whole:,}"
    return f"{whole}.{rest:03d}"[: 5 if whole < 10 else 4]


def _percent(share_above: float) -> str:
    if share_above == 1.0:
        return "0 %"
    places = max(round(-math.log10(share_above)) - 2, 0)
    return f"{100 - share_above * 100:.{places}f} %"
