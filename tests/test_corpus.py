"""The time rules, decided: every case of the corpus, through the same function that `preview --batch` uses."""

from __future__ import annotations

import itertools
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from routinectl.core.schedule.cron import parse
from routinectl.core.schedule.describe import describe_cron
from routinectl.core.schedule.next_time import Schedule, TimeTrigger
from routinectl.core.schedule.zone import load
from routinectl.core.units import from_epoch, to_epoch
from routinectl.operations.preview import Defaults, answer

CORPUS = Path(__file__).parent / "corpus"
NOW = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def cases(name: str) -> list:
    found = json.loads((CORPUS / f"{name}.json").read_text())
    return [pytest.param(case, id=case["id"]) for case in found]


def ask(schedule, *, tz="UTC", after=None, count=5) -> dict:
    line = json.dumps({"schedule": schedule, "timezone": tz, "after": after, "count": count})
    return answer(line, Defaults("UTC", NOW, 30))


def instants(texts) -> list[datetime]:
    return [datetime.fromisoformat(text) for text in texts]


@pytest.mark.parametrize("case", cases("cron"))
def test_cron_fires_as_decided(case):
    found = ask(case["expr"], tz=case["tz"], after=case["start"], count=len(case["next"]))

    assert found.get("next") == case["next"], found


@pytest.mark.parametrize("case", cases("cron"))
def test_going_back_from_a_fire_finds_the_one_before(case):
    trigger = TimeTrigger(parse(case["expr"]), load(case["tz"]), "")
    fires = [to_epoch(instant) for instant in instants(case["next"])]
    for earlier, later in itertools.pairwise(fires):
        assert trigger.previous(later) == earlier

    assert Schedule((trigger,)).count(from_epoch(fires[0] - 1), from_epoch(fires[-1])) == len(fires)


@pytest.mark.parametrize("case", cases("interval"))
def test_intervals_count_from_their_anchor(case):
    found = ask({"every": case["every"], "anchor": case["anchor"]}, tz=case["tz"], after=case["start"], count=len(case["next"]))

    assert instants(found["next"]) == instants(case["next"])
    assert found["seconds"] == case["seconds"]


@pytest.mark.parametrize("case", cases("missed"))
def test_missed_fires_are_counted(case):
    schedule = Schedule((TimeTrigger(parse(case["expr"]), load(case["tz"]), ""),))
    last, now = instants([case["last"], case["now"]])

    assert schedule.count(last, now) == case["missed_count"]
    assert schedule.last_n(last, now, len(case["missed"]) or 1) == instants(case["missed"])


def form_of(form: dict) -> dict:
    if form["kind"] == "daily":
        return {"daily": form["time"]}
    if form["kind"] == "weekly":
        return {"weekly": {"days": form["weekdays"], "time": form["time"]}}
    return {"at": form.get("at") or form["time"]}


@pytest.mark.parametrize("case", cases("forms"))
def test_structured_forms_fire_as_decided(case):
    found = ask(form_of(case["form"]), tz=case["tz"], after=case["start"], count=len(case["next"]))

    assert found.get("next") == case["next"], found


def invalid_form(case: dict) -> object:
    kind, value = case["kind"], case["value"]
    return {
        "cron": {"cron": value}, "tz": "0 9 * * *", "every": {"every": value}, "at": {"at": value},
        "time": {"daily": value}, "weekday": {"weekly": {"days": [value], "time": "09:00"}},
    }[kind]  # fmt: skip


@pytest.mark.parametrize("case", cases("invalid"))
def test_what_is_refused_is_refused_with_the_reason(case):
    zone = case["value"] if case["kind"] == "tz" else case.get("tz", "UTC")
    found = ask(invalid_form(case), tz=zone, after=case.get("now"))

    assert "error" in found, found
    said = f"{found['error']['message']} {found['error']['hint']}".lower()
    assert any(word.lower() in said for word in case["mentions_any"]), said


@pytest.mark.parametrize("case", cases("natural"))
def test_phrases_mean_what_people_mean(case):
    found = ask(case["phrase"], tz=case["tz"], after=case["now"], count=3)
    if case["outcome"] != "accept":
        assert "error" in found, found
        assert found["error"]["message"]
        return
    wanted = [case["expect"], *case.get("also", [])]
    assert any(matches(found, expected, case) for expected in wanted), found


def matches(found: dict, expected: dict, case: dict) -> bool:
    if "error" in found:
        return False
    if "seconds" in expected:
        return found.get("seconds") == expected["seconds"]
    if "at" in expected:
        return "at" in found and datetime.fromisoformat(found["at"]) == datetime.fromisoformat(expected["at"])
    other = ask(expected["cron"], tz=expected.get("tz", case["tz"]), after=case["now"], count=40)
    return ask(case["phrase"], tz=case["tz"], after=case["now"], count=40)["next"] == other["next"]


@pytest.mark.parametrize("case", cases("describe"))
def test_schedules_are_said_in_words(case):
    said = describe_cron(parse(case["cron"])).lower()

    for group in case["must"]:
        assert any(re.search(rf"(?<![0-9]){re.escape(word.lower())}(?![0-9])", said) for word in group), (said, group)
    for word in case.get("must_not", []):
        assert word.lower() not in said
