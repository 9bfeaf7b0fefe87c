"""The whole path in small: corpus, training with a break in the middle, the folder that comes out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from training.batches import Samples, batches, packed_rows

REPOSITORY = Path(__file__).resolve().parents[2]


def command(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=280, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    command("training.corpus", "--samples", "3000", "--vocab-size", "1024", "--out", str(folder))
    return folder


def train(corpus: Path, folder: Path, *more: str) -> None:
    where = ("--corpus", str(corpus), "--out", str(folder / "model"), "--checkpoint", str(folder / "checkpoint.pt"))
    command("training.train", "--size", "toy", "--steps", "24", "--rows", "4", "--no-compile", *where, *more)


def test_a_toy_trains_resumes_and_loads_like_any_model(corpus: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(corpus, whole)
    train(corpus, broken, "--stop-at", "9")
    assert not (broken / "model").exists()
    train(corpus, broken)
    one, two = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, broken))
    assert one["step"] == two["step"] == 24
    for name, weights in one["model"].items():
        torch.testing.assert_close(weights, two["model"][name], rtol=1e-3, atol=1e-4, msg=name)
    model = AutoModelForCausalLM.from_pretrained(whole / "model")
    tokenizer = AutoTokenizer.from_pretrained(whole / "model")
    assert type(model).__name__ == "Phi3ForCausalLM"
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    stops = json.loads((whole / "model" / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.convert_ids_to_tokens(stops) == ["<|end|>", "<|endoftext|>"]


def test_a_toy_is_made_by_one_command_and_says_something(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    command("training.make", "--toy", "--work", str(tmp_path))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "pocket-phi3")
    answer = model.generate(torch.tensor([[8, 9, 7, 4]]), max_new_tokens=5, do_sample=False)
    assert answer.shape[1] > 4


def test_every_row_fits_and_every_sample_starts_at_position_0(corpus: Path) -> None:
    samples = Samples(corpus / "train.npz")
    tokenizer = Tokenizer.from_file(str(corpus / "tokenizer.json"))
    numbered = batches(samples, rows=4, length=256, seed=1)
    for rows, length in (next(numbered) for _ in range(20)):
        batch = samples.batch(rows, length)
        assert batch.tokens.shape == batch.labels.shape == (len(rows), length)
        assert all(int(samples.length[row].sum()) <= length for row in rows)
        first = rows[0][0]
        size, prompt = int(samples.length[first]), int(samples.prompt[first])
        assert batch.positions[0, :size].tolist() == list(range(size))
        learned = batch.labels[0, :size][batch.labels[0, :size] >= 0].tolist()
        assert learned == batch.tokens[0, prompt:size].tolist()
        assert tokenizer.id_to_token(learned[-1]) in ("<|end|>", "<|endoftext|>")
        if len(rows[0]) > 1:
            assert not batch.mask[0, 0, size, :size].any()


def test_packing_loses_and_doubles_nothing() -> None:
    lengths = [(number, int(size)) for number, size in enumerate(np.random.default_rng(1).integers(5, 200, 2000))]
    packed = [number for row in packed_rows(iter(lengths), 256) for number in row]
    assert len(packed) == len(set(packed)) > 1800
