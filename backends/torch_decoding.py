"""The decode loop of the backends whose model takes and gives torch tensors: prefill, then one token at a time."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from backends.base import GenerationOptions

if TYPE_CHECKING:
    import torch


def decode(
    forward: Callable[["torch.Tensor", Any], Any],
    prompt_ids: list[int],
    options: GenerationOptions,
    should_stop: Callable[[], bool],
) -> Iterator[int]:
    """The new ids. `forward(input_ids, past)` gives an object with `logits` and `past_key_values`; `past` is first None."""
    import torch

    stop_ids = () if options.ignore_eos else options.stop_ids
    chance = torch.Generator().manual_seed(options.seed)
    input_ids, past = torch.tensor([prompt_ids]), None
    for _ in range(options.max_new_tokens):
        if should_stop():
            return
        output = forward(input_ids, past)
        past = output.past_key_values
        token_id = choose(output.logits[0, -1], options, chance)
        yield token_id
        if token_id in stop_ids:
            return
        input_ids = torch.tensor([[token_id]])


def choose(logits: "torch.Tensor", options: GenerationOptions, chance: "torch.Generator") -> int:
    """The next id: the likeliest at temperature 0, otherwise drawn from the smallest set that holds `top_p` of the probability."""
    import torch

    if options.temperature == 0:
        return int(logits.argmax())
    likely, ids = torch.softmax(logits.float() / options.temperature, dim=-1).sort(descending=True)
    likely[likely.cumsum(-1) - likely > options.top_p] = 0
    return int(ids[torch.multinomial(likely, 1, generator=chance)])
