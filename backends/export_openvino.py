"""The OpenVINO export, in a process of its own: one import and one trace for all precisions of one preparation."""

import gc
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backends.job_child import Events, run_child
from backends.offline import offline

FLOAT_MODEL = ("openvino_model.xml", "openvino_model.bin")
TRACED_AS = {"fp32": "fp32", "fp16": "fp16", "int8": "fp16", "int4": "fp16"}


def export(job: dict[str, Any], events: Events) -> None:
    """Make the outputs of `job`: `model` a folder, `work` a scratch folder, `outputs` with index, folder and flags."""
    events.stage("importing", message="importing optimum-intel and PyTorch")
    import optimum.intel  # noqa: F401 - slow, so that it is a stage of its own

    for traced in ("fp32", "fp16"):
        outputs = [each for each in job["outputs"] if TRACED_AS[each["flags"]["weight_format"]] == traced]
        if outputs:
            _export_traced_as(traced, job, outputs, events)


def _export_traced_as(traced: str, job: dict[str, Any], outputs: list[dict[str, Any]], events: Events) -> None:
    plain = [each for each in outputs if each["flags"]["weight_format"] == traced]
    source = Path(plain[0]["folder"]) if plain else Path(job["work"]) / traced
    began = time.perf_counter()
    try:
        _trace(Path(job["model"]), source, traced, outputs[0]["flags"]["task"], events)
    except Exception as problem:  # noqa: BLE001 - told for each output, so that the others can go on
        for output in outputs:
            events.failed(output["index"], problem)
        return
    traced_s = time.perf_counter() - began
    for output in outputs:
        if output not in plain:
            began = time.perf_counter()
            try:
                notes = _compress(source, output, events)
                events.made(output["index"], seconds=traced_s + time.perf_counter() - began, notes=notes)
            except Exception as problem:  # noqa: BLE001 - told for this output, so that the others can go on
                events.failed(output["index"], problem)
            gc.collect()
    for output in plain:  # last: the others were made from it, and the parent moves it away
        events.made(output["index"], seconds=traced_s, notes=[])


def _trace(model: Path, folder: Path, dtype: str, task: str, events: Events) -> None:
    from optimum.exporters.openvino import main_export
    from optimum.intel import OVConfig

    events.stage("exporting", message=f"tracing the model in {dtype}")
    main_export(
        str(model),
        folder,
        task=task,
        trust_remote_code=False,
        local_files_only=True,
        library_name="transformers",
        convert_tokenizer=True,
        ov_config=OVConfig(dtype=dtype),
    )
    gc.collect()


def _compress(source: Path, output: dict[str, Any], events: Events) -> list[str]:
    """Compress the weights of the export in `source`; returns notes for the user."""
    import nncf

    flags = {key: output["flags"][key] for key in ("bits", "sym", "group_size", "ratio") if key in output["flags"]}
    precision = output["flags"]["weight_format"]
    try:
        with _tapped(events, precision):
            _compress_with(source, Path(output["folder"]), flags)
    except nncf.InvalidGroupSizeError:
        narrow = {"group_size": -1} if flags["ratio"] == 1.0 else {"group_size_fallback": "adjust"}
        events.stage(
            "compressing",
            message=f"some layers are too narrow for groups of {flags['group_size']}: again with {narrow}",
        )
        _compress_with(source, Path(output["folder"]), flags | narrow)
        fallback = "one group per channel was taken" if "group_size" in narrow else "theirs was made smaller"
        return [f"Some layers are too narrow for groups of {flags['group_size']} weights: {fallback}."]
    return []


def _compress_with(source: Path, folder: Path, flags: dict[str, Any]) -> None:
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    model = OVModelForCausalLM.from_pretrained(
        source,
        export=False,
        compile=False,
        use_cache=True,
        trust_remote_code=False,
        local_files_only=True,
        quantization_config=OVWeightQuantizationConfig(**flags),
    )
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*FLOAT_MODEL), dirs_exist_ok=True)
    model.save_pretrained(folder)


@contextmanager
def _tapped(events: Events, precision: str) -> Iterator[None]:
    """Let NNCF's progress bars tell the parent how far they are."""
    from nncf.quantization.algorithms.weight_compression import algorithm, mixed_precision

    original = algorithm.track

    class Told(algorithm.track):
        def __iter__(self) -> Iterator[Any]:
            weights = self.weights or [1] * len(self.sequence)
            done, total = 0, sum(weights) or 1
            for item, weight in zip(super().__iter__(), weights, strict=False):
                events.stage("compressing", done / total, f"{precision}: {self.description}")
                yield item
                done += weight

    algorithm.track = mixed_precision.track = Told
    try:
        yield
    finally:
        algorithm.track = mixed_precision.track = original


if __name__ == "__main__":
    run_child(export, offline)
