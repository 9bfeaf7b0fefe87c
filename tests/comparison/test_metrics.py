"""The metrics of DESIGN.md on timelines written by hand."""

import pytest

from comparison.metrics import METRICS, itl_percentile_s, itl_s, metrics
from comparison.timeline import Timeline

MS = 1_000_000


def timeline(*times_ms: float, t0_ms: float = 100, prompt_tokens: int = 20) -> Timeline:
    times_ns = tuple(round(time_ms * MS) for time_ms in times_ms)
    return Timeline(round(t0_ms * MS), tuple(range(len(times_ns))), times_ns, prompt_tokens)


def test_five_tokens() -> None:
    """t0 = 100 ms; prefill and first token 50 ms; then 10, 20, 10 and 40 ms."""
    run = timeline(150, 160, 180, 190, 230)
    assert itl_s(run) == pytest.approx([0.010, 0.020, 0.010, 0.040])
    assert metrics(run) == pytest.approx(
        {
            "ttft_s": 0.050,
            "tpot_s": 0.020,  # (230 - 150) / 4
            "itl_p50_s": 0.015,  # between 10 and 20
            "itl_p95_s": 0.037,  # rank 0.95 * 3 = 2.85: 20 + 0.85 * (40 - 20)
            "itl_p99_s": 0.0394,  # rank 2.97: 20 + 0.97 * (40 - 20)
            "prefill_tokens_per_s": 400,  # 20 / 0.050
            "decode_tokens_per_s": 50,  # 1 / 0.020
            "overall_tokens_per_s": 5 / 0.130,
            "e2e_s": 0.130,
        }
    )


def test_without_a_token_everything_is_undefined() -> None:
    assert metrics(timeline()) == dict.fromkeys(METRICS)
    assert itl_s(timeline()) == []


def test_one_token_has_a_first_but_no_next() -> None:
    run = metrics(timeline(150))
    assert run["ttft_s"] == run["e2e_s"] == pytest.approx(0.050)
    assert run["prefill_tokens_per_s"] == pytest.approx(400)
    assert run["overall_tokens_per_s"] == pytest.approx(20)
    for name in ("tpot_s", "itl_p50_s", "itl_p95_s", "itl_p99_s", "decode_tokens_per_s"):
        assert run[name] is None, name


def test_two_tokens_have_one_latency() -> None:
    run = metrics(timeline(150, 175))
    assert run["tpot_s"] == run["itl_p50_s"] == run["itl_p99_s"] == pytest.approx(0.025)
    assert run["decode_tokens_per_s"] == pytest.approx(40)


def test_equal_stamps_have_no_rate() -> None:
    run = metrics(timeline(150, 150, 150))
    assert run["tpot_s"] == run["itl_p95_s"] == 0
    assert run["decode_tokens_per_s"] is None
    at_once = metrics(timeline(100, 100))
    assert at_once["ttft_s"] == at_once["e2e_s"] == 0
    assert at_once["prefill_tokens_per_s"] is at_once["overall_tokens_per_s"] is None


def test_the_clock_may_stand_anywhere() -> None:
    """Nanoseconds of a machine that has been up for years lose nothing in the differences."""
    years_ms = 10**11
    late = timeline(*(years_ms + time for time in (150, 160, 180, 190, 230)), t0_ms=years_ms + 100)
    assert metrics(late) == metrics(timeline(150, 160, 180, 190, 230))


def test_percentiles_reach_from_the_shortest_to_the_longest() -> None:
    run = timeline(150, 160, 180, 220)
    assert itl_percentile_s(run, 0) == pytest.approx(0.010)
    assert itl_percentile_s(run, 100) == pytest.approx(0.040)


def test_stored_seconds_give_the_same_metrics() -> None:
    run = timeline(150, 160, 180, 190, 230)
    assert run.token_times_s == pytest.approx((0.05, 0.06, 0.08, 0.09, 0.13))
    assert metrics(Timeline.from_seconds(run.token_ids, run.token_times_s, 20)) == metrics(run)


def test_the_skew_counts_from_the_release() -> None:
    assert timeline(150).started_s is None
    assert Timeline(103 * MS, (), (), 1, released_ns=100 * MS).started_s == pytest.approx(0.003)


def test_a_token_without_a_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 tokens have 1 times"):
        Timeline(0, (1, 2), (5,), 1)
