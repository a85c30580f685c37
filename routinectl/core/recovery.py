"""What became of a run whose end is not on record, and nobody is there to say: rows of one table.

| exit record | alive | keeper | `out` | boot  | then                                           |
|-------------|-------|--------|-------|-------|------------------------------------------------|
| yes         |       |        |       |       | that outcome                                   |
| no          |       | knows  |       |       | wait for the keeper                            |
| no          | yes   | no     |       |       | watch it; interrupted when it ends             |
| no          | no    | no     | no    | same  | it never started: start it under its own id    |
| no          | no    | no     | yes   | same  | interrupted                                    |
| no          | no    | no     |       | other | interrupted                                    |

`out` is made by the keeper before anything else, and never twice; where it is missing, nothing was started.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be seen of one run."""

    has_record: bool
    is_alive: bool
    keeper_knows: bool
    has_output: bool
    same_boot: bool


def judge(evidence: Evidence) -> str:
    """Return `ended`, `wait`, `watch`, `start` or `interrupted`."""
    if evidence.has_record:
        return "ended"
    if evidence.keeper_knows:
        return "wait"
    if evidence.is_alive:
        return "watch"
    if not evidence.has_output and evidence.same_boot:
        return "start"
    return "interrupted"
