"""Will a lane fit? Estimates its need before the load and compares it with what is free."""

from collections.abc import Callable

import psutil

from backends.base import ModelFormat
from backends.errors import OutOfMemory
from backends.lane import Lane

RESIDENT_PER_WEIGHT_BYTE = {
    ModelFormat.NONE: 0.0,
    ModelFormat.HUGGING_FACE: 1.15,
    ModelFormat.OPENVINO: 2.0,
    ModelFormat.ONNX_GENAI: 1.3,
}
"""Resident memory after a load per byte of weights; measured at 3.8B parameters: OpenVINO keeps a repacked copy."""
RUNTIME_BYTES = 600 * 1024**2
"""A worker with its runtime imported and nothing loaded, rounded up."""
SCRIPTED_BYTES = 60 * 1024**2
RESERVE_BYTES = 512 * 1024**2
"""What the rest of the machine keeps."""
BYTES_PER_WEIGHT = {"fp32": 4, "fp16": 2, "bf16": 2}

FreeBytes = Callable[[], int]


def free_bytes() -> int:
    """Memory that can be used without swapping."""
    return int(psutil.virtual_memory().available)


def needed_bytes(lane: Lane, weights_bytes: int, stored_bytes_per_weight: int = 2) -> int:
    """What a model whose weight files have `weights_bytes` is expected to take when `lane` has loaded it.

    `transformers` converts while it loads: there the stored size counts by the ratio of the two precisions.
    """
    form = lane.cls.format
    if form is ModelFormat.NONE:
        return SCRIPTED_BYTES
    if form is ModelFormat.HUGGING_FACE:
        weights_bytes = weights_bytes * BYTES_PER_WEIGHT.get(lane.precision, 2) // stored_bytes_per_weight
    return int(weights_bytes * RESIDENT_PER_WEIGHT_BYTE[form]) + RUNTIME_BYTES


def refuse_beyond(needed: int, free: int) -> None:
    """Raise OutOfMemory, naming both figures, when `needed` does not fit into `free` less the reserve."""
    if needed + RESERVE_BYTES > free:
        raise OutOfMemory(
            f"This lane needs about {needed / 1e9:.1f} GB of memory and {max(0, free - RESERVE_BYTES) / 1e9:.1f} GB are free: "
            "close other programs or lanes, or choose a lower precision."
        )
