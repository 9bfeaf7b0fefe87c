"""One worker as the engine sees it: started, loaded, asked, stopped and, whatever it does, ended.

The engine runs one asyncio loop in one dedicated thread that lives as long as the app, and every worker is started from it:
on Linux the kernel ends a worker when the *thread* that started it ends (`backends.parent_death`).
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from backends.base import GenerationOptions, LoadRequest
from backends.errors import LaneError, ProtocolBroken, TimedOut, Unavailable
from backends.parent_death import name_parent
from comparison.worker_ending import ending_error
from comparison.worker_events import Event, Failed, Finished, Imported, ModelLoaded, Started, Tokens
from comparison.worker_pipe import WorkerPipe

REPOSITORY = Path(__file__).resolve().parent.parent
PREFILL_GRACE_S = 2.0
CLOSE_GRACE_S = 3.0
TERMINATE_GRACE_S = 1.0
KILL_GRACE_S = 5.0
LOG_TAIL_LINES = 40
LOG_TAIL_BYTES = 64 * 1024
E = TypeVar("E", bound=Event)


def load_message(backend: str, request: LoadRequest) -> dict[str, Any]:
    """What `WorkerProcess.load` sends, from the request that the backend will see."""
    paths = {"model": str(request.model), "cache": str(request.cache)}
    rest = {"precision": request.precision, "device": request.device, "threads": request.threads}
    return {"backend": backend, **paths, **rest, "options": dict(request.options)}


class WorkerProcess:
    """A worker process. Every LaneError that its methods raise carries the end of its log in `log_tail`.

    After an error other than a failed `generate` the process is gone. All methods belong to the loop that started it.
    """

    def __init__(self, label: str, log_path: Path, pipe: WorkerPipe) -> None:
        self.label = label
        self.log_path = log_path
        self.pid = pipe.transport.get_pid()
        self._pipe = pipe
        self._asked_to_end = False
        self._request = 0
        self._running: int | None = None
        self._finished = asyncio.Event()

    @classmethod
    async def start(
        cls, label: str, log_path: Path, interpreter: str = sys.executable, folder: Path | None = None
    ) -> "WorkerProcess":
        """Start a worker that writes its log to `log_path`, anew, and works in `folder`, by default that of the log.

        Raises Unavailable when `interpreter` cannot be run.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        with log_path.open("wb") as log:
            try:
                _, pipe = await loop.subprocess_exec(
                    WorkerPipe,
                    *(interpreter, "-m", "backends.worker"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=folder or log_path.parent,
                    env=_environment(interpreter),
                    **_out_of_reach_of_ctrl_c(),
                )
            except OSError as problem:
                raise Unavailable(f"{interpreter} cannot be started: {problem.strerror}.") from problem
        pipe.tie()
        return cls(label, log_path, pipe)

    @property
    def alive(self) -> bool:
        return not self._pipe.ended.is_set()

    async def load(self, request: Mapping[str, Any], timeout_s: float | None = None) -> tuple[Imported, ModelLoaded]:
        """Load what `request` (of `load_message`) says, in `timeout_s` altogether. Raises a LaneError; the process is gone then."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        self._pipe.send({"op": "load", **request})
        imported = await self._expect(Imported, timeout_s)
        self.pid = imported.pid
        left_s = None if timeout_s is None else max(0.0, started_s + timeout_s - loop.time())
        return imported, await self._expect(ModelLoaded, left_s)

    async def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        *,
        go_at_ns: int | None = None,
        silence_s: float | None = None,
    ) -> AsyncGenerator[Started | Tokens | Finished, None]:
        """Started, Tokens again and again, then Finished. One at a time.

        Raises a LaneError; after one of kind `runtime`, `memory` or `prompt` the worker is as good as before. TimedOut when it
        says nothing for `silence_s`. When `stop`, `kill` or `close` end the worker meanwhile, Finished says `cancelled`.
        Whoever leaves early closes the iterator (`contextlib.aclosing`), which cancels the request.
        """
        if self._running is not None:
            raise RuntimeError(f"{self.label} is busy")
        self._request += 1
        request = self._running = self._request
        self._finished.clear()
        asked = {"request": request, "prompt_ids": list(prompt_ids), "options": asdict(options), "go_at_ns": go_at_ns}
        self._pipe.send({"op": "generate"} | asked)
        try:
            async with aclosing(self._events_of(request, silence_s)) as events:
                async for event in events:
                    yield event
        finally:
            self.cancel()
            self._running = None
            self._finished.set()

    def cancel(self) -> None:
        """Ask the running request to stop; it ends with Finished. Nothing happens when none runs."""
        if self._running is not None:
            self._pipe.send({"op": "cancel", "request": self._running})

    async def stop(self, grace_s: float = PREFILL_GRACE_S) -> bool:
        """Cancel, and end the worker when that is not heard for `grace_s`. Whether the worker is still there.

        To be called from another task than the one that iterates over `generate`, which goes on to Finished.
        """
        self.cancel()
        if self._running is not None:
            try:
                await asyncio.wait_for(self._finished.wait(), grace_s)
            except TimeoutError:
                await self.kill()
        return self.alive

    async def close(self, grace_s: float = CLOSE_GRACE_S) -> None:
        """Ask the worker to end, then make it. Returns when it is gone, within `grace_s` and a few seconds."""
        self._asked_to_end = True
        self._pipe.send({"op": "close"})
        self._pipe.close_stdin()
        if not await self._ends_within(grace_s):
            self._pipe.signal_all(kill=False)
            if not await self._ends_within(TERMINATE_GRACE_S):
                await self.kill()

    async def kill(self) -> None:
        """End the worker and what it started, at once."""
        self._asked_to_end = True
        await self._end_now()

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines of its log; nothing when somebody removed it."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    async def _events_of(
        self, request: int, silence_s: float | None
    ) -> AsyncGenerator[Started | Tokens | Finished, None]:
        latest_ns: int | None = None
        while True:
            event = await self._next(silence_s)
            if event is None:
                event = Finished(request, "cancelled")
            number = getattr(event, "request", None)
            if isinstance(number, int) and number < request:
                continue  # of a request that was left early
            if number != request or isinstance(event, Imported | ModelLoaded):
                raise await self._broken(f"It spoke of {event!r:.80} during request {request}.")
            if isinstance(event, Failed | Finished):
                self._running = None
            if isinstance(event, Failed):
                raise self._with_log(event.error)
            if isinstance(event, Finished):
                yield event
                return
            if isinstance(event, Started) != (latest_ns is None):
                raise await self._broken("Its request starts twice or not at all.")
            first_ns, last_ns = _span_ns(event)
            if first_ns < (latest_ns or 0):
                raise await self._broken("Its times go back.")
            latest_ns = last_ns
            yield event

    async def _expect(self, kind: type[E], timeout_s: float | None) -> E:
        event = await self._next(timeout_s)
        if isinstance(event, kind):
            return event
        await self._end_now()
        if isinstance(event, Failed):
            raise self._with_log(event.error)
        if event is None:
            raise self._with_log(self._ending())
        raise await self._broken(f"It spoke of {event!r:.80} while it loaded.")

    async def _next(self, timeout_s: float | None) -> Event | None:
        """The next event; None when the worker ended because we wanted it. Raises the LaneError otherwise."""
        try:
            async with asyncio.timeout(timeout_s):
                event = await self._pipe.next()
        except TimeoutError:
            raise await self._silent(timeout_s or 0.0) from None
        if isinstance(event, ProtocolBroken):
            await self._end_now()
            raise self._with_log(event)
        if event is None and not self._asked_to_end:
            raise self._with_log(self._ending())
        return event

    async def _silent(self, timeout_s: float) -> LaneError:
        half_line = self._pipe.half_line
        await self._end_now()
        if half_line:
            return self._with_log(ProtocolBroken("The worker stopped in the middle of a message; it was ended."))
        return self._with_log(TimedOut(f"The worker did not answer for {timeout_s:g} s and was ended."))

    async def _broken(self, what: str) -> LaneError:
        await self._end_now()
        return self._with_log(ProtocolBroken(f"The worker broke the protocol. {what}"))

    def _ending(self) -> LaneError:
        code = self._pipe.transport.get_returncode()
        return ending_error(code, half_line=self._pipe.half_line, asked=self._asked_to_end)

    def _with_log(self, error: LaneError) -> LaneError:
        error.log_tail = self.log_tail()
        return error

    async def _end_now(self) -> None:
        self._pipe.signal_all(kill=True)
        await self._ends_within(KILL_GRACE_S)

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._pipe.ended.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _span_ns(event: Started | Tokens) -> tuple[int, int]:
    if isinstance(event, Started):
        return event.t0_ns, event.t0_ns
    return event.times_ns[0], event.times_ns[-1]


def _environment(interpreter: str) -> dict[str, str]:
    """That of the app, so changed that any interpreter finds `backends` and nothing that lies in the working folder."""
    environment = dict(os.environ)
    paths = [str(REPOSITORY)]
    if interpreter == sys.executable:
        paths += filter(None, [environment.get("PYTHONPATH")])
    else:
        environment.pop("PYTHONHOME", None)
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    name_parent(environment)
    return environment


def _out_of_reach_of_ctrl_c() -> dict[str, Any]:
    """Ctrl-C in a terminal reaches the app alone, which then ends its workers in good order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
