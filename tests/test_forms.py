"""What a form shows of a definition, and that nothing which it does not show whole is ever changed by it."""

from __future__ import annotations

import difflib

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from routinectl.core import document
from routinectl.errors import DefinitionError
from routinectl.files import editing
from routinectl.operations import forms

DEFINITIONS = sorted(
    [
        *ROOT.glob("tests/sample_definitions/valid/*.yaml"),
        *ROOT.glob("examples/*/ROUTINE.yaml"),
        *ROOT.glob("examples/workspace/routines/*/ROUTINE.yaml"),
    ]
)
TRICKY = {
    "a list with a shell in it": "command: [printf, '%s\\n', 'two words; touch PWNED $HOME']",
    "a list of one word": "command: [./backup.sh]",
    "a list in block style": "command:\n    - sh\n    - -c\n    - 'echo $1; exit'   # one word",
    "a line for another shell": "command: 'echo $HOME; ls | wc'\n  shell: /bin/bash",
    "a script": "command: |\n    set -e\n    # not a comment of YAML\n    echo one\n",
    "a folded line": "command: >-\n    echo one\n    two",
    "a function": "python: {entrypoint: 'report:main', args: {limit: 3, deep: {a: [1, 2.50, null]}}}",
    "a prompt with a context": "prompt:\n    text: Summarise.   # short\n    context: [ 'daily/',  HEARTBEAT.md ]",
    "a prompt in a file": "prompt: {file: prompt.md}",
    "an agent": "agent: {use: reviewer, task: 'Look.', max_iterations: 3}",
    "an agent without a name": "agent: {task: 'Look.'}",
    "much beside it": "command: 'true'\n  env: {A:  '1'}   # flow\n  secrets: {T: {env: T}}\n  payload: {big: 12345678901234567890123, nothing: null,  at: 10:30, 'odd key': 1.50}",
}  # fmt: skip
SCHEDULES = {
    "two triggers": "[{daily: '09:00'}, {every: 2h}]   # both", "a zone of its own": "\n  - cron: '0 9 * * *'   # mornings\n    timezone: Asia/Tokyo", "an anchor": "[{every: 90m, anchor: '2026-01-01T00:00:00Z'}]",
    "a webhook": "[{webhook: {path: x}}]", "a moment": "[{at: '2999-12-24T18:00'}]", "an hour in one digit": "[{daily: '9:00'}]", "days": "[{weekly: {days: [mon,  fri], time: '18:30'}}]", "none": "[]",
}  # fmt: skip
REST = "# first\nname: \"X\"   # the name\ndescription: >-\n  folded\n  text\n\n# about time\ntimeout:   5m\ntags: [ a,   b ]\nquiet_hours: {start: '22:00',   end: '07:00'}\nenabled: true   # on\n"


def texts():
    for path in DEFINITIONS:
        yield pytest.param(path.read_text(), id=str(path.relative_to(ROOT)))
    for name, action in TRICKY.items():
        yield pytest.param(f"{REST}triggers: [{{daily: '09:00'}}]   # keep this comment\naction:\n  {action}\n# end\n", id=name)
    for name, schedule in SCHEDULES.items():
        yield pytest.param(f"{REST}triggers: {schedule}\naction: {{command: [echo, 'a b']}}   # and this\n", id=name)


def filled(text, values):
    """Return the text of a file after these fields of its form were changed."""
    changes = forms.changes(document.read(text.encode()), values)
    return editing.change(text.encode(), changes).decode() if changes else text


def touched(before, after):
    return [line for line in difflib.ndiff(before.splitlines(True), after.splitlines(True)) if line[:1] in "+-"]


@pytest.mark.parametrize("text", list(texts()))
def test_what_is_not_changed_in_a_form_stays_byte_for_byte(text):
    fields = forms.shown(document.read(text.encode()), ["reviewer"])
    assert filled(text, {}) == text
    assert filled(text, {key: field["value"] for key, field in fields.items() if field["editable"]}) == text

    renamed = filled(text, {"name": "Another: name"})
    assert document.read(renamed.encode()) == {**document.read(text.encode()), "name": "Another: name"}
    if not text.startswith("{"):  # all of it is one line
        assert all("name" in line for line in touched(text, renamed))
        assert len(touched(text, renamed)) <= 2


@pytest.mark.parametrize("text", list(texts()))
def test_a_change_of_one_field_touches_the_lines_of_its_key_alone(text):
    doc = document.read(text.encode())
    for key, field in forms.shown(doc, ["reviewer"]).items():
        if key in ("name", "enabled") or not field["editable"]:
            continue
        value = {"triggers": "every day at 7", "action": {**(field["value"] if key == "action" else {}), "text": "echo 'new'; true"}, "payload": '{"new": [1, {"a": null}]}', "timezone": "Asia/Tokyo", "timeout": "7m"}.get(key, "new")  # fmt: skip
        after = filled(text, {key: value})
        top = "action" if key == "payload" else key
        now = document.read(after.encode())
        assert {other: now[other] for other in now if other != top} == {other: doc[other] for other in doc if other != top}
        if text.startswith("{"):
            continue
        lines_of_key = [line for line in untouched(text, top) if line not in after.splitlines(True)]
        assert lines_of_key == [], f"{key}: {''.join(touched(text, after))}"


def untouched(text, key):
    """Return the lines of a text that are not of this top-level key."""
    lines, mine, found = text.splitlines(True), False, []
    for line in lines:
        if line[:1] not in " -\n#":
            mine = line.startswith(f"{key}:")
        if not mine:
            found.append(line)
    return found


READ_ONLY = [
    ("action", {"command": ["a", "b c; d"]}, "a list of words", "a 'b c; d'"), ("action", {"python": {"entrypoint": "m:f"}}, "a Python function", "m:f"),
    ("action", {"prompt": {"file": "p.md"}}, "not in the definition", '{"file": "p.md"}'), ("action", {"agent": {"task": "x"}}, "not a saved one", '{"task": "x"}'),
    ("action", {"command": "a\rb"}, "letters that a form would lose", "a\rb"), ("action", {"command": "a", "prompt": {"text": "b"}}, "more than one thing", None), ("action", "echo", "no mapping", "echo"),
    ("triggers", [{"daily": "09:00"}, {"every": "1h"}], "it has 2 triggers", None), ("triggers", [{"every": "1h", "anchor": "2026-01-01T00:00:00Z"}], "also has anchor", None),
    ("triggers", [{"cron": "0 9 * * *", "timezone": "UTC"}], "also has timezone", None), ("triggers", [{"webhook": {}}], "of kind webhook", None), ("triggers", ["daily"], "no trigger", None),
    ("triggers", [{"daily": 540}], "in a way of its own", None), ("triggers", [{"weekly": {"days": ["monday"], "time": "09:00"}}], "in a way of its own", None), ("triggers", {"daily": "09:00"}, "triggers", None),
    ("description", "one\ntwo", "more than one line", "one\ntwo"), ("name", 5, "no text", "5"), ("timeout", None, "no text", "null"), ("enabled", "yes", "neither true nor false", "yes"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "why", "text"), READ_ONLY)
def test_what_a_form_cannot_show_whole_is_read_only_and_says_why(key, value, why, text):
    field = forms.shown({key: value}, [])[key]

    assert (field["editable"], field["value"]) == (False, None)
    assert why in field["why"]
    assert text in (None, field["text"])
    with pytest.raises(DefinitionError, match="a form cannot change this here"):
        forms.changes({key: value}, {key: "anything"})


WORDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=5)


@given(WORDS)
def test_no_list_ever_becomes_a_line(words):
    doc = {"name": "X", "action": {"command": words}}
    shown = forms.shown(doc, [])["action"]
    for value in ({"kind": "command", "text": shown["text"]}, {"kind": "prompt", "text": "x"}, shown["text"]):
        with pytest.raises(DefinitionError):
            forms.changes(doc, {"action": value})
    assert editing.changed(doc, forms.changes(doc, {"name": "Y", "payload": "", "enabled": True}))["action"]["command"] == words


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
def test_a_line_that_is_shown_and_typed_again_is_the_same_line(text):
    doc = {"action": {"command": text, "env": {"A": "1"}}}
    field = forms.shown(doc, [])["action"]
    if field["editable"]:
        assert forms.changes(doc, {"action": {"kind": "command", "text": field["text"]}}) == {}
        assert (
            editing.changed(
                {"action": {"command": "x", "env": {"A": "1"}}},
                forms.changes({"action": {"command": "x", "env": {"A": "1"}}}, {"action": {"kind": "command", "text": text}}),
            )
            == doc
        )


KINDS = [
    ({"command": "a"}, ["command", "prompt", "agent"]), ({"command": "a", "env": {}}, ["command"]), ({"prompt": {"text": "a"}, "payload": {}}, ["command", "prompt", "agent"]),
    ({"prompt": {"text": "a", "context": []}}, ["prompt"]), ({"agent": {"use": "x", "task": "a"}}, ["command", "prompt", "agent"]), ({"agent": {"use": "x", "max_tokens": 5}}, ["agent"]), ({}, ["command", "prompt", "agent"]),
]  # fmt: skip


@pytest.mark.parametrize(("action", "kinds"), KINDS)
def test_an_action_becomes_another_only_where_nothing_is_lost(action, kinds):
    doc = {"action": action}
    assert forms.shown(doc, ["x"])["action"]["kinds"] == kinds
    if "prompt" in kinds and "prompt" not in action:
        assert editing.changed(doc, forms.changes(doc, {"action": {"kind": "prompt", "text": "p"}}))["action"] == {
            "prompt": {"text": "p"},
            **({"payload": {}} if "payload" in action else {}),
        }
    elif "prompt" not in kinds:
        with pytest.raises(DefinitionError, match="would be lost"):
            forms.changes(doc, {"action": {"kind": "prompt", "text": "p"}})


def test_the_agent_of_a_routine_is_among_the_choices_though_it_is_not_there():
    assert forms.shown({"action": {"agent": {"use": "gone"}}}, ["other"])["action"]["agents"] == ["gone", "other"]


BUILT = [
    ({"daily": "06:15"}, {"kind": "daily", "time": "06:15"}, "daily at 06:15"), ({"daily": "6:15"}, {"kind": "daily", "time": "06:15"}, "daily at 6:15"), ({"cron": "15 6 * * 1-5"}, {"kind": "weekdays", "time": "06:15"}, "15 6 * * 1-5"),
    ({"cron": "15 6 3 * *"}, {"kind": "monthly", "time": "06:15", "day": "3"}, "15 6 3 * *"), ({"cron": "*/5 * * * *"}, {"kind": "cron", "cron": "*/5 * * * *"}, "*/5 * * * *"),
    ({"every": "45m"}, {"kind": "every", "every": "45m"}, "every 45m"), ({"schedule": "tuesdays"}, {"kind": "words", "text": "tuesdays"}, "tuesdays"), ({"cron": "99 6 * * 1-5"}, {"kind": "cron", "cron": "99 6 * * 1-5"}, "99 6 * * 1-5"),
    ({"weekly": {"days": ["mon", "fri"], "time": "18:30"}}, {"kind": "days", "days": ["mon", "fri"], "time": "18:30"}, "every mon and fri at 18:30"),
]  # fmt: skip


@pytest.mark.parametrize(("trigger", "value", "text"), BUILT)
def test_a_schedule_as_a_builder_knows_it_and_as_one_would_type_it(trigger, value, text):
    field = forms.shown({"triggers": [trigger]}, [])["triggers"]
    assert (field["value"], field["text"], field["editable"]) == (value, text, True)
    made = forms.changes({}, {"triggers": value})[("triggers",)]
    assert forms.shown({"triggers": made}, [])["triggers"]["value"] == value


EDITS = [
    ("tags", ["a"]), ("retry", {"attempts": 2}), ("action", {"command": "x y"}), ("description", "new\nlines\n"), ("budget", {"per_day": {"runs": 3}}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), EDITS)
def test_an_edit_rewrites_no_line_of_another_key(key, value):
    text = f"{REST}triggers: [{{daily: '09:00'}}]   # keep this comment\naction: {{command: [ echo,  hi ]}}\n"
    after = editing.change(text.encode(), {(key,): value}).decode()

    assert document.read(after.encode())[key] == value
    assert [line for line in untouched(text, key) if line not in after.splitlines(True)] == []


def test_a_key_inside_a_block_is_changed_on_its_own_lines():
    text = "action:   # what\n    command: [ \"echo\",  hi ]\n    # about env\n    env: {A:  '1'}   # flow\n\n    # about input\n    payload:\n        a:   1\n        b: [ 1 ]\ntags: [ a,  b ]\n"
    assert touched(text, editing.change(text.encode(), {("action", "command"): "x y"}).decode()) == [
        '-     command: [ "echo",  hi ]\n',
        "+     command: x y\n",
    ]
    assert touched(text, editing.change(text.encode(), {("action", "payload", "b"): [2, 3]}).decode()) == [
        "-         b: [ 1 ]\n",
        "+         b: [2, 3]\n",
    ]
    assert touched(text, editing.change(text.encode(), {("action", "payload", "c"): {"d": 1}}).decode()) == [
        "+         c:\n",
        "+           d: 1\n",
    ]
    assert touched(text, editing.change(text.encode(), {("action", "env"): editing.REMOVE}).decode()) == [
        "-     # about env\n",
        "-     env: {A:  '1'}   # flow\n",
    ]
