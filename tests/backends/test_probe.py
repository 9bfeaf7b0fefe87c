"""Whatever a runtime does when it is asked, the answer is one line per precision."""

import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from backends.base import Status
from backends.probe import Probed, every_precision, one_line, probe, rows_from
from backends.probe_cache import cached_rows, store
from backends.registry import backend_class
from tests.backends.broken_runtimes import break_onnxruntime_genai

NAME = "onnxruntime-genai"
SEGFAULT = "import ctypes; ctypes.string_at(0)"
HANG = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({file!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
ANSWER = """
import os
os.write(int(os.environ["PHOTOFINISH_PROTOCOL_FD"]), {answer!r})
os._exit(0)
"""


def only(name: str, timeout_s: float = 25.0) -> Probed:
    (probed,) = probe([name], timeout_s)
    return probed


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("raise ImportError('DLL load failed: the module\\ncould not be found.')", Status.UNAVAILABLE,
         "ImportError: DLL load failed: the module could not be found."),
        ("raise OSError('libx.so.1: cannot open shared object file')", Status.UNAVAILABLE, "OSError: libx.so.1: cannot"),
        ("raise RuntimeError('\\x1b[31mred\\x07')", Status.UNAVAILABLE, "RuntimeError: [31mred"),
        ("import sys; sys.exit(3)", Status.UNAVAILABLE, "SystemExit: 3"),
        ("raise KeyboardInterrupt", Status.UNAVAILABLE, "its probe"),
        ("import os; os._exit(7)", Status.UNAVAILABLE, "its probe ended with exit status 7"),
        ("import os; os._exit(0)", Status.UNAVAILABLE, "its probe gave no answer"),
        (ANSWER.format(answer=b"garbage\n"), Status.UNAVAILABLE, "its probe gave no answer"),
        (ANSWER.format(answer=b"{\"event\":\"pro"), Status.UNAVAILABLE, "its probe gave no answer"),
        (ANSWER.format(answer=b"{\"event\":\"probed\",\"rows\":[{}]}"), Status.UNAVAILABLE, "its probe gave no answer"),
        ("import no_such_dependency", Status.NOT_INSTALLED, "the Python module 'no_such_dependency' is missing"),
    ],
)  # fmt: skip
def test_a_broken_runtime_is_one_line(
    code: str, status: Status, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_onnxruntime_genai(monkeypatch, tmp_path, code)
    probed = only(NAME)
    assert [row.precision for row in probed.rows] == list(backend_class(NAME).precisions)
    for row in probed.rows:
        assert row.status is status
        assert row.reason.startswith(reason)
        assert row.reason.isprintable()
        assert row.command


@pytest.mark.skipif(sys.platform == "win32", reason="it ends with an exit status of another kind there")
@pytest.mark.parametrize(("code", "name"), [(SEGFAULT, "SIGSEGV"), ("import os; os.abort()", "SIGABRT")])
def test_a_crash_of_native_code_is_one_line(
    code: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_onnxruntime_genai(monkeypatch, tmp_path, code)
    assert {row.reason for row in only(NAME).rows} == {f"its probe crashed ({name})."}


def test_a_runtime_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "pids"
    break_onnxruntime_genai(monkeypatch, tmp_path / "path", HANG.format(file=str(started)))
    probed = only(NAME, timeout_s=8.0)
    assert all(row.reason.startswith("its probe did not answer within") for row in probed.rows)
    assert not probed.lasting
    assert_gone(started)


def test_closing_the_iterator_ends_what_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "pids"
    break_onnxruntime_genai(monkeypatch, tmp_path / "path", HANG.format(file=str(started)))
    probing = probe([NAME, "scripted"])
    assert next(probing).backend == "scripted"
    deadline_s = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    probing.close()  # type: ignore[attr-defined]  # a generator, as every iterator of probes
    assert_gone(started)


def assert_gone(pids: Path) -> None:
    alive = [int(pid) for pid in pids.read_text().split() if psutil.pid_exists(int(pid))]
    assert [pid for pid in alive if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE] == []


def test_prints_of_a_runtime_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os; print('{\"event\": 1}', flush=True); os.write(1, b'native noise'); raise OSError('told')"
    break_onnxruntime_genai(monkeypatch, tmp_path, code)
    assert {row.reason for row in only(NAME).rows} == {"OSError: told"}


def test_a_missing_module_says_what_installs_it() -> None:
    cls = backend_class(NAME)
    for row in rows_from(cls, {"event": "missing", "module": "onnxruntime_genai"}):
        assert (row.status, row.command) == (Status.NOT_INSTALLED, cls.install_command)


def test_a_long_reason_is_cut() -> None:
    assert len(one_line("x" * 10_000)) == 240


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PHOTOFINISH_DATA_DIR", str(tmp_path))
    return tmp_path


def an_answer(lasting: bool = True) -> Probed:
    return Probed(NAME, every_precision(backend_class(NAME), Status.READY, "", ""), lasting)


@pytest.mark.usefixtures("data_folder")
def test_what_was_stored_is_read_back() -> None:
    store([an_answer()])
    assert cached_rows() == {NAME: an_answer().rows}


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"schema": 1, "backends": []}', '{"schema": 1, "backends": {"x": 1}}', "\0"]
)
def test_a_damaged_cache_is_none(damage: str, data_folder: Path) -> None:
    store([an_answer()])
    (data_folder / "probe.json").write_text(damage, encoding="utf-8")
    assert cached_rows() == {}


@pytest.mark.parametrize("change", [{"key": "other"}, {"rows": [{}]}, {"rows": None}, {"until_s": 0}, {"until_s": "x"}])
def test_an_entry_that_does_not_hold_any_more_is_left_out(change: dict[str, object], data_folder: Path) -> None:
    store([an_answer(), Probed("scripted", every_precision(backend_class("scripted"), Status.READY, "", ""))])
    file = data_folder / "probe.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["backends"][NAME] |= change
    file.write_text(json.dumps(content), encoding="utf-8")
    assert list(cached_rows()) == ["scripted"]


@pytest.mark.usefixtures("data_folder")
def test_an_answer_that_never_came_is_asked_for_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    store([an_answer(lasting=False)])
    assert NAME in cached_rows()
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    assert cached_rows() == {}


@pytest.mark.usefixtures("data_folder")
def test_a_package_of_another_version_makes_the_answer_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    store([an_answer()])
    monkeypatch.setattr("backends.probe_cache.package_versions", lambda *names: dict.fromkeys(names, "9.9"))
    assert cached_rows() == {}
