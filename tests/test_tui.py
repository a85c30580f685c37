"""The terminal app, by the keys a person presses: over real workspaces, over HTTP, in a real terminal, and as pictures."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import demo
import pytest
import textual
from conftest import PATIENCE, ROOT, Workspace, clean_environment, stop_keepers, until
from needs import needs

from routinectl import clock
from routinectl.files.layout import Layout
from routinectl.tui import show
from routinectl.tui.app import MainPage, Tui, needs_a_look, order
from routinectl.tui.ask import Ask
from routinectl.tui.form import FormPage
from routinectl.tui.run import RunPage
from routinectl.tui.source import Fault, Local, Remote
from routinectl.tui.table import RoutineTable, columns

COMMAND = "timeout: 1m\naction: {command: echo done}\n"
IMAGES = ROOT / "docs/images"


@asynccontextmanager
async def opened(source, size=(110, 34), now=None):
    app = Tui(source, now=now)
    async with app.run_test(size=size, notifications=True) as pilot:
        await eventually(pilot, lambda: app.loaded)
        await pilot.pause()
        yield pilot


async def eventually(pilot, question):
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline, f"never true; on the screen:\n{screen(pilot)}"
        await pilot.pause(0.02)


def screen(pilot) -> str:
    """What stands on the screen, as text."""
    app = pilot.app
    width = app.size.width
    console = app.console
    lines = app.screen._compositor.render_strips() if hasattr(app.screen._compositor, "render_strips") else []
    return "\n".join("".join(segment.text for segment in strip) for strip in lines) or str((width, console))


async def see(pilot, text):
    await eventually(pilot, lambda: text in screen(pilot))


async def in_the_form(pilot):
    await eventually(pilot, lambda: isinstance(pilot.app.screen, FormPage) and pilot.app.screen.ready)


async def fill(pilot, selector, text):
    field = pilot.app.screen.query_one(selector)
    if hasattr(field, "load_text"):
        field.load_text(text)
    else:
        field.value = text
    await pilot.pause()


def play(coroutine):
    """Run one test on an event loop of its own."""
    asyncio.run(asyncio.wait_for(coroutine, 4 * PATIENCE))


@pytest.fixture
def local(workspace):
    source = Local(Layout(workspace.root), "ada")
    yield source
    source.close()
    stop_keepers(workspace.root)


# -- what is shown


def test_what_a_routine_looks_like_in_the_table(workspace, local):
    workspace.define("backup", "name: Nightly backup\ntriggers: [{daily: '02:30'}]\npermissions: {network: true}\n" + COMMAND)
    workspace.define("broken", "name: Broken\ntimeout: soon\n" + "action: {command: x}\n")
    workspace.define("odd", 'name: "Odd \\e[31m name"\ntriggers: []\n' + COMMAND)

    async def go():
        async with opened(local, (160, 24)) as pilot:
            await see(pilot, "Nightly backup")
            text = screen(pilot)
            assert re.search(r"● active +Nightly backup +every day at 02:30", text)
            assert "↗outside" in text
            assert "✗ broken" in text
            assert "\x1b" not in text  # what a definition says cannot reach the terminal as anything but text
            assert "No serve runs: nothing fires by itself." in text

    play(go())


@pytest.mark.parametrize("width", [20, 40, 79, 80, 92, 100, 104, 124, 144, 200, 400])
def test_columns_fit_every_width(width):
    found = columns(width)
    assert {"status", "name", "when", "next", "last"} <= {key for key, _, _ in found}
    assert all(size > 0 for _, _, size in found)
    if width >= 60:
        assert sum(size for _, _, size in found) + len(found) <= width


ROW = {
    "id": "a",
    "name": "A",
    "status": "active",
    "proposals": 0,
    "reviews": 0,
    "badges": [],
    "last_outcome": "succeeded",
    "next_fire_at": "2026-11-21T02:00:00Z",
    "last_run_at": "2026-11-20T02:00:00Z",
}
NEEDS = [
    ("a good one does not", {}, False), ("broken", {"status": "invalid"}, True), ("a draft", {"status": "draft"}, True), ("an approval", {"status": "pending_approval"}, True),
    ("a proposal", {"proposals": 1}, True), ("overdue", {"badges": ["OVERDUE"]}, True), ("failed", {"last_outcome": "failed"}, True), ("paused does not", {"status": "paused"}, False),
    ("quiet does not", {"last_outcome": "quiet"}, False), ("one that never ran does not", {"last_outcome": None}, False),
]  # fmt: skip


@pytest.mark.parametrize(("row", "wanted"), [(row, wanted) for _, row, wanted in NEEDS], ids=[name for name, _, _ in NEEDS])
def test_what_needs_a_look(row, wanted):
    assert needs_a_look({**ROW, **row}) is wanted


def test_orders():
    rows = [{**ROW, "id": "a", "name": "z"}, {**ROW, "id": "b", "name": "Y", "next_fire_at": None, "last_run_at": None},
            {**ROW, "id": "c", "name": "x", "next_fire_at": "2026-11-20T02:00:00Z", "last_run_at": "2026-11-20T03:00:00Z", "status": "invalid"}]  # fmt: skip
    names = {by: "".join(row["id"] for row in order(rows, by)) for by in ("next fire", "name", "last run", "status")}
    assert names == {"next fire": "cab", "name": "cba", "last run": "cab", "status": "cab"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59, "59s"), (60, "1m00s"), (599, "9m59s"), (600, "10m"), (3600, "1h00"), (86399, "23h59"), (90000, "1d1h"), (-5, "0s")],
)
def test_spans(seconds, words):
    assert show.span(seconds) == words


@pytest.mark.parametrize(
    ("text", "width", "wanted"),
    [("abc", 5, "abc  "), ("abcdef", 4, "abc…"), ("日本語", 5, "日本…"), ("", 2, "  "), ("a\x1b[2Jb", 6, "a [2Jb"), ("ab", 0, "")],
)
def test_fitting_text_into_cells(text, width, wanted):
    assert show.fit(text, width) == wanted


def test_search_filter_and_order(workspace, local):
    for name in ("alpha", "beta", "gamma"):
        workspace.define(name, f"name: {name.title()}\ntriggers: [{{daily: '0{len(name)}:00'}}]\ntags: [{name}-tag]\n" + COMMAND)
    workspace.ok("pause", "beta")

    async def go():
        async with opened(local) as pilot:
            table = pilot.app.screen.query_one(RoutineTable)
            await see(pilot, "Gamma")
            await pilot.press("slash", *"gamma-t")
            await eventually(pilot, lambda: [row["id"] for row in table.rows] == ["gamma"])
            await pilot.press("escape")
            await eventually(pilot, lambda: len(table.rows) == 3)
            await pilot.press("f", "f", "f")
            await eventually(pilot, lambda: [row["id"] for row in table.rows] == ["beta"])
            await pilot.press("slash", *"nothing", "enter")
            await see(pilot, "Nothing fits")
            await pilot.press("escape", "s")
            await eventually(pilot, lambda: [row["id"] for row in table.rows] == ["alpha", "beta", "gamma"])
            assert "by name" in screen(pilot)

    play(go())


def test_the_cursor_stays_on_its_routine_while_others_come_and_go(workspace, local):
    for name in ("b", "c", "d"):
        workspace.define(name, f"name: {name}\ntriggers: [{{daily: '09:00'}}]\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            table = pilot.app.screen.query_one(RoutineTable)
            await eventually(pilot, lambda: len(table.rows) == 3)
            await pilot.press("down")
            assert table.current["id"] == "c"
            workspace.ok("add", "a", "--daily", "08:00", "--", "true")
            await eventually(pilot, lambda: len(table.rows) == 4)
            assert table.current["id"] == "c"
            workspace.ok("rm", "b", "--yes")
            await eventually(pilot, lambda: len(table.rows) == 3)
            assert table.current["id"] == "c"
            workspace.ok("rm", "c", "--yes")
            await eventually(pilot, lambda: len(table.rows) == 2)
            assert table.current is not None

    play(go())


def test_an_empty_workspace_says_how_to_begin(local):
    async def go():
        async with opened(local) as pilot:
            await see(pilot, "There are no routines here")

    play(go())


def test_help_names_every_key_of_the_table(local):
    from routinectl.tui.ask import HELP

    told = " ".join(f"{key} {what}" for _, keys in HELP for key, what in keys).split()
    told += [word.strip(";,") for word in told]
    names = {"slash": "/", "question_mark": "?", "escape": "Esc"}
    missing = [binding.key for binding in MainPage.BINDINGS if names.get(binding.key, binding.key) not in told]
    assert missing == []


# -- what is done


def test_a_routine_is_made_in_the_form_after_its_faults_are_told(workspace, local):
    async def go():
        async with opened(local) as pilot:
            await pilot.press("n")
            await in_the_form(pilot)
            await see(pilot, "every day at 09:00")
            await pilot.press(*"Say hello")
            await fill(pilot, "#when", "every noon-ish")
            await see(pilot, "✗")
            await pilot.press("ctrl+s")
            await pilot.pause(0.3)
            assert isinstance(pilot.app.screen, FormPage)
            await fill(pilot, "#when", "weekdays at 7:45")
            await fill(pilot, "#action-text", "echo hello")
            await see(pilot, "at 07:45, Monday to Friday")
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))
            await see(pilot, "Say hello")

    play(go())
    text = (workspace.root / "routines/say-hello/ROUTINE.yaml").read_text()
    assert "command: echo hello" in text
    assert "45 7 * *" in text


NOT_SHOWN = {
    "a list of words": ("action: {command: [printf, '%s', 'two  words; touch PWNED $HOME']}", "action-text", "no shell reads"),
    "a function": ("action: {python: {entrypoint: 'm:f', args: {a:  1}}}", "action-text", "a Python function"),
    "an agent of its own": ("action: {agent: {task: Look}}", "action-text", "not a saved one"),
    "two triggers": ("triggers: [{daily: '09:00'},  {every: 2h}]   # both\naction: {command: 'true'}", "when", "2 triggers"),
    "an anchor": ("triggers:\n- every: 2h\n  anchor: '2026-01-01T00:00:00Z'\naction: {command: 'true'}", "when", "anchor"),
    "a text of two lines": ("description: |\n  one\n  two\naction: {command: 'true'}", "description", "more than one line"),
}  # fmt: skip


def test_an_edit_in_the_form_keeps_what_it_does_not_show(workspace, local):
    path = workspace.define(
        "kept",
        "# why it is there\nname: Kept\ntriggers: [{cron: '5 4 * * *'}]   # not later\ntimeout: 1m\ncooldown: 3m\naction: {command: [echo, 'a b']}\n",
    )

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Kept")
            await pilot.press("e")
            await in_the_form(pilot)
            await fill(pilot, "#description", "now with words")
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))

    play(go())
    assert path.read_text() == ("# why it is there\nname: Kept\ntriggers: [{cron: '5 4 * * *'}]   # not later\ntimeout: 1m\ncooldown: 3m\n"
                                "action: {command: [echo, 'a b']}\ndescription: now with words\n")  # fmt: skip


@pytest.mark.parametrize(("keys", "field", "why"), NOT_SHOWN.values(), ids=list(NOT_SHOWN))
def test_what_the_form_cannot_show_whole_is_read_only_and_stays(workspace, local, keys, field, why):
    text = f"# why\nname:  Kept   # its name\ntimeout: 1m\n{keys}\n# end\n"
    workspace.configure("models: {default: {provider: ollama, model: m, base_url: 'http://127.0.0.1:9'}}")
    path = workspace.define("kept", text)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "ept")
            await pilot.press("e")
            await in_the_form(pilot)
            page = pilot.app.screen
            shown = page.query_one(f"#{field}")
            assert shown.read_only if field == "action-text" else shown.disabled
            assert why in page._form[{"when": "triggers", "action-text": "action"}.get(field, field)]["why"]
            if field == "action-text":
                assert page.query_one("#kind").disabled
            await see(pilot, "stays as it is")
            await fill(pilot, "#name", "Renamed")
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))

    play(go())
    assert path.read_text() == text.replace("Kept ", "Renamed ")


def test_a_form_that_was_not_changed_writes_nothing(workspace, local):
    path = workspace.define("kept", "name: Kept\ntimeout:   1m\naction: {agent: {use: gone, task: 'x'}, payload: {a:  1}}\n")
    before = path.stat().st_mtime_ns

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "ept")
            await pilot.press("e")
            await in_the_form(pilot)
            assert pilot.app.screen.changes() == {}
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))

    play(go())
    assert path.stat().st_mtime_ns == before


def test_what_was_changed_in_the_yaml_stays_when_one_comes_back_to_the_form(workspace, local):
    path = workspace.define("both", "name: Both\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Both")
            await pilot.press("e")
            await in_the_form(pilot)
            await pilot.press("ctrl+t")
            await fill(pilot, "#text", "name: Both\ntags: [ a,  b ]   # mine\n" + COMMAND)
            await pilot.press("ctrl+t")
            await eventually(pilot, lambda: not pilot.app.screen.yaml and pilot.app.screen.ready)
            await fill(pilot, "#name", "Named")
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))

    play(go())
    assert path.read_text() == "name: Named\ntags: [ a,  b ]   # mine\n" + COMMAND


def test_a_definition_with_faults_is_mended_in_the_yaml(workspace, local):
    path = workspace.define("bad", "name: Bad\ntimeout: soon\naction: {command: echo x}\n")

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "✗ broken")
            await pilot.press("enter", "2")
            await see(pilot, "▲ timeout is 'soon'")
            await pilot.press("e")
            await in_the_form(pilot)
            await see(pilot, "timeout is 'soon'")
            await pilot.press("ctrl+t")
            await fill(pilot, "#text", "name: [\n")
            await see(pilot, "✗")
            await pilot.press("ctrl+t")
            await see(pilot, "The form cannot show")
            await fill(pilot, "#text", "name: Good\ntimeout: 5m\naction: {command: echo x}   # at last\n")
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: not isinstance(pilot.app.screen, FormPage))

    play(go())
    assert "# at last" in path.read_text()


def test_somebody_else_changed_it_meanwhile(workspace, local):
    path = workspace.define("shared", "name: Shared\ntriggers: [{daily: '09:00'}]\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Shared")
            await pilot.press("e")
            await in_the_form(pilot)
            path.write_text(path.read_text() + "description: theirs\n")
            await fill(pilot, "#name", "Mine")
            await pilot.press("ctrl+s")
            await see(pilot, "Somebody else changed it")

    play(go())
    assert "Mine" not in path.read_text()


def test_leaving_the_form_asks_only_when_something_would_be_lost(workspace, local):
    workspace.define("one", "name: One\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "One")
            await pilot.press("e")
            await in_the_form(pilot)
            await pilot.pause(0.5)
            await pilot.press("escape")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))
            await pilot.press("e")
            await in_the_form(pilot)
            await pilot.press("x")
            await pilot.pause(0.3)
            await pilot.press("escape")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, Ask))

    play(go())


def test_pause_and_resume(workspace, local):
    workspace.define("tea", "name: Tea\ntriggers: [{daily: '16:00'}]\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Tea")
            await pilot.press("p")
            await see(pilot, "Pause Tea?")
            await pilot.press("tab", "enter")
            await see(pilot, "‖ paused")
            await pilot.press("p")
            await see(pilot, "● active")

    play(go())
    paused = workspace.events("routine.paused", "tea")[0]["data"]
    assert paused["by"] == "ada"
    assert "until" in paused
    assert workspace.events("routine.resumed", "tea")


def test_run_now_without_a_serve_and_its_output_as_it_comes(workspace, local):
    workspace.define("hello", "name: Hello\ntimeout: 1m\naction: {command: 'echo one; sleep 4; printf \"tw\\033[31mo\\n\"'}\n")

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Hello")
            await pilot.press("r")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, RunPage))
            await see(pilot, "one")
            await see(pilot, "running")
            await see(pilot, "tw")
            await see(pilot, "succeeded")
            assert "\x1b" not in screen(pilot)
            await pilot.press("escape")
            await see(pilot, "▂")

    play(go())


def test_a_run_is_stopped_after_asking(workspace, local):
    workspace.define("long", "name: Long\ntimeout: 1m\nkill_grace: 1s\naction: {command: 'echo begun; sleep 50'}\n")

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Long")
            await pilot.press("r")
            await see(pilot, "begun")
            await pilot.press("c")
            await see(pilot, "Stop this run?")
            await pilot.press("shift+tab", "enter")
            await see(pilot, "cancelled")

    play(go())


def test_delete_asks_and_no_is_the_first_answer(workspace, local):
    workspace.define("gone", "name: Gone\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Gone")
            await pilot.press("d")
            await see(pilot, "Delete Gone?")
            await pilot.press("enter")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))
            assert (workspace.root / "routines/gone").exists()
            await pilot.press("d")
            await see(pilot, "Delete Gone?")
            await pilot.press("shift+tab", "enter")
            await see(pilot, "There are no routines here")

    play(go())
    assert not (workspace.root / "routines/gone").exists()


def test_enabling_and_disabling(workspace, local):
    path = workspace.define("off", "name: Off\nenabled: true   # for now\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "● active")
            await pilot.press("space")
            await see(pilot, "○ disabled")

    play(go())
    assert "enabled: false   # for now" in path.read_text()


def made(folder: Path, now) -> Path:
    demo.make(folder, now)
    return folder


def test_what_waits_is_answered_with_its_changes_before_ones_eyes(tmp_path):
    root = made(tmp_path / "homelab", clock.now())
    source = Local(Layout(root), "ada")

    async def go():
        async with opened(source, (120, 34)) as pilot:
            await see(pilot, "3 waiting")
            await pilot.press("w")
            await see(pilot, "a draft: it fires once a person activates it")
            await pilot.press("a")
            await see(pilot, "Activate Inbox triage?")
            await pilot.press("enter")
            await eventually(pilot, lambda: pilot.app.rows["inbox-triage"]["status"] == "active")
            await pilot.press("down")
            await see(pilot, "+It takes about 20 minutes")
            await pilot.press("a")
            await see(pilot, "Apply this proposal?")
            await pilot.press("enter")
            await eventually(pilot, lambda: not pilot.app.rows["repository-gardener"]["proposals"])
            await pilot.press("up")
            await pilot.press("x")
            await see(pilot, "Deny Deploy to production?")
            await pilot.press(*"not today", "enter")
            await see(pilot, "Nothing waits")

    play(go())
    assert "It takes about 20 minutes" in (root / "docs/restore.md").read_text()
    stop_keepers(root)


def test_agents_and_budgets(workspace, local):
    workspace.define("spends", "name: Spends\nbudget: {per_day: {wall: 1h, runs: 5}}\n" + COMMAND)
    for name, text in (
        ("careful", "---\ndescription: Reads first.\ntools: [files.read]\n---\nBe careful.\n"),
        ("broken", "no head at all\n"),
    ):
        path = workspace.root / "agents" / name / "AGENT.md"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    workspace.ok("run-now", "spends", "--wait")

    async def go():
        async with opened(local, (120, 40)) as pilot:
            await pilot.press("b")
            await see(pilot, "Reads first.")
            await see(pilot, "agents/broken/AGENT.md")
            await see(pilot, "1 of 5")
            await see(pilot, "of 1h")
            await pilot.press("escape")
            await see(pilot, "Spends")

    play(go())


def test_a_run_with_an_input_of_its_own(workspace, local):
    workspace.define("greets", "name: Greets\ntimeout: 1m\naction: {command: 'cat $ROUTINE_PAYLOAD'}\n")

    async def go():
        async with opened(local) as pilot:
            await pilot.press("R")
            await see(pilot, "Run Greets with input")
            await pilot.press(*"nonsense", "enter")
            await see(pilot, "That is no JSON")
            await pilot.press("R")
            await see(pilot, "Run Greets with input")
            pilot.app.screen.query_one("#ask-note").value = '{"to": "the world"}'
            await pilot.press("enter")
            await see(pilot, '"to": "the world"')

    play(go())
    assert len(workspace.events("run.requested", "greets")) == 1


def test_what_waits_for_review_is_run_or_dismissed(workspace, local):
    for name in ("one", "two"):
        workspace.define(name, f"name: {name}\ntriggers: [{{daily: '09:00'}}]\n" + COMMAND)
    workspace.ok("list")
    for name in ("one", "two"):
        for day in (1, 2):
            workspace.record("slot.held", name, slot=f"2026-03-0{day}T09:00:00Z", reason="review")

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "2 waiting")
            await see(pilot, "2 to review")
            await pilot.press("w")
            await see(pilot, "2026-03-02T09:00:00Z")
            await pilot.press("x")
            await see(pilot, "Dismiss what waits of one?")
            await pilot.press("shift+tab", "enter")
            await eventually(pilot, lambda: not pilot.app.rows["one"]["reviews"])
            await eventually(pilot, lambda: pilot.app.screen.item and pilot.app.screen.item["id"] == "two")
            await pilot.press("a")
            await see(pilot, "Run two now?")
            await pilot.press("enter")
            await see(pilot, "Nothing waits")

    play(go())
    assert [event["data"]["reason"] for event in workspace.events("slot.skipped", "one")] == ["dismissed"] * 2
    assert [event["data"]["slot"] for event in workspace.events("slot.released", "two")] == ["2026-03-02T09:00:00Z"]


# -- over HTTP


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    workspace = Workspace(root, clean_environment(tmp_path_factory.mktemp("home")))
    (root / "routinectl.yaml").write_text("timezone: UTC\nowner: alice\nlimits: {min_interval: 1s}\n")
    workspace.define("hello", "name: Hello\ntriggers: [{daily: '09:00'}]\n" + COMMAND)
    with workspace.serving("--http", "127.0.0.1:0") as serving:
        text = serving.wait_for("HTTP on http://127.0.0.1:")
        url = "http://127.0.0.1:" + text.partition("HTTP on http://127.0.0.1:")[2].split()[0]
        yield workspace, url, serving
    stop_keepers(root)


def token(workspace, role):
    return workspace.ok("token", "create", "--role", role, "--owner", "alice").out.strip()


def test_over_http_it_is_the_same_app(site):
    workspace, url, _ = site

    async def go():
        async with opened(Remote(url, token(workspace, "user"))) as pilot:
            await see(pilot, "● active")
            await pilot.press("r")
            await see(pilot, "succeeded")
            await see(pilot, "done")
            await pilot.press("escape", "e")
            await in_the_form(pilot)
            await fill(pilot, "#when", "every day at 10:15")
            await see(pilot, "every day at 10:15")
            await pilot.press("ctrl+s")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, MainPage))
            await see(pilot, "every day at 10:15")
            await pilot.press("enter", "3")
            await see(pilot, "succeeded")
            await pilot.press("escape", "t")
            await see(pilot, "starts in one minute")

    play(go())


def test_a_token_that_only_reads_is_told_so(site):
    workspace, url, _ = site

    async def go():
        async with opened(Remote(url, token(workspace, "viewer"))) as pilot:
            await see(pilot, "Hello")
            await pilot.press("space")
            await see(pilot, "may not do that")

    play(go())


def test_a_server_that_goes_away_makes_it_stale_and_it_comes_back(tmp_path):
    workspace = Workspace(tmp_path / "w", clean_environment(tmp_path))
    workspace.root.mkdir()
    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\nowner: alice\n")
    workspace.define("hello", "name: Hello\n" + COMMAND)

    async def go():
        with workspace.serving("--http", "127.0.0.1:0") as serving:
            text = serving.wait_for("HTTP on http://127.0.0.1:")
            address = text.partition("HTTP on http://")[2].split()[0]
            await asyncio.to_thread(until, lambda: _answers(f"http://{address}"))
            secret = token(workspace, "viewer")
            app = Tui(Remote(f"http://{address}", secret))
            async with app.run_test(size=(110, 24)) as pilot:
                await see(pilot, "Hello")
                serving.kill()
                await see(pilot, "Stale since")
                with workspace.serving("--http", address) as again:
                    again.wait_for("HTTP on")
                    await eventually(pilot, lambda: "Stale since" not in screen(pilot))

    play(go())


def _answers(url):
    try:
        Remote(url, "none").request("GET", "/me")
    except Fault as fault:
        return fault.status == 401
    return True


def test_who_is_no_server_of_ours(site):
    _, url, _ = site
    with pytest.raises(Fault, match="unknown, revoked"):
        Remote(url, "not-a-token").request("GET", "/me")
    with pytest.raises(Fault, match="does not answer"):
        Remote("http://127.0.0.1:9", "x").request("GET", "/me")


# -- in a terminal


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (["tui"], {}, "this needs a terminal"),
    ],
)
def test_where_it_cannot_be(workspace, words, env, said):
    found = workspace.run(*words, env=env)
    assert found.code == 2
    assert said in found.err
    assert "Hint:" in found.err


def terminal(workspace, command, size=(100, 28)):
    """Start a command in a real terminal (tmux); return functions that press keys and tell what is seen."""
    socket = f"{workspace.root}/tmux.sock"
    words = ["tmux", "-S", socket, "-f", "/dev/null"]
    env = {**workspace.env, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    env.pop("NO_COLOR")
    shell = f"cd {workspace.root} && {command}; echo left with $?; sleep 60"
    subprocess.run([*words, "-u", "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), shell], env=env, check=True)
    return (lambda *keys: subprocess.run([*words, "send-keys", *keys], check=True),
            lambda: subprocess.run([*words, "capture-pane", "-p"], capture_output=True, text=True, check=False).stdout,
            lambda: subprocess.run([*words, "kill-server"], check=False))  # fmt: skip


@needs("tmux")
def test_in_a_real_terminal_with_a_real_editor(workspace):
    path = workspace.define("hello", "name: Hello\ntriggers: [{daily: '09:00'}]\n" + COMMAND)
    press, seen, end = terminal(workspace, f"EDITOR=\"sed -i 's/09:00/11:30/'\" {sys.executable} -m routinectl tui")
    try:
        until(lambda: "● active" in seen())
        press("e")
        until(lambda: "What it means" in seen() and "every day at 09:00" in seen())
        press("C-e")
        until(lambda: "every day at 11:30" in seen())
        press("C-s")
        until(lambda: "/ search" in seen())
        until(lambda: "every day at 11:30" in seen())
        press("?")
        until(lambda: "In the table" in seen())
        press("Escape")
        until(lambda: "In the table" not in seen())
        press("q")
        until(lambda: "left with 0" in seen())
        assert "/ search" not in seen()  # the terminal is as it was
    finally:
        end()
        stop_keepers(workspace.root)
    assert "11:30" in path.read_text()


# -- pictures


def pictures():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import pictures as found
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return found


@pytest.fixture(scope="module")
def homelab(tmp_path_factory):
    found = pictures()
    patch = pytest.MonkeyPatch()
    patch.setattr(clock, "now", lambda: found.NOW)
    patch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield found, made(tmp_path_factory.mktemp("pictures") / "homelab", found.NOW)
    patch.undo()
    time.tzset()


@pytest.mark.parametrize("name", sorted(pictures().TERMINAL))
def test_the_pictures_of_the_documents_are_what_it_looks_like(homelab, name):
    """All of the picture with the textual it was taken with; its words with another."""
    found, folder = homelab
    path = IMAGES / f"{name}.svg"
    picture = asyncio.run(asyncio.wait_for(found.terminal(folder, name), PATIENCE * 2))
    wanted = path.read_text()
    if (IMAGES / "textual").read_text().strip() != textual.__version__:
        picture, wanted = _words(picture), _words(wanted)
    assert picture == wanted, f"docs/images/{name}.svg is not what it looks like now; make pictures"


def _words(svg: str) -> str:
    return "\n".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))


def test_the_mouse_chooses_and_opens(workspace, local):
    for name in ("a", "b", "c"):
        workspace.define(name, f"name: Routine {name}\ntriggers: [{{daily: '09:00'}}]\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Routine c")
            await pilot.click(RoutineTable, offset=(20, 1))
            assert pilot.app.screen.query_one(RoutineTable).current["id"] == "b"
            await pilot.click(RoutineTable, offset=(20, 2), times=2)
            await see(pilot, "routines/c/ROUTINE.yaml")

    play(go())


def test_the_palette_has_every_command(workspace, local):
    workspace.define("a", "name: Routine a\ntriggers: [{daily: '09:00'}]\n" + COMMAND)

    async def go():
        async with opened(local) as pilot:
            await see(pilot, "Routine a")
            await pilot.press("ctrl+p")
            await pilot.pause(0.3)
            await pilot.press(*"enable or dis")
            await pilot.pause(0.5)
            await pilot.press("enter")
            await see(pilot, "○ disabled")

    play(go())
