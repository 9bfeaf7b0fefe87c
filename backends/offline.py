"""No process of ours contacts another host unless a download was asked for."""

import os
import sys


def telemetry_off() -> None:
    """Switch off the telemetry of the libraries that this process is about to import."""
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "NNCF_CI": "1"}
    # OpenVINO's tools have no switch, but all of them do without this package when it cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def offline() -> None:
    """As `telemetry_off`, and no downloads either: only local folders are loaded here."""
    telemetry_off()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
