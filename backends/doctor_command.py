"""`python -m backends doctor`: a report in Markdown to paste into an issue."""

import argparse
from collections.abc import Iterable, Iterator

import psutil

from backends.availability import BUNDLED_MODEL
from backends.drivers import drivers
from backends.folders import data_folder
from backends.list_command import all_rows, collect, note
from backends.machine import machine_facts

GIB = 1024**3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refresh", action="store_true", help="probe anew instead of using the last answers")
    parser.add_argument(
        "--model", default=BUNDLED_MODEL, help=f"the model that lanes are for (default: {BUNDLED_MODEL})"
    )


def run(args: argparse.Namespace) -> int:
    rows = collect(args.refresh, args.model)
    print("# Photofinish on this machine\n")
    print_table(("Fact", "Value"), facts())
    print(f"\n## Lanes for {args.model}\n")
    print_table(
        ("Lane", "Status", "Note"),
        ((f"`{name}:{row.precision}:{row.device}`", row.status.value, note(row)) for name, row in all_rows(rows)),
    )
    print("\n## Packages\n")
    print_table(("Package", "Version"), machine_facts()["packages"].items())
    print("\n## Drivers and devices of the operating system\n")
    print_table(("Name", "Version"), drivers().items())
    return 0


def facts() -> Iterator[tuple[str, str]]:
    """The machine in pairs of words; what is free is as of now."""
    machine = machine_facts()
    yield "CPU", machine["cpu"]
    yield "Cores", f"{machine['cores']['physical'] or '?'} physical, {machine['cores']['logical']} logical"
    yield "Memory", f"{machine['memory_bytes'] / GIB:.1f} GiB, {psutil.virtual_memory().available / GIB:.1f} GiB free"
    yield "Disk of the data folder", _free_disk()
    yield "Operating system", machine["os"]
    yield "Python", machine["python"]


def _free_disk() -> str:
    try:
        return f"{psutil.disk_usage(str(data_folder())).free / GIB:.1f} GiB free"
    except OSError as problem:
        return f"cannot be used: {problem}"


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a Markdown table, or a dash where there is nothing to show."""
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    if not lines:
        print("None found.")
        return
    print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    print("\n".join(f"| {line} |" for line in lines))
