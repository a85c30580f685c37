"""Anchored intervals: a fire at anchor + k * step for k = 0, 1, 2, ... in elapsed time, whatever the clock shows.

The anchor itself is the first fire; nothing fires before it. Instants are whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from routinectl.core.schedule.zone import Zone


@dataclass(frozen=True, slots=True)
class Interval:
    """A fire every `step` seconds from `anchor` (seconds since 1970) on."""

    step: int
    anchor: int = 0

    def next_after(self, epoch: int, zone: Zone) -> int | None:
        """Return the first fire strictly after an instant."""
        if epoch < self.anchor:
            return self.anchor
        return self.anchor + ((epoch - self.anchor) // self.step + 1) * self.step

    def previous(self, epoch: int, zone: Zone) -> int | None:
        """Return the last fire strictly before an instant, or None."""
        if epoch <= self.anchor:
            return None
        return self.anchor + ((epoch - 1 - self.anchor) // self.step) * self.step

    def count(self, after: int, through: int, zone: Zone) -> int:
        """Return how many fires lie in (after, through]."""
        return max(self._upto(through) - self._upto(after), 0)

    def instants(self, after: int, through: int, zone: Zone) -> Iterator[int]:
        """Yield the fires in (after, through], in order."""
        first = self.next_after(after, zone)
        if first is not None:
            yield from range(first, through + 1, self.step)

    def _upto(self, epoch: int) -> int:
        return (epoch - self.anchor) // self.step + 1 if epoch >= self.anchor else 0
