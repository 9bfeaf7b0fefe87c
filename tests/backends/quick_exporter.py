"""An exporter for tests of what happens around exporters: it writes a file at once, or does what its flags tell it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from backends.job_child import Events, run_child
from backends.offline import offline


def export(job: dict[str, Any], events: Events) -> None:
    for output in job["outputs"]:
        flags, folder = output["flags"], Path(output["folder"])
        events.stage("exporting", 0.5, f"pid {os.getpid()}")
        folder.mkdir()
        (folder / "weights.bin").write_bytes(b"half")
        if "pause_s" in flags:
            time.sleep(flags["pause_s"])
        if flags.get("end") == "kill":
            os.kill(os.getpid(), signal.SIGTERM)
        if flags.get("end") == "raise":
            raise ValueError("the third layer is made of cheese\nand nobody knows why")
        (folder / "weights.bin").write_bytes(b"whole" + str(time.time_ns()).encode())
        events.made(output["index"], seconds=0.1, notes=[])


if __name__ == "__main__":
    run_child(export, offline)
