"""Hugging Face transformers on PyTorch: the reference that the other backends are compared with."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from backends.base import Availability, Backend, GenerationOptions, Key, Loaded, LoadRequest, ModelFormat, Status
from backends.errors import Unavailable
from backends.threads import THREADS, thread_count
from backends.torch_decoding import decode

if TYPE_CHECKING:
    import numpy as np


class TransformersBackend(Backend):
    """Eager PyTorch on the CPU, with the model's own attention and a dynamic KV cache."""

    name = "transformers"
    label = "Transformers (PyTorch)"
    format = ModelFormat.HUGGING_FACE
    precisions = ("fp32", "bf16")
    default_precision = "fp32"
    keys: ClassVar[dict[str, Key]] = {"threads": THREADS}
    runtime_modules = ("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto")
    packages = ("torch", "transformers")

    def __init__(self) -> None:
        self._model: Any = None

    @classmethod
    def probe(cls) -> list[Availability]:
        from backends.machine import cpu_name

        return [Availability("CPU", cpu_name(), precision, Status.READY) for precision in cls.precisions]

    def load(self, request: LoadRequest) -> Loaded:
        import torch
        from transformers import AutoModelForCausalLM

        from backends.machine import cpu_name

        if request.device != "CPU":
            raise Unavailable(f"{self.label} runs on the CPU here, not on {request.device}.")
        torch.set_num_threads(thread_count(request.threads))
        self._model = AutoModelForCausalLM.from_pretrained(
            request.model,
            dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[request.precision],
            local_files_only=True,
            trust_remote_code=False,
        ).eval()
        return Loaded(cpu_name(), {torch.float32: "fp32", torch.bfloat16: "bf16"}[self._model.dtype])

    def generate(
        self, prompt_ids: list[int], options: GenerationOptions, should_stop: Callable[[], bool]
    ) -> Iterator[int]:
        import torch

        last_only = {"logits_to_keep": 1} if self._model._supports_logits_to_keep() else {}
        forward = torch.inference_mode()(partial(self._forward, last_only))
        return decode(forward, prompt_ids, options, should_stop)

    def _forward(self, last_only: dict[str, int], input_ids: Any, past: Any) -> Any:
        return self._model(input_ids, past_key_values=past, use_cache=True, **last_only)

    def score(self, ids: list[int]) -> "np.ndarray":
        import torch

        with torch.inference_mode():
            logits: np.ndarray = self._model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy()
        return logits
