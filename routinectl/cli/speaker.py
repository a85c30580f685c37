"""Lines for whoever reads along, without ever waiting for them.

A pipe whose reader has stopped (a pager, a terminal after Ctrl-S, a log collector that hangs) takes no more once it is
full, and a plain write would wait, and every routine with it. What is not taken is kept for a while, then dropped and
counted; a reader that is gone is forgotten.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

_MOST = 1 << 20  # bytes that wait for a slow reader: some ten thousand lines


class Speaker:
    """Writes lines to a descriptor; `lost` makes the line that tells how many were dropped."""

    def __init__(self, fd: int, lost: Callable[[int], str]) -> None:
        self._fd, self._lost = fd, lost
        self._rest = bytearray()
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def say(self, line: str) -> None:
        """Write a line now if the reader takes it, else later, or never."""
        data = line.encode(errors="replace") + b"\n"
        if len(self._rest) + len(data) > _MOST:
            self._dropped += 1
        else:
            self._rest += data
        self.flush()

    def flush(self, patience: float = 0.0) -> None:
        """Write what waits, as far as the reader takes it; wait for it so many seconds at most before each part."""
        while self._rest and self._poll.poll(patience * 1000):
            try:
                # A pipe that can be written takes this much without waiting.
                written = os.write(self._fd, self._rest[: select.PIPE_BUF])
            except OSError:
                written = len(self._rest)  # there is nobody to read it
            del self._rest[:written]
        if self._dropped and not self._rest:
            count, self._dropped = self._dropped, 0
            self.say(self._lost(count))
