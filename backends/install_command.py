"""`python -m backends install NAME`: for backends whose pins do not fit beside the others'."""

import argparse

from backends.registry import BACKENDS, backend_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the backend")


def run(args: argparse.Namespace) -> int:
    """Raises ValueError: no backend has an environment of its own today."""
    if args.name not in BACKENDS:
        raise ValueError(f"There is no backend {args.name!r}. Backends: {', '.join(BACKENDS)}.")
    cls = backend_class(args.name)
    if not cls.runtime_modules:
        raise ValueError(f"{cls.label} needs nothing installed.")
    raise ValueError(
        f"{cls.label} is not optional, it shares the app's environment. Install it with: {cls.install_command}"
    )
