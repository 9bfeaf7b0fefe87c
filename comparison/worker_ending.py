"""Why a worker is gone, in one sentence, from its exit code."""

import signal

from backends.errors import LaneError, ProtocolBroken, WorkerCrashed, WorkerKilled

FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGXCPU")
WINDOWS_CODES = {
    0xC0000005: "access violation",
    0xC0000017: "no memory",
    0xC000001D: "illegal instruction",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL is missing",
    0xC0000142: "a DLL did not initialise",
    0xC0000374: "heap corruption",
    0xC0000409: "abort",
}


def ending_error(exit_code: int | None, *, half_line: bool, asked: bool) -> LaneError:
    """The error of a lane whose worker ended. A negative exit code is that of a signal, as in `subprocess`.

    `half_line`: its last words were not a whole line. `asked`: we ended it ourselves.
    """
    if asked:
        return WorkerKilled("The worker was ended because the app asked for it.")
    if exit_code is None:
        return WorkerKilled("The worker closed its pipe and did not end; it was killed.")
    if exit_code < 0:
        return _by_signal(-exit_code)
    if exit_code == 0 and half_line:
        return ProtocolBroken("The worker ended in the middle of a message.")
    meaning = WINDOWS_CODES.get(exit_code & 0xFFFFFFFF)
    said = f"0x{exit_code & 0xFFFFFFFF:08X}, {meaning}" if meaning else str(exit_code)
    return WorkerCrashed(f"The worker ended by itself (exit code {said}).")


def _by_signal(number: int) -> LaneError:
    known = {item.value: item.name for item in signal.Signals}
    name = known.get(number, f"signal {number}")
    if name in FROM_OUTSIDE:
        return WorkerKilled(f"The worker was ended from outside or by the system ({name}), perhaps for want of memory.")
    words = signal.strsignal(number) if number in known else None
    return WorkerCrashed(f"The worker crashed: {words or 'unknown signal'} ({name}).")
