"""Medians and their intervals."""

import random

import pytest

from comparison.statistics import Summary, summary


def test_nothing_has_no_median() -> None:
    assert summary([]) == summary([None, None]) == Summary(None, None, None, 0)


def test_fewer_than_three_values_have_no_interval() -> None:
    assert summary([4.0]) == Summary(4.0, None, None, 1)
    assert summary([4.0, None, 5.0]) == Summary(4.5, None, None, 2)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert summary([2.5] * 7) == Summary(2.5, 2.5, 2.5, 7)


def test_three_values_span_their_range() -> None:
    """Of 27 resamples of three values, one each has the smallest or the largest three times: more than 2.5 %."""
    assert summary([3.0, 1.0, 2.0]) == Summary(2.0, 1.0, 3.0, 3)


def test_one_outlier_among_many_moves_nothing() -> None:
    assert summary([10.0] * 19 + [1000.0]) == Summary(10.0, 10.0, 10.0, 20)


def test_the_interval_holds_the_true_median_about_95_times_in_100() -> None:
    chance = random.Random(1)
    hits = 0
    for _ in range(100):
        spread = summary([chance.gauss(50, 5) for _ in range(15)])
        assert spread.low is not None
        assert spread.high is not None
        hits += spread.low <= 50 <= spread.high
    assert 88 <= hits <= 100


def test_the_same_values_give_the_same_interval() -> None:
    values = [1.0, 5.0, 2.0, 8.0, 3.0]
    assert summary(values) == summary(values)
    spread = summary(values)
    assert spread.median == pytest.approx(3)
    assert spread.low == pytest.approx(1)
    assert spread.high == pytest.approx(8)


def test_a_summary_is_exported_under_the_names_of_the_contract() -> None:
    assert summary([2.5] * 3).as_json() == {"median": 2.5, "low": 2.5, "high": 2.5, "n": 3}
