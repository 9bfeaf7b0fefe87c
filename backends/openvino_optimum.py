"""OpenVINO below the interface of transformers: optimum-intel's `OVModelForCausalLM`."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from backends import openvino_devices
from backends.base import Availability, Backend, GenerationOptions, Key, Loaded, LoadRequest, ModelFormat
from backends.threads import thread_count
from backends.torch_decoding import decode

if TYPE_CHECKING:
    import numpy as np


class OpenVinoOptimumBackend(Backend):
    """The model keeps its KV cache inside OpenVINO; a call without `past_key_values` empties it."""

    name = "openvino-optimum"
    label = "OpenVINO (Optimum)"
    format = ModelFormat.OPENVINO
    precisions = openvino_devices.PRECISIONS
    default_precision = "int4"
    keys: ClassVar[dict[str, Key]] = openvino_devices.KEYS
    runtime_modules = ("openvino", "torch", "optimum.intel.openvino")
    packages = ("openvino", "optimum-intel", "optimum", "transformers", "torch")

    def __init__(self) -> None:
        self._model: Any = None

    @classmethod
    def probe(cls) -> list[Availability]:
        return [openvino_devices.without_npu(row, cls.label) for row in openvino_devices.rows()]

    def load(self, request: LoadRequest) -> Loaded:
        import torch
        from optimum.intel.openvino import OVModelForCausalLM

        torch.set_num_threads(thread_count(request.threads))
        self._model = OVModelForCausalLM.from_pretrained(
            str(request.model),
            export=False,
            compile=False,
            device=request.device,
            ov_config=openvino_devices.properties(request),
            local_files_only=True,
            trust_remote_code=False,
        )
        return self._compiled(request)

    def _compiled(self, request: LoadRequest) -> Loaded:
        kept = openvino_devices.kept_models(request.cache)
        before = time.perf_counter()
        self._model.compile()
        seconds = time.perf_counter() - before
        compiled = self._model.request.get_compiled_model()
        return openvino_devices.loaded(request, kept, seconds, compiled)

    def generate(
        self, prompt_ids: list[int], options: GenerationOptions, should_stop: Callable[[], bool]
    ) -> Iterator[int]:
        return decode(self._forward, prompt_ids, options, should_stop)

    def _forward(self, input_ids: Any, past: Any) -> Any:
        return self._model(input_ids, past_key_values=past)

    def score(self, ids: list[int]) -> "np.ndarray":
        import torch

        logits: np.ndarray = self._model(torch.tensor([ids])).logits[0].float().numpy()
        return logits
