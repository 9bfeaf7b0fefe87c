"""The scripted backend does what its lane says, or other tests prove nothing."""

import itertools
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.base import GenerationOptions, LoadRequest, ModelFormat, Status
from backends.lane import LaneSyntaxError, parse_lane
from backends.scripted import ScriptedBackend


def loaded(**options: Any) -> ScriptedBackend:
    backend = ScriptedBackend()
    backend.load(LoadRequest(Path(), "fp32", "CPU", 1, Path(), {"rate": 100_000.0} | options))
    return backend


def ids(backend: ScriptedBackend, max_new_tokens: int = 1000, **options: Any) -> list[int]:
    return list(backend.generate([1, 2], GenerationOptions(max_new_tokens, **options), lambda: False))


def test_it_needs_nothing_and_says_what_it_is() -> None:
    assert {row.status for row in ScriptedBackend.probe()} == {Status.READY}
    assert ScriptedBackend.format is ModelFormat.NONE
    assert ScriptedBackend.label == "Scripted (no model)"


def test_the_same_prompt_gives_the_same_ids_and_another_prompt_others() -> None:
    backend = loaded(vocab=50)
    assert ids(backend) == ids(loaded(vocab=50))
    assert max(ids(backend)) < 50
    other = list(backend.generate([9], GenerationOptions(1000), lambda: False))
    assert other != ids(backend)


def test_it_ends_with_the_stop_id_after_so_many_tokens() -> None:
    emitted = ids(loaded(tokens=20, vocab=10), stop_ids=(3,))
    assert len(emitted) == 21
    assert emitted[-1] == 3
    assert 3 not in emitted[:-1]


def test_without_stop_ids_it_just_ends() -> None:
    assert len(ids(loaded(tokens=20))) == 20


def test_it_goes_on_past_the_stop_id_when_told_to() -> None:
    emitted = ids(loaded(tokens=20), 50, stop_ids=(3,), ignore_eos=True)
    assert len(emitted) == 50
    assert emitted[20] == 3


def test_the_text_can_be_chosen() -> None:
    assert ids(loaded(text="count", vocab=4, tokens=6)) == [0, 1, 2, 3, 0, 1]
    assert ids(loaded(text="8,9", tokens=5)) == [8, 9, 8, 9, 8]


def test_the_pace_does_not_drift() -> None:
    backend = loaded(rate=200.0, prefill=0.1)
    start_s = time.perf_counter()
    due_s = [time.perf_counter() - start_s for _ in backend.generate([1], GenerationOptions(81), lambda: False)]
    assert due_s[0] >= 0.1
    assert due_s[-1] == pytest.approx(0.5, abs=0.05)


def test_jitter_is_seeded_and_keeps_the_order() -> None:
    moments = list(itertools.islice(loaded(jitter=0.5, seed=4)._due_s(), 200))
    assert moments == list(itertools.islice(loaded(jitter=0.5, seed=4)._due_s(), 200))
    assert moments != list(itertools.islice(loaded(jitter=0.5, seed=5)._due_s(), 200))
    assert moments == sorted(moments)


def test_it_stops_in_the_prefill_and_between_tokens() -> None:
    assert list(loaded(prefill=3600.0).generate([1], GenerationOptions(5), lambda: True)) == []
    answers = iter([False, True])
    assert len(list(loaded(rate=0.01).generate([1], GenerationOptions(5), lambda: next(answers)))) == 1


def test_its_memory_can_grow_with_each_run() -> None:
    backend = loaded(grow=64, tokens=1)  # more than an allocator keeps back for the next
    before = psutil.Process().memory_info().rss
    ids(backend)
    ids(backend)
    assert psutil.Process().memory_info().rss - before > 100 << 20


@pytest.mark.parametrize(
    "lane", ["scripted@fail=maybe", "scripted@rate=fast", "scripted@text=hello", "scripted@vocab=0"]
)
def test_unusable_options_are_refused(lane: str) -> None:
    with pytest.raises(LaneSyntaxError):
        parse_lane(lane)


def test_the_lane_of_the_documents_can_be_written() -> None:
    lane = parse_lane("scripted@rate=50@tokens=750")
    assert str(lane) == "scripted:fp32:CPU@rate=50@tokens=750"
