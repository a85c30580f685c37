"""From what happened to the runs it asks for: the requests of triggers that are no time.

One happening makes one request for a routine, under an id that comes from the happening alone; a routine remembers the
last of them. So whoever is not sure that a request is on record (a torn write, a file that could not be removed) asks
again. A request is judged in the same critical section: refused for good, its verdict is recorded beside it, and whoever
asked can be told at once. What is not refused waits for serve (or the command that stands in for it), as run-now does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from routinectl.core import gates, record
from routinectl.core.event import Event
from routinectl.core.gates import Asking, Refusal
from routinectl.core.standing import APART, happening_of, request_of
from routinectl.core.units import from_iso, to_iso

if TYPE_CHECKING:
    from routinectl.engine.engine import Engine


def request_id(at: datetime, key: str) -> str:
    """Return the id of the request that one happening makes for one routine: the same happening gives the same id."""
    return record.named(at, key, "t")


def requested(engine: Engine, name: str, data: Mapping[str, Any], now: datetime) -> tuple[list[Event], Refusal | None]:
    """Return the request as events, with its verdict where it is refused for good, and that refusal.

    A routine that does not listen (it is a draft, disabled or gone) makes no events, and the refusal says why.
    """
    routine, standing = engine.world.routine(name), engine.world.standing(name)
    if data.get("trigger") and happening_of(data["request"]) in standing.heard:
        return [], None
    event = Event("run.requested", name, {"at": to_iso(now), **data})
    if routine is None or standing.deleted:
        return [], Refusal("invalid")
    refused = gates.refusal(Asking(routine, standing, now, engine.facts(routine, standing), request_of(event)))
    if refused is not None and refused.reason in ("draft", "disabled"):
        return [], refused
    if refused is None or refused.hold:
        return [event], None
    verdict = {"at": to_iso(now), "reason": refused.reason, "request": data["request"], **refused.facts}
    return [event, Event("slot.skipped", name, verdict)], refused


def following(engine: Engine, events: Iterable[Event], now: datetime) -> list[Event]:
    """Return the requests of routines that follow the runs which end in these events."""
    found: list[Event] = []
    for event in events:
        if event.type != "run.ended" or event.data.get("mode") in APART:
            continue
        for name, trigger in engine.world.followers(event.subject):
            if event.data["outcome"] in trigger.outcomes:
                found += requested(engine, name, _after(engine, event, name, trigger.label), now)[0]
    return found


def _after(engine: Engine, event: Event, follower: str, label: str) -> dict[str, Any]:
    data = event.data
    chain = data.get("chain") or {"origin": f"{event.subject}/{data['run']}", "depth": 0}
    attempt = data.get("attempt") or 1
    folder = engine.layout.run(event.subject, data["run"] if attempt == 1 else f"{data['run']}.{attempt}")
    before = {"routine": event.subject, "run": data["run"], "slot": data.get("slot"), "outcome": data["outcome"],
              "exit_code": data.get("exit_code"), "message": data.get("message") or "", "output": str(folder / "out"),
              "result": str(folder / "result")}  # fmt: skip
    return {
        "request": request_id(from_iso(data.get("due") or data["at"]), f"{event.subject}/{data['run']}>{follower}"), "trigger": label,
        "payload": {"after": before}, "chain": {"origin": chain["origin"], "depth": chain["depth"] + 1},
    }  # fmt: skip
