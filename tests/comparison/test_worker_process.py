"""The supervision of workers, with real processes that really go wrong."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.base import GenerationOptions, LoadRequest
from backends.errors import LaneError, ProtocolBroken, TimedOut, WorkerKilled
from backends.lane import parse_lane
from comparison.worker_events import Finished, Started, Tokens
from comparison.worker_process import REPOSITORY, WorkerProcess, load_message

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX")
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
LOAD_TIMEOUT_S = 60


def message(lane_text: str, folder: Path) -> dict[str, Any]:
    lane = parse_lane(lane_text)
    return load_message(lane.backend, LoadRequest(folder, lane.precision, lane.device, 1, folder, lane.options))


@asynccontextmanager
async def loaded(lane: str, folder: Path) -> AsyncIterator[WorkerProcess]:
    worker = await WorkerProcess.start(lane, folder / "log.txt")
    try:
        await worker.load(message(lane, folder), LOAD_TIMEOUT_S)
        yield worker
    finally:
        await worker.kill()


async def run(worker: WorkerProcess, max_new_tokens: int = 20, **more: Any) -> tuple[list[Tokens], Finished]:
    """All token events of one request, and its end."""
    options = GenerationOptions(max_new_tokens, stop_ids=(7,))
    async with aclosing(worker.generate([1, 2, 3], options, **more)) as events:
        tokens: list[Tokens] = []
        async for event in events:
            if isinstance(event, Tokens):
                tokens.append(event)
            elif isinstance(event, Finished):
                return tokens, event
    raise AssertionError("the events ended without Finished")


def failure_of(lane: str, folder: Path, **more: Any) -> tuple[LaneError, WorkerProcess]:
    """The error of a run on `lane`."""

    async def fails() -> tuple[LaneError, WorkerProcess]:
        async with loaded(lane, folder) as worker:
            with pytest.raises(LaneError) as caught:
                await run(worker, **more)
            return caught.value, worker

    return asyncio.run(fails())


def has_gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ends; one that nobody reaps in a container has ended too."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_run_hands_over_one_time_per_token(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[Tokens], Finished, bool]:
        async with loaded("scripted@rate=500@tokens=50", tmp_path) as worker:
            tokens, finished = await run(worker, 100)
            await worker.close()
            return tokens, finished, worker.alive

    batches, finished, alive = asyncio.run(scenario())
    ids = [token for batch in batches for token in batch.ids]
    times_ns = [moment for batch in batches for moment in batch.times_ns]
    assert len(ids) == len(times_ns) == 51
    assert ids[-1] == 7
    assert times_ns == sorted(times_ns)
    assert len(batches[0].ids) == 1, "the first token is sent at once"
    assert len(batches) <= (times_ns[-1] - times_ns[0]) / 10_000_000 + 3, "the others in batches of 10 ms"
    assert finished.finish_reason == "stop"
    assert finished.cpu_s is not None
    assert finished.rss_bytes is not None
    assert finished.rss_bytes > 1_000_000
    assert not alive


def test_a_worker_serves_one_request_after_another(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[int, ...]]:
        async with loaded("scripted@rate=5000@tokens=5", tmp_path) as worker:
            return [tuple(t for batch in (await run(worker))[0] for t in batch.ids) for _ in range(3)]

    first, second, third = asyncio.run(scenario())
    assert len(first) == 6
    assert first == second == third


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("raise", "runtime", "ValueError: told to fail"),
        ("oom", "memory", "MemoryError"),
        ("nan", "runtime", "ValueError: cannot convert float NaN to integer"),
        ("exit", "crash", "The worker ended by itself (exit code 3)."),
        ("garbage", "protocol", "The worker wrote something that is no message of ours"),
        ("negative", "protocol", "-1 where a whole number belongs"),
        ("half-line", "protocol", "The worker ended in the middle of a message."),
    ],
)
def test_a_failure_has_its_kind_and_its_reason(how: str, kind: str, words: str, tmp_path: Path) -> None:
    error, worker = failure_of(f"scripted@rate=1000@fail={how}", tmp_path)
    assert error.kind == kind
    assert words in str(error)
    assert "\n" not in str(error)
    assert has_gone(worker.pid)


@POSIX_ONLY
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("segfault", "crash", "The worker crashed: Segmentation fault (SIGSEGV)."),
        ("abort", "crash", "The worker crashed: Aborted (SIGABRT)."),
        ("kill", "killed", "ended from outside or by the system (SIGKILL), perhaps for want of memory"),
    ],
)
def test_a_signal_is_named(how: str, kind: str, words: str, tmp_path: Path) -> None:
    error, _ = failure_of(f"scripted@rate=1000@fail={how}", tmp_path)
    assert error.kind == kind
    assert words in str(error)
    if how == "segfault":
        assert "Fatal Python error: Segmentation fault" in error.log_tail


@pytest.mark.parametrize("how", ["hang", "native-hang"])
def test_a_hang_is_ended_in_time(how: str, tmp_path: Path) -> None:
    error, worker = failure_of(f"scripted@fail={how}@fail-at=0", tmp_path, silence_s=0.5)
    assert isinstance(error, TimedOut)
    assert str(error) == "The worker did not answer for 0.5 s and was ended."
    assert has_gone(worker.pid)


def test_half_a_line_and_then_silence_is_no_mere_timeout(tmp_path: Path) -> None:
    error, worker = failure_of("scripted@fail=half-line-hang@fail-at=0", tmp_path, silence_s=0.5)
    assert isinstance(error, ProtocolBroken)
    assert has_gone(worker.pid)


def test_an_endless_line_is_cut_off(tmp_path: Path) -> None:
    error, worker = failure_of("scripted@fail=endless-line@fail-at=0", tmp_path)
    assert str(error) == "The worker wrote a line of more than 64 MiB."
    assert has_gone(worker.pid)


def test_a_failed_run_leaves_the_worker_usable_and_its_traceback_in_the_log(tmp_path: Path) -> None:
    async def scenario() -> tuple[str, Finished]:
        async with loaded("scripted@rate=1000@fail=raise@fail-at=5", tmp_path) as worker:
            with pytest.raises(LaneError) as caught:
                await run(worker, 20)
            _, finished = await run(worker, 5)
            return caught.value.log_tail, finished

    log, finished = asyncio.run(scenario())
    assert "Traceback" in log
    assert "told to fail" in log
    assert finished.finish_reason == "length"


@pytest.mark.parametrize(
    ("how", "kind"), [("load-raise", "load"), ("load-exit", "crash"), ("load-oom", "memory"), ("load-hang", "timeout")]
)
def test_a_failed_load_says_why_and_leaves_no_process(how: str, kind: str, tmp_path: Path) -> None:
    async def scenario() -> tuple[LaneError, WorkerProcess]:
        worker = await WorkerProcess.start(how, tmp_path / "log.txt")
        with pytest.raises(LaneError) as caught:
            await worker.load(message(f"scripted@fail={how}", tmp_path), timeout_s=2 if how == "load-hang" else 60)
        return caught.value, worker

    error, worker = asyncio.run(scenario())
    assert error.kind == kind
    assert not worker.alive
    assert has_gone(worker.pid)


def test_an_interpreter_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LaneError, match="cannot be started") as caught:
        asyncio.run(WorkerProcess.start("x", tmp_path / "log.txt", interpreter=str(tmp_path / "python")))
    assert caught.value.kind == "unavailable"


def test_cancel_stops_a_decoding_worker_within_a_token_and_keeps_it(tmp_path: Path) -> None:
    async def scenario() -> tuple[float, Finished, Finished]:
        async with loaded("scripted@rate=50@tokens=1000", tmp_path) as worker:
            task = asyncio.create_task(run(worker, 1000))
            await asyncio.sleep(0.3)
            asked_s = time.perf_counter()
            assert await worker.stop()
            _, cancelled = await task
            seconds = time.perf_counter() - asked_s
            return seconds, cancelled, (await run(worker, 3))[1]

    seconds, cancelled, after = asyncio.run(scenario())
    assert seconds < 0.3
    assert cancelled.finish_reason == "cancelled"
    assert after.finish_reason == "length"


def test_stop_ends_a_worker_that_does_not_hear_and_the_run_counts_as_cancelled(tmp_path: Path) -> None:
    async def scenario() -> tuple[float, bool, Finished]:
        async with loaded("scripted@fail=native-hang@fail-at=0", tmp_path) as worker:
            task = asyncio.create_task(run(worker))
            await asyncio.sleep(0.2)
            asked_s = time.perf_counter()
            alive = await worker.stop(grace_s=0.5)
            return time.perf_counter() - asked_s, alive, (await task)[1]

    seconds, alive, finished = asyncio.run(scenario())
    assert seconds < 1.5
    assert not alive
    assert finished == Finished(1, "cancelled")


def test_a_request_that_is_left_early_does_not_disturb_the_next(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[Tokens], Finished]:
        async with loaded("scripted@rate=200@tokens=1000", tmp_path) as worker:
            async with aclosing(worker.generate([1], GenerationOptions(1000))) as events:
                async for event in events:
                    if isinstance(event, Tokens):
                        break
            return await run(worker, 10)

    batches, finished = asyncio.run(scenario())
    assert {batch.request for batch in batches} == {2}
    assert finished.finish_reason == "length"


def test_go_at_starts_workers_together(tmp_path: Path) -> None:
    async def t0_of(folder: Path, ready: Callable[[], Awaitable[int]]) -> int:
        async with loaded("scripted@rate=1000", folder) as worker:
            go_at_ns = await ready()
            async with aclosing(worker.generate([1], GenerationOptions(3), go_at_ns=go_at_ns)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        return event.t0_ns - go_at_ns
        raise AssertionError("never started")

    async def scenario() -> list[int]:
        barrier = asyncio.Barrier(3)
        go_at_ns: list[int] = []

        async def ready() -> int:
            await barrier.wait()
            go_at_ns.append(time.perf_counter_ns() + 200_000_000)
            return go_at_ns[0]

        return await asyncio.gather(*(t0_of(tmp_path / str(lane), ready) for lane in range(3)))

    skews_ns = asyncio.run(scenario())
    assert min(skews_ns) >= 0
    assert max(skews_ns) < 20_000_000


def test_what_libraries_print_goes_to_the_log(tmp_path: Path) -> None:
    async def scenario() -> tuple[Finished, str]:
        async with loaded("scripted@rate=1000@tokens=10@noise=500", tmp_path) as worker:
            _, finished = await run(worker)
            return finished, worker.log_tail()

    finished, log = asyncio.run(scenario())
    assert finished.finish_reason == "stop"
    assert "noise 499" in log
    assert "noise of native code" in log
    assert len(log.splitlines()) == 40


@pytest.mark.parametrize(
    ("lane", "hears"), [("scripted@tokens=1000", True), ("scripted@fail=native-hang@fail-at=0", False)]
)
def test_closing_is_polite_first_and_bounded(lane: str, hears: bool, tmp_path: Path) -> None:
    async def scenario() -> tuple[float, Finished, bool]:
        async with loaded(lane, tmp_path) as worker:
            task = asyncio.create_task(run(worker, 1000))
            await asyncio.sleep(0.2)
            before_s = time.perf_counter()
            await worker.close(grace_s=10 if hears else 0.5)
            return time.perf_counter() - before_s, (await task)[1], worker.alive

    seconds, finished, alive = asyncio.run(scenario())
    assert seconds < 5
    assert not alive
    assert finished.finish_reason == "cancelled"
    assert (finished.cpu_s is not None) == hears, "a worker that hears says its last words"


def test_a_worker_killed_while_idle_is_noticed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded("scripted", tmp_path) as worker:
            psutil.Process(worker.pid).kill()
            while worker.alive:
                await asyncio.sleep(0.02)
            await run(worker)

    expected = "SIGKILL" if sys.platform != "win32" else "exit code"
    with pytest.raises(LaneError, match=expected):
        asyncio.run(scenario())


def test_the_end_of_one_worker_does_not_disturb_another(tmp_path: Path) -> None:
    async def scenario() -> tuple[LaneError, Finished]:
        bad, good = "scripted@rate=200@fail=exit", "scripted@rate=200@tokens=60"
        async with loaded(bad, tmp_path / "bad") as first, loaded(good, tmp_path / "good") as second:
            failed, finished = await asyncio.gather(run(first, 100), run(second, 100), return_exceptions=True)
        assert isinstance(failed, LaneError)
        assert isinstance(finished, tuple)
        return failed, finished[1]

    failed, finished = asyncio.run(scenario())
    assert failed.kind == "crash"
    assert finished.finish_reason == "stop"


@LINUX_ONLY
def test_workers_leave_no_descriptor_and_no_zombie(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count of names

    async def one(lane: str) -> int:
        async with loaded(lane, tmp_path) as worker:
            try:
                await run(worker)
            except LaneError:
                return worker.pid
            await worker.close()
            return worker.pid

    async def scenario() -> None:
        pids = [await one("scripted@rate=1000")]
        before = open_files()
        pids += [await one(f"scripted@rate=1000@fail={how}") for how in ("garbage", "exit", "kill", "raise")]
        pids += [await one("scripted@rate=1000") for _ in range(3)]
        await asyncio.sleep(0.1)
        assert open_files() == before
        assert not [pid for pid in pids if psutil.pid_exists(pid)]

    asyncio.run(scenario())


PARENT = """
import asyncio, sys
from pathlib import Path
from backends.base import GenerationOptions, LoadRequest
from comparison.worker_process import WorkerProcess, load_message

async def main():
    folder = Path(sys.argv[1])
    worker = await WorkerProcess.start("x", folder / "log.txt")
    request = LoadRequest(folder, "fp32", "CPU", 1, folder, {"fail": sys.argv[2], "fail-at": 0, "memory": 1})
    await worker.load(load_message("scripted", request), 60)
    async for event in worker.generate([1], GenerationOptions(10)):
        print(worker.pid, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["hang", "native-hang"])
def test_a_worker_in_a_long_native_call_dies_with_a_killed_parent(how: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", PARENT, str(tmp_path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    assert has_gone(pid)


@POSIX_ONLY
def test_ctrl_c_in_the_terminal_does_not_reach_a_worker(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with loaded("scripted", tmp_path) as worker:
            return os.getpgid(worker.pid)

    assert asyncio.run(scenario()) != os.getpgid(0)


@POSIX_ONLY
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo hello; sleep 60", "no message"),
        ("""echo '{"event":"started","request":1,"t0_ns":1}'; sleep 60""", "while it loaded"),
        ("exec 1>&-; sleep 60", "did not answer for 1 s"),
        ("kill -TERM $$", "SIGTERM"),
    ],
)
def test_something_else_than_a_worker_ends_in_a_clear_error(script: str, words: str, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    interpreter.chmod(0o755)

    async def scenario() -> int:
        worker = await WorkerProcess.start("x", tmp_path / "log.txt", interpreter=str(interpreter))
        with pytest.raises(LaneError, match=words):
            await worker.load(message("scripted", tmp_path), timeout_s=1 if "answer" in words else 60)
        return worker.pid

    assert has_gone(asyncio.run(scenario()))


@LINUX_ONLY
def test_the_peak_of_a_worker_is_its_own_and_not_its_parents(tmp_path: Path) -> None:
    ballast = bytearray(b"\1") * (300 << 20)

    async def scenario() -> Finished:
        async with loaded("scripted@rate=1000@tokens=5@grow=40", tmp_path) as worker:
            return (await run(worker))[1]

    finished = asyncio.run(scenario())
    assert len(ballast) == 300 << 20
    assert finished.peak_rss_bytes is not None
    assert 40 << 20 < finished.peak_rss_bytes < 200 << 20


@POSIX_ONLY
def test_a_process_that_the_worker_started_ends_with_it(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nsleep 60 & echo $! >&2; wait\n", encoding="utf-8")
    interpreter.chmod(0o755)

    async def scenario() -> WorkerProcess:
        worker = await WorkerProcess.start("x", tmp_path / "log.txt", interpreter=str(interpreter))
        with pytest.raises(TimedOut):
            await worker.load(message("scripted", tmp_path), timeout_s=0.5)
        return worker

    child = int(asyncio.run(scenario()).log_tail())
    assert has_gone(child)


def test_an_asked_end_in_the_load_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        worker = await WorkerProcess.start("x", tmp_path / "log.txt")
        task = asyncio.create_task(worker.load(message("scripted@load=60", tmp_path)))
        await asyncio.sleep(0.3)
        await worker.kill()
        await task

    with pytest.raises(WorkerKilled, match="because the app asked for it"):
        asyncio.run(scenario())


@POSIX_ONLY
def test_a_stopped_app_does_not_lose_what_came_meanwhile(tmp_path: Path) -> None:
    """The worker goes on while the app's loop is busy, and every token has its own time all the same."""

    async def scenario() -> list[Tokens]:
        async with loaded("scripted@rate=1000@tokens=500", tmp_path) as worker:
            task = asyncio.create_task(run(worker, 1000))
            await asyncio.sleep(0.1)
            time.sleep(0.5)
            return (await task)[0]

    times_ns = [moment for batch in asyncio.run(scenario()) for moment in batch.times_ns]
    gaps_ns = [later - earlier for earlier, later in pairwise(times_ns)]
    assert len(times_ns) == 501
    assert sorted(gaps_ns)[450] < 20_000_000
