"""Whether the backends compute the same model: the tokens of transformers fp32, or log-probabilities close to its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.backends.prompts import eight_prompts
from tests.backends.runtimes import generate, load

NEW_TOKENS = 64
EXACT_LANES = (
    "openvino-optimum:fp32:CPU@arithmetic=f32",
    "openvino-optimum:fp16:CPU@arithmetic=f32",
    "openvino-genai:fp32:CPU@arithmetic=f32",
    "openvino-genai:fp16:CPU@arithmetic=f32",
    "onnxruntime-genai:fp32:CPU",
)
MEAN_LOG_PROBABILITY_BOUNDS = {
    "transformers:bf16:CPU": 0.02,
    "openvino-optimum:fp16:CPU": 0.02,
    "openvino-optimum:int8:CPU": 0.04,
    "openvino-optimum:int4:CPU": 0.25,
    "onnxruntime-genai:fp16:CPU": 0.005,
    "onnxruntime-genai:int8:CPU": 0.04,
    "onnxruntime-genai:int4:CPU": 0.25,
}
"""The mean of |difference| over the reference's own tokens, in nats."""

Runs = Sequence[tuple[list[int], list[int]]]


@pytest.fixture(scope="session")
def reference(bundled_model: Path) -> Runs:
    """Prompts and what transformers in fp32 answers, greedy."""
    backend, _ = load("transformers:fp32:CPU", bundled_model, Path("unused"))
    return [(prompt, generate(backend, prompt, NEW_TOKENS)) for prompt in eight_prompts(bundled_model)]


@pytest.fixture(scope="session")
def reference_log_probabilities(bundled_model: Path, reference: Runs) -> np.ndarray:
    return log_probabilities("transformers:fp32:CPU", bundled_model, reference)


def log_probabilities(lane: str, model: Path, runs: Runs) -> np.ndarray:
    """Of each new token of `runs`, given all before it: one number for each, over all prompts."""
    backend, _ = load(lane, model, Path("unused"))
    found = []
    for prompt, answer in runs:
        logits = backend.score(prompt + answer)[len(prompt) - 1 : -1].astype(np.float64)
        log_sum = np.logaddexp.reduce(logits, axis=1)
        found.append(logits[np.arange(len(answer)), answer] - log_sum)
    return np.concatenate(found)


@pytest.mark.parametrize("lane", EXACT_LANES)
def test_fp32_arithmetic_gives_the_very_tokens_of_transformers(
    lane: str, prepared: Callable[[str], Path], reference: Runs
) -> None:
    backend, loaded = load(lane, prepared(lane), Path("unused"))
    assert loaded.compute_precision == "fp32"
    for prompt, answer in reference:
        assert generate(backend, prompt, NEW_TOKENS) == answer


@pytest.mark.parametrize("lane", MEAN_LOG_PROBABILITY_BOUNDS)
def test_less_precise_lanes_stay_close_in_log_probability(
    lane: str,
    prepared: Callable[[str], Path],
    reference: Runs,
    reference_log_probabilities: np.ndarray,
) -> None:
    distances = np.abs(log_probabilities(lane, prepared(lane), reference) - reference_log_probabilities)
    print(f"{lane}: mean {distances.mean():.5f}, largest {distances.max():.3f}")
    assert distances.mean() <= MEAN_LOG_PROBABILITY_BOUNDS[lane]


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_both_openvino_backends_answer_alike_on_one_export(
    precision: str, prepared: Callable[[str], Path], reference: Runs
) -> None:
    lanes = [f"{name}:{precision}:CPU@arithmetic=f32" for name in ("openvino-optimum", "openvino-genai")]
    one, other = (load(lane, prepared(lane), Path("unused"))[0] for lane in lanes)
    for prompt, _ in reference:
        assert generate(one, prompt, NEW_TOKENS) == generate(other, prompt, NEW_TOKENS)
