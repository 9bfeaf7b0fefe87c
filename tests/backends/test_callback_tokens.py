"""Tokens from a callback of another thread, as an iterator."""

import threading
import time
from itertools import pairwise

import pytest

from backends.callback_tokens import CallbackTokens


def test_tokens_arrive_in_order_with_the_times_of_the_callback() -> None:
    tokens = CallbackTokens(lambda: False)

    def generation() -> None:
        for token_id in range(50):
            time.sleep(0.001)
            tokens.take(token_id)

    came = list(tokens.iterate(generation))
    assert [token.token_id for token in came] == list(range(50))
    assert all(earlier.time_ns < later.time_ns for earlier, later in pairwise(came))


def test_the_first_token_does_not_wait_for_the_second() -> None:
    tokens, read = CallbackTokens(lambda: False), threading.Event()

    def generation() -> None:
        tokens.take(1)
        assert read.wait(10)
        tokens.take(2)

    came = tokens.iterate(generation)
    assert next(came).token_id == 1
    read.set()
    assert next(came).token_id == 2


def test_what_the_runtime_raises_is_raised_after_its_tokens() -> None:
    tokens = CallbackTokens(lambda: False)

    def generation() -> None:
        tokens.take(1)
        raise RuntimeError("device lost")

    came = tokens.iterate(generation)
    assert next(came).token_id == 1
    with pytest.raises(RuntimeError, match="device lost"):
        next(came)


def test_a_closed_iterator_ends_the_generation() -> None:
    tokens, count = CallbackTokens(lambda: False), 0

    def generation() -> None:
        nonlocal count
        while tokens.take(count):
            count += 1
            time.sleep(0.001)

    came = tokens.iterate(generation)
    next(came)
    came.close()  # type: ignore[attr-defined]
    ended_at = count
    time.sleep(0.05)
    assert count == ended_at
