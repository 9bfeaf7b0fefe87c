"""Makes room in memory: when the next lane would not fit, the idle worker that was used longest ago is closed."""

from collections.abc import Sequence

from comparison.contender import Contender
from comparison.memory import RESERVE_BYTES, FreeBytes, needed_bytes, refuse_beyond


class WorkerPool:
    """All lanes whose workers may take memory, and how to ask what is free."""

    def __init__(self, contenders: Sequence[Contender], free: FreeBytes) -> None:
        self.contenders = contenders
        self.free = free

    async def make_room(self, contender: Contender, keep: Sequence[Contender]) -> None:
        """Close idle workers, none of `keep`, until `contender` fits. Raises OutOfMemory with both figures when it cannot."""
        needed = needed_bytes(contender.lane, contender.record.weights_bytes or 0)
        while needed + RESERVE_BYTES > self.free():
            idle = [other for other in self.contenders if other.is_loaded and other not in keep]
            if not idle:
                break
            await min(idle, key=lambda other: other.used_at).close()
        refuse_beyond(needed, self.free())
