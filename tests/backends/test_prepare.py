"""Preparation with the real exporters: what they make of the bundled model and of models that nobody here wrote."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.base import ModelFormat
from backends.errors import PreparationFailed
from backends.folders import REPOSITORY
from backends.lane import parse_lane
from backends.manifest import read_manifest
from backends.models import resolve_model
from backends.prepare import is_prepared, prepare
from backends.progress import Progress
from backends.ready_made import read_precision

Prepare = Callable[..., Path]
Zoo = Callable[[str], Path]
GENERATE_ONNX = """
import sys, onnxruntime_genai as og
model = og.Model(sys.argv[1])
params = og.GeneratorParams(model)
params.set_search_options(max_length=20, min_length=20, do_sample=False)
generator = og.Generator(model, params)
generator.append_tokens([10, 11, 12, 13])
while not generator.is_done(): generator.generate_next_token()
print(len(generator.get_sequence(0)))
"""
GENERATE_OPENVINO = """
import sys, numpy, openvino, openvino_genai
pipeline = openvino_genai.LLMPipeline(sys.argv[1], "CPU", ATTENTION_BACKEND="SDPA")
config = openvino_genai.GenerationConfig(max_new_tokens=16, ignore_eos=True)
print(4 + len(pipeline.generate(openvino.Tensor(numpy.array([[10, 11, 12, 13]])), config).tokens[0]))
"""


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "backends", "prepare", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=250, check=False)


def generated(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=250, check=False
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
@pytest.mark.parametrize("backend", ["openvino-genai", "onnxruntime-genai"])
def test_every_precision_is_made_and_says_so_itself(backend: str, precision: str, prepared: Prepare) -> None:
    lane = parse_lane(f"{backend}:{precision}")
    folder = prepared(str(lane))
    assert read_precision(folder, lane.cls.format) == precision
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.precision == precision
    assert manifest.notes == (), "the bundled model fits every recipe"


def test_lower_precisions_are_smaller(prepared: Prepare) -> None:
    for backend in ("openvino-genai", "onnxruntime-genai"):
        sizes = []
        for precision in ("fp32", "fp16", "int8", "int4"):
            manifest = read_manifest(prepared(f"{backend}:{precision}"))
            assert manifest is not None
            sizes.append(manifest.weights_bytes)
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 4


def test_both_openvino_backends_share_an_export(prepared: Prepare) -> None:
    assert prepared("openvino-genai:int8") == prepared("openvino-optimum:int8:GPU")


def test_the_second_call_of_the_command_is_quick_and_says_reused(prepared: Prepare, bundled_model: Path) -> None:
    folder = prepared("openvino-genai:int4")
    lane, model = parse_lane("openvino-genai:int4"), resolve_model(str(bundled_model))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        assert prepare(model, lane).folder == folder
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1
    done = run("--model", str(bundled_model), "--lane", "openvino-genai:int4", "--verify")
    assert done.returncode == 0, done.stderr
    assert "reused" in done.stdout
    assert str(folder) in done.stdout
    assert is_prepared(str(bundled_model), lane)


def test_preparing_imports_no_runtime() -> None:
    code = "import sys, backends.prepare_command; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "optimum", "openvino", "onnxruntime", "onnxruntime_genai", "nncf", "onnx"}
    assert not heavy & set(found.stdout.split())


def test_the_npu_gets_every_layer_in_int4(model_zoo: Zoo, prepared: Prepare) -> None:
    for_npu = read_manifest(prepared("openvino-genai:int4:NPU", model_zoo("toy")))
    assert for_npu is not None
    assert for_npu.flags["ratio"] == 1.0
    assert for_npu.flags["sym"] is True


def test_dml_gets_an_export_of_its_own(model_zoo: Zoo, prepared: Prepare) -> None:
    folder = prepared("onnxruntime-genai:int4:DML", model_zoo("toy"))
    provider = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"][
        "session_options"
    ]
    assert provider["provider_options"] == [{"dml": {}}]
    assert read_precision(folder, ModelFormat.ONNX_GENAI) == "int4"


@pytest.mark.parametrize("name", ["llama", "qwen2"])
@pytest.mark.parametrize(
    ("backend", "code"), [("openvino-genai", GENERATE_OPENVINO), ("onnxruntime-genai", GENERATE_ONNX)]
)
def test_other_architectures_work(name: str, backend: str, code: str, model_zoo: Zoo, prepared: Prepare) -> None:
    assert generated(code, prepared(f"{backend}:int4", model_zoo(name))) == "20"


def test_onnx_int8_generates(model_zoo: Zoo, prepared: Prepare) -> None:
    assert generated(GENERATE_ONNX, prepared("onnxruntime-genai:int8", model_zoo("llama"))) == "20"


def test_too_narrow_layers_are_adjusted_with_a_note(model_zoo: Zoo) -> None:
    seen: list[Progress] = []
    made = prepare(resolve_model(str(model_zoo("narrow"))), parse_lane("openvino-genai:int4"), seen.append)
    assert made.manifest.notes == ("Some layers are too narrow for groups of 128 weights: theirs was made smaller.",)
    assert generated(GENERATE_OPENVINO, made.folder) == "20"
    assert {"importing", "exporting", "compressing", "saving"} <= {each.stage for each in seen}
    assert any(each.fraction for each in seen if each.stage == "compressing")


@pytest.mark.parametrize("lane", ["openvino-genai:int4", "onnxruntime-genai:int4"])
def test_a_models_own_code_is_never_run(lane: str, model_zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "strange"
    shutil.copytree(model_zoo("toy"), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    mark = tmp_path / "it-ran"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Config: ...\nclass Model: ...\n", encoding="utf-8")
    with pytest.raises(PreparationFailed, match="it would have to run code that comes with the model") as refusal:
        prepare(resolve_model(str(folder)), parse_lane(lane))
    assert "\n" not in str(refusal.value)
    assert not mark.exists()


def test_an_architecture_without_exporter_says_so(model_zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "bloom"
    shutil.copytree(model_zoo("toy"), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    changed = config | {"architectures": ["BloomForCausalLM"], "model_type": "bloom"}
    (folder / "config.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(PreparationFailed, match="for ONNX at int4: the builder does not know BloomForCausalLM"):
        prepare(resolve_model(str(folder)), parse_lane("onnxruntime-genai:int4"))


@pytest.mark.parametrize("lane", ["openvino-genai:int4", "onnxruntime-genai:int4", "transformers:fp32"])
def test_pickled_weights_are_refused_before_anything_starts(lane: str, model_zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(model_zoo("toy"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    done = run("--model", str(folder), "--lane", lane)
    assert done.returncode == 1
    assert "convert them to safetensors first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("backend", ["openvino-genai", "onnxruntime-genai"])
def test_a_ready_made_export_is_taken_as_it_is(
    backend: str, prepared: Prepare, bundled_model: Path, tmp_path: Path
) -> None:
    given = tmp_path / "my export"
    shutil.copytree(prepared(f"{backend}:int8"), given, ignore=shutil.ignore_patterns("manifest.json"))
    lane = parse_lane(f"{backend}@from={str(given).replace(' ', '%20')}")
    made = prepare(resolve_model(str(bundled_model)), lane)
    assert (made.folder, made.reused, made.manifest.precision) == (given.resolve(), True, "int8")
    assert made.manifest.weights_bytes > 0
    wrong = prepare(
        resolve_model(str(bundled_model)), parse_lane(f"{backend}:fp16@from={str(given).replace(' ', '%20')}")
    )
    assert wrong.manifest.notes == ("The lane says fp16, but the export in my export says int8.",)


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("openvino-genai", "is no OpenVINO export: openvino_model.xml and openvino_model.bin is missing"),
        ("onnxruntime-genai", "is no ONNX Runtime GenAI export: genai_config.json and model.onnx is missing"),
    ],
)
def test_a_folder_that_is_no_export_is_refused(backend: str, reason: str, bundled_model: Path, tmp_path: Path) -> None:
    with pytest.raises(PreparationFailed, match=reason):
        prepare(resolve_model(str(bundled_model)), parse_lane(f"{backend}@from={tmp_path}"))


def test_transformers_and_scripted_need_no_export(bundled_model: Path) -> None:
    model = resolve_model(str(bundled_model))
    made = prepare(model, parse_lane("transformers:fp32"))
    assert (made.folder, made.reused) == (model.folder, True)
    assert made.manifest.weights_bytes == (bundled_model / "model.safetensors").stat().st_size
    assert prepare(model, parse_lane("scripted")).reused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nonsense", "--lane", "scripted"], "There is no model 'nonsense'"),
        (["--model", "pocket-phi3", "--lane", "nonsense"], "There is no backend 'nonsense'"),
    ],
)
def test_unusable_arguments_are_one_line(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
