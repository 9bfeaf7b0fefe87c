"""Where the workers of a comparison write what their libraries print. The newest folders are kept."""

import shutil
from pathlib import Path

from backends.folders import data_folder

KEPT = 40


def new_log_folder(comparison_id: str) -> Path:
    """A folder for the logs of one comparison, made; the oldest beyond `KEPT` are removed."""
    logs = data_folder() / "logs"
    folder = logs / comparison_id
    folder.mkdir(parents=True)
    by_age = sorted((f for f in logs.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in by_age[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
