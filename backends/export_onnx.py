"""The export for ONNX Runtime GenAI, in a process of its own: one import of its builder for all precisions."""

import json
import logging
import re
import shutil
import sys
import time
from contextlib import redirect_stdout
from io import TextIOBase
from pathlib import Path
from typing import Any

from backends.job_child import Events, run_child
from backends.model_files import PATTERNS
from backends.offline import offline

LAYER_READ = re.compile(r"Reading layer (\d+)")
LAYER_QUANTISED = re.compile(r"complete quantization of /model/layers\.(\d+)/")
QUANTISER_LOG = "onnxruntime.quantization.matmul_nbits_quantizer"


def export(job: dict[str, Any], events: Events) -> None:
    """Make the outputs of `job`: `model` a folder, `work` a scratch folder, `outputs` with index, folder and flags."""
    events.stage("importing", message="importing the builder and PyTorch")
    import onnxruntime_genai.models.builder  # noqa: F401 - slow, so that it is a stage of its own

    model = Path(job["model"])
    for output in job["outputs"]:
        began = time.perf_counter()
        try:
            with redirect_stdout(BuilderOutput(events, model, output["flags"]["precision"])):
                _build(model, Path(job["work"]) / "cache", Path(output["folder"]), output["flags"])
            events.made(output["index"], seconds=time.perf_counter() - began, notes=[])
        except Exception as problem:  # noqa: BLE001 - told for this output, so that the others can go on
            events.failed(output["index"], problem)


def _build(model: Path, cache: Path, folder: Path, flags: dict[str, Any]) -> None:
    from onnxruntime_genai.models import builder

    _set_up_builder(flags)
    precision = "int4" if "bits" in flags else flags["precision"]
    options = builder.parse_extra_options([f"hf_remote={flags['hf_remote']}"], flags["execution_provider"])
    try:
        builder.create_model(
            None, str(model), str(folder), precision, flags["execution_provider"], str(cache), **options
        )
    except NotImplementedError as problem:
        raise ValueError(f"the builder does not know {' or '.join(_config(model)['architectures'])}") from problem
    for file in (file for pattern in PATTERNS for file in model.glob(pattern)):
        if not file.name.startswith("model.safetensors") and file.suffix != ".safetensors":
            shutil.copyfile(file, folder / file.name)


def _config(model: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return config


def _set_up_builder(flags: dict[str, Any]) -> None:
    """Have the builder quantise with 8 bits where `flags` say so, and leave out the tokenizer: only ids reach the runtime."""
    # The builder imports its modules by names of their own, so its class is taken from the builder.
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig
    from onnxruntime_genai.models.builder import Model

    names = ("bits", "block_size", "is_symmetric", "accuracy_level")
    settings = {name: flags[name] for name in names if name in flags}
    Model.make_int4_algo_config = lambda *_: DefaultWeightOnlyQuantConfig(**settings) if settings else None
    Model.save_processing = lambda *_: None


class BuilderOutput(TextIOBase):
    """Takes what the builder prints, tells the parent how far it is, and passes everything on to the log."""

    def __init__(self, events: Events, model: Path, precision: str) -> None:
        self._events = events
        self._precision = precision
        self._layers = max(int(_config(model).get("num_hidden_layers") or 1), 1)
        quantiser = logging.getLogger(QUANTISER_LOG)
        quantiser.filters = [self._quantised]

    def write(self, text: str) -> int:
        if found := LAYER_READ.search(text):
            self._tell("exporting", int(found[1]), f"{self._precision}: reading the weights")
        elif text.startswith("Saving ONNX model"):
            self._events.stage("saving", None, f"{self._precision}: writing the export")
        return sys.stderr.write(text)

    def _quantised(self, record: logging.LogRecord) -> bool:
        if found := LAYER_QUANTISED.search(record.getMessage()):
            self._tell("compressing", int(found[1]), f"{self._precision}: compressing the weights")
        return found is not None

    def _tell(self, stage: str, layer: int, message: str) -> None:
        self._events.stage(stage, min(layer / self._layers, 1.0), message)


if __name__ == "__main__":
    run_child(export, offline)
