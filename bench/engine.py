"""`python -m bench.engine`: what the engine costs, measured against each runtime's bare loop in the same run.

Part 1: rounds in which a lane runs once through the engine and once in a bare loop (`bench.bare`), each in a process of its own
with the same threads on the same files; who goes first alternates. Reported: the ratio of the decode rates and the
difference of the TTFTs, median and 95 % bootstrap interval over the rounds. Part 2: the same on a model about ten times the
size of the bundled one, with random weights. Part 3: CPU seconds of the app per 1,000 tokens with 1 to 8 scripted
lanes at 200 tokens a second each.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from backends.base import GenerationOptions
from backends.lane import Lane, parse_lane
from backends.machine import machine_facts
from backends.models import Model, resolve_model
from comparison.contender import Contender
from comparison.engine import Comparison
from comparison.lane_record import RunPlan
from comparison.metrics import decode_tokens_per_s, ttft_s
from comparison.request import ComparisonRequest, Settings
from comparison.statistics import Summary, summary
from comparison.text import PromptText
from comparison.timeline import Timeline

LANES = (
    "transformers:fp32",
    "openvino-optimum:int8",
    "openvino-genai:int8",
    "openvino-genai:int4",
    "onnxruntime-genai:int4",
)
PROMPT = "What is the difference between prefill and decode?"
TIMEOUT_S = 600.0
SCRIPTED = "scripted@rate=200@tokens=1000"


@dataclass(frozen=True, slots=True)
class Against:
    """One lane: engine / bare loop for the decode rate, engine - bare loop in milliseconds for the TTFT."""

    lane: str
    bare_tokens_per_s: float
    decode_ratio: Summary
    ttft_difference_ms: Summary


class BareLoop:
    """A process of `bench.bare`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, lane: Lane, folder: Path, threads: int) -> "BareLoop":
        command = (sys.executable, "-m", "bench.bare", lane.backend, str(folder), str(threads))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=2**24
        )
        bare = cls(process)
        await bare._answer()
        return bare

    async def run(self, ids: tuple[int, ...], new: int) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"ids": ids, "new": new}).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), TIMEOUT_S)
        answer: dict[str, float] = json.loads(line)
        return answer

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


async def against_bare(lane: Lane, model: Model, rounds: int, new: int, work: Path) -> Against:
    """Measure one lane."""
    text = PromptText.from_folder(model.folder or Path())
    encoded = text.encode(PROMPT)
    plan = RunPlan(0, 0, 0, encoded.text, encoded.ids, encoded.tokenize_s, new)
    contender = Contender(lane, model, work / "engine.log", lambda _: None)
    await contender.prepare()
    await contender.load()
    await contender.warm_up(plan, TIMEOUT_S)
    if contender.record.error is not None or contender.prepared is None:
        raise SystemExit(f"{lane}: {contender.record.error}")
    bare = await BareLoop.start(lane, contender.prepared.folder, contender.threads)
    try:
        await bare.run(encoded.ids, 8)
        pairs = []
        for round_ in range(rounds + 1):
            order = (through_engine(contender, plan), bare.run(encoded.ids, new))
            if round_ % 2:
                second, first = await order[1], await order[0]
            else:
                first, second = await order[0], await order[1]
            pairs.append((first, second))
    finally:
        await bare.close()
        await contender.close()
    pairs = pairs[1:]  # the first round warms both
    return Against(
        str(lane),
        summary(theirs["decode_tokens_per_s"] for _, theirs in pairs).median or 0.0,
        summary(ours["decode_tokens_per_s"] / theirs["decode_tokens_per_s"] for ours, theirs in pairs),
        summary((ours["ttft_s"] - theirs["ttft_s"]) * 1000 for ours, theirs in pairs),
    )


async def through_engine(contender: Contender, plan: RunPlan) -> dict[str, float]:
    """One run of the contender; ends the program when the lane fails."""
    options = GenerationOptions(plan.max_new_tokens, ignore_eos=True)
    await contender.run(plan, options, None, TIMEOUT_S)
    run = contender.record.runs[-1]
    if contender.record.error is not None or run.t0_ns is None:
        raise SystemExit(f"{contender.lane}: {contender.record.error}")
    timeline = Timeline(run.t0_ns, tuple(run.token_ids), tuple(run.times_ns), len(plan.prompt_ids))
    return {"ttft_s": ttft_s(timeline) or 0.0, "decode_tokens_per_s": decode_tokens_per_s(timeline) or 0.0}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds per 1,000 tokens over all lanes: of the app, and of the workers, whose scripts cost next to nothing."""

    lanes: int
    tokens: int
    app_cpu_s: float
    workers_cpu_s: float
    slowest_tokens_per_s: float


async def scripted_cost(model: Model, lanes: int) -> Cost:
    """A race of `lanes` scripted lanes; only what happens between the first and the last token is counted."""
    request = ComparisonRequest(
        model, (parse_lane(SCRIPTED),) * lanes, (PROMPT,), Settings(max_new_tokens=2000, ignore_eos=False)
    )
    app = psutil.Process()
    cpu: list[float] = []

    def observe(_: int, event: Any) -> None:
        if type(event).__name__ in ("RunStarted", "RunFinished"):
            times = app.cpu_times()
            cpu.append(times.user + times.system)

    result = await Comparison(request, observe).run()
    runs = [lane["runs"][0] for lane in result["lanes"]]
    tokens = sum(len(run["token_ids"]) for run in runs)
    per_thousand = 1000 / tokens
    workers = sum(run["cpu_s"] for run in runs)
    slowest = min(run["decode_tokens_per_s"] for run in runs)
    return Cost(lanes, tokens, (cpu[-1] - cpu[0]) * per_thousand, workers * per_thousand, slowest)


def ten_times_larger(bundled: Model, folder: Path) -> Model:
    """A Phi-3 of about ten times the bundled model's parameters, random, with the bundled tokenizer."""
    from tokenizers import Tokenizer

    from training.model import Size, new_model, save_folder

    assert bundled.folder is not None
    tokenizer = Tokenizer.from_file(str(bundled.folder / "tokenizer.json"))
    target = folder / "tenfold"
    save_folder(new_model(Size(768, 2048, 12), tokenizer, seed=1), tokenizer, target)
    return replace(resolve_model(str(target)), name="tenfold")


def spread(value: Summary, digits: int) -> str:
    return f"{value.median:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def against_table(title: str, rows: list[Against]) -> Table:
    table = Table("lane", "bare tok/s", "decode, engine / bare", "TTFT, engine - bare (ms)", title=title)
    for row in rows:
        table.add_row(
            row.lane, f"{row.bare_tokens_per_s:.1f}", spread(row.decode_ratio, 3), spread(row.ttft_difference_ms, 2)
        )
    return table


def cost_table(costs: list[Cost]) -> Table:
    table = Table("lanes", "tokens", "app CPU s / 1,000 tokens", "workers CPU s / 1,000 tokens", "slowest lane tok/s")
    for cost in costs:
        figures = (f"{cost.app_cpu_s:.3f}", f"{cost.workers_cpu_s:.3f}", f"{cost.slowest_tokens_per_s:.1f}")
        table.add_row(str(cost.lanes), str(cost.tokens), *figures)
    return table


async def measure(args: argparse.Namespace, console: Console) -> None:
    model = resolve_model(args.model)
    lanes = [parse_lane(text) for text in args.lane or LANES]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = [await against_bare(lane, model, args.rounds, args.new, work) for lane in lanes]
        console.print(against_table(f"{model.name}, {args.rounds} rounds of {args.new} tokens", rows))
        if not args.no_large:
            large = ten_times_larger(model, work)
            rows = [await against_bare(lane, large, args.rounds, args.new // 2, work) for lane in lanes]
            console.print(against_table(f"ten times larger, {args.rounds} rounds of {args.new // 2} tokens", rows))
    console.print(cost_table([await scripted_cost(model, count) for count in (1, 2, 4, 8)]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", default="pocket-phi3")
    parser.add_argument("--lane", action="append", help=f"default: {', '.join(LANES)}")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--new", type=int, default=256, help="tokens of a run")
    parser.add_argument("--no-large", action="store_true", help="leave out the larger model")
    console = Console(width=120)
    facts = machine_facts()
    console.print(
        f"{time.strftime('%Y-%m-%d')}, {facts['cpu']}, {facts['cores']}, Python {facts['python']}", highlight=False
    )
    asyncio.run(measure(parser.parse_args(), console))


if __name__ == "__main__":
    main()
