"""The backends by name. Adding one is its file and one line here."""

from functools import cache
from importlib import import_module

from backends.base import Backend

BACKENDS = {
    "transformers": "backends.transformers_torch:TransformersBackend",
    "openvino-optimum": "backends.openvino_optimum:OpenVinoOptimumBackend",
    "openvino-genai": "backends.openvino_genai:OpenVinoGenAiBackend",
    "onnxruntime-genai": "backends.onnxruntime_genai:OnnxRuntimeGenAiBackend",
    "scripted": "backends.scripted:ScriptedBackend",
}


@cache
def backend_class(name: str) -> type[Backend]:
    """The class of the backend `name`. Raises KeyError for a name that is not registered."""
    module, _, attribute = BACKENDS[name].partition(":")
    found: type[Backend] = getattr(import_module(module), attribute)
    return found
