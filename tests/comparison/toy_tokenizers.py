"""Small tokenizers of every kind that models come with, trained in a moment, and folders as models have them."""

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "The NPU of an AI PC runs small language models at low power, and the CPU and the GPU stay free.",
    "Once upon a time a robot counted 1, 2, 3 ... 42 stars; it couldn't stop! Grüße aus Köln, café, naïve.",
    "System: You are helpful.\nuser: Hello there, how are you?\nassistant: I am fine, thank you.\n\n  def f(x):\n    return x",
    "日本語のテキスト。中文文本也在这里。Привет, мир! 👋🏽🌍",
] * 4
CONTROLS = ("<unk>", "<s>", "</s>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>")
SPECIAL = [AddedToken(token, special=True, normalized=False) for token in CONTROLS]


def byte_level() -> Tokenizer:
    """As GPT-2, Qwen2, Llama 3 and the bundled model have them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _byte_fallback_model() -> models.BPE:
    """Pieces and merges learned after Metaspace; everything outside of ASCII falls back to byte tokens."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator(
        [text for text in TEXTS if text.isascii()], trainers.BpeTrainer(vocab_size=300, show_progress=False)
    )
    learned = json.loads(learner.to_str())["model"]
    pieces = [*CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [(left, right) for left, right in learned["merges"]]
    return models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)


def _with_bos(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def llama() -> Tokenizer:
    """As Llama 2 and Phi-3 have them: a normaliser writes the spaces, BOS before every text."""
    tokenizer = Tokenizer(_byte_fallback_model())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _with_bos(tokenizer)


def metaspace() -> Tokenizer:
    """As newer conversions have them: Metaspace writes a space before the text's first word only."""
    tokenizer = Tokenizer(_byte_fallback_model())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _with_bos(tokenizer)


def unigram() -> Tokenizer:
    """As T5 has them, except that the control tokens stand in the model's own vocabulary, with the best score."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=250, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _with_bos(tokenizer)


def word_piece() -> Tokenizer:
    """As BERT has them: lower case, accents stripped, unknown words become <unk>."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _with_bos(tokenizer)


def end_of_word() -> Tokenizer:
    """As GPT-1 has them: a suffix ends each word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    kind.__name__: kind for kind in (byte_level, llama, metaspace, unigram, word_piece, end_of_word)
}

PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def save_text_files(folder: Path, tokenizer: Tokenizer, chat_template: str | None = PHI, **settings: object) -> Path:
    """Write what `AutoTokenizer` and `PromptText` read of a model folder, without a model."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512}), encoding="utf-8")
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
    return folder
