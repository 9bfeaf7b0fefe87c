"""Slow tokenizers become a `tokenizer.json` once, with the same ids."""

import json
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer

from backends.errors import PreparationFailed
from backends.folders import REPOSITORY
from backends.progress import Progress, Reporter
from backends.tokenizer_json import has_only_a_slow_tokenizer, tokenizer_json

TEXTS = ["The robot counted stars.", "Grüße aus 日本 👋", "two  spaces\nand a new line", "1 + 23 = 24"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a tokenizer as Llama 2's: byte fallback, BOS, nothing but `tokenizer.model`."""
    stories = sorted(REPOSITORY.glob("training/stories/*.txt"))
    lines = [line for file in stories for line in file.read_text(encoding="utf-8").splitlines() if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 3),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=800,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (tmp_path / "tokenizer.vocab").unlink()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, **named}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return tmp_path


def test_it_is_converted_once_and_gives_the_same_ids(folder: Path) -> None:
    assert has_only_a_slow_tokenizer(folder)
    before = sorted(folder.iterdir())
    seen: list[Progress] = []
    made = tokenizer_json(folder, Reporter(seen.append))
    assert sorted(folder.iterdir()) == before, "a user's folder is not written to"
    assert "converting" in {each.stage for each in seen}
    fast, slow = Tokenizer.from_file(str(made)), sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    for text in TEXTS:
        assert fast.encode(text, add_special_tokens=False).ids == slow.encode(text)
        assert fast.encode(text).ids[0] == slow.bos_id()
    seen.clear()
    assert tokenizer_json(folder, Reporter(seen.append)) == made
    assert seen == []


def test_a_damaged_one_is_told_in_one_sentence(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(b"no tokenizer at all")
    with pytest.raises(PreparationFailed, match=r"The tokenizer in .* could not be converted: ") as refusal:
        tokenizer_json(folder)
    assert "\n" not in str(refusal.value)


def test_a_model_without_any_says_what_it_needs(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()
    assert not has_only_a_slow_tokenizer(folder)
    with pytest.raises(PreparationFailed, match=r"has no tokenizer: it needs a tokenizer\.json or a tokenizer\.model"):
        tokenizer_json(folder)


def test_its_own_is_taken_where_there_is_one(bundled_model: Path) -> None:
    assert tokenizer_json(bundled_model) == bundled_model / "tokenizer.json"
