"""Packs samples into rows of tokens: each sample starts at position 0 and sees itself only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

OPEN_ROWS = 48
LONG_ROWS = 4
"""Samples that do not fit a row share batches of rows this many times as long, as often as their share of the tokens asks."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens`, `positions` and `labels` are int64 (rows, length); `labels` is -100 wherever there is nothing to learn;
    `mask` is bool (rows, 1, length, length), true where a query sees a key."""

    tokens: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    mask: torch.Tensor


class Samples:
    """The samples of a `train.npz` (see `training.corpus`)."""

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self.tokens, self.length, self.prompt = data["tokens"], data["length"], data["prompt"]
        self.start = np.concatenate([[0], np.cumsum(self.length)[:-1]])

    def __len__(self) -> int:
        return len(self.length)

    def batch(self, rows: list[list[int]], length: int) -> Batch:
        """`rows` of sample numbers as one batch of rows of `length` tokens; the rest of a row is padding that sees itself."""
        tokens = np.zeros((len(rows), length), dtype=np.int64)
        positions, labels = np.zeros_like(tokens), np.full_like(tokens, -100)
        document = np.full_like(tokens, -1)
        for row, numbers in enumerate(rows):
            at = 0
            for number in numbers:
                size, prompt, start = int(self.length[number]), int(self.prompt[number]), int(self.start[number])
                ids = self.tokens[start : start + size]
                tokens[row, at : at + size] = ids
                positions[row, at : at + size] = np.arange(size)
                labels[row, at + prompt - 1 : at + size - 1] = ids[prompt:]
                document[row, at : at + size] = number
                at += size
        causal = np.tril(np.ones((length, length), dtype=bool))
        mask = (document[:, :, None] == document[:, None, :]) & causal
        return Batch(*(torch.from_numpy(array) for array in (tokens, positions, labels, mask[:, None])))


def packed_rows(lengths: Iterator[tuple[int, int]], length: int) -> Iterator[list[int]]:
    """Rows of sample numbers whose lengths add up to at most `length`, from (number, length) pairs: first fit over open rows."""
    open_rows: list[tuple[int, list[int]]] = []
    for number, size in lengths:
        for at, (free, row) in enumerate(open_rows):
            if size <= free:
                row.append(number)
                open_rows[at] = (free - size, row)
                break
        else:
            open_rows.append((length - size, [number]))
            if len(open_rows) > OPEN_ROWS:
                fullest = min(range(len(open_rows)), key=lambda at: open_rows[at][0])
                yield open_rows.pop(fullest)[1]


def _shuffled(samples: Samples, numbers: np.ndarray, seed: int) -> Iterator[tuple[int, int]]:
    epoch = 0
    while True:
        for number in np.random.default_rng((seed, epoch)).permutation(numbers):
            yield int(number), int(samples.length[number])
        epoch += 1


def batches(samples: Samples, rows: int, length: int, seed: int) -> Iterator[tuple[list[list[int]], int]]:
    """Endless (rows of sample numbers, row length), the same for the same seed, so that a resumed run skips ahead.

    A batch holds about `rows * length` tokens.
    """
    everything = np.arange(len(samples))
    fits, most = samples.length <= length, LONG_ROWS * length
    short = packed_rows(_shuffled(samples, everything[fits], seed), length)
    longer = everything[~fits & (samples.length <= most)]
    long = packed_rows(_shuffled(samples, longer, seed + 1), most)
    share, owed = float(samples.length[longer].sum() / samples.length.sum()), 0.0
    while True:
        owed += share
        if owed >= 1:
            owed -= 1
            yield [next(long) for _ in range(max(1, rows // LONG_ROWS))], most
        else:
            yield [next(short) for _ in range(rows)], length
