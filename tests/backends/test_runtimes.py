"""What is peculiar to each runtime: the traps that would falsify a measurement."""

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from backends.base import GenerationOptions, Stamped
from backends.errors import Unavailable
from tests.backends.prompts import eight_prompts
from tests.backends.runtimes import generate, load

Prepared = Callable[[str], Path]
REAL_LANES = (
    "transformers:fp32:CPU",
    "openvino-optimum:int4:CPU",
    "openvino-genai:int4:CPU",
    "onnxruntime-genai:int4:CPU",
)
LONG_PROMPT = [5 + i % 1000 for i in range(900)]
UNUSED = Path("unused")


def prefill_cpu_s(backend: Any, prompt_ids: list[int]) -> float:
    """Processor time, which a busy machine does not change."""
    before = time.process_time()
    generate(backend, prompt_ids, 1)
    return time.process_time() - before


@pytest.mark.parametrize("lane", REAL_LANES)
def test_a_repeated_prompt_is_prefilled_again(lane: str, prepared: Prepared) -> None:
    backend, _ = load(lane, prepared(lane), UNUSED)
    generate(backend, LONG_PROMPT, 1)
    fresh = min(prefill_cpu_s(backend, [offset + token for token in LONG_PROMPT]) for offset in (1, 2, 3))
    repeated = min(prefill_cpu_s(backend, LONG_PROMPT) for _ in range(3))
    assert repeated > fresh / 2


@pytest.mark.parametrize("lane", REAL_LANES)
def test_idle_threads_sleep(lane: str, prepared: Prepared) -> None:
    backend, _ = load(lane, prepared(lane), UNUSED)
    generate(backend, LONG_PROMPT, 8)
    cpu_s = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - cpu_s < 0.1


@pytest.mark.parametrize("lane", REAL_LANES)
def test_seeds_draw_differently_unless_the_temperature_is_almost_0(
    lane: str, prepared: Prepared, bundled_model: Path
) -> None:
    backend, _ = load(lane, prepared(lane), UNUSED)
    prompt = eight_prompts(bundled_model)[0]
    drawn = {tuple(generate(backend, prompt, 24, temperature=2.0, seed=seed)) for seed in range(4)}
    assert len(drawn) > 1
    assert generate(backend, prompt, 12, temperature=0.001, top_p=0.9, seed=1) == generate(backend, prompt, 12)


@pytest.mark.parametrize("lane", ["openvino-optimum:int4:CPU", "openvino-genai:int4:CPU", "onnxruntime-genai:int4:CPU"])
def test_one_thread_is_one_thread(lane: str, prepared: Prepared) -> None:
    backend, _ = load(lane, prepared(lane), UNUSED, threads=1)
    generate(backend, LONG_PROMPT, 1)
    before, cpu_s = time.perf_counter(), time.process_time()
    generate(backend, LONG_PROMPT, 32)
    assert time.process_time() - cpu_s < 1.25 * (time.perf_counter() - before)


def test_ttft_and_tpot_agree_with_openvino_genais_own_metrics(prepared: Prepared) -> None:
    lane = "openvino-genai:fp32:CPU"
    backend: Any = load(lane, prepared(lane), UNUSED)[0]
    ttft, tpot = zip(*(_ratios_to_its_own_metrics(backend) for _ in range(9)), strict=True)
    # A busy machine only adds to our time, before the runtime takes the request up: the least is the undisturbed one.
    assert min(ttft) == pytest.approx(1, abs=0.02)
    assert median(tpot) == pytest.approx(1, abs=0.02)


def _ratios_to_its_own_metrics(backend: Any) -> tuple[float, float]:
    t0 = time.perf_counter_ns()
    tokens: list[Stamped] = list(backend.generate(LONG_PROMPT, GenerationOptions(64, ignore_eos=True), lambda: False))
    times = [token.time_ns for token in tokens]
    own = backend.perf_metrics
    tpot_ms = (times[-1] - times[0]) / (len(times) - 1) / 1e6
    return (times[0] - t0) / 1e6 / own.get_ttft().mean, tpot_ms / own.get_tpot().mean


def test_openvino_genai_stamps_every_token_where_it_is_made(prepared: Prepared) -> None:
    lane = "openvino-genai:int4:CPU"
    backend, _ = load(lane, prepared(lane), UNUSED)
    tokens = list(backend.generate(LONG_PROMPT[:50], GenerationOptions(128, ignore_eos=True), lambda: False))
    times = [token.time_ns for token in tokens if isinstance(token, Stamped)]
    assert len(times) == 128
    gaps_ns = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps_ns) > 0
    assert sum(gap > median(gaps_ns) / 10 for gap in gaps_ns) > 120, "tokens came in bunches"


@pytest.mark.parametrize("name", ["openvino-optimum", "openvino-genai"])
def test_a_compiled_model_is_kept_where_compiling_is_slow(name: str, prepared: Prepared, tmp_path: Path) -> None:
    """AUTO stands for a GPU or an NPU here: all but the CPU keep what they compile."""
    lane = f"{name}:int4:AUTO"
    model = prepared(lane)
    load.__wrapped__(lane, model, tmp_path)
    kept = list(tmp_path.glob("*.blob"))
    again = load.__wrapped__(lane, model, tmp_path)[1]
    assert kept
    assert again.cached_compile_s is not None
    assert again.first_compile_s is None


@pytest.mark.parametrize("name", ["openvino-optimum", "openvino-genai"])
def test_the_cpu_compiles_each_time_and_keeps_nothing(name: str, prepared: Prepared, tmp_path: Path) -> None:
    lane = f"{name}:int4:CPU"
    loaded = load.__wrapped__(lane, prepared(lane), tmp_path)[1]
    assert loaded.first_compile_s is not None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lane", ["openvino-optimum:int4:CPU", "openvino-genai:int4:CPU"])
def test_the_arithmetic_is_told_as_it_is(lane: str, prepared: Prepared) -> None:
    assert load(lane, prepared(lane), UNUSED)[1].compute_precision.endswith("+int8")
    exact = f"{lane}@arithmetic=f32"
    assert load(exact, prepared(exact), UNUSED)[1].compute_precision == "fp32"


def test_directml_is_refused_with_the_reason_where_there_is_none(prepared: Prepared) -> None:
    onnxruntime_genai = pytest.importorskip("onnxruntime_genai")
    if onnxruntime_genai.is_dml_available():
        pytest.skip("this machine has DirectML")
    with pytest.raises(Unavailable, match="DirectML"):
        load("onnxruntime-genai:int4:DML", prepared("onnxruntime-genai:int4:CPU"), UNUSED)


def test_onnxruntime_genai_ends_where_the_context_ends(prepared: Prepared) -> None:
    lane = "onnxruntime-genai:int4:CPU"
    folder = prepared(lane)
    context = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["context_length"]
    backend, _ = load(lane, folder, UNUSED)
    assert len(generate(backend, [5] * (context - 8), 64)) == 8
