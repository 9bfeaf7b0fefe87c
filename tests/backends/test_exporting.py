"""What happens around an exporter: reuse, damage, two at once, stopping, killing, and not enough room."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from backends import exporting, space
from backends.base import ModelFormat
from backends.errors import LaneError, OutOfMemory, PreparationFailed
from backends.exporting import Exported, export_all
from backends.folders import REPOSITORY
from backends.job import PreparationStopped
from backends.model_files import PATTERNS
from backends.models import Model
from backends.progress import Progress, Reporter
from backends.recipes import Recipe, onnx_recipe, openvino_recipe
from tests.backends.test_models import write_safetensors

QUICK = dict.fromkeys(exporting.EXPORTERS, "tests.backends.quick_exporter")
EXPORTS_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from tests.backends.test_exporting import QUICK, export, model_in
from backends import exporting
exporting.EXPORTERS = QUICK
print(export(model_in(Path(sys.argv[1])), pause_s=float(sys.argv[2])).reused)
"""


def recipe(**flags: Any) -> Recipe:
    made = openvino_recipe("int4", "cpu")
    return replace(made, flags=MappingProxyType({**made.flags, **flags}))


def model_in(folder: Path) -> Model:
    return Model(folder.name, "folder", folder)


def export(model: Model, report: Reporter | None = None, verify: bool = False, **flags: Any) -> Exported:
    outcome = outcome_of(model, report, verify, **flags)
    assert isinstance(outcome, Exported), outcome
    return outcome


def outcome_of(
    model: Model, report: Reporter | None = None, verify: bool = False, **flags: Any
) -> Exported | LaneError:
    return export_all(model, [recipe(**flags)], report or Reporter(), verify)[recipe().name]


@pytest.fixture(autouse=True)
def quick_exporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exporting, "EXPORTERS", QUICK)
    monkeypatch.setenv("PHOTOFINISH_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "some model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    write_safetensors(folder / "model.safetensors", a=[10, 20])
    return model_in(folder)


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """After the test, nothing half-made lies in the data folder and no exporter runs."""
    yield
    assert list((tmp_path / "data").rglob("*.making")) == []
    assert not [child for child in psutil.Process().children() if QUICK[ModelFormat.OPENVINO] in child.cmdline()]


def weights(made: Exported) -> Path:
    return made.folder / "weights.bin"


def test_the_second_call_reuses_the_first_and_is_over_at_once(model: Model) -> None:
    first = export(model)
    began = time.perf_counter()
    second = export(model)
    assert time.perf_counter() - began < 1
    assert (first.reused, second.reused, second.folder) == (False, True, first.folder)
    assert second.manifest == first.manifest


def test_the_manifest_tells_everything(model: Model) -> None:
    made = export(model)
    manifest = json.loads((made.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"]["name"] == "some model"
    assert len(manifest["source"]["sha256"]) == 64
    assert manifest["flags"] == {"task": "text-generation-with-past", "weight_format": "int4",
                                 "bits": 4, "sym": True, "group_size": 128, "ratio": 0.6}  # fmt: skip
    assert {"openvino", "optimum-intel", "nncf", "torch", "transformers"} == set(manifest["tools"])
    assert manifest["seconds"] == 0.1
    assert list(manifest["files"]) == ["weights.bin"]
    assert manifest["bytes"] == weights(made).stat().st_size == made.manifest.weights_bytes


@pytest.mark.parametrize("damage", ["truncated", "missing", "manifest half-written", "manifest missing"])
def test_a_damaged_export_is_made_anew(model: Model, damage: str) -> None:
    made = export(model)
    if damage == "truncated":
        weights(made).write_bytes(b"who")
    elif damage == "missing":
        weights(made).unlink()
    elif damage == "manifest missing":
        (made.folder / "manifest.json").unlink()
    else:
        (made.folder / "manifest.json").write_text('{"schema": 1, "files": {"wei', encoding="utf-8")
    again = export(model)
    assert not again.reused
    assert weights(again).read_bytes().startswith(b"whole")
    assert export(model).reused


def test_verify_finds_what_sizes_and_times_do_not_show(model: Model) -> None:
    made = export(model)
    facts, content = weights(made).stat(), weights(made).read_bytes()
    weights(made).write_bytes(b"X" + content[1:])
    os.utime(weights(made), ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert export(model).reused
    assert not export(model, verify=True).reused
    assert export(model, verify=True).reused


def test_a_copied_data_folder_needs_no_new_export(model: Model) -> None:
    made = export(model)
    os.utime(weights(made), ns=(1, 1))
    assert export(model).reused
    weights(made).write_bytes(b"W" + weights(made).read_bytes()[1:])
    assert not export(model).reused


def test_a_changed_model_is_exported_anew(model: Model) -> None:
    first = export(model)
    assert model.folder is not None
    write_safetensors(model.folder / "model.safetensors", a=[10, 21])
    second = export(model)
    assert not second.reused
    assert second.folder != first.folder


def test_an_onnx_export_of_another_builder_is_made_anew(model: Model) -> None:
    one = onnx_recipe("int4", "cpu")
    made = export_all(model, [one], Reporter())[one.name]
    assert isinstance(made, Exported)
    file = made.folder / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["tools"]["onnxruntime-genai"] = "0.18.0"
    file.write_text(json.dumps(content), encoding="utf-8")
    again = export_all(model, [one], Reporter())[one.name]
    assert isinstance(again, Exported)
    assert not again.reused


def test_two_at_once_make_it_once(model: Model) -> None:
    assert model.folder is not None
    command = [sys.executable, "-c", EXPORTS_IN_ANOTHER_PROCESS, str(model.folder), "1.5"]
    both = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(each.communicate(timeout=60)[0].strip() for each in both) == ["False", "True"]


@pytest.mark.usefixtures("nothing_left")
def test_stop_ends_the_exporter_and_leaves_nothing(model: Model) -> None:
    seen: list[Progress] = []
    stopping = threading.Event()

    def on_progress(progress: Progress) -> None:
        seen.append(progress)
        if progress.stage == "exporting":
            stopping.set()

    began = time.perf_counter()
    with pytest.raises(PreparationStopped):
        export(model, Reporter(on_progress, stopping.is_set), pause_s=60)
    assert time.perf_counter() - began < 20
    pid = int(next(each.message for each in seen if each.stage == "exporting").split()[1])
    assert not psutil.pid_exists(pid)
    assert not export(model).reused


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_an_interrupted_preparation_ends_its_exporter(model: Model, tmp_path: Path, number: int) -> None:
    assert model.folder is not None
    command = [sys.executable, "-c", EXPORTS_IN_ANOTHER_PROCESS, str(model.folder), "60"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    exporter = wait_for_child(process)
    process.send_signal(number)
    process.wait(20)
    exporter.wait(20)
    left = list((tmp_path / "data").rglob("*.making"))
    assert (left == []) == (number == signal.SIGINT)
    assert not export(model).reused
    assert list((tmp_path / "data").rglob("*.making")) == [], "what a killed one left is cleared away by the next"


def wait_for_child(process: "subprocess.Popen[bytes]") -> psutil.Process:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            if any(Path(process.args[3]).parent.joinpath("data").rglob("weights.bin")):  # type: ignore[index, arg-type]
                return child
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.usefixtures("nothing_left")
def test_a_failure_gives_the_exporters_own_words_and_the_log(model: Model) -> None:
    failure = outcome_of(model, end="raise")
    assert isinstance(failure, PreparationFailed)
    assert "some model could not be exported for OpenVINO at int4: the third layer is made of cheese" in str(failure)
    assert "\n" not in str(failure)
    assert "Traceback" not in str(failure)
    assert "Traceback" in failure.log_tail
    assert "ValueError: the third layer" in failure.log_tail


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_exporter_is_told_as_such(model: Model) -> None:
    failure = outcome_of(model, end="kill")
    assert isinstance(failure, PreparationFailed)
    assert "its process was killed, most often because the memory ran out" in str(failure)


def test_too_little_memory_is_refused_with_both_figures(model: Model) -> None:
    assert model.folder is not None
    write_safetensors(model.folder / "model.safetensors", a=[10**6, 10**6])
    big_disk, space.OUTPUT_BYTES = space.OUTPUT_BYTES, dict.fromkeys(space.OUTPUT_BYTES, 0.0)
    traced, space.TRACED_BYTES = space.TRACED_BYTES, 0.0
    try:
        failure = outcome_of(model)
    finally:
        space.OUTPUT_BYTES, space.TRACED_BYTES = big_disk, traced
    assert isinstance(failure, OutOfMemory)
    assert "needs about 3200.6 GB of free memory and" in str(failure)
    assert f"and {psutil.virtual_memory().available / 1e9:.0f}"[:-1] in str(failure)


def test_too_little_disk_is_refused_with_both_figures(model: Model, tmp_path: Path) -> None:
    assert model.folder is not None
    write_safetensors(model.folder / "model.safetensors", a=[10**6, 10**6])
    failure = outcome_of(model)
    assert isinstance(failure, PreparationFailed)
    assert f"needs about 3200.1 GB on the disk of {tmp_path}" in str(failure)
    assert "GB are free" in str(failure)


def test_progress_has_stages_and_time(model: Model) -> None:
    seen: list[Progress] = []
    export(model, Reporter(seen.append), pause_s=0.5)
    assert "exporting" in {each.stage for each in seen}
    assert seen[-1].stage == "saving"
    times = [each.elapsed_s for each in seen]
    assert times == sorted(times)
    assert len([each for each in seen if each.fraction == 0.5]) >= 3, "told again while time goes by"


def test_the_patterns_leave_out_pickles_and_code() -> None:
    assert not {"*.bin", "*.py", "*.pt"} & set(PATTERNS)
