"""Where Photofinish keeps what it makes: prepared models, compiled models, probe results, logs, history."""

import os
from pathlib import Path

import platformdirs

VARIABLE = "PHOTOFINISH_DATA_DIR"
REPOSITORY = Path(__file__).resolve().parent.parent
ASSETS = REPOSITORY / "assets"


def data_folder() -> Path:
    """The data folder: `$PHOTOFINISH_DATA_DIR`, or the platform's own place for an app's data. Made when missing.

    Raises OSError with one sentence that says what to do."""
    folder = Path(os.environ.get(VARIABLE) or platformdirs.user_data_dir("photofinish", appauthor=False))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        reason = f"The data folder {folder} cannot be used ({problem.strerror}): set {VARIABLE} to another folder."
        raise OSError(reason) from problem
    return folder
