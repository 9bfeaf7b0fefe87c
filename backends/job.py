"""Long work in a process of its own (exports, downloads): started, followed, ended. `job_child.py` is the other side.

The child gets one JSON object on stdin, writes one JSON object a line on stdout, and everything that libraries print goes
to its log.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from backends.errors import PreparationFailed
from backends.folders import REPOSITORY
from backends.parent_death import name_parent, tie_to_this_process
from backends.protocol import decode, encode

POLL_S = 0.1
NEW_GROUP = 0x200
"""Windows' CREATE_NEW_PROCESS_GROUP."""
Event = dict[str, Any]


class PreparationStopped(PreparationFailed):
    """Somebody asked to stop; nothing half-made is left."""


def run_job(
    module: str,
    job: Mapping[str, Any],
    log: Path,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
    environment: Mapping[str, str] = {},
) -> None:
    """Run `python -m module` with `job` until it ends. `on_event` also gets an empty event ten times a second.

    Raises PreparationStopped, or PreparationFailed with the child's last words; whatever happens, the child is gone then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as log_stream:
        process = _start(module, log_stream, environment)
        try:
            release = tie_to_this_process(process.pid)
            try:
                failure = _follow(process, job, on_event, should_stop)
            finally:
                _end(process)
                release()
        finally:
            _end(process)
    if failure is not None:
        raise PreparationFailed(failure)
    if process.returncode != 0:
        raise PreparationFailed(_how_it_ended(process.returncode))


def _start(module: str, log: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    inherited = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"} | dict(environment)
    name_parent(inherited)
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=inherited,
        start_new_session=True,  # Ctrl-C is for us; we end the child
        creationflags=NEW_GROUP if sys.platform == "win32" else 0,
    )


def _follow(
    process: subprocess.Popen[bytes],
    job: Mapping[str, Any],
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> str | None:
    """Hand the child its job and pass on what it says, until it ends. Returns its own words where it failed."""
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    try:
        process.stdin.write(encode(dict(job)))
        process.stdin.close()
    except OSError:  # it ended before it read: its exit status says how
        process.wait()
    failure: str | None = None
    while True:
        if should_stop():
            raise PreparationStopped("Stopped; nothing half-made was left.")
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            on_event({})
            continue
        if line is None:
            process.wait()
            return failure
        event = decode(line)
        if event["event"] == "broken":
            failure = str(event["message"])
        else:
            on_event(event)


def _read(stream: IO[bytes], lines: "queue.SimpleQueue[bytes | None]") -> None:
    try:
        for line in stream:
            lines.put(line)
    except (OSError, ValueError):  # closed on our side: the child was ended
        pass
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was still to be written has no reader any more
                continue


def _how_it_ended(returncode: int) -> str:
    if returncode == -signal.SIGTERM or (sys.platform != "win32" and returncode == -signal.SIGKILL):
        return "its process was killed, most often because the memory ran out"
    if returncode < 0:
        return f"its process crashed ({signal.Signals(-returncode).name})"
    return f"its process ended with status {returncode}"
