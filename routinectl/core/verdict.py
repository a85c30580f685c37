"""Every reason a slot or a request can be answered with: the closed list, with its words for people.

`routinectl why` says these sentences; `routinectl-exit-codes(7)` and the schema of history lines list the names.
"""

from __future__ import annotations

# reason -> what it means, said after "The slot ... was skipped|missed|held:" or of a run "It ran:"
RAN = {
    "on_time": "it was due and nothing stood in its way",
    "late": "it was late, and the misfire policy runs the latest missed slot",
    "catch_up": "it was missed, and the misfire policy catches up",
    "capacity": "it had waited for a free place among the runs",
    "review": "a person had it run after review",
    "requested": "somebody asked for it by hand",
    "queue": "it had waited for the run before it to end",
    "replace": "it replaced the run before it",
    "pool": "it had waited for a free place in its pool",
    "quiet_hours": "it had waited for the end of the quiet hours",
    "approval": "it had waited for a person's approval",
    "retry": "an attempt before it had failed",
    "calendar": "the calendar had moved it",
    "backfill": "a person had it made up for",
    "triggered": "a trigger asked for it",
}
SKIPPED = {
    "overlap": "the run before it was still going, and concurrency is forbid",
    "collapsed": "an earlier slot of the routine was already waiting, and one run answers both",
    "cooldown": "the last start was less than the cooldown ago",
    "max_runs": "the routine has used up its max_runs",
    "dedup": "the same payload started a run less than the dedup window ago",
    "quiet_hours": "it fell into the quiet hours, and the misfire policy is skip",
    "daily_budget": "what a day may have of it is used up (budget.per_day)",
    "fire_rate": "the routine has started as often in this hour as the workspace allows (limits.max_fires_per_hour)",
    "draft": "it is a draft that an agent made, and no person has activated it",
    "denied": "a person denied the approval it needs",
    "approval_expired": "nobody answered the request for approval in its time",
    "calendar": "the calendar excludes its day",
    "paused": "the routine was paused",
    "invalid": "the definition was broken, so nothing was fired",
    "disabled": "the routine is disabled",
    "out_of_bounds": "it came before start, or at or after end",
    "chain": "too many routines had followed each other",
    "disabled_here": "ROUTINECTL_ENABLED=false: this machine fires nothing",
    "dismissed": "a person dismissed it",
    "cannot_start": "it could not be started",
}
MISSED = {
    "late": "it was noticed later than the grace, and the misfire policy is skip",
    "collapsed": "it was missed, and the policy runs only the newest of the missed slots",
    "catch_up_limit": "it was missed, and more newer slots were missed than the catch-up takes",
    "superseded": "it was waiting, and a newer slot took its place",
    "edited": "the schedule was edited before it was answered",
    "disabled": "the routine was disabled before it was answered",
    "deleted": "the routine was deleted before it was answered",
    "damaged": "a line of the journal that may have held its verdict is damaged",
}
HELD = {
    "capacity": "all places of max_concurrent_runs, or of the routine, are taken; it starts when one is free",
    "pool": "all places of its pool are taken; it starts when one is free",
    "queue": "the run before it is still going; it starts when that has ended",
    "replace": "the run before it is being stopped; it starts when that has ended",
    "quiet_hours": "it is quiet now; it starts when the quiet hours are over",
    "approval": "a person has to approve it: routinectl approvals",
    "calendar": "the calendar moves it to another day",
    "catch_up": "it was missed and starts when the run before it has ended",
    "review": "it is older than the window; a person decides: routinectl review",
    "damaged": "a line of the journal that may have held its verdict is damaged; a person decides: routinectl review",
    "journal_lost": "the journal was gone, and it may have run before; a person decides: routinectl review",
    "released": "a person had it run after review; it starts when a place is free",
}
OUTCOMES = ("succeeded", "quiet", "failed", "timed_out", "cancelled", "interrupted", "not_started", "over_budget", "denied")
FAILURES = frozenset({"failed", "timed_out", "interrupted", "over_budget", "denied", "not_started"})
GOOD = frozenset({"succeeded", "quiet"})
_WORDS = {"ran": RAN, "skipped": SKIPPED, "missed": MISSED, "held": HELD}


_REMEDIES = {
    "overlap": "concurrency: {policy: queue_one} would have it wait; or a shorter run",
    "collapsed": "misfire: {policy: catch_up} would run the missed ones too",
    "late": "misfire: {policy: run_once} would run it late",
    "catch_up_limit": "a larger misfire.max",
    "cooldown": "a shorter cooldown, or routinectl run-now {id} --force",
    "dedup": "another payload, or routinectl run-now {id} --force",
    "quiet_hours": "other quiet_hours, misfire: {policy: run_once}, or routinectl run-now {id} --force",
    "daily_budget": "a larger budget.per_day, or the next day",
    "fire_rate": "a larger limits.max_fires_per_hour in routinectl.yaml, or the next hour",
    "max_runs": "a larger max_runs",
    "paused": "routinectl resume {id}",
    "invalid": "routinectl validate {id}",
    "disabled": "routinectl enable {id}",
    "disabled_here": "ROUTINECTL_ENABLED=true where serve runs",
    "draft": "routinectl approve {id}",
    "approval": "routinectl approve {id}, or routinectl deny {id}",
    "denied": "routinectl approve {id} before its next slot",
    "approval_expired": "routinectl approve {id}, or a longer approval.expires",
    "review": "routinectl review {id} --run, or --dismiss",
    "damaged": "routinectl review {id} --run, or --dismiss",
    "journal_lost": "routinectl review {id} --run, or --dismiss",
    "capacity": "a larger limits.max_concurrent_runs",
    "pool": "a larger limits.pools",
    "out_of_bounds": "other bounds: start, end",
    "chain": "fewer routines in a row",
    "calendar": "another calendar, or on_excluded: next_day",
}


def remedy(reason: str, routine_id: str) -> str:
    """Return what would have to change for another verdict, empty where nothing should."""
    return _REMEDIES.get(reason, "").replace("{id}", routine_id)


def words(verdict: str, reason: str) -> str:
    """Return the sentence of a reason; an unknown one (written by a newer version) is returned as it is."""
    return _WORDS.get(verdict, {}).get(reason, reason)
