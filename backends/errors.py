"""What can go wrong in a lane, named as the `kind` of its error in every export. Import-free."""


class LaneError(Exception):
    """A lane ends with this; `kind` is machine-readable, the message is one sentence that says what to do."""

    kind = "runtime"
    log_tail: str = ""
    """The last lines that the lane's process wrote to its log, where there was one."""


class Unavailable(LaneError):
    """The backend, device or precision does not exist on this machine."""

    kind = "unavailable"


class PreparationFailed(LaneError):
    """The model could not be turned into what the backend loads."""

    kind = "preparation"


class OutOfMemory(LaneError):
    """The model does not fit; the message carries what is needed and what is free."""

    kind = "memory"


class LoadFailed(LaneError):
    """The runtime refused the prepared model."""

    kind = "load"


class PromptRefused(LaneError):
    """The prompt cannot be run: empty, or longer than the context."""

    kind = "prompt"


class RuntimeFailed(LaneError):
    """The runtime raised while it generated."""

    kind = "runtime"


class WorkerCrashed(LaneError):
    """The worker process ended by itself (abort, segmentation fault, exit)."""

    kind = "crash"


class WorkerKilled(LaneError):
    """Somebody or the operating system ended the worker process."""

    kind = "killed"


class TimedOut(LaneError):
    """The worker did not answer in time."""

    kind = "timeout"


class ProtocolBroken(LaneError):
    """What the worker wrote is no message."""

    kind = "protocol"


ERRORS: dict[str, type[LaneError]] = {
    error.kind: error
    for error in (
        Unavailable, PreparationFailed, OutOfMemory, LoadFailed, PromptRefused,
        RuntimeFailed, WorkerCrashed, WorkerKilled, TimedOut, ProtocolBroken,
    )
}  # fmt: skip
