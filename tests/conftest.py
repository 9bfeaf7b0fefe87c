"""What tests share: one data folder for the whole session, the bundled model, and exports that are made once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from backends.errors import LaneError
from backends.folders import ASSETS, REPOSITORY, VARIABLE
from backends.lane import Lane, parse_lane
from backends.models import resolve_model
from backends.prepare import prepare_many

Prepare = Callable[..., Path]
BUNDLED = ASSETS / "models" / "pocket-phi3"


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def data_dir(session_folder: Path) -> Path:
    """The data folder of the session, also of all processes that tests start."""
    folder = session_folder / "data"
    os.environ[VARIABLE] = str(folder)
    return folder


@pytest.fixture(scope="session")
def bundled_model(session_folder: Path) -> Path:
    """The bundled model; as long as it is not trained, one of its shape with random weights."""
    if (BUNDLED / "model.safetensors").is_file():
        return BUNDLED
    return make_once("pocket", session_folder)


@pytest.fixture(scope="session")
def model_zoo(session_folder: Path) -> Callable[[str], Path]:
    """A small model with random weights, by a name of `tests/model_zoo.py`."""
    return lambda name: make_once(name, session_folder)


@pytest.fixture(scope="session")
def prepared(bundled_model: Path, data_dir: Path) -> Prepare:
    """`prepared(lane text[, model folder])`: the folder that the lane's backend loads, made where it is not there."""

    def prepare_it(text: str, model: Path | None = None) -> Path:
        lane = parse_lane(text)
        lanes = [lane] if model is not None or "from" in lane.options else [lane, *_siblings(lane)]
        outcome = prepare_many(resolve_model(str(model or bundled_model)), lanes)[0]
        if isinstance(outcome, LaneError):
            raise outcome
        return outcome.folder

    return prepare_it


def _siblings(lane: Lane) -> list[Lane]:
    """The other precisions, which other tests will ask for: together they cost one import."""
    cls = lane.cls
    return [parse_lane(f"{cls.name}:{precision}") for precision in cls.precisions if precision != lane.precision]


def make_once(name: str, session_folder: Path) -> Path:
    """Make a model of the zoo in a process of its own: PyTorch stays out of the tests' processes."""
    folder = session_folder / "zoo" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            command = [sys.executable, "-m", "tests.model_zoo", name, str(making)]
            subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=280)
            making.rename(folder)
    return folder
