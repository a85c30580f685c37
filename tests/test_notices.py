"""Notices: one for each incident, at the right time, to whoever asked for it, and never in the way of a run."""

from __future__ import annotations

import email
import email.message
import email.policy
import html
import http.server
import json
import re
import socketserver
import sys
import threading
import time
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import pytest
from conftest import until
from hypothesis import given
from hypothesis import strategies as st

from routinectl.core import legible
from routinectl.core.event import Event
from routinectl.core.notice import Block, Desk, Notice, blocks, incidents_from, notice_from
from routinectl.core.outbox import MOST, Letter, Most, Outbox, outbox_from
from routinectl.core.schedule import zone
from routinectl.core.settings import Remind, Target
from routinectl.core.units import to_iso
from routinectl.files.layout import Layout
from routinectl.notify.__main__ import deliver, without_secrets
from routinectl.operations.notices import send
from routinectl.operations.session import Session

SLOW = 90  # seconds: each letter starts an interpreter that loads apprise
NOON = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
DOC = {"timezone": "Europe/Berlin", "triggers": [{"every": "1h"}]}


def event(minute: int, kind: str, **data) -> Event:
    at = (NOON + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
    return Event(kind, "backup", {"at": at, **data}, f"e-{minute}", at, minute + 1)


def ended(minute: int, outcome: str, **data) -> Event:
    return event(minute, "run.ended", run=f"r{minute}", outcome=outcome, exit_code=1 if outcome == "failed" else 0, **data)


def told(*events: Event, doc: dict | None = None, remind: Remind | None = None) -> list[str]:
    desk = Desk(remind or Remind())
    return [f"{'+'.join(item.occasions)}: {item.title}" for one in events for item in desk.hear(one, doc or DOC)]


STORIES = {
    "a failure is told once": (
        [ended(0, "failed"), ended(1, "failed"), ended(2, "timed_out")],
        ["failed: backup failed with exit 1"]),
    "a recovery says after how long": (
        [ended(0, "failed"), ended(30, "succeeded")],
        ["failed: backup failed with exit 1", "recovered+succeeded: backup has recovered, after 30 minutes"]),
    "a quiet success ends an incident, and is told as nothing else": (
        [ended(0, "failed"), ended(1, "quiet"), ended(2, "quiet")],
        ["failed: backup failed with exit 1", "recovered: backup has recovered, after 1 minute"]),
    "a success by itself is told to whoever asks for it": ([ended(0, "succeeded")], ["succeeded: backup succeeded"]),
    "after three more failures it is told again": (
        [ended(minute, "failed") for minute in range(8)],
        ["failed: backup failed with exit 1", "failed: backup goes on failing, since Sat 21 Nov 13:00 CET",
         "failed: backup goes on failing, since Sat 21 Nov 13:00 CET"]),
    "every kind of bad news of an incident is told": (
        [ended(0, "failed"), event(1, "slot.missed", reason="late", count=3), event(2, "sla.breached", promise="success_within", since="x")],
        ["failed: backup failed with exit 1", "missed: backup missed 3 slots", "overdue: backup is overdue: success_within is not kept"]),
    "a cancelled run is no news": ([ended(0, "cancelled")], []),
    "a trial and a replay are nobody's business": (
        [event(0, "run.claimed", run="r0", mode="test"), ended(0, "failed", mode="test"), ended(1, "failed", mode="replay")], []),
    "an edit answers slots; that is nothing missed": ([event(0, "slot.missed", reason="edited", count=4)], []),
    "missed slots that one late run stands for": (
        [event(0, "run.claimed", run="r0", collapsed={"count": 5})],
        ["missed: backup missed 5 slots; it runs now, late", "started: backup has started"]),
    "a start, and none for its second attempt": (
        [event(0, "run.claimed", run="r0"), event(1, "run.claimed", run="r0", attempt=2)], ["started: backup has started"]),
    "a broken definition, mended": (
        [event(0, "routine.invalid", problems=[{"message": "unknown key", "where": "f:1:2"}]), event(10, "routine.updated")],
        ["failed: backup is broken: nothing of it fires", "recovered: backup has recovered, after 10 minutes"]),
    "an edit does not end a failure": ([ended(0, "failed"), event(1, "routine.updated")], ["failed: backup failed with exit 1"]),
    "who disables it knows": (
        [ended(0, "failed"), event(1, "routine.disabled"), event(2, "routine.enabled"), ended(3, "failed")],
        ["failed: backup failed with exit 1", "failed: backup failed with exit 1"]),
    "what a person has to answer": (
        [event(0, "slot.held", slot="s", reason="review"), event(1, "slot.held", slot="s", reason="capacity"), event(2, "approval.requested")],
        ["held: backup waits for review: s", "approval: backup waits for approval"]),
    "it pauses itself": (
        [event(0, "routine.paused", by="routinectl", reason="5 failures"), event(1, "routine.paused", by="ada")],
        ["held+failed: backup is paused: 5 failures"]),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_what_is_told_of_a_story(name):
    events, expected = STORIES[name]
    assert told(*events, remind=Remind(failures=3)) == expected


def test_an_incident_is_told_again_after_a_day_unless_it_is_muted():
    desk = Desk()
    list(desk.hear(ended(0, "failed"), DOC))
    day = NOON + timedelta(days=1)

    assert desk.next_at(()) == day
    assert desk.due(day - timedelta(seconds=1), ()) == []
    assert desk.due(day, {"backup"}) == []
    (reminder,) = desk.due(day, ())
    assert reminder.title == "backup has not recovered, since Sat 21 Nov 13:00 CET"
    assert desk.due(day + timedelta(hours=23), ()) == []
    assert desk.due(day + timedelta(hours=24), ())[0].key != reminder.key
    assert incidents_from(json.loads(json.dumps(desk.to_plain()))) == desk.incidents


def notice(key: str = "1", title: str = "backup failed", occasions=("failed",), **more) -> Notice:
    return Notice(key, "backup", occasions, NOON.isoformat(), title, **more)


WANTS = {
    "the default tells of failure": ({}, notice(), True),
    "the default tells of the recovery of what it told of": ({}, notice(occasions=("recovered",), causes=("failed",)), True),
    "and not of others": ({}, notice(occasions=("recovered",), causes=("missed",)), False),
    "who asks for recoveries only has all": ({"on": ["recovered"]}, notice(occasions=("recovered",), causes=("missed",)), True),
    "the default does not tell of successes": ({}, notice(occasions=("succeeded",)), False),
    "a pause by itself is also told to who asks for failures": ({"on": ["failed"]}, notice(occasions=("held", "failed")), True),
}


@pytest.mark.parametrize("name", WANTS)
def test_who_wants_a_notice(name):
    block, item, expected = WANTS[name]
    assert blocks({**DOC, "notify": block})[0].wants(item) is expected


QUIET = {"quiet_hours": {"start": "12:30", "end": "08:00", "timezone": "Europe/Berlin", "allow_urgent": True}}
MORNING = "2026-11-22T07:00:00Z"


def post(box: Outbox, item: Notice, written: object = None, *, targets=("ops", "mail"), now: datetime = NOON) -> list[Event]:
    return box.post(item, blocks({**DOC, "notify": written or {}}), targets, now)


def test_quiet_hours_keep_notices_for_one_digest_and_let_the_urgent_ones_through():
    box = Outbox()
    post(box, notice("1"), QUIET)
    post(box, notice("2", "load is high"), QUIET)
    post(box, notice("3", "the shop is DOWN"), QUIET)
    post(box, notice("4", high=True), QUIET)

    assert [[item.key for item in letter.notices] for letter in box.ready(NOON)] == [["3", "4"], ["3", "4"]]
    morning = datetime.fromisoformat(MORNING)
    for letter in box.ready(NOON):
        box.sent(letter, NOON)
    assert box.next_at() == morning
    digest = box.ready(morning)[0]
    assert digest.title == "2 notices: 2 failed"
    assert digest.body.splitlines() == ["2026-11-21T12:00:00Z  backup failed", "2026-11-21T12:00:00Z  load is high"]


def test_a_pattern_of_ones_own_says_what_is_urgent():
    box = Outbox()
    own = {"quiet_hours": {**QUIET["quiet_hours"], "allow_urgent": "(?i)payment"}}
    post(box, notice("1", "the shop is down"), own)
    post(box, notice("2", "Payments fail"), own)

    assert [item.key for item in box.ready(NOON)[0].notices] == ["2"]


def test_two_blocks_tell_a_target_once():
    box = Outbox()
    post(box, notice(), [{"on": ["failed"], "to": ["ops"]}, {"on": ["failed", "missed"], "to": ["ops", "mail"], **QUIET}])

    assert [letter.target for letter in box.ready(NOON)] == ["ops"]
    assert len(box.waiting) == 2


def test_over_the_most_of_a_day_they_wait_for_the_next_one_and_come_as_one():
    box, most = Outbox(), Most(2, zone.load("America/New_York"))
    for key in "1234":
        assert not box.post(notice(key), [Block()], ["ops"], NOON, most)
    assert box.posted_on(notice().routine, NOON.date().isoformat()) == 2
    assert [item.key for item in box.ready(NOON)[0].notices] == ["1", "2"]
    box = outbox_from(json.loads(json.dumps(box.to_plain())))
    box.sent(box.ready(NOON)[0], NOON)
    midnight = (NOON + timedelta(days=1)).replace(hour=5, minute=0, second=0, microsecond=0)  # in New York

    assert box.next_at() == midnight
    assert not box.ready(midnight - timedelta(seconds=1))
    assert [item.key for item in box.ready(midnight)[0].notices] == ["3", "4"]
    box.post(notice("5"), [Block()], ["ops"], midnight, most)
    assert len(box.ready(midnight)[0].notices) == 3


def test_nobody_is_told_where_the_list_is_empty():
    box = Outbox()
    box.post(notice(), blocks({**DOC, "notify": []}), ["ops"], NOON)

    assert not box.waiting


def test_a_target_that_there_is_not_is_on_record():
    (lost,) = post(Outbox(), notice(), {"to": ["pager"]})

    assert (lost.type, lost.data["target"], lost.data["error"]) == ("notice.failed", "pager", "there is no such target")


def test_a_dead_target_is_tried_less_and_less_often_and_given_up_after_a_day():
    box, now, tries = Outbox(), NOON, []
    post(box, notice(), targets=["ops"])
    while box.waiting:
        (letter,) = box.ready(now)
        events = box.failed(letter, "refused", now)
        tries.append(int((now - NOON).total_seconds()))
        now = box.next_at() or now

    assert tries[:6] == [0, 30, 90, 210, 450, 930]
    assert timedelta(days=1) <= timedelta(seconds=tries[-1]) < timedelta(hours=26)
    assert [("retry_at" in item.data) for item in events] == [False]
    assert len(tries) < 35


def test_one_dead_target_keeps_no_other_waiting():
    box = Outbox()
    post(box, notice("1"))
    ops, mail = box.ready(NOON)
    box.failed(ops, "refused", NOON)
    box.sent(mail, NOON)
    post(box, notice("2"))

    assert [letter.target for letter in box.ready(NOON)] == ["mail"]
    later = NOON + timedelta(minutes=1)
    assert [[item.key for item in letter.notices] for letter in box.ready(later) if letter.target == "ops"] == [["1", "2"]]


def test_what_was_recorded_is_not_sent_again_after_a_crash():
    box = Outbox()
    post(box, notice(), targets=["ops"])
    before = json.dumps(box.to_plain())
    record = box.sent(box.ready(NOON)[0], NOON)

    again = outbox_from(json.loads(before))
    assert again.waiting
    again.heard(record)
    assert not again.waiting


def test_a_flood_for_a_target_gives_up_the_oldest_and_says_so():
    box = Outbox()
    lost = [event for number in range(1003) for event in post(box, notice(str(number)), targets=["ops"])]

    assert [item["key"] for event in lost for item in event.data["notices"]] == ["0", "1", "2"]
    assert len(box.waiting) == 1000


def test_a_block_without_words_tells_of_failure_and_recovery():
    assert blocks(DOC) == [Block(frozenset({"failed", "recovered"}))]


def test_the_secrets_of_a_url_are_not_in_what_its_sender_says():
    url = "slack://token-a/token-b@hooks.example.org/T1JJ3T3L2/?password=p%40ssword1"
    said = "hooks.example.org refused token-a and T1JJ3T3L2 with p@ssword1"

    assert without_secrets(said, url) == "hooks.example.org refused *** and *** with ***"


# -- with a real serve, a real server to tell, and real runs


class Receiver:
    """A server on loopback that keeps what it is sent; while `down`, it answers 503."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.paths: list[str] = []
        self.down = False
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if not receiver.down:
                    receiver.paths.append(self.path)
                    receiver.got.append(json.loads(body) if body.startswith(b"{") else {"text": body.decode()})
                self.send_response(503 if receiver.down else 200)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def titles(self) -> list[str]:
        return [item["title"] for item in self.got]


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def tells(workspace, receiver: Receiver, more: str = "") -> None:
    (workspace.root / "secrets").mkdir(exist_ok=True)
    (workspace.root / "secrets/ops.url").write_text(f"json://ada:hunter22@{receiver.address}/in\n")
    workspace.configure(f"notify: {{targets: {{ops: {{apprise: {{file: secrets/ops.url}}}}}}, remind: {{failures: 3}}{more}}}")


def test_an_incident_its_reminder_and_its_recovery_arrive(workspace, receiver):
    tells(workspace, receiver)
    mended = workspace.root / "mended"
    late = "misfire: {policy: catch_up, grace: 1m, max: 60}\n"  # on a busy machine a slot is late, and late is no other bad news here
    workspace.define(
        "backup", f"triggers: [{{every: 1s}}]\n{late}action: {{command: 'test -e {mended} || {{ echo the disk is full; exit 4; }}'}}\n"
    )
    with workspace.serving():
        until(lambda: len(receiver.got) >= 2, SLOW)
        mended.touch()
        until(lambda: "recovered" in receiver.titles()[-1], SLOW)

    first, *reminders, _ = receiver.got
    assert first["title"].startswith("backup failed with exit 4")
    assert "| the disk is full" in first["message"]
    assert "routinectl logs backup 2" in first["message"]
    assert all("goes on failing" in item["title"] for item in reminders)
    sent = [item["data"]["notices"][0] for item in workspace.events("notice.sent")]
    assert [item["occasion"] for item in sent] == ["failed", *("failed" for _ in reminders), "recovered"]
    assert len({item["incident"] for item in sent}) == 1


def test_a_dead_target_delays_no_run_and_is_on_record(workspace, receiver):
    receiver.down = True
    tells(workspace, receiver)
    workspace.define("bad", "triggers: [{every: 1s}]\naction: {command: ['false']}\n")
    workspace.define("good", "triggers: [{every: 1s}]\naction: {command: ['true']}\n")
    with workspace.serving():
        failed = until(lambda: workspace.events("notice.failed"), SLOW)
        good = until(lambda: (found := workspace.events("run.ended", "good")) and len(found) >= 3 and found)

    assert failed[0]["data"]["target"] == "ops"
    assert failed[0]["data"]["retry_at"]
    assert "hunter22" not in json.dumps(failed)
    assert {item["data"]["reason"] for item in workspace.events("run.claimed", "good")} == {"on_time"}
    assert {item["data"]["outcome"] for item in good} == {"succeeded"}
    assert "503" in workspace.ok("notify").out


def test_what_failed_while_nobody_told_is_told_by_send(workspace, receiver):
    tells(workspace, receiver)
    workspace.define("once", "action: {command: ['false']}\n")
    workspace.ok("notify", "send")
    workspace.run("run-now", "once", "--wait")
    workspace.run("run-now", "once", "--wait")
    workspace.ok("notify", "send")
    workspace.ok("notify", "send")

    assert len(receiver.got) == 1
    assert receiver.titles()[0].startswith("once failed")
    assert [item["routine"] for item in json.loads(workspace.ok("notify", "--json").out)["data"]["incidents"]] == ["once"]


def test_once_and_until_idle_tell_before_they_leave(workspace, receiver):
    tells(workspace, receiver)
    workspace.ok("notify", "send")
    at = (datetime.now().astimezone() + timedelta(seconds=5)).isoformat(timespec="seconds")
    workspace.define("soon", f"triggers: [{{at: '{at}'}}]\naction: {{command: ['false']}}\n")
    workspace.ok("serve", "--until-idle")

    assert len(receiver.got) == 1


def test_secrets_of_a_run_do_not_reach_a_notice(workspace, receiver):
    tells(workspace, receiver)
    (workspace.root / "secrets/key").write_text("canary-4711\n")
    text = "action: {command: 'echo the key is $KEY; exit 1', secrets: {KEY: {file: workspace:secrets/key}}}\n"
    workspace.define("leak", text)
    workspace.ok("notify", "send")
    workspace.run("run-now", "leak", "--wait")
    workspace.ok("notify", "send")

    assert "the key is ***" in receiver.got[0]["message"]
    assert "canary" not in json.dumps(receiver.got)


def test_a_command_gets_the_notice_as_json(workspace):
    script = "import json, sys; open('told', 'w').write(json.load(sys.stdin)['title'])"
    command = json.dumps([sys.executable, "-c", script])
    workspace.configure(f"notify: {{targets: {{mine: {{command: {command}}}}}}}")
    workspace.ok("notify", "test", "mine")

    assert (workspace.root / "told").read_text() == "A test from routinectl"


TARGETS_THAT_FAIL = {
    "a program that there is not": ("{command: [./nowhere]}", "./nowhere cannot be run"),
    "a program that says why": ("{command: [sh, -c, 'echo no route; exit 1']}", "no route"),
    "one that takes too long": ("{command: [sleep, '30'], timeout: 1s}", "it took longer than 1 s"),
    "a URL that is not set": ("{apprise: {env: NOT_SET_HERE}}", "its URL is not set: env NOT_SET_HERE"),
    "a URL of no kind that is known": ("{apprise: {file: routinectl.yaml}}", "no URL that apprise knows"),
}


@pytest.mark.parametrize("name", TARGETS_THAT_FAIL)
def test_a_target_that_is_not_reached_says_why(workspace, name):
    target, why = TARGETS_THAT_FAIL[name]
    workspace.configure(f"notify: {{targets: {{ops: {target}}}}}")
    answer = workspace.run("notify", "test", "ops")

    assert answer.code == 1
    assert why in answer.err
    assert "Hint:" in answer.err


def test_a_heartbeat_says_whether_serve_is_there(workspace, receiver):
    url = f"http://{receiver.address}/ping/abc"
    assert workspace.run("heartbeat", url).code == 1
    with workspace.serving():
        workspace.ok("heartbeat", url)
    assert receiver.paths == ["/ping/abc/fail", "/ping/abc"]
    assert receiver.got[0]["text"] == "no serve lives: nothing fires"


def test_a_heartbeat_that_is_not_taken_is_an_error(workspace, receiver):
    receiver.down = True
    assert "answered 503" in workspace.run("heartbeat", f"http://{receiver.address}/x").err
    assert "begins with http" in workspace.run("heartbeat", "ftp://example.org").err
    assert "There is no URL" in workspace.run("heartbeat").err


def test_typing_errors_in_targets_are_found_by_lint(workspace, receiver):
    tells(workspace, receiver)
    workspace.define("x", "timeout: 1m\nnotify: {to: [opps]}\naction: {command: ['true']}\n")
    answer = workspace.run("lint", "x")

    assert "there is no target 'opps' in routinectl.yaml" in answer.out
    assert "ops" in answer.out


# -- plain text, whatever a run prints

LEGIBLE = {
    "colours": ("\x1b[1;31mred\x1b[0m and \x1b[38;5;7mgrey\x1b[m", "red and grey"),
    "a title of the window": ("\x1b]0;owned\x07after", "after"),
    "a link of the terminal": ("\x1b]8;;http://evil.example\x1b\\text\x1b]8;;\x1b\\", "text"),
    "one character that begins a sequence": ("\x9b31mred", "red"),
    "an escape at the end": ("end\x1b", "end\\x1b"),
    "a NUL": ("a\0b", "a\\x00b"),
    "lines of any kind": ("a\r\nb\rc\nd\x0be\x0cf\u2028g\x85h", "a b c d e f g h"),
    "what turns the writing": ("photo\u202egnp.exe\u2066x\u2069\u200f", "photo\\u202egnp.exe\\u2066x\\u2069\\u200f"),
    "half a pair": ("\ud800", "\\ud800"),
    "a backspace": ("pass\b\b\b\bfail", "pass\\x08\\x08\\x08\\x08fail"),
    "letters and pictures": ("Größe 日本 שלום 👩\u200d💻 ✓\tend", "Größe 日本 שלום 👩\u200d💻 ✓ end"),
    "markup stays what it is": ("<b>1 < 2 & *x* _y_</b>", "<b>1 < 2 & *x* _y_</b>"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGIBLE)
def test_a_line_for_people_acts_on_nothing(name):
    text, expected = LEGIBLE[name]
    assert legible.line(text).replace("    ", " ").replace("   ", " ").replace("  ", " ") == expected


@given(st.text(), st.integers(10, 50))
def test_whatever_a_text_holds_it_is_one_line_that_can_be_seen(text, most):
    shown = legible.line(text, most)

    assert all(letter.isprintable() or letter in "\u200c\u200d" for letter in shown)
    assert len(shown) <= most
    assert legible.line(shown, most) == shown


@given(st.lists(st.text(alphabet="ab c", max_size=300), min_size=1, max_size=30), st.integers(0, 600), st.integers(1, 2))
def test_lines_are_fitted_into_any_room_and_the_last_ones_stay(lines, most, last):
    found = legible.fitted(lines, most, last)

    assert len("\n".join(found)) <= most
    if len("\n".join(lines)) <= most:
        assert found == lines
    elif most >= 330 and len(lines) > last:
        assert found[-last:] == [legible.line(item, 160) for item in lines[-last:]]


def letter(*notices: Notice) -> Letter:
    return Letter("ops", notices)


def test_a_notice_is_plain_text_whatever_made_it():
    item = notice(title="a\nb \x1b[31mfailed\x1b[0m", lines=("\x1b[1mx\r\ny\0", "| z\n[Service]"))

    assert (item.title, item.lines) == ("a b failed", ("x y\\x00", "| z [Service]"))
    assert notice_from(json.loads(json.dumps(asdict(item)))) == item
    assert replace(item, title="c\nd").title == "c d"


LONG = ("failed with exit 4", *(f"| {'x' * 2000}" for _ in range(10)), "routinectl logs backup r0")
LETTERS = {
    "a short one is not touched": (letter(notice(lines=("one", "two"))), ["one", "two"]),
    "one with lines of 20 000 characters ends with where the rest is": (letter(notice(lines=LONG, run="r0")), None),
    "one without a command says where the rest is": (letter(notice(lines=tuple("y" * 900 for _ in range(30)), run="r0")), None),
    "a hundred at once": (letter(*(notice(str(number), f"routine-{number} failed with exit 1 after 3.0 s") for number in range(100))), None),
    "a thousand with long titles": (letter(*(notice(str(number), "t" * 5000) for number in range(1000))), None),
}  # fmt: skip


@pytest.mark.parametrize("name", LETTERS)
def test_a_letter_is_no_longer_than_any_service_takes(name):
    found, lines = LETTERS[name]

    assert len(found.title) <= 200
    assert len(found.title) + len(found.body) <= MOST - 160, "with the line that says where it comes from"
    if lines is not None:
        assert found.body.splitlines() == lines
    elif len(found.notices) == 1:
        assert found.body.splitlines()[-1] == "routinectl logs backup r0"
    else:
        assert found.body.splitlines()[0].endswith("earlier ones are not shown: routinectl history ID, routinectl logs ID")
        assert found.body.splitlines()[-1].endswith(found.notices[-1].title)


PRINTED = "<b>bold</b> 1 < 2 <none> & <img src=http://evil.example/x.png>"
TRACEBACK = 'File "<stdin>", line 1, in <module>'
BODY = f"failed\n| {PRINTED}\n| {TRACEBACK}\nroutinectl logs backup r0\n(here on host)"
SERVICES = {
    "tgram": ("tgram://123456789:AAabcdefghijklmnopqrstuvwxyz012345678/12345", 4096),
    "discord": ("discord://1234567890/abcdefghijklmnopqrstuvwxyz", 2000),
    "slack": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", 35000),
    "ntfy": ("ntfy://topic", 7800),
    "pover": ("pover://" + "u" * 30 + "@" + "t" * 30, 1024),
    "twilio": ("twilio://AC" + "0" * 32 + ":" + "a" * 32 + "@15555555555/15555555556", 160),
}  # fmt: skip


@pytest.fixture
def posted(monkeypatch):
    """Have requests post nothing, and keep what it would have posted."""
    requests = pytest.importorskip("requests")
    found = []

    def request(_self, method, url, **more):
        data = more.get("json") or more.get("data")
        found.append(json.loads(data) if isinstance(data, (str, bytes)) and data[:1] in ("{", b"{") else data)
        answer = requests.Response()
        said = b"ok" if "slack" in url else b'{"ok": true, "result": []}'
        answer.status_code, answer._content, answer.url = 200, said, url
        return answer

    monkeypatch.setattr(requests.sessions.Session, "request", request)
    return found


def given_to(service: str, body: str, title: str = "backup failed <4>") -> bool:
    apprise = pytest.importorskip("apprise")
    return deliver(apprise.Apprise.instantiate(SERVICES[service][0]), title, body, apprise.NotifyType.FAILURE)


def texts(payload: object) -> list[str]:
    if isinstance(payload, dict):
        return [text for item in payload.values() for text in texts(item)]
    if isinstance(payload, list):
        return [text for item in payload for text in texts(item)]
    return [payload] if isinstance(payload, str) else []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise's own imports
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_plain_text_in_whatever_it_takes(posted, service):
    assert given_to(service, BODY)
    (payload,) = posted
    text = max(texts(payload), key=len)

    if payload.get("parse_mode") == "HTML" or service == "slack":
        assert "<none>" not in text
        assert "<img" not in text
        text = html.unescape(text)
    assert payload.get("parse_mode") in (None, "HTML")
    if service == "twilio":  # in an SMS there is no room for the output
        assert "routinectl logs backup r0" in text
    else:
        lines = text.replace("\r", "").splitlines()
        assert f"| {PRINTED}" in lines
        assert f"| {TRACEBACK}" in lines


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise's own imports
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "body", ["\n".join(["| " + "<" * 150] * 10 + ["routinectl logs backup r0", "(here on host)"]), "y" * 1900], ids=["markup", "one line"]
)
def test_a_service_is_given_no_more_than_it_takes(posted, service, body):
    assert given_to(service, body)
    assert len(posted) == 1
    longest = max(texts(posted[0]), key=len)

    assert len(longest) <= SERVICES[service][1]


class Mails:
    """A mail server on loopback that takes everything and keeps it."""

    def __init__(self) -> None:
        self.got: list[email.message.EmailMessage] = []
        mails = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 here\r\n")
                while line := self.rfile.readline().strip().upper():
                    if line == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        data = b"".join(iter(self.rfile.readline, b".\r\n"))
                        mails.got.append(email.message_from_bytes(data, policy=email.policy.default))
                    self.wfile.write(b"221 bye\r\n" if line == b"QUIT" else b"250 ok\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.server.server_address[1]}?from=a@example.org&to=b@example.org&mode=insecure"


@pytest.fixture
def mails():
    found = Mails()
    yield found
    found.server.shutdown()
    found.server.server_close()


def shown(markup: str) -> list[str]:
    """Return the lines that a reader of a mail's HTML sees, and fail where a tag of the output is one of its own."""
    assert not re.search(r"<(img|none|stdin|module)\b", markup)
    assert "<b>bold" not in markup
    text = re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>\s*|</p>", "\n", markup))
    return html.unescape(text).replace("\xa0", " ").splitlines()


def test_a_mail_has_the_output_as_text_in_each_of_its_parts(workspace, mails, receiver):
    pytest.importorskip("apprise")
    tells(workspace, receiver)
    (workspace.root / "secrets/mail.url").write_text(mails.url())
    workspace.configure("notify: {targets: {mail: {apprise: {file: secrets/mail.url}}, ops: {apprise: {file: secrets/ops.url}}}}")
    script = f"printf '%s\\n' '{PRINTED}' '{TRACEBACK}'; printf 'a\\tb\\n\\033[31mred\\033[0m\\r\\n'; exit 4"
    workspace.define("bad", f"timeout: 1m\naction:\n  command: {json.dumps(script)}\n")
    workspace.ok("notify", "send")
    assert workspace.run("run-now", "bad", "--wait").code == 4
    workspace.ok("notify", "send")
    (mail,) = mails.got
    parts = [part.get_content().replace("\r", "") for part in mail.walk() if part.get_content_type() == "text/plain"]
    markups = [part.get_content() for part in mail.walk() if part.get_content_type() == "text/html"]  # older ones of apprise write both

    assert parts
    for lines in [*(part.splitlines() for part in parts), *map(shown, markups), receiver.got[0]["message"].splitlines()]:
        assert [line for line in lines if line.startswith("|")] == [f"| {PRINTED}", f"| {TRACEBACK}", "| a   b", "| red"], lines
        assert any(line.startswith("routinectl logs bad ") for line in lines)
    assert "\x1b" not in mail.as_string()
    assert mail["subject"].startswith("bad failed with exit 4")


def test_a_hundred_failures_with_long_lines_are_one_message_that_anybody_takes(workspace, receiver):
    pytest.importorskip("apprise")
    tells(workspace, receiver)
    for number in range(100):
        workspace.define(f"bad-{number}", "timeout: 1m\naction: {command: 'true'}\n")
    workspace.ok("notify", "send")
    with Session(Layout(workspace.root)) as session:
        events = [Event("run.ended", f"bad-{number}", {"at": to_iso(session.now), "run": f"r{number}", "outcome": "failed", "exit_code": 4,
                                                       "message": "z" * 20000}) for number in range(100)]  # fmt: skip
        session.append(*events)
    workspace.ok("notify", "send")
    (got,) = receiver.got

    assert got["title"] == "100 notices: 100 failed"
    assert len(got["title"]) + len(got["message"]) <= MOST
    assert "earlier ones are not shown" in got["message"]


def test_a_command_is_given_titles_and_lines_that_do_nothing(workspace):
    script = "import json, os, sys; d = json.load(sys.stdin); json.dump([os.environ['ROUTINECTL_NOTICE_TITLE'], d], open('told', 'w'))"
    target = Target("command", (sys.executable, "-c", script), 20.0)
    item = notice(title="a\0b\x1b]0;owned\x07\nc", lines=("\x1b[31mx\0", "y\u202e"))

    assert send(Layout(workspace.root), target, letter(item)) == ""
    title, data = json.loads((workspace.root / "told").read_text())
    assert title == data["title"] == "a\\x00b c"
    assert data["body"] == "x\\x00\ny\\u202e"
    assert data["notices"][0]["lines"] == ["x\\x00", "y\\u202e"]


STALLS = ["(a+)+$", "(a|a)*$", "(.*)*x"]


@pytest.mark.parametrize("pattern", STALLS)
def test_no_pattern_of_what_is_urgent_stalls_the_notices(pattern):
    block = blocks({**DOC, "notify": {"quiet_hours": {**QUIET["quiet_hours"], "allow_urgent": pattern}}})[0]
    began = time.process_time()
    block.waits_until(notice(lines=("a" * 3000 + "!",)), NOON)

    assert time.process_time() - began < 1.0


def test_a_pattern_that_only_a_slow_reader_knows_is_a_fault(workspace):
    path = workspace.define(
        "x", "notify:\n  quiet_hours: {start: '23:00', end: '08:00', allow_urgent: '(?=down)'}\ntimeout: 1m\naction: {command: 'true'}\n"
    )
    answer = workspace.run("validate", "x")

    assert answer.code == 78
    assert "RE2's syntax" in answer.out + answer.err
    assert f"{path.name}:2:" in answer.out + answer.err
