"""The plot is a well-formed page and every point of it lies inside the frame."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.laboratory.histogram import Histogram
from engine.laboratory.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, latency_plot

SVG = "{http://www.w3.org/2000/svg}"
DURATIONS = st.lists(st.integers(0, 10**11), min_size=1, max_size=50)


def line(name: str, values: list[int]) -> Line:
    found = Histogram()
    for value in values:
        found.record(value)
    return Line(name, found)


def curves(page: str) -> list[list[tuple[float, float]]]:
    found = []
    for curve in ET.fromstring(page).iter(f"{SVG}polyline"):
        pairs = [point.split(",") for point in curve.attrib["points"].split()]
        found.append([(float(x), float(y)) for x, y in pairs])
    return found


@settings(max_examples=25, deadline=None)
@given(st.lists(DURATIONS, min_size=1, max_size=9))
def test_every_point_lies_in_the_frame_and_curves_only_rise(series: list[list[int]]) -> None:
    page = latency_plot("title", [line(str(n), values) for n, values in enumerate(series)])
    found = curves(page)
    assert len(found) == len(series)
    for points in found:
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))


def test_the_page_names_its_axes_lines_and_figures() -> None:
    page = latency_plot("w1 & <durable>", [line("native", [1_500] * 90 + [2_000_000] * 10)])
    texts = ["".join(text.itertext()) for text in ET.fromstring(page).iter(f"{SVG}text")]
    assert texts[0] == "w1 & <durable>"
    assert {"1", "10", "100", "1,000", "10,000", "0 %", "50 %", "90 %", "99 %"} <= set(texts)
    assert "share that took no longer" in texts
    assert any("µs" in text and "latency" in text for text in texts)
    assert any(re.match(r"native: p50 1\.50\d?, p99 2,000, max 2,000 µs$", text) for text in texts)


def test_a_slower_line_stands_higher() -> None:
    quick, slow = curves(latency_plot("t", [line("quick", [100] * 9), line("slow", [9_000] * 9)]))
    assert min(y for _, y in quick) > max(y for _, y in slow)


def test_a_plot_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs lines"):
        latency_plot("t", [])
    with pytest.raises(ValueError, match="with values"):
        latency_plot("t", [Line("empty", Histogram())])
