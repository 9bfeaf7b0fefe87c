"""What every registered backend promises, whatever its runtime. A new one is taken in by its line in the registry."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backends.base import Backend, GenerationOptions, ModelFormat, Status
from backends.folders import REPOSITORY
from backends.lane import PRECISIONS, parse_lane
from backends.probe import probe
from backends.registry import BACKENDS, backend_class
from tests.backends.runtimes import generate, load

NAMES = sorted(BACKENDS)
PROMPT = list(range(40, 60))
OTHER_PROMPT = list(range(200, 231))


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, prepared: Callable[[str], Path], tmp_path: Path) -> Backend:
    """Each backend in its default lane."""
    lane = parse_lane(request.param)
    model = tmp_path if lane.cls.format is ModelFormat.NONE else prepared(str(lane))
    return load(str(lane), model, Path("unused"))[0]


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_itself_completely(name: str) -> None:
    cls = backend_class(name)
    assert cls.name == name
    assert cls.label
    assert cls.default_precision in cls.precisions
    assert set(cls.precisions) <= set(PRECISIONS)
    assert all(key.doc for key in cls.keys.values())
    assert str(parse_lane(name)) == f"{name}:{cls.default_precision}:{cls.default_device}"


def test_all_modules_are_importable_without_any_runtime() -> None:
    runtimes = {module.partition(".")[0] for name in NAMES for module in backend_class(name).runtime_modules}
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(runtimes)!r}))\n"
        "from backends.registry import BACKENDS, backend_class\n"
        "print([backend_class(name).label for name in BACKENDS])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_its_probe_says_what_is_ready_and_why_the_rest_is_not(name: str) -> None:
    (probed,) = probe([name], timeout_s=200)
    assert any(row.status is Status.READY and row.device == backend_class(name).default_device for row in probed.rows)
    for row in probed.rows:
        assert row.precision in backend_class(name).precisions
        assert "\n" not in row.reason
        assert row.device_name if row.status is Status.READY else row.reason, row


def test_it_yields_exactly_as_many_tokens_as_asked_for(backend: Backend) -> None:
    assert len(generate(backend, PROMPT, 24)) == 24
    assert len(generate(backend, PROMPT, 1)) == 1


def test_it_starts_each_call_from_an_empty_kv_cache(backend: Backend) -> None:
    alone = generate(backend, PROMPT)
    generate(backend, OTHER_PROMPT)
    assert generate(backend, PROMPT) == alone


def test_it_takes_a_prompt_of_one_token(backend: Backend) -> None:
    assert len(generate(backend, [5], 4)) == 4


def test_it_stops_at_a_stop_id_and_yields_it(backend: Backend) -> None:
    stop_id = generate(backend, PROMPT, 8)[-1]
    answer = generate(backend, PROMPT, 200, ignore_eos=False, stop_ids=(stop_id,))
    assert answer.index(stop_id) == len(answer) - 1


def test_it_goes_on_past_stop_ids_when_told_to(backend: Backend) -> None:
    plain = generate(backend, PROMPT, 24)
    if backend.format is not ModelFormat.NONE:
        assert generate(backend, PROMPT, 24, stop_ids=(plain[3],)) == plain
    assert len(generate(backend, PROMPT, 24, stop_ids=(plain[3],))) == 24


def test_it_ends_within_two_tokens_of_a_wish_to_stop(backend: Backend) -> None:
    asked = 0

    def after_five() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    assert len(generate(backend, PROMPT, 200, should_stop=after_five)) <= 7


def test_it_survives_an_answer_that_nobody_reads_to_the_end(backend: Backend) -> None:
    whole = generate(backend, PROMPT)
    tokens = backend.generate(PROMPT, GenerationOptions(200, ignore_eos=True), lambda: False)
    next(tokens)
    tokens.close()  # type: ignore[attr-defined]
    assert generate(backend, PROMPT) == whole


def test_the_same_seed_draws_the_same_tokens(backend: Backend) -> None:
    sampled = [generate(backend, PROMPT, temperature=1.0, top_p=0.95, seed=seed) for seed in (1, 1)]
    assert sampled[0] == sampled[1]


def test_its_logits_agree_with_its_own_choice_or_it_says_that_it_has_none(backend: Backend) -> None:
    if type(backend).score is Backend.score:
        with pytest.raises(TypeError, match=re.escape(backend.label)):
            backend.score(PROMPT)
        return
    first = generate(backend, PROMPT, 1)
    logits = backend.score(PROMPT)
    assert logits.dtype == np.float32
    assert logits.shape[0] == len(PROMPT)
    assert [int(logits[-1].argmax())] == first


@pytest.mark.parametrize("name", [name for name in NAMES if backend_class(name).format is not ModelFormat.NONE])
def test_a_folder_without_a_model_is_an_error_with_a_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"\w"):
        load(name, tmp_path / "nothing", tmp_path)
