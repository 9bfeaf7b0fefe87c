"""One lane's life: its model prepared, a worker loaded and warmed, one run after the other, and its end, whatever the cause.

A contender never raises for what goes wrong in its lane: it records the error, tells the observer, and is `out`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from backends.base import GenerationOptions, LoadRequest
from backends.errors import LaneError, TimedOut
from backends.folders import data_folder
from backends.lane import Lane
from backends.models import Model
from backends.prepare import PreparationStopped, Prepared, Progress, prepare_many
from backends.threads import thread_count
from comparison.growth import MemoryGrowth
from comparison.lane_events import LaneEvent, LaneState, RunFinished, RunStarted, StateChanged, TokensArrived, Warned
from comparison.lane_record import LaneRecord, Run, RunPlan
from comparison.worker_events import Finished, Started, Tokens
from comparison.worker_process import WorkerProcess, load_message

WARM_UP_TOKENS = 4
LOAD_TIMEOUT_S = 1800.0


class Contender:
    """One lane on one model. All methods belong to the engine's loop; `observe` is told everything as it happens."""

    def __init__(self, lane: Lane, model: Model, log_path: Path, observe: Callable[[LaneEvent], None]) -> None:
        self.lane, self.model, self.log_path, self.observe = lane, model, log_path, observe
        self.threads = thread_count(lane.options.get("threads"))
        self.record = LaneRecord()
        self.prepared: Prepared | None = None
        self.worker: WorkerProcess | None = None
        self.used_at = 0.0
        self._growth = MemoryGrowth()
        self._warm_lengths: set[int] = set()
        self.stopping = False

    @property
    def out(self) -> bool:
        """Whether this lane has ended for this comparison."""
        return self.record.error is not None or self.record.cancelled

    @property
    def is_loaded(self) -> bool:
        return self.worker is not None and self.worker.alive

    def warn(self, kind: str, message: str) -> None:
        """Record a warning once and show it."""
        if (kind, message) not in self.record.warnings:
            self.record.warnings.append((kind, message))
            self.observe(Warned(kind, message))

    def enter(self, state: LaneState, message: str = "", fraction: float | None = None) -> None:
        self.observe(StateChanged(state, message, fraction))

    async def prepare(self) -> None:
        """Turn the model into what the backend loads; an existing preparation is reused."""
        await prepare_together([self])

    def take_prepared(self, outcome: Prepared | LaneError) -> None:
        """Go on with what a preparation came to."""
        if isinstance(outcome, LaneError):
            self.fail(outcome)
            return
        self.prepared = outcome
        self.record.weights_bytes = outcome.manifest.weights_bytes
        for note in outcome.manifest.notes:
            self.warn("preparation", note)

    async def load(self) -> None:
        """Start a worker and load the prepared model."""
        async with self._ending_the_lane():
            self.enter(LaneState.LOADING)
            assert self.prepared is not None
            self.worker = await WorkerProcess.start(str(self.lane), self.log_path)
            loading = self.worker.load(load_message(self.lane.backend, self._load_request()), LOAD_TIMEOUT_S)
            self.record.imported, self.record.loaded = await loading
            self._growth.loaded(self.record.loaded.rss_bytes)
            self._warm_lengths.clear()
            for kind, message in self.record.loaded.warnings:
                self.warn(kind, message)

    def _load_request(self) -> LoadRequest:
        assert self.prepared is not None
        cls, folder = self.lane.cls, self.prepared.folder
        options = {name: self.lane.option(name) for name in cls.keys if name != "threads"}
        cache = data_folder() / "compiled" / f"{folder.parent.name}-{folder.name}"
        cache.mkdir(parents=True, exist_ok=True)
        return LoadRequest(folder, self.lane.precision, self.lane.device, self.threads, cache, options)

    async def warm_up(self, plan: RunPlan, timeout_s: float) -> None:
        """Generate a few tokens that count nowhere: once after a load, and once per prompt length where the backend compiles it."""
        length = len(plan.prompt_ids)
        if self._warm_lengths and (not self.lane.cls.compiles_per_length or length in self._warm_lengths):
            return
        async with self._ending_the_lane():
            self.enter(LaneState.WARMING)
            options = GenerationOptions(min(WARM_UP_TOKENS, plan.max_new_tokens), ignore_eos=True)
            began = time.perf_counter()
            await self._generate(Run(plan, time.perf_counter_ns()), options, None, timeout_s, quiet=True)
            self.record.warmup_s = (self.record.warmup_s or 0.0) + time.perf_counter() - began
            self._warm_lengths.add(length)
        if not self.out:
            self.enter(LaneState.READY)

    async def run(self, plan: RunPlan, options: GenerationOptions, go_at_ns: int | None, timeout_s: float) -> None:
        """One measured run, released at `go_at_ns` or at once."""
        run = Run(plan, go_at_ns or time.perf_counter_ns())
        self.record.runs.append(run)
        async with self._ending_the_lane():
            self.enter(LaneState.PREFILL)
            await self._generate(run, options, go_at_ns, timeout_s)
            if run.finish_reason == "cancelled":
                self.record.cancelled = True
        self.observe(RunFinished(run.finish_reason))
        if self.record.error is None:
            self.enter(LaneState.CANCELLED if self.record.cancelled else LaneState.FINISHED)

    async def _generate(
        self, run: Run, options: GenerationOptions, go_at_ns: int | None, timeout_s: float, quiet: bool = False
    ) -> None:
        assert self.worker is not None
        self.used_at = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                generating = self.worker.generate(run.plan.prompt_ids, options, go_at_ns=go_at_ns, silence_s=timeout_s)
                async with aclosing(generating) as events:
                    async for event in events:
                        if isinstance(event, Finished):
                            run.finish_reason, run.cpu_s, run.rss_bytes = (
                                event.finish_reason, event.cpu_s, event.rss_bytes,
                            )  # fmt: skip
                            self.record.peak_rss_bytes = max(event.peak_rss_bytes or 0, self.record.peak_rss_bytes or 0)
                        else:
                            self._take(run, event, quiet)
        except TimeoutError:
            await self.worker.kill()
            error = TimedOut(f"The run did not end within {timeout_s:g} s; its worker was ended.")
            error.log_tail = self.worker.log_tail()
            raise error from None
        finally:
            self.used_at = time.monotonic()

    def _take(self, run: Run, event: Started | Tokens, quiet: bool) -> None:
        if isinstance(event, Started):
            run.t0_ns = event.t0_ns
            if not quiet:
                self.observe(RunStarted(run.plan.prompt, run.plan.repeat, run.started_s or 0.0))
            return
        first = not run.token_ids
        run.token_ids += event.ids
        run.times_ns += event.times_ns
        if quiet:
            return
        if first:
            self.enter(LaneState.STREAMING)
        assert run.t0_ns is not None
        self.observe(TokensArrived(event.ids, tuple((time_ns - run.t0_ns) / 1e9 for time_ns in event.times_ns)))

    async def settle(self) -> None:
        """Between runs: end a worker whose memory keeps growing; the next run loads it anew."""
        rss = next((run.rss_bytes for run in reversed(self.record.runs) if run.rss_bytes), None)
        if rss is not None and self.is_loaded and self._growth.keeps_growing(rss):
            self.warn("memory", f"{self._growth.described(rss)} Its worker was restarted.")
            await self.close()

    async def stop(self) -> None:
        """End what this lane is doing, within the time that a stop may take, and take it out of the comparison."""
        self.stopping = True
        if self.worker is not None and self.record.loaded is not None:
            await self.worker.stop()
        elif self.worker is not None:
            await self.worker.kill()

    async def close(self) -> None:
        """End the worker and give its memory back."""
        if self.worker is not None:
            worker, self.worker = self.worker, None
            await worker.close()

    def fail(self, error: LaneError) -> None:
        """Take the lane out of the comparison because of `error`."""
        self.record.error = error
        self.enter(LaneState.UNAVAILABLE if error.kind == "unavailable" else LaneState.FAILED, str(error))

    def cancel(self) -> None:
        """Take the lane out of the comparison because somebody stopped it."""
        if not self.out:
            self.record.cancelled = True
            self.enter(LaneState.CANCELLED)

    @asynccontextmanager
    async def _ending_the_lane(self) -> AsyncIterator[None]:
        try:
            yield
        except LaneError as error:
            if self.stopping:
                self.cancel()
            else:
                self.fail(error)


async def prepare_together(contenders: Sequence[Contender]) -> None:
    """Prepare lanes of one model and one format: their exports share the imports of the exporter, which take most of the time."""
    loop = asyncio.get_running_loop()

    def show(step: Progress) -> None:
        for contender in contenders:
            contender.enter(LaneState.PREPARING, step.message or step.stage, step.fraction)

    def progress(step: Progress) -> None:
        loop.call_soon_threadsafe(show, step)

    def should_stop() -> bool:
        return any(contender.stopping for contender in contenders)

    for contender in contenders:
        contender.enter(LaneState.PREPARING)
    lanes = [contender.lane for contender in contenders]
    try:
        outcomes = await asyncio.to_thread(prepare_many, contenders[0].model, lanes, progress, should_stop)
    except PreparationStopped:
        for contender in contenders:
            contender.cancel()
        return
    for contender, outcome in zip(contenders, outcomes, strict=True):
        contender.take_prepared(outcome)
