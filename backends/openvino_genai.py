"""OpenVINO GenAI: its own `LLMPipeline` in C++, on the same exports as openvino-optimum."""

import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from backends import openvino_devices
from backends.base import Availability, Backend, GenerationOptions, Key, Loaded, LoadRequest, ModelFormat, Stamped
from backends.callback_tokens import CallbackTokens


class OpenVinoGenAiBackend(Backend):
    """Fed with ids and read through a streamer of ids: its tokenizer and its chat template are not used."""

    name = "openvino-genai"
    label = "OpenVINO GenAI"
    format = ModelFormat.OPENVINO
    precisions = openvino_devices.PRECISIONS
    default_precision = "int4"
    keys: ClassVar[dict[str, Key]] = openvino_devices.KEYS
    runtime_modules = ("openvino", "openvino_genai")
    packages = ("openvino", "openvino-genai")

    def __init__(self) -> None:
        self._pipeline: Any = None
        self.perf_metrics: Any = None
        """The runtime's own measurement of the last generation."""

    @classmethod
    def probe(cls) -> list[Availability]:
        return openvino_devices.rows()

    def load(self, request: LoadRequest) -> Loaded:
        from openvino_genai import LLMPipeline

        kept = openvino_devices.kept_models(request.cache)
        before = time.perf_counter()
        self._pipeline = LLMPipeline(request.model, request.device, **_properties(request))
        return openvino_devices.loaded(request, kept, time.perf_counter() - before)

    def generate(
        self, prompt_ids: list[int], options: GenerationOptions, should_stop: Callable[[], bool]
    ) -> Iterator[Stamped]:
        import numpy as np
        from openvino import Tensor

        tokens = CallbackTokens(should_stop)
        input_ids, config, streamer = Tensor(np.array([prompt_ids])), _config(options), _streamer(tokens)

        def generation() -> None:
            self.perf_metrics = self._pipeline.generate(input_ids, config, streamer).perf_metrics

        return tokens.iterate(generation)


def _properties(request: LoadRequest) -> dict[str, Any]:
    """SDPA attention, because the paged one keeps the KV cache of earlier prompts; on an NPU there is no choice."""
    attention = {} if request.device.startswith("NPU") else {"ATTENTION_BACKEND": "SDPA"}
    return openvino_devices.properties(request) | attention


def _config(options: GenerationOptions) -> Any:
    from openvino_genai import GenerationConfig

    config = GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = options.max_new_tokens
    config.ignore_eos = options.ignore_eos
    config.stop_token_ids = set() if options.ignore_eos else set(options.stop_ids)
    config.do_sample = options.temperature > 0
    if config.do_sample:
        config.temperature, config.top_p, config.rng_seed = options.temperature, options.top_p, options.seed
    return config


def _streamer(tokens: CallbackTokens) -> Any:
    from openvino_genai import StreamerBase, StreamingStatus

    class Streamer(StreamerBase):
        def write(self, token: int | list[int]) -> StreamingStatus:
            """Never raises: that would abort the process where the runtime calls from a thread of its own."""
            ids = [token] if isinstance(token, int) else token
            goes_on = True
            for token_id in ids:
                goes_on = tokens.take(token_id)
            return StreamingStatus.RUNNING if goes_on else StreamingStatus.STOP

        def end(self) -> None: ...

    return Streamer()
