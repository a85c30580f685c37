"""What of a routine's limits is counted for its whole run here, and what is only sampled: a lower bound."""

from __future__ import annotations

from collections.abc import Mapping

from routinectl.core.routine import Routine
from routinectl.process import cgroups

HINT = "budget: {per_day: {approximate: true}}, or a serve that has cgroups: docs/trust.md, routinectl doctor"


def here() -> dict[str, str]:
    """Return how a keeper started from here would measure or keep each function (`cgroups.FUNCTIONS`)."""
    found = cgroups.look()
    return {function: found.way(function) for function in cgroups.FUNCTIONS}


def sampled(routine: Routine, ways: Mapping[str, str]) -> list[str]:
    """Return the keys of a routine's budget that are kept by samples where `ways` is how it is done."""
    asked = {"budget.cpu": routine.cpu, "budget.per_day.cpu": routine.work_per_day.get("cpu"), "budget.memory": routine.memory}
    return [key for key, value in asked.items() if value is not None and ways[key.rpartition(".")[2]] == "sampled"]


def is_refused(routine: Routine, ways: Mapping[str, str]) -> bool:
    """Say whether its runs do not start, because what must be counted would be sampled."""
    return "budget.per_day.cpu" in sampled(routine, ways) and not routine.approximate


def words(routine: Routine, ways: Mapping[str, str]) -> str:
    """Say in one line what is a lower bound, and what follows; empty where all is counted."""
    keys = sampled(routine, ways)
    if not keys:
        return ""
    text = f"{', '.join(keys)}: sampled here, once a second, which is a lower bound"
    return f"{text}; it does not start without budget.per_day.approximate: true" if is_refused(routine, ways) else text
