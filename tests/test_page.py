"""The web page, in Debian's chromium: what a person does there, what he is shown, and that others cannot reach in."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from pathlib import Path

import browser as chromium
import demo
import httpx
import pytest
from conftest import Workspace, clean_environment, stop_keepers, until

from routinectl import clock
from routinectl.api import page as pages
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.files.layout import Layout
from routinectl.operations.session import Session

CHROMIUM = chromium.find()
needs_a_browser = pytest.mark.skipif(
    not CHROMIUM or not importlib.util.find_spec("playwright"), reason="need chromium (apt-get install chromium)"
)
MOST_BYTES = 150_000
PATIENCE = 20_000  # milliseconds


class Site:
    """A served workspace."""

    def __init__(self, workspace, url, serving):
        self.workspace, self.url, self.serving = workspace, url, serving

    def token(self, role="admin", owner="ada"):
        return self.workspace.ok("token", "create", "--role", role, "--owner", owner).out.strip()


def serve(workspace, address="127.0.0.1:0"):
    return workspace.serving("--http", address)


def address_of(serving):
    return serving.wait_for("HTTP on http://127.0.0.1:").partition("HTTP on http://")[2].split()[0]


def new_workspace(root, home):
    root.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(root, clean_environment(home))
    (root / "routinectl.yaml").write_text("timezone: Europe/Berlin\nowner: ada\nlimits: {min_interval: 1s}\n")
    return workspace


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    workspace = new_workspace(tmp_path_factory.mktemp("site") / "homelab", tmp_path_factory.mktemp("home"))
    with serve(workspace) as serving:
        url = f"http://{address_of(serving)}"
        until(lambda: _answers(url))
        yield Site(workspace, url, serving)
    stop_keepers(workspace.root)


def _answers(url):
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=chromium.FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(browser, site):
    """Open a window that is signed in; at the end no script has failed and nothing was blocked."""
    contexts, told = [], []

    def open_window(role="admin", path="", where=site, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        window = context.new_page()
        window.on("pageerror", lambda error: told.append(str(error)))
        window.on("console", lambda message: told.append(message.text) if "Content Security Policy" in message.text else None)
        window.goto(f"{where.url}/#token={where.token(role)}")
        window.get_by_role("heading", name="Routines", exact=True).wait_for()
        if path:
            go(window, path)
        return window

    yield open_window
    for context in contexts:
        context.close()
    assert told == []


def expect(where):
    """Look again until it is so: a page draws a moment after what was done to it."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    return expect(where)


def go(window, path):
    window.evaluate("path => { location.hash = path; }", path)


def define(site, name, text):
    path = site.workspace.define(name, text)
    secret = site.token()
    until(lambda: httpx.get(f"{site.url}/routines/{name}", headers={"Authorization": f"Bearer {secret}"}).status_code == 200)
    return path


HELLO = "name: %s\ntriggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: echo done}\n"


# -- without a browser


def test_the_page_is_small_whole_and_asks_nobody_else():
    found = pages.files()
    assert sum(len(file.data) for file in found.values()) < MOST_BYTES
    for name, file in found.items():
        text = file.data.decode()
        assert not re.findall(r"https?://(?!www\.w3\.org)", text), name
        for other in re.findall(r'(?:from "\./|/page/\w+/)([\w.-]+)"', text):
            assert other in found, f"{name} asks for {other}"
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.cssText|javascript:")
    assert [name for name, file in found.items() if unsafe.search(file.data.decode())] == []


def test_every_answer_of_the_page_is_closed_to_others(site):
    here = f"/page/{pages.version()}"
    for path in ("/", f"{here}/main.js", f"{here}/page.css", f"{here}/icon.svg"):
        answer = httpx.get(site.url + path)
        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
        assert httpx.get(site.url + path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert httpx.get(f"{site.url}{here}/nothing.js").status_code == 404
    assert httpx.get(f"{site.url}{here}/..%2f..%2fapp.py").status_code == 404
    assert httpx.get(f"{site.url}/", headers={"Host": "evil.example"}).status_code == 403


def test_a_browser_asks_once_for_each_version_of_a_file(site):
    def kept(path):
        return httpx.get(site.url + path).headers["cache-control"]

    assert "immutable" in kept(f"/page/{pages.version()}/main.js")
    assert kept("/page/0123456789abcdef/main.js") == "no-cache", "a window that is older than the program gets what there is"
    assert kept("/") == "no-cache"
    assert f"/page/{pages.version()}/main.js" in httpx.get(site.url).text


def test_a_page_of_another_site_cannot_write_in_our_name(site):
    """There is no cookie to ride on; and what a browser says of itself is checked besides."""
    secret = site.token()
    answer = httpx.post(f"{site.url}/routines/x/run_now", headers={"Authorization": f"Bearer {secret}", "Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert httpx.post(f"{site.url}/routines/x/run_now", headers={"Origin": site.url}).status_code == 401


# -- who is there


@needs_a_browser
def test_signing_in_and_out(browser, site):
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    window = context.new_page()
    window.goto(site.url)
    window.get_by_label("Token").fill("nonsense")
    window.get_by_role("button", name="Sign in").click()
    window.get_by_role("alert").get_by_text("not known").wait_for()
    window.get_by_label("Token").fill(site.token("user"))
    window.get_by_role("button", name="Sign in").click()
    window.get_by_role("heading", name="Routines", exact=True).wait_for()
    assert window.url.rstrip("/#") == site.url
    assert context.cookies() == []
    window.reload()  # this window is still signed in, another is not
    window.get_by_role("heading", name="Routines", exact=True).wait_for()
    other = context.new_page()
    other.goto(site.url)
    other.get_by_label("Token").wait_for()
    window.get_by_role("button", name="Sign out").click()
    window.get_by_label("Token").wait_for()
    context.close()


LINKS = [
    ("a new window", "", "token={good}", "Routines", "/"), ("a new window, to a place", "", "token={good}&to=/health", "Health", "/#/health"),
    ("an open window", "#/timeline", "token={good}", "Routines", "/"), ("an open window, to a place", "#/timeline", "token={good}&to=/routines/linked", "Linked", "/#/routines/linked"),
    ("the sign-in page", "out", "token={good}&to=/health", "Health", "/#/health"), ("no place of this page", "", "token={good}&to=https://evil.example/", "Routines", "/"),
    ("a wrong token", "", "token=rtn_wrong", "routinectl", "/"), ("a wrong token in an open window", "#/health", "token=rtn_wrong%", "routinectl", "/"),
    ("a wrong token, to a place", "out", "token=rtn_wrong&to=/health", "routinectl", "/#/health"),
]  # fmt: skip


@needs_a_browser
@pytest.mark.parametrize(("before", "link", "heading", "address"), [row[1:] for row in LINKS], ids=[row[0] for row in LINKS])
def test_a_link_signs_in_and_leaves_no_trace(site, browser, before, link, heading, address):
    define(site, "linked", HELLO % "Linked")
    good = site.token()
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    window = context.new_page()
    if before:
        window.goto(site.url if before == "out" else f"{site.url}/#token={good}")
        window.get_by_role("heading", level=1).wait_for()
    if before.startswith("#"):
        go(window, before)
        window.get_by_role("heading", name=before[2:].title(), exact=True).wait_for()
    window.goto(f"{site.url}/#{link.format(good=good)}")

    window.wait_for_url(site.url + address)  # the heading may be the one of before the link was opened
    window.get_by_role("heading", name=heading, exact=True).wait_for()
    expect(window.get_by_role("alert")).to_have_count(int("wrong" in link))
    history = context.new_cdp_session(window).send("Page.getNavigationHistory")
    assert not [entry["url"] for entry in history["entries"] if "token" in entry["url"]]
    context.close()


@needs_a_browser
def test_a_token_that_is_revoked_meanwhile_leads_to_the_door(site, visit):
    window = visit()
    for row in site.workspace.ok("token", "list", "--json").data:
        site.workspace.ok("token", "revoke", row["id"])
    go(window, "#/health")
    window.get_by_text("revoked, or is over").wait_for()


@needs_a_browser
@pytest.mark.parametrize("place", ["#/", "run"])
def test_who_only_looks_is_led_to_the_door_when_the_token_is_over(site, visit, place):
    if place == "run":
        define(site, "chatty", "name: Chatty\ntimeout: 1m\nkill_grace: 1s\naction: {command: 'while :; do echo more; sleep 0.2; done'}\n")
        until(lambda: "chatty" in site.workspace.ok("list").out)
        site.workspace.ok("run-now", "chatty")
        place = f"#/routines/chatty/runs/{until(lambda: site.workspace.events('run.started', 'chatty'))[-1]['data']['run']}"
    window = visit()
    go(window, place)
    asked = []
    for row in site.workspace.ok("token", "list", "--json").data:
        site.workspace.ok("token", "revoke", row["id"])
    window.get_by_text("revoked, or is over").wait_for()
    window.on("request", lambda request: asked.append(request.url))
    window.wait_for_timeout(1500)
    assert asked == [], "nothing is tried for ever"
    if site.workspace.events("run.started", "chatty"):
        site.workspace.run("cancel", "chatty")


@needs_a_browser
def test_a_viewer_is_shown_no_way_to_write(site, visit):
    define(site, "looked-at", HELLO % "Looked at")
    window = visit("viewer")
    window.get_by_role("link", name="Looked at", exact=True).wait_for()
    for name in ("New routine", "Run Looked at", "Edit Looked at", "Delete Looked at"):
        expect(window.get_by_role("button", name=name).or_(window.get_by_role("link", name=name))).to_have_count(0)
    expect(window.get_by_role("switch").first).to_be_disabled()
    go(window, "#/routines/looked-at")
    window.get_by_role("heading", name="Looked at").wait_for()
    expect(window.get_by_role("button", name="Run now")).to_have_count(0)


# -- what is done


@needs_a_browser
def test_a_routine_is_made_after_its_fault_is_shown(site, visit):
    window = visit(path="#/new")
    window.get_by_label("Name").fill("Morning tea")
    window.get_by_label("When", exact=True).select_option(label="Cron expression")
    window.get_by_label("Cron expression", exact=True).fill("99 * * * *")
    window.get_by_role("textbox", name="Command").fill("echo tea")
    window.get_by_text("99").first.wait_for()
    window.get_by_role("button", name="Create").click()
    assert not (site.workspace.root / "routines/morning-tea").exists()
    window.get_by_label("Cron expression", exact=True).fill("30 7 * * 1-5")
    window.get_by_text("at 07:30, Monday to Friday").wait_for()
    window.get_by_role("button", name="Create").click()
    window.get_by_role("heading", name="Morning tea").wait_for()
    assert 'cron: "30 7 * * 1-5"' in (site.workspace.root / "routines/morning-tea/ROUTINE.yaml").read_text()


BUILT = [
    ("Every day", [("Time", "06:15")], "every day at 06:15"), ("Monday to Friday", [("Time", "06:15")], "at 06:15, Monday to Friday"),
    ("Every month", [("Day of the month", "3"), ("Time", "06:15")], "on the 3rd of the month"), ("Every so often", [("How often", "45m")], "every 45 minutes"),
    ("In words", [("The schedule in words", "every tuesday at noon")], "on Tuesday"), ("By hand only", [], "by hand only"),
]  # fmt: skip


@needs_a_browser
def test_the_schedule_builder_says_each_kind_in_words(visit):
    window = visit(path="#/new")
    window.get_by_label("Name").fill("Built")
    preview = window.get_by_role("region", name="Preview")
    for kind, fields, words in BUILT:
        window.get_by_label("When", exact=True).select_option(label=kind)
        for label, value in fields:
            window.get_by_label(label, exact=True).fill(value)
        preview.get_by_text(words).first.wait_for()
    window.get_by_label("When", exact=True).select_option(label="On chosen days")
    window.get_by_role("button", name="Mon", exact=True).click()
    window.get_by_role("button", name="Sat", exact=True).click()
    preview.get_by_text("Monday and Saturday").wait_for()


@needs_a_browser
def test_the_form_keeps_what_it_does_not_show_and_the_yaml_shows_faults_in_place(site, visit):
    path = define(
        site,
        "kept",
        "# why\nname: Kept\ntriggers: [{daily: '09:00'}]   # not later\ntimeout: 1m\ncooldown: 3m\naction: {command: [echo, 'a b']}\n",
    )
    window = visit(path="#/routines/kept/edit")
    window.get_by_label("Description").fill("now with words")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("heading", name="Kept").wait_for()
    assert (
        path.read_text()
        == "# why\nname: Kept\ntriggers: [{daily: '09:00'}]   # not later\ntimeout: 1m\ncooldown: 3m\naction: {command: [echo, 'a b']}\ndescription: now with words\n"
    )
    go(window, "#/routines/kept/edit")
    window.get_by_role("button", name="YAML", exact=True).click()
    editor = window.get_by_label("ROUTINE.yaml")
    expect(editor).to_have_value(path.read_text())
    editor.fill(path.read_text().replace("timeout: 1m", "timeout: soon"))
    window.get_by_text("Line 4:").wait_for()
    window.get_by_role("button", name="Save").click()
    window.get_by_text("Line 4:").wait_for()
    assert "soon" not in path.read_text()
    editor.fill(path.read_text().replace("timeout: 1m", "timeout: 2m"))
    window.get_by_role("button", name="Save").click()
    window.get_by_role("heading", name="Kept").wait_for()
    assert "timeout: 2m\ncooldown" in path.read_text()


NOT_SHOWN = {
    "a list of words": ("action: {command: [printf, '%s', 'two  words; touch PWNED $HOME']}", "What it does", "printf %s 'two  words; touch PWNED $HOME'"),
    "a function": ("action: {python: {entrypoint: 'm:f', args: {a:  1}}}", "What it does", "m:f"),
    "two triggers": ("triggers: [{daily: '09:00'},  {every: 2h}]   # both\naction: {command: 'true'}", "When", '[{"daily": "09:00"}, {"every": "2h"}]'),
    "a text of two lines": ("description: |\n  one\n  two\naction: {command: 'true'}", "Description", None),
}  # fmt: skip


@needs_a_browser
@pytest.mark.parametrize(("keys", "label", "shown"), NOT_SHOWN.values(), ids=list(NOT_SHOWN))
def test_what_the_form_cannot_show_whole_is_read_only_and_stays(site, visit, keys, label, shown):
    text = f"# why\nname:  Whole   # its name\ntimeout: 1m\n{keys}\n# end\n"
    path = define(site, "whole", text)
    window = visit(path="#/routines/whole/edit")
    field = window.get_by_label(label, exact=True)
    expect(field).to_have_js_property("readOnly", value=True)
    if shown is not None:
        expect(field).to_have_value(shown)
    window.get_by_text("It stays as it is").wait_for()
    window.get_by_label("Name").fill("Renamed")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("heading", name="Renamed").wait_for()
    assert path.read_text() == text.replace("Whole ", "Renamed ")

    go(window, "#/routines/whole/edit")
    window.get_by_role("button", name="Edit as YAML").click()
    expect(window.get_by_label("ROUTINE.yaml")).to_have_value(path.read_text())


@needs_a_browser
def test_the_form_writes_what_was_changed_and_nothing_else(site, visit):
    text = "# why\nname:  Fields\ntimeout: 1m\ntags: [ a,  b ]   # odd\naction:\n    command: 'echo one'   # what\n    env: {A:  '1'}\n    payload: {day:  monday}\n"
    path = define(site, "fields", text)
    before = path.stat().st_mtime_ns
    window = visit(path="#/routines/fields/edit")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("heading", name="Fields").wait_for()
    assert path.stat().st_mtime_ns == before, "nothing was changed"

    go(window, "#/routines/fields/edit")
    expect(window.get_by_label("What it does")).to_be_disabled()  # another kind would lose its env
    window.get_by_role("textbox", name="Command").fill("echo two; echo 'three'")
    window.get_by_label("When", exact=True).select_option(label="Every day")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("heading", name="Fields").wait_for()
    assert path.read_text() == text.replace("'echo one'", "echo two; echo 'three'") + 'triggers:\n  - daily: "09:00"\n'


@needs_a_browser
def test_what_was_changed_in_the_yaml_stays_when_one_comes_back_to_the_form(site, visit):
    path = define(site, "both-ways", HELLO % "Both ways")
    window = visit(path="#/routines/both-ways/edit")
    window.get_by_role("button", name="YAML", exact=True).click()
    window.get_by_label("ROUTINE.yaml").fill(path.read_text() + "tags: [ a,  b ]   # mine\n")
    window.get_by_role("button", name="Form").click()
    window.get_by_label("Name").fill("Both of them")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("heading", name="Both of them").wait_for()
    assert path.read_text() == HELLO % "Both of them" + "tags: [ a,  b ]   # mine\n"


@needs_a_browser
def test_somebody_else_changed_it_meanwhile(site, visit):
    path = define(site, "shared", HELLO % "Shared")
    window = visit(path="#/routines/shared/edit")
    window.get_by_label("Description").fill("mine")
    path.write_text(path.read_text() + "description: theirs\n")
    window.get_by_role("button", name="Save").click()
    window.get_by_text("Somebody else changed it").wait_for()
    assert "theirs" in path.read_text()


@needs_a_browser
def test_run_now_and_the_log_as_it_comes(site, visit):
    define(site, "talks", "name: Talks\ntimeout: 1m\naction: {command: 'echo one; sleep 4; echo \"<b>two</b>\"'}\n")
    window = visit(path="#/routines/talks")
    window.get_by_role("button", name="Run now").click()
    log = window.get_by_label("Output of the run")
    log.get_by_text("one").wait_for()
    window.get_by_text("running", exact=True).wait_for()
    log.get_by_text("<b>two</b>").wait_for()
    window.get_by_text("succeeded", exact=True).wait_for()
    go(window, "#/routines/talks")
    window.get_by_role("region", name="Runs and verdicts").get_by_text("succeeded").wait_for()


@needs_a_browser
def test_a_run_with_an_input_of_its_own(site, visit):
    define(site, "greets", "name: Greets\naction: {command: 'cat $ROUTINE_PAYLOAD'}\n")
    window = visit(path="#/routines/greets")
    window.get_by_role("button", name="Run with input").click()
    window.get_by_role("dialog").get_by_label("JSON").fill('{"to": ')
    window.get_by_role("dialog").get_by_role("button", name="Run it").click()
    window.get_by_text("That is no JSON").wait_for()
    assert not site.workspace.events("run.requested", "greets")
    window.get_by_role("button", name="Run with input").click()
    window.get_by_role("dialog").get_by_label("JSON").fill('{"to": "the world"}')
    window.get_by_role("dialog").get_by_role("button", name="Run it").click()
    window.get_by_label("Output of the run").get_by_text('"to": "the world"').wait_for()


@needs_a_browser
def test_a_run_is_stopped(site, visit):
    define(site, "long", "name: Long\ntimeout: 1m\nkill_grace: 1s\naction: {command: 'echo begun; sleep 50'}\n")
    window = visit(path="#/routines/long")
    window.get_by_role("button", name="Run now").click()
    window.get_by_label("Output of the run").get_by_text("begun").wait_for()
    window.get_by_role("button", name="Stop it").click()
    window.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    window.get_by_text("cancelled", exact=True).wait_for()


@needs_a_browser
def test_pause_resume_toggle_and_delete(site, visit):
    path = define(site, "brief", HELLO % "Brief")
    window = visit(path="#/routines/brief")
    window.get_by_role("button", name="Pause").click()
    window.get_by_role("dialog").get_by_label("For how long").select_option(label="A day")
    window.get_by_role("dialog").get_by_role("button", name="Pause").click()
    window.get_by_role("button", name="Resume").click()
    window.get_by_role("button", name="Pause").wait_for()
    window.get_by_role("button", name="Disable").click()
    window.get_by_role("button", name="Enable").wait_for()
    assert "enabled: false" in path.read_text()
    window.get_by_role("button", name="Delete").click()
    window.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert path.exists()
    window.get_by_role("button", name="Delete").click()
    window.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    window.get_by_role("heading", name="Routines", exact=True).wait_for()
    until(lambda: not path.exists())


@needs_a_browser
def test_two_windows_see_what_the_other_does(site, visit):
    define(site, "seen", HELLO % "Seen by both")
    one, two = visit(), visit("user")
    two.get_by_role("switch", name="Seen by both is enabled").wait_for()
    one.get_by_role("switch", name="Seen by both is enabled").click()
    two.get_by_role("switch", name="Seen by both is disabled").wait_for()
    site.workspace.ok("add", "by-hand", "--daily", "09:00", "--", "true")
    for window in (one, two):
        window.get_by_role("link", name="by-hand", exact=True).wait_for()
    site.workspace.ok("rm", "by-hand", "--yes")
    for window in (one, two):
        window.get_by_role("link", name="by-hand", exact=True).wait_for(state="detached")


@needs_a_browser
def test_names_that_would_be_markup_are_text(site, visit):
    define(
        site,
        "hostile",
        'name: "<img src=x onerror=alert(1)>"\ndescription: "<script>alert(2)</script>"\ntimeout: 1m\naction: {command: "true"}\n',
    )
    window = visit()
    window.on("dialog", lambda dialog: pytest.fail("a script ran"))
    window.get_by_role("link", name="<img src=x onerror=alert(1)>", exact=True).click()
    window.get_by_role("heading", name="<img src=x onerror=alert(1)>").wait_for()
    expect(window.locator("main img, main script")).to_have_count(0)


@needs_a_browser
def test_search_filter_and_the_empty_answer(site, visit):
    define(site, "needle", HELLO % "A needle")
    define(site, "beside", HELLO % "Beside it")
    window = visit()
    window.get_by_label("Search routines").fill("needle")
    window.get_by_role("status").get_by_text("1 of").wait_for()
    window.get_by_label("Status").select_option(label="Paused")
    window.get_by_role("heading", name="Nothing fits").wait_for()
    window.get_by_label("Status").select_option(label="All")
    window.get_by_role("button", name="Table").click()
    window.get_by_role("cell", name="every day at 09:00").wait_for()
    window.get_by_role("button", name="Cards").click()


@needs_a_browser
@pytest.mark.parametrize("address", ["#/routines/nothing", "#/nowhere", "#/routines/nothing/runs/x"])
def test_an_address_of_nothing_says_so(visit, address):
    window = visit(path=address)
    window.get_by_role("heading", name="There is no such").wait_for()


@needs_a_browser
def test_the_keyboard_reaches_everything(site, visit):
    define(site, "keys", HELLO % "Keys")
    define(site, "beside", HELLO % "Beside it")
    window = visit()
    window.reload()
    window.get_by_role("heading", name="Routines", exact=True).wait_for()
    window.keyboard.press("Tab")
    expect(window.locator(":focus")).to_have_text("Skip to the content")
    window.get_by_label("Search routines").focus()
    window.keyboard.type("Keys")
    window.get_by_role("status").get_by_text("1 of").wait_for()
    window.get_by_role("switch").focus()
    window.keyboard.press("Space")
    window.get_by_role("switch", name="Keys is disabled").wait_for()
    expect(window.locator(":focus")).to_have_role("switch")  # the focus stays where it was
    window.keyboard.press("Tab")
    window.keyboard.press("Tab")
    window.keyboard.press("Tab")
    window.keyboard.press("Enter")
    window.get_by_role("dialog").wait_for()
    window.keyboard.press("Escape")
    window.get_by_role("dialog").wait_for(state="detached")
    expect(window.locator(":focus")).to_have_text("Delete")


# -- with a past: what waits, the timeline, and how it looks to everybody


@pytest.fixture(scope="module")
def homelab(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "homelab"
    demo.make(root, clock.now())
    workspace = Workspace(root, clean_environment(tmp_path_factory.mktemp("home")))
    with serve(workspace) as serving:
        url = f"http://{address_of(serving)}"
        until(lambda: _answers(url))
        yield Site(workspace, url, serving)
    stop_keepers(root)


VIEWS = [
    "#/",
    "#/new",
    "#/routines/disk-space",
    "#/routines/web-watch/edit",
    "#/routines/quarterly-audit",
    "#/timeline",
    "#/approvals",
    "#/agents",
    "#/budgets",
    "#/health",
]


@needs_a_browser
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_everybody_can_use_every_view(homelab, visit, colours):
    """The rules of WCAG 2.1 AA that a program can check."""
    axe = next(Path(importlib.util.find_spec("axe_core_python").origin).parent.glob("axe.min.js")).read_text()
    window = visit(where=homelab, color_scheme=colours, bypass_csp=True)
    found = []
    for view in VIEWS:
        go(window, view)
        window.wait_for_timeout(400)
        window.locator("main h1").first.wait_for()
        window.evaluate(axe)
        result = window.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
        found += [f"{view}: {item['id']}: {item['help']}: {item['nodes'][0]['html'][:150]}" for item in result["violations"]]
    assert found == []


@needs_a_browser
@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2200])
def test_nothing_is_cut_off_at_any_width(homelab, visit, width):
    window = visit(where=homelab)
    window.set_viewport_size({"width": width, "height": 800})
    for view in VIEWS:
        go(window, view)
        window.wait_for_timeout(250)
        assert window.evaluate("document.documentElement.scrollWidth") <= width, view


@needs_a_browser
def test_the_timeline_has_what_was_and_what_will_be(homelab, visit):
    window = visit(where=homelab, path="#/timeline")
    lane = window.get_by_role("img", name=re.compile(r"Disk space: \d+ succeeded, \d+ failed, \d+ planned|Disk space: .*failed.*planned"))
    lane.wait_for()
    for zoom in ("6 hours", "7 days", "90 days"):
        window.get_by_role("button", name=zoom).click()
        window.get_by_role("img", name=re.compile("Disk space: .*planned")).wait_for()


STATES = {
    "ends": ("action: {command: [echo, hi]}", "succeeded"),
    "fails": ("action: {command: 'echo no; exit 3'}", "failed"),
    "retries": ("retry: {attempts: 3, delay: 1h}\naction: {command: 'exit 3'}", "run.retrying"),
    "runs": ("action: {command: [sleep, '50']}", "run.started"),
    "lacks": ("action: {command: [./no-such-program]}", "not_started"),
    "late": ("kill_grace: 1s\naction: {command: [sleep, '50']}", "timed_out"),
    "held": ("quiet_hours: {start: '00:00', end: '23:59'}\naction: {command: [echo, hi]}", "run.requested"),
    "asks": ("approval: every_run\naction: {command: [echo, hi]}", "approval.requested"),
    "skips": ("concurrency: {policy: forbid}\naction: {command: [sleep, '50']}", "skipped"),
    "listens": ("triggers: [{message: {channel: alerts}}, {webhook: {}}]\ncooldown: 1h\naction: {command: [echo, hi]}", "succeeded"),
}
ODD = re.compile(r"\bnull\b|\bundefined\b|\bNaN\b|\[object|Invalid Date|Infinity")
SEEN = """[document.title, document.body.innerText, ...[...document.querySelectorAll('*')].flatMap((node) => [
    ...[...node.attributes].map((item) => item.value), ...("value" in node ? [String(node.value)] : [])])].join("\\n")"""


def brought_about(workspace):
    """Bring runs into every state there is, under a serve."""
    for name, (keys, _) in STATES.items():
        workspace.define(name, f"name: It {name}\ntimeout: {'1s' if name == 'late' else '1m'}\n{keys}\n")
    until(lambda: workspace.ok("list").out.count("\n") > len(STATES))
    for name in (*STATES, "skips"):
        workspace.run("run-now", name)
    for name, (_, wanted) in STATES.items():
        until(functools.partial(has_come, workspace, name, wanted))


def has_come(workspace, name, wanted):
    events = workspace.events(subject=name)
    return any(wanted in (event["type"], event["data"].get("outcome"), event["type"].rpartition(".")[2]) for event in events)


@needs_a_browser
def test_what_is_not_there_is_never_shown_as_a_word(tmp_path_factory, visit):
    root = tmp_path_factory.mktemp("states") / "homelab"
    demo.make(root, clock.now())
    workspace = Workspace(root, clean_environment(tmp_path_factory.mktemp("home")))
    with serve(workspace) as serving:
        where = Site(workspace, f"http://{address_of(serving)}", serving)
        until(lambda: _answers(where.url))
        brought_about(workspace)
        window = visit(where=where)
        found = []
        for view in (
            *VIEWS[1:],
            VIEWS[0],
            *(f"#/routines/{name}" for name in STATES),
            *(f"#/routines/{name}/edit" for name in STATES),
            *runs_of(workspace),
        ):
            window.evaluate("document.querySelector('main > *').id = 'before'")
            go(window, view)
            window.locator("#before").wait_for(state="detached")
            window.locator("main h1").first.wait_for()
            found += [
                f"{view}: {text[max(at.start() - 60, 0) : at.end() + 60]!r}"
                for text in [window.evaluate(SEEN)]
                for at in ODD.finditer(text)
            ]
        assert found == []
    stop_keepers(root)


def runs_of(workspace):
    runs = {
        (event["subject"], event["data"].get("run") or event["data"].get("request"))
        for event in workspace.events()
        if event["subject"] in (*STATES, "disk-space")
    }
    return [f"#/routines/{name}/runs/{run}" for name, run in sorted(runs, key=str) if run]


def test_only_one_place_puts_things_into_the_page():
    """What is not there is left out there; `replaceChildren(null)` would show the word."""
    for name, file in pages.files().items():
        if name.endswith(".js") and name != "dom.js":
            assert not re.findall(
                r"\.(?:replaceChildren|replaceWith|prepend|insertBefore)\(|\.append\((?!text\)|h\()", file.data.decode()
            ), name


@needs_a_browser
def test_what_waits_is_answered_there(homelab, visit):
    window = visit(where=homelab, path="#/approvals")
    window.get_by_text("+It takes about 20 minutes; the last drill was in October.").wait_for()
    window.get_by_role("button", name="Apply").click()
    window.get_by_role("dialog").get_by_role("button", name="Apply it").click()
    until(lambda: "20 minutes" in (homelab.workspace.root / "docs/restore.md").read_text())
    window.get_by_role("button", name="Activate").click()
    window.get_by_role("dialog").get_by_role("button", name="Activate it").click()
    window.get_by_role("heading", name="Inbox triage").wait_for(state="detached")
    window.get_by_role("button", name="Deny").click()
    window.get_by_role("dialog").get_by_label("Why").fill("not today")
    window.get_by_role("dialog").get_by_role("button", name="Deny it").click()
    window.get_by_role("heading", name="Nothing waits").wait_for()
    assert homelab.workspace.events("approval.denied", "deploy")[0]["data"]["note"] == "not today"


@needs_a_browser
def test_what_waits_for_review_is_run_or_dismissed(site, visit):
    for name in ("late-one", "late-two"):
        site.workspace.define(name, f"name: {name}\ntriggers: [{{daily: '09:00'}}]\naction: {{command: 'true'}}\n")
    until(lambda: {event["subject"] for event in site.workspace.events("routine.created")} >= {"late-one", "late-two"})
    for name in ("late-one", "late-two"):
        site.workspace.record("slot.held", name, slot="2026-03-01T09:00:00Z", reason="review")
    window = visit(where=site, path="#/approvals")
    sheet = window.locator(".sheet").filter(has=window.get_by_role("heading", name="late-one"))
    sheet.get_by_text("older than").wait_for()
    sheet.get_by_role("button", name="Dismiss").click()
    window.get_by_role("dialog").get_by_role("button", name="Dismiss it").click()
    sheet.wait_for(state="detached")
    window.get_by_role("button", name="Run", exact=True).click()
    window.get_by_role("dialog").get_by_role("button", name="Run it").click()
    until(lambda: site.workspace.events("run.ended", "late-two"))
    assert [event["data"]["reason"] for event in site.workspace.events("slot.skipped", "late-one")] == ["dismissed"]


@needs_a_browser
def test_a_serve_that_is_started_again_is_gone_on_with(tmp_path, browser):
    workspace = new_workspace(tmp_path / "w", tmp_path)
    workspace.define("steady", HELLO % "Steady")
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    window = context.new_page()
    with serve(workspace) as serving:
        address = address_of(serving)
        until(lambda: _answers(f"http://{address}"))
        where = Site(workspace, f"http://{address}", serving)
        window.goto(f"{where.url}/#token={where.token()}")
        window.get_by_text("Live", exact=True).wait_for()
        serving.kill()
        window.get_by_text("Stale since").wait_for()
        assert window.get_by_role("link", name="Steady", exact=True).is_visible()  # what is known is still shown
        workspace.define("newer", HELLO % "Newer")
        with serve(workspace, address) as again:
            again.wait_for("HTTP on")
            window.get_by_text("Live", exact=True).wait_for(timeout=30_000)
            window.get_by_role("link", name="Newer", exact=True).wait_for()
    context.close()
    stop_keepers(workspace.root)


def test_the_overview_follows_every_kind_of_change(workspace):
    """What `since` answers is what a whole list would say, whatever has happened."""
    from routinectl.operations.overview import Overview

    workspace.define("a", HELLO % "A")
    with Session(Layout(workspace.root)) as session:
        overview = Overview(session)
        session.engine.listeners.append(overview.heard)
        assert overview.since("never.1") is None
        rows = {row["id"]: row for row in overview.rows()}
        position = overview.position
        assert overview.since(position) == ([], {})
        at = {"at": to_iso(session.now), "by": "ada"}
        for event in (Event("routine.paused", "a", at), Event("routine.resumed", "a", at), Event("routine.drafted", "a", at)):
            session.append(event)
            changed, gone = overview.since(position)
            assert ([row["id"] for row in changed], gone) == (["a"], {})
            rows["a"], position = changed[0], overview.position
            assert json.dumps([rows["a"]]) == json.dumps(Overview(session).rows())
        session.append(Event("routine.deleted", "a", at))
        assert overview.since(position) == ([], {"a": session.settings.default_owner})
        assert overview.rows() == []
