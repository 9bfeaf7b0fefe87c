"""ONNX Runtime GenAI: on the CPU, and through DirectML on Windows with the -directml wheel."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from backends.base import Availability, Backend, GenerationOptions, Key, Loaded, LoadRequest, ModelFormat, Status
from backends.errors import Unavailable
from backends.keys import whole_number
from backends.threads import THREADS, thread_count

if TYPE_CHECKING:
    import numpy as np

DIRECTML_WHEEL = "pip install onnxruntime-genai-directml==0.13.1"
INT8_MATMUL = re.compile(rb"accuracy_level\x18\x04")
"""The attribute `accuracy_level` with the value 4, as it stands in an ONNX file: activations are quantised to int8."""


class OnnxRuntimeGenAiBackend(Backend):
    """One generator at a time: each holds a KV cache as long as prompt and answer may become."""

    name = "onnxruntime-genai"
    label = "ONNX Runtime GenAI"
    format = ModelFormat.ONNX_GENAI
    precisions = ("fp32", "fp16", "int8", "int4")
    default_precision = "int4"
    keys: ClassVar[dict[str, Key]] = {
        "threads": THREADS,
        "adapter": Key(whole_number(0, 63), doc="DML: the number of the graphics adapter; unset: the system's choice"),
    }
    runtime_modules = ("numpy", "onnxruntime_genai")
    packages = ("onnxruntime-genai", "onnxruntime-genai-directml", "onnxruntime", "onnxruntime-directml")

    def __init__(self) -> None:
        self._model: Any = None
        self._context_length = 0

    @classmethod
    def probe(cls) -> list[Availability]:
        from backends.machine import cpu_name

        cpu = [Availability("CPU", cpu_name(), precision, Status.READY) for precision in cls.precisions]
        return cpu + [_directml(precision) for precision in cls.precisions]

    def load(self, request: LoadRequest) -> Loaded:
        import onnxruntime_genai as og

        if request.device not in ("CPU", "DML"):
            raise Unavailable(f"{self.label} runs on CPU and DML here, not on {request.device}.")
        config = og.Config(str(request.model))
        config.overlay(json.dumps(_overlay(thread_count(request.threads))))
        config.clear_providers()
        if request.device == "DML":
            _use_directml(config, request.options.get("adapter"))
        self._model = og.Model(config)
        self._context_length = json.loads((request.model / "genai_config.json").read_text(encoding="utf-8"))["model"][
            "context_length"
        ]
        return Loaded(_device_name(request), _compute_precision(request))

    def generate(
        self, prompt_ids: list[int], options: GenerationOptions, should_stop: Callable[[], bool]
    ) -> Iterator[int]:
        stop_ids = () if options.ignore_eos else options.stop_ids
        generator = self._generator(len(prompt_ids) + options.max_new_tokens, _search(options))
        generator.append_tokens(prompt_ids)
        for _ in range(options.max_new_tokens):
            if should_stop():
                return
            generator.generate_next_token()
            token_id = int(generator.get_next_tokens()[0])
            yield token_id
            if token_id in stop_ids or generator.is_done():
                return

    def score(self, ids: list[int]) -> "np.ndarray":
        import numpy as np

        generator = self._generator(len(ids) + 1, {"do_sample": False})
        generator.append_tokens(ids)
        logits: np.ndarray = generator.get_output("logits")[0].astype(np.float32)
        return logits

    def _generator(self, max_length: int, search: dict[str, Any]) -> Any:
        """An empty KV cache for `max_length` ids, or as many as the context holds; to be let go of before the next."""
        import onnxruntime_genai as og

        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=min(max_length, self._context_length), **search)
        return og.Generator(self._model, params)


def _overlay(threads: int) -> dict[str, Any]:
    """So many threads, which sleep when idle; and no stop id, because the runtime would write padding after one."""
    session = {
        "intra_op_num_threads": threads,
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }
    return {"model": {"eos_token_id": -1, "decoder": {"session_options": session}}}


def _use_directml(config: Any, adapter: int | None) -> None:
    import onnxruntime_genai as og

    if not og.is_dml_available():
        raise Unavailable(f"DirectML is not in this onnxruntime-genai. {_directml_reason()}.")
    config.append_provider("dml")
    if adapter is not None:
        config.set_provider_option("dml", "device_index", str(adapter))


def _search(options: GenerationOptions) -> dict[str, Any]:
    """Greedy at temperature 0. `top_k` 0 switches off the default of 50, which no other backend has."""
    if options.temperature == 0:
        return {"do_sample": False}
    sampling = {"temperature": options.temperature, "top_p": options.top_p, "random_seed": options.seed}
    return {"do_sample": True, "top_k": 0} | sampling


def _directml(precision: str) -> Availability:
    import onnxruntime_genai as og

    if not og.is_dml_available():
        status = Status.NOT_INSTALLED if sys.platform == "win32" else Status.UNAVAILABLE
        command = DIRECTML_WHEEL if sys.platform == "win32" else ""
        return Availability("DML", "", precision, status, _directml_reason(), command)
    if precision == "fp32":
        return Availability("DML", "DirectML", precision, Status.UNAVAILABLE, "DirectML does not load fp32 models")
    return Availability("DML", "DirectML", precision, Status.READY)


def _directml_reason() -> str:
    if sys.platform == "win32":
        return f"It is installed by: {DIRECTML_WHEEL}"
    return "DirectML is a part of Windows"


def _device_name(request: LoadRequest) -> str:
    from backends.machine import cpu_name

    if request.device == "CPU":
        return cpu_name()
    adapter = request.options.get("adapter")
    return "DirectML, the system's choice of adapter" if adapter is None else f"DirectML, adapter {adapter}"


def _compute_precision(request: LoadRequest) -> str:
    """An fp16 model is at most that exact on a processor too: sums may be in fp32, what passes between nodes is fp16."""
    in_fp16 = request.device == "DML" or request.precision == "fp16"
    return ("fp16" if in_fp16 else "fp32") + ("+int8" if _has_int8_matmul(request.model) else "")


def _has_int8_matmul(model: Path) -> bool:
    """Read from the graph, which is small beside the weights; one that holds its weights is not searched."""
    graph = model / "model.onnx"
    return graph.is_file() and graph.stat().st_size < 64 << 20 and bool(INT8_MATMUL.search(graph.read_bytes()))
