"""Percentiles equal those of the sorted list, up to the width of a bucket."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.laboratory.histogram import (
    KEPT_BITS,
    PPM,
    VALUE_LIMIT,
    Histogram,
    bucket_of,
    top_of,
)

DURATIONS = st.one_of(st.integers(0, 5_000), st.integers(0, VALUE_LIMIT - 1))


def of(values: list[int]) -> Histogram:
    found = Histogram()
    for value in values:
        found.record(value)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(DURATIONS, min_size=1), st.integers(1, PPM))
def test_a_percentile_is_that_of_the_sorted_list_rounded_up_to_its_bucket(
    values: list[int], ppm: int
) -> None:
    exact = sorted(values)[-(-len(values) * ppm // PPM) - 1]
    found = of(values).percentile(ppm)
    assert found == min(top_of(bucket_of(exact)), max(values))
    assert exact <= found <= exact + exact // (1 << (KEPT_BITS - 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, (1 << KEPT_BITS) - 1), min_size=1), st.integers(1, PPM))
def test_short_durations_are_exact(values: list[int], ppm: int) -> None:
    assert of(values).percentile(ppm) == sorted(values)[-(-len(values) * ppm // PPM) - 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(DURATIONS, min_size=1))
def test_smallest_greatest_and_mean_are_exact(values: list[int]) -> None:
    found = of(values)
    assert (found.min, found.max, found.count) == (min(values), max(values), len(values))
    assert found.mean() == sum(values) // len(values)
    assert found.percentile(PPM) == max(values)


@settings(max_examples=40, deadline=None)
@given(st.lists(DURATIONS), st.lists(DURATIONS))
def test_adding_is_recording_both(first: list[int], second: list[int]) -> None:
    together = of(first)
    together.add(of(second))
    expected = of(first + second)
    assert list(together.steps()) == list(expected.steps())
    assert (together.min, together.max, together.total) == (
        expected.min,
        expected.max,
        expected.total,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(DURATIONS, min_size=1))
def test_steps_ascend_and_end_with_everything(values: list[int]) -> None:
    steps = list(of(values).steps())
    assert steps == sorted(steps)
    assert steps[-1] == (len(values), max(values))


@settings(max_examples=40, deadline=None)
@given(DURATIONS)
def test_buckets_touch_without_a_gap(value: int) -> None:
    bucket = bucket_of(value)
    assert value <= top_of(bucket)
    assert bucket == 0 or top_of(bucket - 1) < value
    assert bucket_of(top_of(bucket)) == bucket


def test_the_greatest_duration_has_a_bucket() -> None:
    assert of([VALUE_LIMIT - 1]).percentile(PPM) == VALUE_LIMIT - 1


@pytest.mark.parametrize("value", [-1, VALUE_LIMIT])
def test_what_is_no_duration_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="no duration"):
        Histogram().record(value)


@pytest.mark.parametrize("ppm", [0, PPM + 1])
def test_what_is_no_share_is_refused(ppm: int) -> None:
    with pytest.raises(ValueError, match="millionths"):
        of([1]).percentile(ppm)


def test_an_empty_histogram_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="of 0 values"):
        Histogram().percentile(PPM)
