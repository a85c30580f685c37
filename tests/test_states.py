"""Every verb that names a routine, asked of one that is broken, a draft or gone: it says so, or refuses with the right code and a hint."""

from __future__ import annotations

import pytest

from routinectl.cli.registry import COMMANDS

GOOD = "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n"
BAD = "triggers: [{daily: '25:00'}]\naction: {}\n"
MORE = {
    "backfill": ["--from", "2026-01-01", "--to", "2026-01-03"], "edit": ["--set", "tags=[]"], "rm": ["--yes"], "export": ["--format", "crontab"],
}  # fmt: skip
VERBS = [(item.name, MORE.get(item.name, [])) for item in COMMANDS if item.takes_routine] + [
    ("export", ["--format", form]) for form in ("systemd", "ical", "bundle")
]
ABOUT_THE_TEXT = {"validate", "lint"}  # a draft's is as good as any
ABOUT_THE_RECORD = {"audit", "logs", "cancel"}  # what happened, and goes on, has nothing to do with the definition of today
ANSWERS = {"approve", "rm"}  # what one does about a draft
CODES = {"broken from the beginning": {0, 2, 3, 78}, "broken since": {0, 2, 3, 78}, "a draft": {0, 3, 77}, "removed": {3, 78}}


def broken(workspace):
    workspace.define("x", BAD)


def broken_since(workspace):
    workspace.define("x", GOOD)
    workspace.ok("list")
    workspace.define("x", BAD)


def draft(workspace):
    workspace.define("x", GOOD)
    workspace.ok("list")
    workspace.record("routine.drafted", "x", by="the agent of ada")


def removed(workspace):
    workspace.define("x", GOOD)
    workspace.ok("rm", "x", "--yes")


STATES = {"broken from the beginning": broken, "broken since": broken_since, "a draft": draft, "removed": removed}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("verb", "more"), VERBS, ids=[" ".join([verb, *more[-1:]]) for verb, more in VERBS])
def test_no_verb_is_silent_about_it(workspace, verb, more, state):
    STATES[state](workspace)
    workspace.run("list")
    result = workspace.run(verb, "x", *more)
    said = result.out + result.err

    assert result.code in CODES[state], said
    if result.code:
        assert "Hint: " in result.err
    elif verb not in ANSWERS | ABOUT_THE_RECORD | (ABOUT_THE_TEXT if state == "a draft" else set()):
        assert ("draft" if state == "a draft" else "broken") in said or "invalid" in said, said
        assert f"routinectl {'approve' if state == 'a draft' else 'validate'} x" in said or verb == "show", said


def test_what_is_broken_is_not_played_and_that_is_said(workspace):
    workspace.define("x", BAD)
    workspace.define("y", GOOD)
    result = workspace.ok("simulate")

    assert "not played, for they are broken: x" in result.err
    assert "y  " in result.out
    assert workspace.run("simulate", "x", "y").code == 78
