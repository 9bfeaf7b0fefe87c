"""A finished comparison as a table for a terminal: a lane a column, what went wrong beneath."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Lane = Mapping[str, Any]

UNDEFINED = "-"
FIRST_COLUMN = 15
"""Width of the names of the rows, the space beside them included."""
LANE_COLUMN = 21
"""Width that a lane needs, the space beside it included."""
STYLES = {"finished": "green", "failed": "bold red", "unavailable": "red", "cancelled": "yellow"}


def print_table(comparison: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a comparison (in its JSON form) to `console`, by default standard output; plain text where that is no terminal."""
    console = console or Console()
    console.print(_title(comparison), style="bold", soft_wrap=False)
    numbered = list(enumerate(comparison["lanes"]))
    per_table = max(1, (console.width - FIRST_COLUMN) // LANE_COLUMN)
    for start in range(0, len(numbered), per_table):
        console.print(_table(numbered[start : start + per_table]), "")
    for note, style in _notes(numbered):
        console.print(Text(note, style=style), soft_wrap=False)


def _title(comparison: Mapping[str, Any]) -> Text:
    model = comparison.get("model") or {}
    parts = (comparison.get("id"), model.get("name"), comparison.get("mode"))
    return Text(printable(", ".join(str(part) for part in parts if part)))


def _table(lanes: Sequence[tuple[int, Lane]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("lane", min_width=FIRST_COLUMN - 2)
    for index, lane in lanes:
        table.add_column(_heading(index, lane), justify="right", overflow="fold", max_width=LANE_COLUMN - 3)
    for name, cell in ROWS.items():
        cells = [cell(lane) for _, lane in lanes]
        if name in ALWAYS or any(cell != UNDEFINED for cell in cells):
            styles = [STYLES.get(lane["status"], "") if name == "status" else "" for _, lane in lanes]
            table.add_row(name, *(Text(printable(text), style) for text, style in zip(cells, styles, strict=True)))
    return table


def _heading(index: int, lane: Lane) -> Text:
    """The lane's number and its canonical form, a part a line."""
    backend, *rest = str(lane["lane"]).split(":", 2)
    parts = [part for text in rest for part in text.replace("@", "\n@").split("\n")]
    return Text(printable("\n".join((str(index), backend, *parts))))


def _status(lane: Lane) -> str:
    made_up = "\n(scripted)" if lane.get("backend") == "scripted" else ""
    return f"{lane['status']}{made_up}"


def _with_spread(name: str, form: Callable[[float], str]) -> Callable[[Lane], str]:
    """A cell with the median of a metric, and beneath it the interval over repeats."""

    def cell(lane: Lane) -> str:
        spread = (lane.get("summary") or {}).get(name) or {}
        middle, low, high = spread.get("median"), spread.get("low"), spread.get("high")
        if middle is None:
            return UNDEFINED
        if low is None or high is None or low == high:
            return form(middle)
        return f"{form(middle)}\n{form(low)} to {form(high)}"

    return cell


def _known(name: str, form: Callable[[Any], str]) -> Callable[[Lane], str]:
    return lambda lane: UNDEFINED if lane.get(name) is None else form(lane[name])


def _tokens(lane: Lane) -> str:
    runs = lane.get("runs") or []
    if not runs:
        return UNDEFINED
    reasons = sorted({str(run["finish_reason"]) for run in runs if run.get("finish_reason")})
    return f"{median(len(run['token_ids']) for run in runs):g}\n{', '.join(reasons)}".strip()


def _shared(lane: Lane) -> str:
    others = lane.get("shares_device_with") or []
    return f"with {', '.join(map(str, others))}" if others else UNDEFINED


def duration(seconds: float) -> str:
    """Seconds for people: three digits, in ms below a second."""
    return f"{_three_digits(seconds * 1000)} ms" if seconds < 1 else f"{_three_digits(seconds)} s"


def size(count: float) -> str:
    """Bytes for people, in powers of ten."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


ROWS: Mapping[str, Callable[[Lane], str]] = {
    "status": _status,
    "device": _known("device_name", str),
    "arithmetic": _known("compute_precision", str),
    "threads": _known("threads", str),
    "load": _known("load_s", duration),
    "warm-up": _known("warmup_s", duration),
    "TTFT": _with_spread("ttft_s", duration),
    "decode tok/s": _with_spread("decode_tokens_per_s", _three_digits),
    "ITL p50": _with_spread("itl_p50_s", duration),
    "ITL p95": _with_spread("itl_p95_s", duration),
    "tokens": _tokens,
    "peak memory": _known("peak_rss_bytes", size),
    "weights": _known("weights_bytes", size),
    "shares device": _shared,
}
ALWAYS = ("status", "load", "warm-up", "TTFT", "decode tok/s", "ITL p50", "ITL p95", "tokens", "peak memory", "weights")
"""Rows that are shown even when no lane has a value."""


def _notes(lanes: Sequence[tuple[int, Lane]]) -> Iterator[tuple[str, str]]:
    """Sentences to print beneath, each with its style: errors, warnings, and what the marks mean."""
    for index, lane in lanes:
        if error := lane.get("error"):
            yield printable(f"{index}: {lane['status']} ({error['kind']}): {error['message']}"), "red"
        for warning in (found for found in lane.get("warnings") or [] if found["kind"] != "log"):
            yield printable(f"{index}: {warning['kind']}: {warning['message']}"), "yellow"
    if any(lane.get("backend") == "scripted" for _, lane in lanes):
        yield "scripted: tokens and timing come from a script, not from a model.", ""
    if any(lane.get("shares_device_with") for _, lane in lanes):
        yield "Lanes that share a device slow one another down; solo mode runs them one after the other.", ""


def printable(text: str) -> str:
    """Messages come from runtimes, and may hold what would steer a terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in text)
