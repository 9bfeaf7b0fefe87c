"""Runtimes that do not work, made by putting modules of their names first on the path of a probe."""

import os
from pathlib import Path

import pytest

from backends.registry import BACKENDS, backend_class

RUNTIMES = sorted({module.partition(".")[0] for name in BACKENDS for module in backend_class(name).runtime_modules})
"""The top-level modules of all backends."""


def path_with(folder: Path, code: str, *modules: str) -> str:
    """A PYTHONPATH on which each of `modules` is a file that runs `code`."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in modules:
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


def break_onnxruntime_genai(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Let every probe from now on find `code` instead of what ONNX Runtime GenAI imports first."""
    first = backend_class("onnxruntime-genai").runtime_modules[0].partition(".")[0]
    monkeypatch.setenv("PYTHONPATH", path_with(folder, code, first))
