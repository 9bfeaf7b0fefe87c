"""A download from the hub, in a process of its own: it can be ended at any moment and goes on from there the next time."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from backends.errors import PreparationFailed
from backends.job_child import Events, run_child
from backends.offline import telemetry_off
from backends.space import check_disk

CANNOT_WRITE = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS)


def download(job: dict[str, Any], events: Events) -> None:
    """Download the files of `job["hub_id"]` that match `allow` and not `ignore` into the hub's own cache.

    `weights` are the endings of which some file must have one.
    """
    events.stage("downloading", None, f"asking for the files of {job['hub_id']}")
    from huggingface_hub import constants, snapshot_download

    wanted = {"revision": job["revision"], "allow_patterns": job["allow"], "ignore_patterns": job["ignore"]}
    try:
        plan = snapshot_download(job["hub_id"], dry_run=True, **wanted)
        if not any(each.filename.endswith(tuple(job["weights"])) for each in plan):
            raise PreparationFailed(f"it offers no {' or '.join(job['weights'])} files, and no others are loaded here")
        missing = sum(each.file_size for each in plan if each.will_download)
        cache = Path(constants.HF_HUB_CACHE)
        cache.mkdir(parents=True, exist_ok=True)
        check_disk(cache, missing, f"Downloading {job['hub_id']}")
        bar = _told(events, job["hub_id"], missing)
        folder = snapshot_download(job["hub_id"], tqdm_class=bar, **wanted)
    except PreparationFailed:
        raise
    except Exception as problem:
        raise PreparationFailed(_sentence(problem, job["hub_id"])) from problem
    events.made(0, folder=str(folder))


def _told(events: Events, hub_id: str, total_bytes: int) -> type:
    """A progress bar class that tells the parent of bytes instead of drawing."""
    lock = threading.Lock()
    done = 0

    class Told(tqdm):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            self._counts_bytes = settings.get("unit") == "B"
            super().__init__(*arguments, **{**settings, "disable": True})
            self.total = settings.get("total") or 0

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            if self._counts_bytes:
                with lock:
                    done += int(n or 0)
                    fraction = min(done / total_bytes, 1.0) if total_bytes else None
                    events.stage("downloading", fraction, f"{hub_id}: {done / 1e6:,.0f} of {total_bytes / 1e6:,.0f} MB")
            return None

    return Told


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


def _sentence(problem: Exception, hub_id: str) -> str:
    """What happened, and what to do, for a person without the network, the right or the right name."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    for cause in _causes(problem):
        if isinstance(cause, GatedRepoError):
            return f"{hub_id} asks its users to accept its terms: do so on its page, then log in with `hf auth login`"
        if isinstance(cause, RepositoryNotFoundError):
            return f"{constants.ENDPOINT} has no repository {hub_id} that this machine may read"
        if isinstance(cause, RevisionNotFoundError):
            return f"{hub_id} has no such revision"
        if isinstance(cause, HfHubHTTPError) and cause.response is not None and cause.response.status_code < 500:
            return f"{constants.ENDPOINT} answered {cause.response.status_code} for {hub_id}"
        if isinstance(cause, OSError) and cause.errno in CANNOT_WRITE:
            return f"its files cannot be written to {constants.HF_HUB_CACHE} ({cause.strerror})"
    return (
        f"{constants.ENDPOINT} cannot be reached ({_last_words(problem)}): connect this machine to the network, "
        "or give a folder that is on it"
    )


def _last_words(problem: Exception) -> str:
    first = [*_causes(problem)][-1]
    return " ".join(str(first).split())[:120] or type(first).__name__


if __name__ == "__main__":
    run_child(download, telemetry_off)
