"""Runs a comparison: prepares, loads and warms the lanes, lets them go together or one by one, and records everything.

Lanes are prepared and loaded one after another, so that neither their load times nor each other's warm-up disturb what is
measured. Runs go round by round: every lane runs a prompt once before any lane runs the next. In a `race` a round is
released at one moment for all; in `solo` the lanes take turns, and each round begins with another lane.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.base import ModelFormat
from backends.download import ensure_text_files
from backends.errors import LaneError, PromptRefused
from backends.progress import Reporter
from backends.tokenizer_json import tokenizer_json
from comparison.contender import Contender, prepare_together
from comparison.devices import sharing
from comparison.lane_events import LaneEvent, LaneState, Observer
from comparison.lane_record import RunPlan
from comparison.memory import FreeBytes, free_bytes
from comparison.pool import WorkerPool
from comparison.request import ComparisonRequest, Mode
from comparison.result import as_json
from comparison.text import EncodedPrompt, PromptText
from comparison.worker_logs import new_log_folder

LEAD_NS = 40_000_000
LEAD_PER_LANE_NS = 5_000_000
"""A race is released this far ahead, so that every worker has its request in hand when the moment comes."""


class Comparison:
    """One comparison. `run` may be called once, in a loop whose thread outlives the workers; `stop` at any time in that loop."""

    def __init__(self, request: ComparisonRequest, observe: Observer, free: FreeBytes = free_bytes) -> None:
        self.request = request
        self.id = uuid.uuid4().hex
        self.created = datetime.now(UTC)
        self.stopping = False
        logs = new_log_folder(self.id)
        self.contenders = [
            self._contender(index, logs / f"lane-{index}.log", observe) for index in range(len(request.lanes))
        ]
        self.pool = WorkerPool(self.contenders, free)
        self.shares = sharing(request.lanes) if request.mode is Mode.RACE else [[] for _ in request.lanes]
        self.model_folder: Path | None = None
        self._text: PromptText | None = None

    def _contender(self, index: int, log_path: Path, observe: Observer) -> Contender:
        def told(event: LaneEvent) -> None:
            observe(index, event)

        return Contender(self.request.lanes[index], self.request.model, log_path, told)

    @property
    def racing(self) -> list[Contender]:
        """The lanes that are still in."""
        return [contender for contender in self.contenders if not contender.out]

    async def run(self) -> dict[str, Any]:
        """Do everything and return the comparison as JSON. Raises LaneError only when there is no model to begin with."""
        try:
            self._text = await asyncio.to_thread(self._read_text)
            plans = self._plans(self._text)
            self._mark_sampling()
            if self.racing:
                await self._get_ready(plans)
            for round_plans in self._rounds(plans):
                if not self.racing:
                    break
                await self._round(round_plans)
                for contender in self.racing:
                    await contender.settle()
        finally:
            await self._close()
        return as_json(self)

    async def stop(self) -> None:
        """Stop every lane; what was measured so far stays."""
        self.stopping = True
        await asyncio.gather(*(contender.stop() for contender in self.contenders))

    def text(self, token_ids: list[int]) -> str:
        """The text of an answer, without its stop token."""
        assert self._text is not None
        return self._text.decode(token_ids)

    def _read_text(self) -> PromptText:
        reporter = Reporter(should_stop=lambda: self.stopping)
        self.model_folder = ensure_text_files(self.request.model, reporter)
        return PromptText.from_folder(self.model_folder, tokenizer_json(self.model_folder, reporter))

    def _plans(self, text: PromptText) -> list[RunPlan]:
        """The first repeat's runs. A prompt that cannot be run takes all lanes out; there is no fair comparison without it."""
        plans = []
        for index, prompt in enumerate(self.request.prompts):
            try:
                plans.append(self._plan(text, index, text.encode(prompt, self.request.settings.system)))
            except PromptRefused as refusal:
                which = f"Prompt {index + 1}: " if len(self.request.prompts) > 1 else ""
                for contender in self.racing:
                    contender.fail(PromptRefused(f"{which}{refusal}"))
        return plans

    def _plan(self, text: PromptText, index: int, encoded: EncodedPrompt) -> RunPlan:
        wanted = self.request.settings.max_new_tokens
        room = text.fit(encoded.ids, wanted)
        notices = [*encoded.warnings, *filter(None, [text.fit_warning(encoded.ids, wanted)])]
        for contender in self.racing:
            for kind, message in notices:
                contender.warn(kind, message)
        return RunPlan(index, 0, index, encoded.text, encoded.ids, encoded.tokenize_s, room)

    def _mark_sampling(self) -> None:
        if self.request.settings.temperature > 0:
            for contender in self.racing:
                contender.warn("sampling", "Tokens were sampled: the lanes' answers are not comparable token by token.")

    async def _get_ready(self, plans: list[RunPlan]) -> None:
        for format in ModelFormat:
            together = [contender for contender in self.racing if contender.lane.cls.format is format]
            if together and not self.stopping:
                await prepare_together(together)
        if self.stopping:
            for contender in self.racing:
                contender.cancel()
        if self.request.mode is Mode.RACE:
            for contender in self.racing:
                await self._make_ready(contender, plans[0], keep=self.racing)
        for contender in self.racing:
            contender.enter(LaneState.QUEUED)

    async def _make_ready(self, contender: Contender, plan: RunPlan, keep: list[Contender]) -> None:
        """Loaded and warm for `plan`, with room made for it by closing idle lanes that are not in `keep`."""
        if not contender.out and not contender.is_loaded:
            try:
                await self.pool.make_room(contender, keep)
            except LaneError as error:
                contender.fail(error)
                return
            await self._unless_stopped(contender, contender.load())
        if not contender.out:
            await self._unless_stopped(contender, contender.warm_up(plan, self.request.settings.timeout_s))

    async def _unless_stopped(self, contender: Contender, step: Any) -> None:
        if self.stopping:
            step.close()
            contender.cancel()
        else:
            await step

    def _rounds(self, plans: list[RunPlan]) -> Iterator[RunPlan]:
        order = 0
        for repeat in range(self.request.repeats):
            for plan in plans:
                yield replace(plan, repeat=repeat, order=order)
                order += 1

    async def _round(self, plan: RunPlan) -> None:
        if self.request.mode is Mode.RACE:
            for contender in self.racing:
                await self._make_ready(contender, plan, keep=self.racing)
            lead_ns = LEAD_NS + LEAD_PER_LANE_NS * len(self.racing)
            await self._release(self.racing, plan, time.perf_counter_ns() + lead_ns)
            return
        for position, contender in enumerate(_rotated(self.racing, plan.order)):
            await self._make_ready(contender, plan, keep=[contender])
            in_turn = replace(plan, order=plan.order * len(self.contenders) + position)
            await self._release([contender], in_turn, None)

    async def _release(self, contenders: list[Contender], plan: RunPlan, go_at_ns: int | None) -> None:
        assert self._text is not None
        options = self.request.settings.generation(plan.max_new_tokens, self._text.stop_ids, plan.repeat)
        timeout_s = self.request.settings.timeout_s
        runs = [
            self._unless_stopped(contender, contender.run(plan, options, go_at_ns, timeout_s))
            for contender in contenders
            if not contender.out
        ]
        await asyncio.gather(*runs)

    async def _close(self) -> None:
        await asyncio.gather(*(contender.close() for contender in self.contenders))


def _rotated(contenders: list[Contender], by: int) -> list[Contender]:
    at = by % len(contenders) if contenders else 0
    return contenders[at:] + contenders[:at]
