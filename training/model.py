"""The Phi-3 configurations that `training/` can train, and how a trained one is written as a Hugging Face folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

from training.tokenizer import STOP_TOKENS, save_tokenizer

CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class Size:
    """Dimensions that every exporter accepts: widths are multiples of 128, heads are 64 wide."""

    hidden: int
    intermediate: int
    layers: int


SIZES = {"pocket": Size(256, 768, 8), "toy": Size(128, 256, 2)}


def new_model(size: Size, tokenizer: Tokenizer, seed: int) -> Phi3ForCausalLM:
    """A randomly initialised `Phi3ForCausalLM` (fp32, SDPA attention) with the tokenizer's stop ids in its generation config."""
    stop_ids = [tokenizer.token_to_id(token) for token in STOP_TOKENS]
    special = {"bos_token_id": tokenizer.token_to_id("<s>"), "pad_token_id": tokenizer.token_to_id("<|endoftext|>")}
    config = Phi3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 64,
        num_key_value_heads=size.hidden // 64,
        max_position_embeddings=CONTEXT,
        original_max_position_embeddings=CONTEXT,
        sliding_window=None,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        attn_implementation="sdpa",
        **special,
    )
    torch.manual_seed(seed)
    model = Phi3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=stop_ids, **special)
    return model


def save_folder(model: Phi3ForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write `model` as fp16 safetensors with its configs and tokenizer, loadable by `AutoModelForCausalLM` without remote code."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = Phi3ForCausalLM(model.config)
    kept.load_state_dict(model.state_dict())
    kept.generation_config = model.generation_config
    kept.half().save_pretrained(folder)
    save_tokenizer(tokenizer, folder, CONTEXT)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config_file.write_text(
        json.dumps(config | {"architectures": ["Phi3ForCausalLM"]}, indent=2) + "\n", encoding="utf-8"
    )
