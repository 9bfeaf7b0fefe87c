"""Starts Photofinish: arguments -> comparison -> what came of it.

prompt -> comparison: template + tokenise once -> a worker process per lane -> token ids with their times
       -> comparison: text, metrics -> a live line per lane, then a table of all lanes side by side
"""

import argparse
import sys

from comparison import run_command
from comparison.default_lanes import default_lanes

PROMPT = "Can you introduce yourself?"


def main(arguments: list[str] | None = None) -> int:
    """Race the prompt over the lanes; the exit status is that of `python -m comparison run`."""
    parser = argparse.ArgumentParser(
        prog="python app.py", description="One prompt, several local LLM backends, side by side."
    )
    parser.add_argument(
        "--model",
        default="pocket-phi3",
        metavar="M",
        help="a catalogue name, a hub id or a local folder (default pocket-phi3)",
    )
    parser.add_argument(
        "--lane", action="append", metavar="LANE", help="backend[:precision[:device]][@key=value]...; may be repeated"
    )
    parser.add_argument("--prompt", default=PROMPT, metavar="TEXT", help=f"default {PROMPT!r}")
    args = parser.parse_args(arguments)
    lanes = args.lane or default_lanes()
    given = ["--model", args.model, "--prompt", args.prompt, *(word for lane in lanes for word in ("--lane", lane))]
    run = argparse.ArgumentParser()
    run_command.add_arguments(run)
    return run_command.run(run.parse_args(given))


if __name__ == "__main__":
    sys.exit(main())
