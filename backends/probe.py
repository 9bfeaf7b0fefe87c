"""Asks each backend, in a subprocess of its own, what it can do here. Whatever happens there, the answer is rows."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import IO, Any

import psutil

from backends.base import Availability, Backend, Status
from backends.folders import REPOSITORY
from backends.parent_death import name_parent, tie_to_this_process
from backends.protocol import decode
from backends.registry import backend_class

AT_ONCE = 2
TIMEOUT_S = 25.0
PATIENCE = 8
"""A probe that is only starved, by a busy machine, may take this many times as long."""
CPU_STEP_S, STALLED_S = 0.03, 10.0
"""Starved is what got less CPU than the timeout, but some of it within the last seconds."""
POLL_S = 0.02
GONE_S = 5.0
REASON_CHARACTERS = 240
PROBE_ANEW = "python -m backends list --refresh"


@dataclass(frozen=True, slots=True)
class Probed:
    """A backend's rows. They are `lasting` unless only a slow machine may be to blame for them."""

    backend: str
    rows: tuple[Availability, ...]
    lasting: bool = True


def probe(names: Iterable[str], timeout_s: float = TIMEOUT_S) -> Iterator[Probed]:
    """Probe the backends `names`, two at a time; yields each as it answers, within `timeout_s` of its start.

    On a machine that is busy with other things, one that still gets on is given longer, up to `PATIENCE` times.
    Closing the iterator, or leaving it by an exception, ends the probes that still run.
    """
    waiting = list(names)
    with ExitStack() as ending:
        running: list[_Probe] = []
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(ending.enter_context(_Probe(waiting.pop(0), timeout_s)))
            time.sleep(POLL_S)
            for done in [each for each in running if each.is_over()]:
                running.remove(done)
                yield done.result()


class _Probe:
    """A probe that runs. Its output goes to files, so that nothing it starts can hold a pipe open."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.start_s = self.progress_s = time.monotonic()
        self.cpu_s = 0.0
        self.open = ExitStack()

    def __enter__(self) -> "_Probe":
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            self.stdout: IO[bytes] = opened.enter_context(tempfile.TemporaryFile())
            self.stderr: IO[bytes] = opened.enter_context(tempfile.TemporaryFile())
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backends.probe_worker", self.name],
                stdin=subprocess.DEVNULL,
                stdout=self.stdout,
                stderr=self.stderr,
                cwd=folder,
                env=_environment(),
            )
            opened.callback(end_tree, self.process)
            opened.callback(tie_to_this_process(self.process.pid))
            self.open = opened.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        self.open.close()

    def is_over(self) -> bool:
        if self.process.poll() is not None:
            return True
        limit_s = self.timeout_s * (PATIENCE if self._is_starved() else 1)
        return time.monotonic() - self.start_s > limit_s

    def _is_starved(self) -> bool:
        with suppress(psutil.Error):
            times = psutil.Process(self.process.pid).cpu_times()
            if times.user + times.system >= self.cpu_s + CPU_STEP_S:
                self.cpu_s, self.progress_s = times.user + times.system, time.monotonic()
        return self.cpu_s < self.timeout_s and time.monotonic() - self.progress_s < STALLED_S

    def result(self) -> Probed:
        """The rows; to be asked once, when it is over."""
        cls, code = backend_class(self.name), self.process.poll()
        if code is None:
            reason = f"its probe did not answer within {time.monotonic() - self.start_s:.0f} s"
            end_tree(self.process)
            return Probed(self.name, _failed(cls, reason), lasting=False)
        lines = _content(self.stdout).splitlines()
        try:
            return Probed(self.name, rows_from(cls, decode(lines[-1])))
        except (IndexError, KeyError, TypeError, ValueError):
            last_words = _content(self.stderr).decode(errors="replace").strip().rpartition("\n")[2]
            return Probed(self.name, _failed(cls, f"its probe {_end(code)}. {last_words}"))


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    paths = [str(REPOSITORY), environment.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"}
    name_parent(environment)
    return environment


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started, and wait until it is gone."""
    with suppress(psutil.NoSuchProcess):  # one that ended just now is as wanted
        family = psutil.Process(process.pid).children(recursive=True)
        for child in family:
            child.kill()
        process.kill()
        psutil.wait_procs(family, timeout=GONE_S)
    process.wait()


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _end(code: int) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})" if -code in set(signal.Signals) else f"crashed ({code})"
    if code > 0xFFFF:
        return f"crashed (0x{code:08X})"
    return "gave no answer" if code == 0 else f"ended with exit status {code}"


def rows_from(cls: type[Backend], answer: dict[str, Any]) -> tuple[Availability, ...]:
    """The rows of a probe's message. Raises KeyError, TypeError or ValueError when it is not one."""
    if answer["event"] == "missing":
        reason = f"the Python module {answer['module']!r} is missing"
        return every_precision(cls, Status.NOT_INSTALLED, reason, cls.install_command)
    if answer["event"] == "broken":
        return _failed(cls, str(answer["reason"]))
    return rows_from_json(answer["rows"])


def rows_from_json(rows: Sequence[dict[str, str]]) -> tuple[Availability, ...]:
    """Rows as `dataclasses.asdict` writes them. Raises KeyError, TypeError or ValueError when they are not."""
    return tuple(
        Availability(
            device=one_line(row["device"]),
            device_name=one_line(row["device_name"]),
            precision=one_line(row["precision"]),
            status=Status(row["status"]),
            reason=one_line(row["reason"]),
            command=one_line(row["command"]),
        )
        for row in rows
    )


def every_precision(cls: type[Backend], status: Status, reason: str, command: str) -> tuple[Availability, ...]:
    """A row for each precision of a backend that has only one thing to say."""
    return tuple(
        Availability(cls.default_device, "", precision, status, one_line(reason), command)
        for precision in cls.precisions
    )


def _failed(cls: type[Backend], reason: str) -> tuple[Availability, ...]:
    return every_precision(cls, Status.UNAVAILABLE, reason, PROBE_ANEW)


def one_line(text: str) -> str:
    """`text` in one line of bounded length, without characters that move a terminal's cursor."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= REASON_CHARACTERS else line[: REASON_CHARACTERS - 1] + "…"
