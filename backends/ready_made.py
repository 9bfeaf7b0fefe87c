"""Ready-made exports: whether a folder holds one that a backend can load, and the precision of its weights."""

import mmap
import re
from collections import Counter
from pathlib import Path

from backends.base import ModelFormat
from backends.errors import PreparationFailed
from backends.json_file import read_json
from backends.model_files import check_model

UNKNOWN = "unknown"
OPENVINO_MODE = re.compile(r'<mode value="([a-z0-9]+)_?[a-z]*"')
OPENVINO_ELEMENT = re.compile(r'element_type="(i4|u4|i8|u8|f16|bf16|f32)"')
OPENVINO_TYPES = {"i4": "int4", "u4": "int4", "i8": "int8", "u8": "int8", "f16": "fp16", "bf16": "bf16", "f32": "fp32"}
# Protobuf as it lies in the file: the attribute `bits` of MatMulNBits, and the element type of the first KV cache tensor.
ONNX_BITS = re.compile(rb"\x0a\x04bits\x18([\x02-\x08])")
ONNX_CACHE_TYPE = re.compile(rb"past_key_values\.0\.key\x12.\x0a.\x08([\x01\x0a\x10])", re.DOTALL)
ONNX_TYPES = {b"\x01": "fp32", b"\x0a": "fp16", b"\x10": "bf16"}
HUGGING_FACE_TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def check_ready_made(folder: Path, format: ModelFormat) -> None:
    """Raises PreparationFailed unless `folder` holds a complete export in `format`."""
    if format is ModelFormat.HUGGING_FACE:
        check_model(folder)
        return
    if format is ModelFormat.OPENVINO:
        needed, name = [folder / "openvino_model.xml", folder / "openvino_model.bin"], "OpenVINO"
    else:
        needed, name = [folder / "genai_config.json", _onnx_file(folder)], "ONNX Runtime GenAI"
    if missing := [file.name for file in needed if not file.is_file()]:
        raise PreparationFailed(f"{folder} is no {name} export: {' and '.join(missing)} is missing.")


def read_precision(folder: Path, format: ModelFormat) -> str:
    """The precision of most weights in an export, read from what the export says of itself; `unknown` where it does not."""
    readers = {
        ModelFormat.OPENVINO: _openvino_precision,
        ModelFormat.ONNX_GENAI: _onnx_precision,
        ModelFormat.HUGGING_FACE: _hugging_face_precision,
    }
    return readers[format](folder)


def _openvino_precision(folder: Path) -> str:
    """By NNCF's record of the compression; without one by the narrowest type of the constants."""
    text = (folder / "openvino_model.xml").read_text(encoding="utf-8", errors="replace")
    if (mode := OPENVINO_MODE.search(text)) and mode[1] in ("int4", "int8"):
        return mode[1]
    found = set(OPENVINO_ELEMENT.findall(text))
    return next((precision for element, precision in OPENVINO_TYPES.items() if element in found), UNKNOWN)


def _onnx_file(folder: Path) -> Path:
    decoder = read_json(folder / "genai_config.json").get("model", {}).get("decoder", {})
    return folder / str(decoder.get("filename") or "model.onnx")


def _onnx_precision(folder: Path) -> str:
    """By the bits of most quantised layers; without any by the type of the KV cache, which is that of the weights."""
    with _onnx_file(folder).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        bits = Counter(found[1][0] for found in ONNX_BITS.finditer(content))
        if bits:
            return {4: "int4", 8: "int8"}.get(bits.most_common(1)[0][0], UNKNOWN)
        cache_type = ONNX_CACHE_TYPE.search(content)
        return ONNX_TYPES[cache_type[1]] if cache_type else UNKNOWN


def _hugging_face_precision(folder: Path) -> str:
    config = read_json(folder / "config.json")
    if bits := (config.get("quantization_config") or {}).get("bits"):
        return {4: "int4", 8: "int8"}.get(bits, UNKNOWN)
    return HUGGING_FACE_TYPES.get(str(config.get("dtype") or config.get("torch_dtype")), UNKNOWN)
