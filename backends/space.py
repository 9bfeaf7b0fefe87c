"""Whether this machine has the memory and the disk for an export, asked before it starts."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import psutil

from backends.base import ModelFormat
from backends.errors import OutOfMemory, PreparationFailed
from backends.recipes import Recipe

GB = 1e9
IMPORTS_BYTES = int(0.6 * GB)
# Peaks per parameter. Those of int4 were measured with 3.8e9 parameters (12 GB with OpenVINO; 21 GB with ONNX, of which
# 7.6 GB were the mapped weights, which the system can take back); the others follow from what is held at once.
PEAK_MEMORY_BYTES = {
    ModelFormat.OPENVINO: {"fp32": 8.0, "fp16": 3.2, "int8": 3.2, "int4": 3.2},
    ModelFormat.ONNX_GENAI: {"fp32": 8.0, "fp16": 4.0, "int8": 3.8, "int4": 3.5},
}
OUTPUT_BYTES = {"fp32": 4.1, "fp16": 2.1, "int8": 1.5, "int4": 1.1}
TRACED_BYTES = 2.1
"""OpenVINO compresses from an fp16 export, which is on disk meanwhile."""
SLACK_BYTES = 64_000_000


def check_space(recipes: Iterable[Recipe], parameters: int, folder: Path) -> None:
    """Raises OutOfMemory or PreparationFailed, with both figures, when exporting by `recipes` into `folder` cannot fit."""
    recipes = list(recipes)
    check_disk(folder, disk_need(recipes, parameters), "Exporting")
    need, free = memory_need(recipes, parameters), psutil.virtual_memory().available
    if need > free:
        raise OutOfMemory(
            f"Exporting needs about {need / GB:.1f} GB of free memory and {free / GB:.1f} GB are free: "
            "close other programs, or give a ready-made export with @from=."
        )


def check_disk(folder: Path, need: int, what: str) -> None:
    """Raises PreparationFailed, with both figures, when less than `need` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if need > free:
        raise PreparationFailed(
            f"{what} needs about {need / GB:.1f} GB on the disk of {folder} and {free / GB:.1f} GB are free: "
            "free some, or choose another data folder (--data-dir)."
        )


def memory_need(recipes: Iterable[Recipe], parameters: int) -> int:
    """The peak of exporting by `recipes`, one after the other."""
    return IMPORTS_BYTES + int(parameters * max(PEAK_MEMORY_BYTES[each.format][each.precision] for each in recipes))


def disk_need(recipes: Iterable[Recipe], parameters: int) -> int:
    """What all results take, and what the way to them takes."""
    recipes = list(recipes)
    traced = any(each.format is ModelFormat.OPENVINO and each.precision.startswith("int") for each in recipes)
    per_parameter = sum(OUTPUT_BYTES[each.precision] for each in recipes) + (TRACED_BYTES if traced else 0)
    return SLACK_BYTES + int(parameters * per_parameter)
