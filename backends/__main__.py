"""`python -m backends`: what can run here, and making a model ready for it."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from backends.errors import LaneError

COMMANDS = {
    "list": ("backends.list_command", "what can run here, and why not"),
    "prepare": ("backends.prepare_command", "make a model ready for lanes"),
    "install": ("backends.install_command", "install an optional backend into an environment of its own"),
    "doctor": ("backends.doctor_command", "the list and the facts of this machine, as a report to paste"),
}
"""Name -> (a module with `add_arguments(parser)` and `run(args) -> exit status`, help). Only the chosen one is imported."""


def parser_for(chosen: str) -> argparse.ArgumentParser:
    """The parser of all commands, complete for the command `chosen`."""
    parser = argparse.ArgumentParser(prog="python -m backends", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_text) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        if name == chosen:
            import_module(module).add_arguments(command)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one command; 2 for unusable arguments, 1 when it failed, each with one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a console may not know every character
    args = parser_for(next((word for word in arguments if word in COMMANDS), "")).parse_args(arguments)
    try:
        status = import_module(COMMANDS[args.command][0]).run(args)
        sys.stdout.flush()
        return int(status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: `| head`
        return 0
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        return 130
    except ValueError as problem:  # LaneSyntaxError, and names that are none
        print(problem, file=sys.stderr)
        return 2
    except (LaneError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
