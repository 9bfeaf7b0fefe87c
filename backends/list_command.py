"""`python -m backends list`: each backend x device x precision, as a table or as JSON."""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backends.availability import BUNDLED_MODEL, availability, for_model, prepare_command
from backends.base import Availability, Status
from backends.machine import machine_facts
from backends.models import resolve_model
from backends.registry import BACKENDS, backend_class

PIPED_WIDTH = 1000
COLOURS = {
    Status.READY: "green",
    Status.NEEDS_PREPARATION: "yellow",
    Status.NOT_INSTALLED: "cyan",
    Status.UNAVAILABLE: "red",
}
Rows = dict[str, tuple[Availability, ...]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--refresh", action="store_true", help="probe anew instead of using the last answers")
    parser.add_argument(
        "--model", default=BUNDLED_MODEL, help=f"the model that lanes are for (default: {BUNDLED_MODEL})"
    )


def run(args: argparse.Namespace) -> int:
    rows = collect(args.refresh, args.model)
    if args.json:
        print(json.dumps(as_json(rows), indent=2))
    else:
        print_table(rows, args.model)
    return 0


def collect(refresh: bool, model: str) -> Rows:
    """Every backend's rows, in the registry's order, with a line on a terminal about who is still being asked.

    Raises ValueError when `model` names none.
    """
    resolve_model(model)
    rows: Rows = {}
    with Console(stderr=True).status("Looking what can run here ...") as status:
        for probed in availability(refresh):
            rows[probed.backend] = for_model(probed, model)
            missing = [backend_class(name).label for name in BACKENDS if name not in rows]
            status.update(f"Asking {', '.join(missing)} ..." if missing else "")
    return {name: rows[name] for name in BACKENDS}


def as_json(rows: Rows) -> dict[str, Any]:
    """The document of `--json`."""
    return {
        "schema": 1,
        "machine": machine_facts(),
        "rows": [
            {
                "backend": name,
                "label": backend_class(name).label,
                "device": row.device,
                "device_name": row.device_name,
                "precision": row.precision,
                "status": row.status.value,
                "reason": row.reason,
                "command": row.command,
            }
            for name, backend_rows in rows.items()
            for row in backend_rows
        ],
    }


def print_table(rows: Rows, model: str) -> None:
    """Print the rows grouped by backend, as wide as the terminal and without repeating a note below itself.

    Into a pipe every row is one whole line, without colour.
    """
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else PIPED_WIDTH)
    with console.capture() as captured:
        console.print(_table(rows, repeat_notes=not terminal))
        if any(row.status is Status.NEEDS_PREPARATION for group in rows.values() for row in group):
            console.print("\nTo prepare a lane:", Text(prepare_command(model, "LANE")), soft_wrap=True)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _table(rows: Rows, repeat_notes: bool) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, group in rows.items():
        table.add_row(Text(backend_class(name).label, style="bold"))
        for before, row in zip((None, *group), group, strict=False):
            lane = f"  {name}:{row.precision}:{row.device}"
            repeated = before is not None and note(before) == note(row) and not repeat_notes
            said = Text("" if repeated else note(row))
            table.add_row(Text(lane), Text(row.status.value, style=COLOURS[row.status]), said)
    return table


def note(row: Availability) -> str:
    """What to say beside a status: the device of a lane that can run, the reason and the way out of another."""
    if row.status in (Status.READY, Status.NEEDS_PREPARATION):
        return row.device_name
    return f"{row.reason}. {row.command}" if row.command else row.reason


def all_rows(rows: Rows) -> Iterable[tuple[str, Availability]]:
    """Pairs (backend, row)."""
    return ((name, row) for name, group in rows.items() for row in group)
