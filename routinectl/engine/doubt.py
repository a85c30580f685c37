"""A clock that is not believed, and until when."""

from __future__ import annotations

from dataclasses import dataclass

from routinectl import clock


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why the clock is not believed: the reading before it was set, and how near (seconds) it must come to that again.

    `seq` is where the journal ended then: a person who accepts the clock does it in a later event.
    """

    before: clock.Reading
    forwards: bool
    near: float
    seq: int

    def is_over(self, reading: clock.Reading) -> bool:
        """Say whether the clock has returned; set back, it may also have caught up with where it was."""
        step = clock.compare(self.before, reading).step
        return step <= self.near if self.forwards else step >= -self.near or reading.wall >= self.before.wall
