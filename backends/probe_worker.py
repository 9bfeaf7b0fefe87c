"""One backend's probe, in a process that may crash: `python -m backends.probe_worker NAME`. Answers with one message:

probed   rows [{device, device_name, precision, status, reason, command}]
missing  module          a Python module is not installed
broken   reason          something is installed that does not work here
"""

import os
import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

from backends.base import Backend
from backends.channel import take_over_standard_handles
from backends.offline import offline
from backends.parent_death import die_with_parent
from backends.registry import backend_class


def answer(cls: type[Backend]) -> dict[str, Any]:
    """Import the backend's runtime and ask it; whatever an import raises becomes the answer."""
    try:
        for module in cls.runtime_modules:
            import_module(module)
        return {"event": "probed", "rows": [asdict(row) for row in cls.probe()]}
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - a native library may raise anything here
        if isinstance(problem, ModuleNotFoundError) and problem.name:
            return {"event": "missing", "module": problem.name}
        return {"event": "broken", "reason": f"{type(problem).__name__}: {problem}"}


def main() -> None:
    die_with_parent()
    channel = take_over_standard_handles()
    offline()
    channel.send(answer(backend_class(sys.argv[1])))
    os._exit(0)  # the answer is out; some native libraries crash when they are taken down


if __name__ == "__main__":
    main()
