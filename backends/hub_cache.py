"""What earlier downloads left on this machine, found without the network."""

from pathlib import Path


def local_snapshot(hub_id: str, revision: str, file: str = "config.json") -> Path | None:
    """The folder of the downloaded snapshot that holds `file`, None when there is none. It may lack other files."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, file, revision=revision)
    if not isinstance(found, str):
        return None
    folder = Path(found)
    for _ in Path(file).parts:
        folder = folder.parent
    return folder
