"""Whether an ended run met what its definition expects: the evidence is gathered here, `core.expect` judges it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import expect
from routinectl.core.expect import Evidence, Expect
from routinectl.core.routine import Routine
from routinectl.core.standing import Run
from routinectl.core.units import from_epoch
from routinectl.files import run_logs
from routinectl.files.layout import Layout
from routinectl.process.supervisor import TooSlow, time_limit

_PATTERN_SECONDS = 0.25  # a pattern that takes longer on its own output would delay the loop
_OUTPUT_BYTES = 1024 * 1024


def judge(layout: Layout, routine: Routine, run: Run, code: int | None, item: dict[str, Any]) -> str:
    """Return what a run with this exit code did not bring, empty when it met everything."""
    wanted = routine.expect
    if wanted is expect.NOTHING or code not in wanted.exit_codes:
        return expect.unmet(wanted, Evidence(code))
    folder = layout.run(routine.id, run.key)
    try:
        with time_limit(_PATTERN_SECONDS):
            found, forbidden = _matches(wanted, run_logs.text(folder / "out", _OUTPUT_BYTES))
    except TooSlow:
        return f"a pattern took longer than {_PATTERN_SECONDS}s on the output"
    size, changed = _file(layout, routine, wanted)
    born = from_epoch(item["born"])
    return expect.unmet(
        wanted,
        Evidence(
            code,
            found,
            forbidden,
            size,
            changed,
            _reference(wanted, run, born),
            timedelta(seconds=item["at"] - item["born"]),
            item.get("judge"),
            run_logs.last_line(folder / "judge"),
        ),
    )


def _matches(wanted: Expect, text: str) -> tuple[str | None, str | None]:
    patterns = (wanted.output, wanted.output_not)
    found = (re.search(pattern, text, re.MULTILINE) if pattern else None for pattern in patterns)
    first, second = (match[0] if match else None for match in found)
    return first, second


def _file(layout: Layout, routine: Routine, wanted: Expect) -> tuple[int | None, datetime | None]:
    if wanted.file is None:
        return None, None
    state = run_logs.state_of(layout.resolve(routine.id, wanted.file.path), follow_links=not routine.permissions.confined)
    return (None, None) if state is None else (state[0], from_epoch(state[1]))


def _reference(wanted: Expect, run: Run, born: datetime) -> datetime | None:
    if wanted.file is None or not wanted.file.newer_than:
        return None
    return run.slot or run.due if wanted.file.newer_than == "slot" else born
