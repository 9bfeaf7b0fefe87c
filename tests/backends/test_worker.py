"""A worker as it is heard on its pipes: raw lines in, raw lines out."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.base import GenerationOptions
from backends.errors import RuntimeFailed
from backends.worker import _failed, _finish_reason

REPOSITORY = Path(__file__).resolve().parents[2]


def failing(how: str, at: int) -> dict[str, Any]:
    return {"fail": how, "fail-at": at}


class Talk:
    """A conversation with one worker."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.txt"
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backends.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=environment,
            )

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker ended: {self.log.read_text(encoding='utf-8')}"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def load(self, backend: str = "scripted", **options: Any) -> dict[str, Any]:
        """Returns the answer after `imported`, or the failure before it."""
        request = {"model": ".", "precision": "fp32", "device": "CPU", "threads": 3, "cache": "."}
        self.say(op="load", backend=backend, options=options, **request)
        first = self.hear()
        return self.hear() if first["event"] == "imported" else first

    def generate(self, request: int = 1, max_new_tokens: int = 10, go_at_ns: int | None = None, **more: Any) -> None:
        options = {"max_new_tokens": max_new_tokens, "stop_ids": [7]} | more
        self.say(op="generate", request=request, prompt_ids=[1, 2], options=options, go_at_ns=go_at_ns)

    def hear_out(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The token events of a request and its last event."""
        events = []
        while (event := self.hear())["event"] in ("started", "tokens"):
            events.append(event)
        return [event for event in events if event["event"] == "tokens"], event

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(10)


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    talk = Talk(tmp_path)
    with talk.process:
        yield talk
        talk.process.kill()


def test_the_end_of_stdin_ends_a_worker_with_status_0(talk: Talk) -> None:
    talk.load()
    assert talk.end() == 0


def test_close_ends_a_worker_in_the_middle_of_a_request(talk: Talk) -> None:
    talk.load(tokens=1000)
    talk.generate(max_new_tokens=1000)
    assert talk.hear()["event"] == "started"
    talk.say(op="close")
    _, last = talk.hear_out()
    assert last["finish_reason"] == "cancelled"
    assert talk.process.wait(5) == 0


def test_a_worker_ends_itself_when_its_runtime_hangs_and_the_app_has_gone(talk: Talk) -> None:
    talk.load(**failing("hang", 0))
    talk.generate()
    assert talk.hear()["event"] == "started"
    assert talk.end() == 0


def test_loaded_says_what_was_loaded(talk: Talk) -> None:
    loaded = talk.load(load=0.2)
    assert loaded["event"] == "loaded"
    assert loaded["seconds"] >= 0.2
    assert loaded["device_name"] == "scripted CPU"
    assert loaded["compute_precision"] == "fp32"


def test_a_failed_load_ends_the_worker_with_status_1(talk: Talk) -> None:
    failed = talk.load(fail="load-raise")
    assert failed == {"event": "failed", "request": None, "kind": "load", "message": "ValueError: told to fail"}
    assert talk.process.wait(10) == 1
    assert "second line that nobody should see" in talk.log.read_text(encoding="utf-8")


def test_an_unknown_backend_is_unavailable(talk: Talk) -> None:
    failed = talk.load(backend="nonsense")
    assert failed["kind"] == "unavailable"
    assert failed["message"] == "There is no backend 'nonsense'."


def test_garbage_instead_of_a_load_request_is_answered_in_one_line(talk: Talk) -> None:
    assert talk.process.stdin is not None
    talk.process.stdin.write(b"hello\n")
    talk.process.stdin.flush()
    assert talk.hear()["event"] == "failed"
    assert talk.process.wait(10) == 1


@pytest.mark.parametrize(
    ("options", "more", "count", "reason"),
    [
        ({"tokens": 4}, {}, 5, "stop"),
        ({"tokens": 4}, {"ignore_eos": True}, 10, "length"),
        ({"tokens": 100}, {}, 10, "length"),
        ({"text": "7"}, {}, 1, "stop"),
        ({"tokens": 9}, {}, 10, "stop"),
    ],
)
def test_the_stop_rules(options: dict[str, Any], more: dict[str, Any], count: int, reason: str, talk: Talk) -> None:
    talk.load(rate=10000.0, **options)
    talk.generate(**more)
    batches, last = talk.hear_out()
    assert sum(len(batch["ids"]) for batch in batches) == count
    assert last["finish_reason"] == reason


def test_cancel_is_heard_between_two_slow_tokens(talk: Talk) -> None:
    talk.load(rate=0.1)
    talk.generate()
    assert talk.hear()["event"] == "started"
    assert len(talk.hear()["ids"]) == 1
    before_s = time.perf_counter()
    talk.say(op="cancel", request=1)
    assert talk.hear()["finish_reason"] == "cancelled"
    assert time.perf_counter() - before_s < 0.3


def test_cancel_of_an_earlier_request_does_not_touch_the_next(talk: Talk) -> None:
    talk.load(rate=1000.0)
    talk.generate(request=1)
    talk.hear_out()
    talk.say(op="cancel", request=1)
    talk.generate(request=2)
    assert talk.hear_out()[1]["finish_reason"] == "length"


def test_cancel_is_heard_while_waiting_for_the_start(talk: Talk) -> None:
    talk.load()
    talk.generate(go_at_ns=time.perf_counter_ns() + 60_000_000_000)
    talk.say(op="cancel", request=1)
    batches, last = talk.hear_out()
    assert batches == []
    assert last["finish_reason"] == "cancelled"


def test_a_token_does_not_wait_for_a_slow_successor(talk: Talk) -> None:
    """Three tokens at once, then one second of nothing: all three arrive before that second is over."""
    talk.load(rate=1000.0, tokens=3, **failing("hang", 3))
    talk.generate()
    assert talk.hear()["event"] == "started"
    heard: list[int] = []

    def hear_three() -> None:
        while len(heard) < 3:
            heard.extend(talk.hear()["ids"])

    reader = threading.Thread(target=hear_three)
    reader.start()
    reader.join(1)
    assert not reader.is_alive()


def test_batches_are_at_least_10_ms_apart(talk: Talk) -> None:
    talk.load(rate=2000.0, tokens=1000)
    talk.generate(max_new_tokens=600)
    batches, last = talk.hear_out()
    times_ns = [moment for batch in batches for moment in batch["times_ns"]]
    assert len(times_ns) == 600
    assert len(batches[0]["ids"]) == 1
    assert len(batches) <= (times_ns[-1] - times_ns[0]) / 10_000_000 + 3
    assert last["cpu_s"] < 0.3


def test_ids_that_are_not_whole_numbers_fail_the_run(talk: Talk) -> None:
    talk.load(**failing("nan", 0))
    talk.generate()
    _, last = talk.hear_out()
    assert (last["event"], last["kind"]) == ("failed", "runtime")


def test_a_runtime_is_imported_with_its_threads_set_and_offline(tmp_path: Path, talk: Talk) -> None:
    """A module that stands for a runtime and tells what it found when the worker imported it."""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
    lines = f"import os, sys\nraise ImportError(str([os.environ[name] for name in {names}]))"
    (tmp_path / "onnxruntime_genai.py").write_text(lines, encoding="utf-8")
    failed = talk.load(backend="onnxruntime-genai")  # modules are looked for in the working folder first
    assert failed["kind"] == "unavailable"
    assert "ImportError: ['3', 'PASSIVE', '0', '1', '1']" in failed["message"]
    assert "pip install" in failed["message"]


def test_importing_the_worker_imports_no_runtime() -> None:
    code = (
        "import sys, backends.worker, backends.scripted;"
        "print({'torch', 'numpy', 'openvino', 'asyncio', 'platformdirs'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert shown.stdout.strip() == "set()"


OPTIONS = GenerationOptions(10, stop_ids=(7,))
ONWARD = GenerationOptions(10, stop_ids=(7,), ignore_eos=True)


@pytest.mark.parametrize(
    ("last_id", "count", "options", "stopped", "reason"),
    [
        (7, 3, OPTIONS, False, "stop"),
        (7, 3, OPTIONS, True, "stop"),
        (5, 10, OPTIONS, True, "length"),
        (5, 3, OPTIONS, True, "cancelled"),
        (5, 3, OPTIONS, False, "length"),
        (7, 3, ONWARD, True, "cancelled"),
        (7, 3, ONWARD, False, "stop"),
        (7, 10, ONWARD, False, "length"),
        (-1, 0, OPTIONS, True, "cancelled"),
    ],
)
def test_the_finish_reason(last_id: int, count: int, options: GenerationOptions, stopped: bool, reason: str) -> None:
    assert _finish_reason(last_id, count, options, stopped) == reason


@pytest.mark.parametrize(
    ("problem", "kind", "words"),
    [
        (MemoryError(), "memory", "MemoryError"),
        (RuntimeError("std::bad_alloc"), "memory", "RuntimeError: std::bad_alloc"),
        (KeyError("x"), "runtime", "KeyError: 'x'"),
        (ValueError("\n\n first \nsecond"), "runtime", "ValueError: first"),
        (ValueError("y" * 1000), "runtime", "ValueError: " + "y" * 488),
    ],
)
def test_an_exception_becomes_one_line(problem: Exception, kind: str, words: str) -> None:
    failed = _failed(1, problem, RuntimeFailed)
    assert (failed["kind"], failed["message"]) == (kind, words)
