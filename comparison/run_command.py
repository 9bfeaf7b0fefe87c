"""`python -m comparison run`: arguments -> request -> engine -> table and JSON."""

import asyncio
import json
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rich.console import Console

from backends.errors import LaneError
from backends.json_file import write_json
from backends.lane import parse_lane
from backends.models import resolve_model
from comparison.answers import print_answers
from comparison.engine import Comparison
from comparison.prompt_file import read_prompts
from comparison.request import BadRequest, ComparisonRequest, Mode, Settings
from comparison.table import print_table
from comparison.terminal import live_progress

ALL_FINISHED, SOME_FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what `run` takes."""
    defaults = Settings()
    parser.add_argument("--model", required=True, metavar="M", help="a catalogue name, a hub id or a local folder")
    parser.add_argument(
        "--lane",
        required=True,
        action="append",
        metavar="LANE",
        help="backend[:precision[:device]][@key=value]...; may be repeated",
    )
    prompts = parser.add_mutually_exclusive_group(required=True)
    prompts.add_argument("--prompt", metavar="TEXT")
    prompts.add_argument(
        "--prompts",
        metavar="FILE",
        help="a prompt set (JSON, see assets/prompts), its name there, or a text file with a prompt a line",
    )
    parser.add_argument("--system", default="", metavar="TEXT", help="system prompt")
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=defaults.max_new_tokens,
        metavar="N",
        help=f"default {defaults.max_new_tokens}",
    )
    parser.add_argument(
        "--mode",
        choices=[mode.value for mode in Mode],
        default=Mode.RACE.value,
        help="all lanes at once, or one after the other (default race)",
    )
    parser.add_argument("--repeats", type=int, default=1, metavar="R", help="how often each prompt runs (default 1)")
    parser.add_argument("--ignore-eos", action="store_true", help="go on past stop tokens, up to the cap")
    parser.add_argument(
        "--temperature", type=float, default=defaults.temperature, metavar="T", help="0, the default, is greedy"
    )
    parser.add_argument("--top-p", type=float, default=defaults.top_p, metavar="P")
    parser.add_argument("--seed", type=int, default=defaults.seed, metavar="S")
    parser.add_argument(
        "--timeout",
        type=float,
        default=defaults.timeout_s,
        metavar="S",
        help=f"seconds that one run may take (default {defaults.timeout_s:g})",
    )
    parser.add_argument("--json", metavar="FILE", help="write the comparison here; - for standard output")


def run(args: Namespace) -> int:
    """Run a comparison; returns the exit status."""
    try:
        request = _request(args)
        _check_writable(args.json)
    except ValueError as problem:
        print(" ".join(str(problem).split()), file=sys.stderr)
        return UNUSABLE
    try:
        result = asyncio.run(_run(request))
    except KeyboardInterrupt:
        print("Interrupted; there is no result.", file=sys.stderr)
        return INTERRUPTED
    except (LaneError, OSError) as problem:
        print(problem, file=sys.stderr)
        return UNUSABLE
    if args.json != "-":
        console = Console()
        print_table(result, console)
        print_answers(result, console)
    if args.json:
        try:
            _write(result, args.json)
        except OSError as problem:
            print(f"The result could not be written to {args.json}: {problem.strerror}.", file=sys.stderr)
            return UNUSABLE
    return ALL_FINISHED if all(lane["status"] == "finished" for lane in result["lanes"]) else SOME_FAILED


def _request(args: Namespace) -> ComparisonRequest:
    settings = Settings(
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        ignore_eos=args.ignore_eos,
        system=args.system,
        timeout_s=args.timeout,
    )
    return ComparisonRequest(
        model=resolve_model(args.model),
        lanes=tuple(parse_lane(text) for text in args.lane),
        prompts=(args.prompt,) if args.prompts is None else read_prompts(args.prompts),
        settings=settings,
        mode=Mode(args.mode),
        repeats=args.repeats,
    )


def _check_writable(file: str | None) -> None:
    if not file or file == "-":
        return
    path = Path(file)
    if path.is_dir():
        raise BadRequest(f"--json {file} is a folder; name a file.")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as problem:
        raise BadRequest(f"--json {file}: no file can be written there ({problem.strerror}).") from problem


async def _run(request: ComparisonRequest) -> dict[str, Any]:
    with live_progress(request.lanes) as observe:
        comparison = Comparison(request, observe)
        running = asyncio.ensure_future(comparison.run())
        _stop_on_ctrl_c(comparison)
        return await running


def _stop_on_ctrl_c(comparison: Comparison) -> None:
    """Ctrl-C, or being told to end, stops the lanes in good order, and what was measured is still shown and written.

    A second one ends everything.
    """
    loop = asyncio.get_running_loop()
    stops: list[Future[None]] = []

    def stop(*_: object) -> None:
        if stops:
            raise KeyboardInterrupt
        stops.append(asyncio.run_coroutine_threadsafe(comparison.stop(), loop))

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # SIGHUP: the terminal was closed; not on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)


def _write(result: dict[str, Any], file: str) -> None:
    if file == "-":
        json.dump(result, sys.stdout, indent=1)
        print()
    else:
        write_json(Path(file), result)
