"""Which model a text names, which files make it, and its digest."""

import json
import struct
from pathlib import Path

import pytest

from backends.base import ModelFormat
from backends.errors import PreparationFailed
from backends.model_files import check_model, is_complete, parameter_count
from backends.models import catalogue, model_digest, resolve_model


def write_safetensors(file: Path, **shapes: list[int]) -> None:
    """A file with the header of such tensors, and no data."""
    header = json.dumps(
        {name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    )
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "my-model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    write_safetensors(model / "model.safetensors", a=[10, 20], b=[7])
    return model


def test_the_catalogue_has_the_four_models_and_only_named_formats() -> None:
    models = {model.name: model for model in catalogue()}
    assert list(models) == ["pocket-phi3", "Phi-3-mini-4k-instruct", "Phi-3.5-mini-instruct", "Phi-4-mini-instruct"]
    assert models["pocket-phi3"].source == "bundled"
    for model in list(models.values())[1:]:
        assert model.licence == "MIT"
        assert model.parameters is not None
        assert model.parameters > 3.8e9
        for kind in ("cpu", "dml"):
            assert model.export_for(ModelFormat.ONNX_GENAI, "int4", kind) is not None
        assert model.export_for(ModelFormat.OPENVINO, "int4", "cpu") is not None
        assert model.export_for(ModelFormat.OPENVINO, "fp32", "cpu") is None


def test_the_npu_gets_its_own_export_or_none() -> None:
    phi3 = resolve_model("Phi-3-mini-4k-instruct")
    for_npu, for_others = (phi3.export_for(ModelFormat.OPENVINO, "int4", kind) for kind in ("npu", "cpu"))
    assert for_npu is not None
    assert for_others is not None
    assert for_npu.hub_id != for_others.hub_id
    assert resolve_model("Phi-4-mini-instruct").export_for(ModelFormat.OPENVINO, "int4", "npu") is None


@pytest.mark.parametrize(
    "text", ["Phi-3-mini-4k-instruct", "phi-3-MINI-4k-instruct", "microsoft/Phi-3-mini-4k-instruct"]
)
def test_a_catalogue_name_in_any_case_or_its_hub_id(text: str) -> None:
    model = resolve_model(text)
    assert (model.source, model.name) == ("catalogue", "Phi-3-mini-4k-instruct")
    assert model.hub_id == "microsoft/Phi-3-mini-4k-instruct"


def test_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = resolve_model(str(folder))
    assert (model.source, model.name, model.folder) == ("folder", "my-model", folder)
    monkeypatch.chdir(folder.parent.parent)
    assert resolve_model(f"{folder.parent.name}/my-model").folder == folder, "a folder comes before a hub id"


def test_a_hub_id_with_a_revision() -> None:
    model = resolve_model("someone/some-model@v2")
    assert (model.source, model.hub_id, model.revision, model.folder) == ("hub", "someone/some-model", "v2", None)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "/no/such/folder", "~nobody-here/x/y", "a/b/c", "x\0y", "x" * 9000, "a b/c"]
)
def test_what_names_nothing_is_said_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"There is no model .* pocket-phi3") as refusal:
        resolve_model(text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json"):
        resolve_model(str(tmp_path))


def test_parameters_are_counted_over_all_shards(folder: Path) -> None:
    assert parameter_count(folder) == 207
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    write_safetensors(folder / "model-00002-of-00002.safetensors", c=[3, 5])
    shards = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    assert parameter_count(folder) == 222
    assert is_complete(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(PreparationFailed, match=r"model-00002-of-00002\.safetensors is missing"):
        check_model(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PreparationFailed, match=r"pickled files, which can run code .* safetensors first"):
        check_model(folder)


@pytest.mark.parametrize("content", [b"", b"abc", struct.pack("<Q", 2**60) + b"{", struct.pack("<Q", 2) + b"[]"])
def test_a_damaged_safetensors_file_is_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(PreparationFailed, match=r"model\.safetensors is no safetensors file"):
        parameter_count(folder)


def test_the_digest_follows_the_content_and_not_the_place_or_the_documents(folder: Path) -> None:
    before = model_digest(folder)
    (folder / "README.md").write_text("a document", encoding="utf-8")
    assert model_digest(folder) == before
    moved = folder.rename(folder.with_name("elsewhere"))
    assert model_digest(moved) == before
    (moved / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert model_digest(moved) != before


def test_only_changed_files_are_read_again(folder: Path) -> None:
    read: list[int] = []
    model_digest(folder, read.append)
    assert sum(read) == sum(file.stat().st_size for file in folder.iterdir())
    read.clear()
    model_digest(folder, read.append)
    assert read == []
    (folder / "config.json").write_text('{"a": 1}', encoding="utf-8")
    model_digest(folder, read.append)
    assert read == [8]
