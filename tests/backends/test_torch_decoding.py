"""How the torch backends draw a token from logits."""

import math

import pytest

from backends.base import GenerationOptions
from backends.torch_decoding import choose

torch = pytest.importorskip("torch")
HALF_THREE_TWO = [math.log(0.2), math.log(0.5), math.log(0.3)]


def draws(count: int = 400, **options: float) -> list[int]:
    chance = torch.Generator().manual_seed(7)
    logits = torch.tensor(HALF_THREE_TWO)
    return [choose(logits, GenerationOptions(1, **options), chance) for _ in range(count)]  # type: ignore[arg-type]


def test_temperature_0_takes_the_likeliest() -> None:
    assert set(draws(temperature=0)) == {1}


def test_top_p_keeps_the_smallest_set_that_holds_it() -> None:
    assert set(draws(temperature=1, top_p=0.4)) == {1}
    assert set(draws(temperature=1, top_p=0.7)) == {1, 2}
    assert set(draws(temperature=1, top_p=1)) == {0, 1, 2}


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    drawn = draws(4000, temperature=1)
    shares = [drawn.count(token) / len(drawn) for token in range(3)]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.03)


def test_temperature_sharpens() -> None:
    drawn = draws(4000, temperature=0.5)
    weights = [0.04, 0.25, 0.09]
    assert drawn.count(1) / len(drawn) == pytest.approx(weights[1] / sum(weights), abs=0.03)
