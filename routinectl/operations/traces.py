"""Traces: each attempt of a run as a span, handed to a collector: `python -m routinectl.operations.traces WORKSPACE`.

serve --traces keeps this process. What a collector does not take waits here, up to a limit; what waits is lost when serve
ends, for the record is the journal, and this is a way to look at it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from routinectl.core.trace import Span, span_of
from routinectl.files.layout import Layout
from routinectl.notify.traces import Collector
from routinectl.operations.follow import Follower, say, wait

_MOST_WAITING = 10_000
_AGAIN = 15.0  # seconds after which a collector that did not take them is asked again
_LONGEST = 3600.0


def main(root: str) -> int:
    """Hand over the spans of a workspace until standard input ends."""
    layout = Layout(Path(root))
    follower, collector = Follower(layout), Collector(layout.root.name)
    follower.begin_after(follower.beginning())
    waiting: list[Span] = []
    trouble = False
    try:
        while True:
            waiting += [span for event in follower.take() if (span := span_of(event)) is not None]
            del waiting[:-_MOST_WAITING]
            if waiting:
                taken = collector.take(waiting)
                if not taken and not trouble:
                    say("traces: the collector takes nothing; they wait")
                trouble = not taken
                waiting = [] if taken else waiting
            follower.session.world.cool()
            if not wait(_AGAIN if waiting else _LONGEST):
                return 0
    finally:
        follower.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
