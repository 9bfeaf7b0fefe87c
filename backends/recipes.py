"""How a model is exported: for each format, precision and kind of device the exact flags, which its manifest records."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from backends.base import ModelFormat
from backends.lane import Lane

OPENVINO_TOOLS = ("openvino", "optimum-intel", "nncf", "transformers", "torch")
ONNX_TOOLS = ("onnxruntime-genai", "onnxruntime-genai-directml", "onnxruntime", "onnxruntime-directml", "transformers")
BUILDER_AND_LOADER = ("onnxruntime-genai", "onnxruntime-genai-directml")
"""An ONNX export loads only in the version that built it."""

INT8 = {"bits": 8, "sym": False}
INT8_NPU = {"bits": 8, "sym": True}
INT4 = {"bits": 4, "sym": True, "group_size": 128, "ratio": 0.6}
INT4_NPU = {"bits": 4, "sym": True, "group_size": 128, "ratio": 1.0}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One export. Lanes with equal recipes share it. `name` is that of its folder."""

    format: ModelFormat
    precision: str
    name: str
    flags: Mapping[str, Any]
    tools: tuple[str, ...]


def device_kind(lane: Lane) -> str:
    """`npu`, `dml`, or `cpu`, which stands for every device without wishes of its own."""
    device = lane.device.upper()
    if lane.cls.format is ModelFormat.OPENVINO and "NPU" in device:
        return "npu"
    return "dml" if lane.cls.format is ModelFormat.ONNX_GENAI and device.startswith("DML") else "cpu"


def recipe_for(lane: Lane) -> Recipe:
    """The default recipe of the lane's format, precision and device. Raises KeyError for a format that needs no export."""
    make = {ModelFormat.OPENVINO: openvino_recipe, ModelFormat.ONNX_GENAI: onnx_recipe}[lane.cls.format]
    return make(lane.precision, device_kind(lane))


def openvino_recipe(precision: str, kind: str) -> Recipe:
    """As `optimum-cli export openvino` would be told: the NPU wants symmetric weights and every layer in int4."""
    flags: dict[str, Any] = {"task": "text-generation-with-past", "weight_format": precision}
    compression: dict[str, dict[str, Any]] = {
        "int8": INT8_NPU if kind == "npu" else INT8,
        "int4": INT4_NPU if kind == "npu" else INT4,
    }
    suffix = ""
    if precision in compression:
        flags |= compression[precision]
        suffix = "-npu" if kind == "npu" else ""
    return Recipe(
        ModelFormat.OPENVINO, precision, f"openvino-{precision}{suffix}", MappingProxyType(flags), OPENVINO_TOOLS
    )


def onnx_recipe(precision: str, kind: str) -> Recipe:
    """As `python -m onnxruntime_genai.models.builder` would be told.

    That builder has no int8. It is its int4 graph with ONNX Runtime's own 8-bit quantiser (`MatMulNBits`, blocks of 32).
    """
    flags: dict[str, Any] = {"precision": precision, "execution_provider": kind, "hf_remote": "false"}
    if precision == "int8":
        flags |= {"bits": 8, "block_size": 32, "is_symmetric": True, "accuracy_level": 4 if kind == "cpu" else 0}
    return Recipe(ModelFormat.ONNX_GENAI, precision, f"onnx-{precision}-{kind}", MappingProxyType(flags), ONNX_TOOLS)


def tool_versions(names: tuple[str, ...]) -> dict[str, str]:
    """The installed versions of the distributions `names`."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def outdated(recipe: Recipe, tools: Mapping[str, str]) -> bool:
    """Whether an export that was made with `tools` can no longer be loaded by what is installed now."""
    if recipe.format is not ModelFormat.ONNX_GENAI:
        return False
    return tool_versions(BUILDER_AND_LOADER) != {name: tools[name] for name in BUILDER_AND_LOADER if name in tools}
