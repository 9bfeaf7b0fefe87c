"""`python -m comparison`: comparisons from the command line."""

import argparse
import sys

from comparison import run_command


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 all lanes finished, 1 some lane did not, 2 unusable arguments, 130 interrupted before there was a result."""
    parser = argparse.ArgumentParser(prog="python -m comparison", description="One prompt, several local LLM backends.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run prompts on lanes and print what came of it")
    run_command.add_arguments(run)
    run.set_defaults(run=run_command.run)
    args = parser.parse_args(arguments)
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
