"""`python -m backends prepare`: makes what lanes load, ahead of the show."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from backends.errors import LaneError
from backends.lane import Lane, parse_lane
from backends.models import Model, resolve_model
from backends.prepare import PreparationStopped, Prepared, Progress, prepare_many

UNUSABLE, FAILED, INTERRUPTED = 2, 1, 130
UNBROKEN = 1000
"""Columns where no terminal sets them: a line stays a line for what reads it."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what `prepare` takes."""
    parser.add_argument("--model", required=True, metavar="M", help="a catalogue name, a hub id or a folder")
    parser.add_argument(
        "--lane", required=True, action="append", metavar="LANE", help="backend[:precision[:device]][@key=value]..."
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare the hashes of what is there, not only sizes and times"
    )


def run(args: Namespace) -> int:
    """Prepare; returns the exit status: 0, 1 when a lane could not be prepared, 2 for unusable arguments, 130 on Ctrl-C."""
    try:
        model, lanes = resolve_model(args.model), [parse_lane(text) for text in args.lane]
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return UNUSABLE
    try:
        return _prepare(model, lanes, args.verify)
    except (KeyboardInterrupt, PreparationStopped):
        print("Stopped; nothing half-made was left.", file=sys.stderr)
        return INTERRUPTED


def _prepare(model: Model, lanes: list[Lane], verify: bool) -> int:
    with _shown() as on_progress:
        outcomes = prepare_many(model, lanes, on_progress, verify=verify)
    failures = [
        (lane, outcome) for lane, outcome in zip(lanes, outcomes, strict=True) if isinstance(outcome, LaneError)
    ]
    Console(width=None if sys.stdout.isatty() else UNBROKEN).print(_table(lanes, outcomes))
    for lane, outcome in zip(lanes, outcomes, strict=True):
        for note in outcome.manifest.notes if isinstance(outcome, Prepared) else ():
            print(f"{lane}: note: {note}")
    for lane, failure in failures:
        print(f"{lane}: {failure}", file=sys.stderr)
    return FAILED if failures else 0


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal; elsewhere a line for each new stage."""
    console = Console(stderr=True)
    if not console.is_terminal:
        told: list[tuple[str, str]] = []

        def print_line(progress: Progress) -> None:
            line = (progress.stage, "" if progress.fraction is not None else progress.message)
            if line not in told[-1:]:
                told.append(line)
                print(f"{progress.elapsed_s:7.1f} s  {progress.stage}  {progress.message}".rstrip(), file=sys.stderr)

        yield print_line
        return
    columns = (
        TextColumn("{task.fields[stage]:<12}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None, stage="checking")

        def draw(progress: Progress) -> None:
            total = None if progress.fraction is None else 1.0
            bars.update(
                task, total=total, completed=progress.fraction or 0, stage=progress.stage, description=progress.message
            )

        yield draw


def _table(lanes: list[Lane], outcomes: list[Prepared | LaneError]) -> Table:
    table = Table("lane", "state", "weights", "seconds", "folder", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for lane, outcome in zip(lanes, outcomes, strict=True):
        if isinstance(outcome, LaneError):
            table.add_row(str(lane), "failed", "", "", "")
            continue
        manifest = outcome.manifest
        seconds = f"{manifest.seconds:.1f}" if manifest.seconds else ""
        state = "reused" if outcome.reused else "made"
        table.add_row(str(lane), state, f"{manifest.weights_bytes / 1e6:,.1f} MB", seconds, str(outcome.folder))
    return table
