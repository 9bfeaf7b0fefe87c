"""What a model or a ready-made export needs from the hub, downloaded with progress where it is not here yet."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backends.base import ModelFormat
from backends.errors import PreparationFailed
from backends.folders import data_folder
from backends.hub_cache import local_snapshot
from backends.job import Event, run_job
from backends.model_files import PATTERNS, check_model
from backends.models import Model, ReadyMade
from backends.progress import Reporter
from backends.ready_made import check_ready_made

NO_SUBFOLDERS = ("*/*",)
TEXT_FILES = ("config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
              "vocab.*", "merges.txt", "*.jinja", "chat_template.json", "spiece.model", "sentencepiece.bpe.model")  # fmt: skip
EXPORT_FILES = {
    ModelFormat.OPENVINO: ("openvino_*.xml", "openvino_*.bin", "*.json", "*.jinja", "*.txt", "*.model"),
    ModelFormat.ONNX_GENAI: ("*.onnx", "*.onnx.data", "*.onnx_data", "*.json", "*.jinja", "*.txt", "*.model"),
    ModelFormat.HUGGING_FACE: PATTERNS,
}

WEIGHTS = {
    ModelFormat.OPENVINO: ("openvino_model.bin",),
    ModelFormat.ONNX_GENAI: (".onnx",),
    ModelFormat.HUGGING_FACE: (".safetensors",),
}

MARKERS = {
    ModelFormat.OPENVINO: "openvino_model.xml",
    ModelFormat.ONNX_GENAI: "genai_config.json",
    ModelFormat.HUGGING_FACE: "config.json",
}


def ensure_local(model: Model, report: Reporter) -> Model:
    """`model` with its weights on this machine, downloaded where they are not. Raises PreparationFailed."""
    if model.folder is not None:
        return model
    if model.hub_id is None:
        raise PreparationFailed(f"{model.name} is not there: this installation lacks its folder under assets/models.")
    folder = fetch(model.hub_id, model.revision or "main", PATTERNS, NO_SUBFOLDERS, (".safetensors",), report)
    check_model(folder)
    return replace(model, folder=folder)


def ensure_text_files(model: Model, report: Reporter) -> Path:
    """A folder with the model's config and tokenizer; its weights may be missing there. Raises PreparationFailed."""
    if model.folder is not None:
        return model.folder
    if model.hub_id is None:
        raise PreparationFailed(f"{model.name} is not there: this installation lacks its folder under assets/models.")
    revision = model.revision or "main"
    for name in ("tokenizer.json", "tokenizer.model"):
        folder = local_snapshot(model.hub_id, revision, name)
        if folder is not None and (folder / "config.json").is_file():
            return folder
    return fetch(model.hub_id, revision, TEXT_FILES, NO_SUBFOLDERS, (".json", ".model"), report)


def local_ready_made(export: ReadyMade) -> Path | None:
    """The folder of a ready-made export where it is on this machine, and whole."""
    snapshot = local_snapshot(export.hub_id, "main", _prefix(export) + MARKERS[export.format])
    if snapshot is None:
        return None
    try:
        check_ready_made(snapshot / export.subfolder, export.format)
    except PreparationFailed:  # a download was interrupted
        return None
    return snapshot / export.subfolder


def ensure_ready_made(export: ReadyMade, report: Reporter) -> Path:
    """The folder of a ready-made export on this machine, downloaded where it is not. Raises PreparationFailed."""
    if (found := local_ready_made(export)) is not None:
        return found
    prefix = _prefix(export)
    allow = [prefix + pattern for pattern in EXPORT_FILES[export.format]]
    ignore = () if prefix else NO_SUBFOLDERS
    folder = fetch(export.hub_id, "main", allow, ignore, WEIGHTS[export.format], report) / export.subfolder
    check_ready_made(folder, export.format)
    return folder


def _prefix(export: ReadyMade) -> str:
    return f"{export.subfolder}/" if export.subfolder else ""


def fetch(
    hub_id: str,
    revision: str,
    allow: Sequence[str],
    ignore: Sequence[str],
    weights: Sequence[str],
    report: Reporter,
) -> Path:
    """Download those files of a repository into the hub's own cache; returns the snapshot's folder.

    `weights` are the endings of which some file must have one. Raises PreparationFailed.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE"):
        raise PreparationFailed(
            f"{hub_id} is not on this machine, and HF_HUB_OFFLINE forbids to download it: unset that, or give a folder."
        )
    found: list[str] = []

    def on_event(event: Event) -> None:
        if event.get("event") == "made":
            found.append(event["folder"])
        else:
            report.on_event(event)

    log = data_folder() / "logs" / f"download-{hub_id.replace('/', '--')}.log"
    wanted = {"allow": list(allow), "ignore": list(ignore), "weights": list(weights)}
    job = {"op": "download", "hub_id": hub_id, "revision": revision, **wanted}
    try:
        run_job("backends.download_job", job, log, on_event, report.should_stop)
    except PreparationFailed as problem:
        if type(problem) is not PreparationFailed:
            raise
        raise PreparationFailed(f"{hub_id} could not be downloaded: {str(problem).rstrip('.')}.") from problem
    return Path(found[0])
