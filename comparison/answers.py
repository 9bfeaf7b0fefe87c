"""Shows on a terminal what the lanes said, as plain text."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from comparison.table import printable

MOST_CHARACTERS = 1200


def print_answers(comparison: Mapping[str, Any], console: Console) -> None:
    """Each lane's first answer; lanes that said the same share it. With several prompts only a hint where to find them."""
    lanes = list(enumerate(comparison["lanes"]))
    if len({run["prompt"] for _, lane in lanes for run in lane["runs"]}) > 1:
        console.print("The answers to all prompts stand in the JSON (--json FILE).")
        return
    said: dict[str, list[str]] = {}
    for index, lane in lanes:
        if lane["runs"] and lane["runs"][0]["text"]:
            said.setdefault(lane["runs"][0]["text"], []).append(f"{index} {lane['lane']}")
    for text, names in said.items():
        console.print(Text("\n" + ", ".join(names), style="bold"))
        shown = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."
        console.print(Text("\n".join(printable(line) for line in shown.splitlines())), soft_wrap=False)
