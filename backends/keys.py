"""Parsers for the options of lanes. Each raises ValueError with words that complete "... is no value for @key: "."""

from collections.abc import Callable


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(f"it takes a whole number from {least} to {most}")
        return int(text)

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """A parser of numbers from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise ValueError(f"it takes a number from {least:g} to {most:g}")
        return value

    return parse


def one_of(*allowed: str) -> Callable[[str], str]:
    """A parser of the words `allowed`."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"it takes one of {', '.join(allowed)}")
        return text

    return parse
