"""Downloads, as the command line makes them, against an imitation of the hub on this machine."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.folders import REPOSITORY
from backends.models import resolve_model
from tests.backends.hub_imitation import Hub, Repository, serve

CONFIG = json.dumps({"model_type": "llama", "dtype": "float16"}).encode()


def safetensors(size: int) -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + os.urandom(size)


MODEL = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": safetensors(300_000)}
SUBFOLDER = "cpu/int4"
EXPORT = {
    f"{SUBFOLDER}/genai_config.json": json.dumps({"model": {"decoder": {"filename": "phi.onnx"}}}).encode(),
    f"{SUBFOLDER}/phi.onnx": b"...\x0a\x04bits\x18\x04\xa0\x01\x02...",
    f"{SUBFOLDER}/phi.onnx.data": os.urandom(1000),
    "gpu/other.onnx": b"not this one",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    offered = Hub({"someone/tiny": Repository(dict(MODEL)), "someone/tiny-onnx": Repository(EXPORT)})
    server = serve(offered)
    yield offered
    server.shutdown()
    server.server_close()


class Machine:
    """A machine with an empty cache; `prepare` runs the command there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.cache = folder / "hub"
        self.environment = os.environ | {
            "HF_ENDPOINT": url,
            "HF_HUB_CACHE": str(self.cache),
            "HF_HOME": str(folder),
            "PHOTOFINISH_DATA_DIR": str(folder / "data"),
            "HF_HUB_OFFLINE": "0",
        }

    def prepare(
        self, model: str, lane: str = "transformers:fp32", **changed: str
    ) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "backends", "prepare", "--model", model, "--lane", lane]
        environment = self.environment | changed
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    def downloaded(self) -> set[str]:
        return {file.name for file in self.cache.rglob("snapshots/*/**/*") if file.is_file()}


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, hub.url)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line in which a failure is told."""
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_model_is_downloaded_once_with_progress_and_used_offline_then(machine: Machine, hub: Hub) -> None:
    first = machine.prepare("someone/tiny")
    assert first.returncode == 0, first.stderr
    assert "downloading" in first.stderr
    assert machine.downloaded() == set(MODEL)
    before = len(hub.requests)
    second = machine.prepare("someone/tiny", HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert second.returncode == 0, second.stderr
    assert "reused" in second.stdout
    assert len(hub.requests) == before


def test_an_interrupted_download_goes_on_where_it_ended(machine: Machine, hub: Hub) -> None:
    weights = safetensors(12_000_000)
    hub.repositories["someone/tiny"] = Repository(MODEL | {"model.safetensors": weights}, cut_after=11_000_000)
    first = machine.prepare("someone/tiny")
    if first.returncode != 0:  # the hub's library goes on by itself while the connection can be had again
        assert machine.prepare("someone/tiny").returncode == 0
    ranges = [asked for path, asked in hub.requests if path == "model.safetensors"]
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")
    assert 10_000_000 < int(ranges[1].removeprefix("bytes=").partition("-")[0]) <= 11_000_000
    (file,) = machine.cache.rglob("model.safetensors")
    assert file.read_bytes() == weights


def test_pickles_code_and_subfolders_stay_where_they_are(machine: Machine, hub: Hub) -> None:
    others = {"pytorch_model.bin": b"x", "own.py": b"x", "README.md": b"x", "original/model.safetensors": b"x"}
    hub.repositories["someone/tiny"] = Repository(MODEL | others)
    assert machine.prepare("someone/tiny").returncode == 0
    assert machine.downloaded() == set(MODEL)


def test_a_repository_of_pickles_is_refused_before_the_download(machine: Machine, hub: Hub) -> None:
    hub.repositories["someone/tiny"] = Repository({"config.json": CONFIG, "pytorch_model.bin": b"x"})
    assert "it offers no .safetensors files" in one_line(machine.prepare("someone/tiny"))
    assert machine.downloaded() == set()


def test_without_network_one_sentence_says_what_to_do(machine: Machine) -> None:
    told = one_line(machine.prepare("someone/tiny", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "someone/tiny could not be downloaded: http://127.0.0.1:9 cannot be reached" in told
    assert "or give a folder that is on it" in told


def test_offline_mode_is_respected(machine: Machine, hub: Hub) -> None:
    told = one_line(machine.prepare("someone/tiny", HF_HUB_OFFLINE="1"))
    assert "someone/tiny is not on this machine, and HF_HUB_OFFLINE forbids to download it" in told
    assert hub.requests == []


def test_a_name_that_the_hub_does_not_know(machine: Machine) -> None:
    assert "has no repository someone/nothing" in one_line(machine.prepare("someone/nothing"))


def test_a_gated_model_says_how_to_get_it(machine: Machine, hub: Hub) -> None:
    hub.repositories["someone/tiny"].gated = True
    assert "asks its users to accept its terms" in one_line(machine.prepare("someone/tiny"))


def test_a_ready_made_export_from_the_hub(machine: Machine) -> None:
    lane = f"onnxruntime-genai@from=someone/tiny-onnx/{SUBFOLDER}"
    done = machine.prepare("pocket-phi3", lane)
    assert done.returncode == 0, done.stderr
    assert machine.downloaded() == {"genai_config.json", "phi.onnx", "phi.onnx.data"}
    again = machine.prepare("pocket-phi3", lane, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr


def test_the_export_that_the_catalogue_names_is_downloaded_instead_of_the_weights(machine: Machine, hub: Hub) -> None:
    (offered,) = (each for each in resolve_model("Phi-3-mini-4k-instruct").exports if each.device_kind == "dml")
    files = {path.replace(SUBFOLDER, offered.subfolder): content for path, content in EXPORT.items()}
    hub.repositories[offered.hub_id] = Repository(files)
    done = machine.prepare("Phi-3-mini-4k-instruct", "onnxruntime-genai:int4:DML")
    assert done.returncode == 0, done.stderr
    assert machine.downloaded() == {"genai_config.json", "phi.onnx", "phi.onnx.data"}
    assert offered.subfolder in done.stdout
    assert " made " in done.stdout
    assert " reused " in machine.prepare("Phi-3-mini-4k-instruct", "onnxruntime-genai:int4:DML").stdout


def test_what_is_neither_a_folder_nor_a_hub_id(machine: Machine) -> None:
    told = one_line(machine.prepare("pocket-phi3", "onnxruntime-genai@from=nothing"))
    assert "@from=nothing is neither a folder nor a hub id" in told
