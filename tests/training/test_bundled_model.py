"""The model that ships: its folder is what every backend expects, and it still knows what its card says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.corpus import held_out_samples
from training.evaluate import Answer, Model, mixed_prompts, offtopic_prompts
from training.samples import Sample
from training.scoring import contains_key, has_repetition_loop, is_exact

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "models" / "pocket-phi3"


def config(name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return content


def test_the_folder_is_a_small_phi3_that_every_exporter_takes() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 32e6
    shape = config("config.json")
    assert shape["architectures"] == ["Phi3ForCausalLM"]
    assert "auto_map" not in shape
    for width in (shape["hidden_size"], shape["intermediate_size"]):
        assert isinstance(width, int)
        assert width % 128 == 0
    heads = shape["num_attention_heads"]
    assert isinstance(heads, int)
    assert shape["hidden_size"] == heads * 64
    assert isinstance(shape["max_position_embeddings"], int)
    assert shape["max_position_embeddings"] >= 1024
    assert {weights.dtype for weights in load_file(FOLDER / "model.safetensors").values()} == {torch.float16}


def test_tokenizer_and_stop_ids() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    stops = config("generation_config.json")["eos_token_id"]
    assert tokenizer.convert_ids_to_tokens(stops) == ["<|end|>", "<|endoftext|>"]
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi 42"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|system|>\nBe kind.<|end|>\n<|user|>\nHi 42<|end|>\n<|assistant|>\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    for control in ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"):
        assert tokenizer.convert_tokens_to_ids(control) in ids


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FOLDER)


def share(answers: list[Answer], passed: list[bool]) -> float:
    assert len(answers) == len(passed) > 0
    return sum(passed) / len(passed)


def of_kind(kind: str) -> list[Sample]:
    return [sample for sample in held_out_samples(2, 4) if sample.kind.startswith(kind)]


def test_it_answers_unseen_phrasings(model: Model) -> None:
    answers = list(model.answers(of_kind("fact")[::10], "facts"))
    assert (
        share(answers, [contains_key(answer.sample, answer.text) for answer in answers]) >= 0.6
    )  # interim weights; the target is 0.9


def test_it_solves_unseen_tasks(model: Model) -> None:
    answers = list(model.answers(of_kind("task:"), "tasks"))
    assert share(answers, [is_exact(answer.sample, answer.text) for answer in answers]) >= 0.85


def test_it_ends_its_answers_and_knows_its_limits(model: Model) -> None:
    answers = list(model.answers(mixed_prompts(30), "mixed"))
    assert share(answers, [answer.stopped and not has_repetition_loop(answer.ids) for answer in answers]) >= 0.93
    outside = list(model.answers(offtopic_prompts(30), "off-topic"))
    assert share(outside, [contains_key(answer.sample, answer.text) for answer in outside]) >= 0.85


def test_the_card_says_what_was_measured() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    for target in ("unseen phrasings", "exact tasks right", "stop within 400 tokens", "off-topic", "perplexity"):
        assert target in card
