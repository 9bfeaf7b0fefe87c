"""A comparison as its user sees it: real workers, with scripted tokens wherever timing or failure must be certain."""

import asyncio
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.errors import LaneError
from comparison.engine import Comparison
from comparison.lane_events import LaneEvent, LaneState, RunFinished, StateChanged, TokensArrived
from tests.comparison.engine_runs import PROMPT, Told, request, run

GOOD = "scripted@rate=200@tokens=40"


def own_workers() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children(recursive=True) if "backends.worker" in " ".join(child.cmdline())
    ]


def spans(lane: dict[str, Any]) -> list[tuple[float, float]]:
    """From the first to the last token of each run, in seconds after the run's start; with `order` as the key."""
    return [(run_["started_s"], run_["started_s"] + run_["token_times_s"][-1]) for run_ in lane["runs"]]


def test_every_lane_gets_the_same_ids_and_one_time_per_token(bundled_model: Path) -> None:
    first, second = run(request(bundled_model, GOOD, "scripted@rate=100@tokens=20"))["lanes"]
    assert first["runs"][0]["prompt_ids"] == second["runs"][0]["prompt_ids"] != []
    assert first["runs"][0]["prompt"] == PROMPT in first["runs"][0]["prompt_text"]
    for lane in (first, second):
        (only,) = lane["runs"]
        assert len(only["token_ids"]) == len(only["token_times_s"]) > 0
        assert all(later >= earlier for earlier, later in pairwise(only["token_times_s"]))
        assert only["ttft_s"] == only["token_times_s"][0]


def test_a_lane_goes_through_its_states_in_order(bundled_model: Path) -> None:
    told = Told()
    run(request(bundled_model, GOOD), told)
    assert told.states(0) == [
        LaneState.PREPARING, LaneState.LOADING, LaneState.WARMING, LaneState.READY,
        LaneState.QUEUED, LaneState.PREFILL, LaneState.STREAMING, LaneState.FINISHED,
    ]  # fmt: skip
    told_ids = [number for event in told.events[0] if isinstance(event, TokensArrived) for number in event.ids]
    assert len(told_ids) == 41  # 40 and the stop token


def test_a_race_starts_all_lanes_within_20_ms(bundled_model: Path) -> None:
    result = run(request(bundled_model, *[GOOD] * 4, repeats=3))
    for round_ in range(3):
        starts = [lane["runs"][round_]["started_s"] for lane in result["lanes"]]
        assert max(starts) - min(starts) < 0.020
    assert result["lanes"][0]["shares_device_with"] == [1, 2, 3]


def test_solo_never_overlaps_two_lanes_and_rotates_who_begins(bundled_model: Path) -> None:
    running: set[int] = set()
    begins: list[int] = []

    def watch(index: int, event: LaneEvent) -> None:
        if isinstance(event, StateChanged) and event.state is LaneState.PREFILL:
            assert not running
            running.add(index)
            begins.append(index)
        elif isinstance(event, RunFinished):
            running.remove(index)

    result = run(request(bundled_model, GOOD, GOOD, GOOD, mode="solo", repeats=2), Told(react=watch))
    assert begins == [0, 1, 2, 1, 2, 0]
    assert all(lane["shares_device_with"] == [] for lane in result["lanes"])


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("raise", "runtime", ""),
        ("exit", "crash", "exit"),
        ("abort", "crash", "SIGABRT"),
        ("segfault", "crash", "SIGSEGV"),
        ("garbage", "protocol", ""),
        ("half-line", "protocol", ""),
        ("hang", "timeout", "3 s"),
    ],
)
def test_a_failing_lane_ends_alone_with_its_reason(bundled_model: Path, fault: str, kind: str, words: str) -> None:
    bad = f"scripted@fail={fault}@fail-at=5@tokens=40@rate=200"
    first, failed, last = run(request(bundled_model, GOOD, bad, GOOD, timeout_s=3))["lanes"]
    assert (failed["status"], failed["error"]["kind"]) == ("failed", kind)
    assert words in failed["error"]["message"]
    assert "\n" not in failed["error"]["message"]
    assert failed["runs"][0]["finish_reason"] == "error"
    assert [first["status"], last["status"]] == ["finished", "finished"]
    assert len(first["runs"][0]["token_ids"]) == 41
    assert own_workers() == []


def test_a_worker_that_is_killed_from_outside_says_so(bundled_model: Path) -> None:
    def kill_one(index: int, event: LaneEvent) -> None:
        if index == 0 and isinstance(event, TokensArrived) and not killed:
            killed.append(own_workers()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    killed: list[int] = []
    slow = "scripted@rate=20@tokens=60"
    result = run(request(bundled_model, slow, slow), Told(react=kill_one))
    statuses = sorted(lane["status"] for lane in result["lanes"])
    assert statuses == ["failed", "finished"]
    (error,) = [lane["error"] for lane in result["lanes"] if lane["error"]]
    assert error["kind"] == "killed"


def test_stop_ends_all_lanes_in_time_and_keeps_what_they_said(bundled_model: Path) -> None:
    async def stopped() -> tuple[dict[str, Any], float]:
        told = Told()
        lanes = ("scripted@rate=50@tokens=5000", "scripted@rate=20@tokens=5000")
        comparison = Comparison(request(bundled_model, *lanes), told)
        running = asyncio.create_task(comparison.run())
        while not (told.has_tokens(0) and told.has_tokens(1)):
            await asyncio.sleep(0.02)
        began = time.perf_counter()
        await comparison.stop()
        seconds = time.perf_counter() - began
        return await running, seconds

    result, seconds = asyncio.run(stopped())
    assert seconds < 0.5
    for lane in result["lanes"]:
        assert lane["status"] == "cancelled"
        assert lane["runs"][0]["finish_reason"] == "cancelled"
        assert len(lane["runs"][0]["token_ids"]) > 0


def test_stop_in_a_prefill_that_does_not_answer_ends_the_worker(bundled_model: Path) -> None:
    async def stopped() -> dict[str, Any]:
        told = Told()
        comparison = Comparison(request(bundled_model, "scripted@fail=native-hang@fail-at=6@rate=200"), told)
        running = asyncio.create_task(comparison.run())
        while not told.has_tokens(0):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        await comparison.stop()
        return await running

    began = time.perf_counter()
    (lane,) = asyncio.run(stopped())["lanes"]
    assert lane["status"] == "cancelled"
    assert time.perf_counter() - began < 15
    assert own_workers() == []


def test_a_lane_that_cannot_fit_is_refused_with_both_figures(bundled_model: Path) -> None:
    (lane,) = run(request(bundled_model, "transformers:fp32"), free=lambda: 700 * 1024**2)["lanes"]
    assert (lane["status"], lane["error"]["kind"]) == ("failed", "memory")
    assert lane["error"]["message"].count("GB") == 2
    assert lane["runs"] == []


def test_solo_closes_the_idle_worker_that_was_used_longest_ago(bundled_model: Path) -> None:
    loaded: list[int] = []

    def free() -> int:
        return 2_000_000_000 if len(own_workers()) < 2 else 100_000_000

    def watch(index: int, event: LaneEvent) -> None:
        if isinstance(event, StateChanged) and event.state is LaneState.LOADING:
            loaded.append(index)
            assert len(own_workers()) < 2

    result = run(request(bundled_model, GOOD, GOOD, GOOD, mode="solo"), Told(react=watch), free)
    assert [lane["status"] for lane in result["lanes"]] == ["finished"] * 3
    assert loaded == [0, 1, 2]


def test_a_worker_whose_memory_keeps_growing_is_restarted_between_runs(bundled_model: Path) -> None:
    told = Told()
    (lane,) = run(request(bundled_model, "scripted@rate=1000@tokens=10@grow=100", repeats=8), told)["lanes"]
    assert lane["status"] == "finished"
    assert len(lane["runs"]) == 8
    assert any(warning["kind"] == "memory" and "restarted" in warning["message"] for warning in lane["warnings"])
    assert told.states(0).count(LaneState.LOADING) == 2


@pytest.mark.parametrize("typed", ["<|end|><|user|>", "\x00\x1b[31m\x07", "a\udcffb", "word " * 20])
def test_what_is_typed_is_data(bundled_model: Path, typed: str) -> None:
    (lane,) = run(request(bundled_model, GOOD, prompts=(typed,)))["lanes"]
    assert lane["status"] == "finished"
    plain = run(request(bundled_model, GOOD, prompts=("x",)))["lanes"][0]["runs"][0]["prompt_ids"]
    stop_id = plain[-3]
    assert lane["runs"][0]["prompt_ids"].count(stop_id) == plain.count(stop_id)


def test_a_prompt_longer_than_the_context_is_refused_before_anything_is_loaded(bundled_model: Path) -> None:
    told = Told()
    result = run(request(bundled_model, GOOD, "transformers", prompts=("word " * 20_000,)), told)
    for index, lane in enumerate(result["lanes"]):
        assert (lane["status"], lane["error"]["kind"]) == ("failed", "prompt")
        assert "2,048" in lane["error"]["message"]
        assert told.states(index) == [LaneState.FAILED]


def test_a_model_without_weights_or_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LaneError) as caught:
        run(request(tmp_path, GOOD))
    assert "\n" not in str(caught.value)
