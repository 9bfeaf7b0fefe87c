"""Small models with random weights, each with something that models in the wild have: `python -m tests.model_zoo NAME FOLDER`."""

import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM

from training.model import SIZES, new_model, save_folder
from training.tokenizer import save_tokenizer, train_tokenizer

TEXTS = Path(__file__).resolve().parent.parent / "training"
CONTEXT = 512
SMALL = {
    "num_hidden_layers": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 3,
    "pad_token_id": 3,
}


def tokenizer(size: int = 1024) -> Tokenizer:
    """Trained in a moment on the corpus' facts and stories."""
    files = [*TEXTS.glob("facts/*.yaml"), *TEXTS.glob("stories/*.txt")]
    return train_tokenizer((file.read_text(encoding="utf-8") for file in sorted(files)), size)


def pocket(folder: Path) -> None:
    """The bundled model's shape."""
    words = tokenizer(4096)
    save_folder(new_model(SIZES["pocket"], words, seed=0), words, folder)


def toy(folder: Path) -> None:
    """As small as a Phi-3 can be."""
    words = tokenizer()
    save_folder(new_model(SIZES["toy"], words, seed=0), words, folder)


def llama(folder: Path) -> None:
    """Grouped-query attention, a head tied to the embeddings, and no chat template."""
    shape = _shape(hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2)
    _save(LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True)), folder)
    (folder / "chat_template.jinja").unlink()


def qwen2(folder: Path) -> None:
    """Biases, an untied head, and weights in several files."""
    shape = _shape(hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2)
    model = Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=False))
    _save(model, folder, max_shard_size="1MB")


def narrow(folder: Path) -> None:
    """Layers whose widths are no multiples of 128."""
    shape = _shape(hidden_size=192, intermediate_size=448, num_attention_heads=3, num_key_value_heads=3)
    _save(Phi3ForCausalLM(Phi3Config(**shape, original_max_position_embeddings=CONTEXT)), folder)


def _shape(**dimensions: int) -> dict[str, Any]:
    return {"vocab_size": tokenizer().get_vocab_size(), **SMALL, **dimensions}


def _save(model: Any, folder: Path, **settings: Any) -> None:
    model.half().save_pretrained(folder, **settings)
    save_tokenizer(tokenizer(), folder, CONTEXT)


ZOO = {"pocket": pocket, "toy": toy, "llama": llama, "qwen2": qwen2, "narrow": narrow}

if __name__ == "__main__":
    ZOO[sys.argv[1]](Path(sys.argv[2]))
