"""The HTTP face, over a real socket: who may do what, each endpoint with each of its errors, webhooks, streams."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import subprocess
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from conftest import ROOT, Workspace, clean_environment, stop_keepers, until
from needs import needs

from routinectl.api import openapi
from routinectl.api.endpoints import ENDPOINTS

GOOD = {"triggers": [{"daily": "09:00"}], "timeout": "1m", "action": {"command": ["echo", "done"]}}
HOOK = "triggers: [{webhook: {%s}}]\ntimeout: 1m\nconcurrency: {policy: queue_one}\naction: {command: 'cat $ROUTINE_PAYLOAD'}\n"


@dataclass
class Site:
    """A workspace that is served over HTTP, and clients of it."""

    workspace: Workspace
    url: str
    tokens: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def client(self, role: str | None = "admin", owner: str = "alice") -> httpx.Client:
        headers = {}
        if role is not None:
            key = f"{role} {owner}"
            if key not in self.tokens:
                self.tokens[key] = self.workspace.ok("token", "create", "--role", role, "--owner", owner).out.strip()
            headers = {"Authorization": f"Bearer {self.tokens[key]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def new(self, **keys) -> str:
        """Add a routine of a name of its own; return its id."""
        self.count += 1
        found = self.client().post("/routines", json={"name": f"Routine {self.count}", "owner": "alice", **GOOD, **keys})
        assert found.status_code == 201, found.text
        return found.json()["id"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    root = tmp_path_factory.mktemp("site")
    workspace = Workspace(root, clean_environment(home))
    (root / "routinectl.yaml").write_text("timezone: UTC\nowner: alice\nlimits: {min_interval: 1s}\n")
    with workspace.serving("--http", "127.0.0.1:0") as serving:
        text = serving.wait_for("HTTP on http://127.0.0.1:")
        port = int(text.partition("HTTP on http://127.0.0.1:")[2].split()[0])
        site = Site(workspace, f"http://127.0.0.1:{port}")
        until(lambda: _answers(site))
        yield site
    stop_keepers(root)


def _answers(site):
    try:
        return site.client(None).get("/healthz").status_code == 200
    except httpx.ConnectError:
        return False


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


# -- routines


def test_create_valid(site):
    answer = site.client().post("/routines", json={"name": "Back up", "description": "all of it", **GOOD})

    assert answer.status_code == 201
    assert answer.headers["location"] == "/routines/back-up"
    found = answer.json()
    assert (found["id"], found["status"], found["timezone"], found["describe"]) == ("back-up", "active", "UTC", "every day at 09:00")
    assert len(found["next"]) == 5
    assert "name: Back up\n" in (site.workspace.root / "routines/back-up/ROUTINE.yaml").read_text()


def test_create_with_all_faults_at_once(site):
    body = {"name": "Broken", "triggers": [{"cron": "99 * * * *"}, {"every": "x"}], "jitter": "40d", "action": {"command": "x"}}
    found = problem(site.client().post("/routines", json=body), 422)

    assert {"triggers[0].cron", "triggers[1].every", "jitter"} <= {error["path"] for error in found["errors"]}
    assert all(error["message"] for error in found["errors"])
    assert not (site.workspace.root / "routines/broken").exists()


def test_duplicates(site):
    name = site.new(name="Twice")

    assert "exists already" in problem(site.client().post("/routines", json={"id": name, **GOOD, "name": "Else"}), 409)["detail"]
    again = problem(site.client().post("/routines", json={"id": "another", "owner": "alice", "name": "Twice", **GOOD}), 409)
    assert "named 'Twice' already" in again["detail"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {"f-one", "f-two", "f-three"}), ("enabled=true", {"f-one", "f-two"}), ("enabled=false", {"f-three"}), ("status=paused", {"f-two"}),
        ("status=disabled", {"f-three"}), ("owner=alice", {"f-one", "f-three"}), ("owner=bob", {"f-two"}), ("tag=x", {"f-one"}), ("tag=none", set()),
        ("text=TWO", {"f-two"}), ("text=secret word", {"f-three"}), ("enabled=true&tag=x", {"f-one"}),
    ],
)  # fmt: skip
def test_the_list_with_each_filter(site, query, wanted):
    if "f-one" not in {row["id"] for row in site.client().get("/routines", params={"limit": 1000}).json()["items"]}:
        site.new(name="F one", tags=["x"])
        site.new(name="F two", owner="bob")
        site.new(name="F three", enabled=False, description="the Secret Word")
        site.client().post("/routines/f-two/pause", json={})
    rows = site.client().get(f"/routines?limit=1000&{query}").json()["items"]

    assert {row["id"] for row in rows if row["id"].startswith("f-")} == wanted


def test_pages_have_every_routine_once(site):
    for _ in range(5):
        site.new()
    seen, cursor = [], ""
    while cursor is not None:
        page = site.client().get("/routines", params={"limit": 2, "cursor": cursor}).json()
        seen += [row["id"] for row in page["items"]]
        cursor = page["next"]

    assert len(seen) == len(set(seen)) == page["total"]
    assert seen == sorted(seen)


def test_get_and_what_is_not_there(site):
    name = site.new()

    assert site.client().get(f"/routines/{name}").json()["id"] == name
    assert problem(site.client().get("/routines/nothing"), 404)["detail"] == "there is no routine 'nothing'"
    problem(site.client("user", "bob").get(f"/routines/{name}"), 404)
    assert name not in site.client("user", "bob").get("/routines?limit=1000").text


def test_patch_changes_what_it_names_and_keeps_comments(site):
    name = site.new()
    path = site.workspace.root / "routines" / name / "ROUTINE.yaml"
    path.write_text("# why it is here\n" + path.read_text().replace("timeout: 1m", "timeout: 1m  # short"))
    before = until(lambda: site.client().get(f"/routines/{name}"))
    answer = site.client().patch(f"/routines/{name}", json={"timeout": "2m", "misfire": {"policy": "skip"}})

    assert answer.status_code == 200
    assert answer.headers["etag"] != before.headers["etag"]
    text = path.read_text()
    assert text.startswith("# why it is here\n")
    assert "timeout: 2m  # short" in text
    assert site.client().patch(f"/routines/{name}", json={"misfire": None}).json()["definition"].get("misfire") is None


def test_patch_revalidates_and_writes_nothing_when_it_fails(site):
    name = site.new()
    path = site.workspace.root / "routines" / name / "ROUTINE.yaml"
    before = path.read_bytes()
    found = problem(site.client().patch(f"/routines/{name}", json={"triggers": [{"cron": "x"}], "jitter": "never"}), 422)

    assert {error["path"] for error in found["errors"]} >= {"jitter"}
    assert path.read_bytes() == before


def test_if_match(site):
    name = site.new()
    first = site.client().get(f"/routines/{name}").headers["etag"]
    assert site.client().patch(f"/routines/{name}", json={"timeout": "3m"}, headers={"If-Match": first}).status_code == 200

    stale = site.client().patch(f"/routines/{name}", json={"timeout": "4m"}, headers={"If-Match": first})
    problem(stale, 412)
    problem(site.client().delete(f"/routines/{name}", headers={"If-Match": first}), 412)
    assert site.client().delete(f"/routines/{name}", headers={"If-Match": stale.headers["etag"]}).status_code == 204
    problem(site.client().get(f"/routines/{name}"), 404)


def test_toggle_pause_resume(site):
    name = site.new()
    client = site.client()

    assert client.patch(f"/routines/{name}/toggle").json()["status"] == "disabled"
    assert client.patch(f"/routines/{name}/toggle").json()["status"] == "active"
    assert client.patch(f"/routines/{name}/toggle", json={"enabled": True}).json()["status"] == "active"
    paused = client.post(f"/routines/{name}/pause", json={"for": "2h", "reason": "holidays"}).json()
    assert (paused["status"], paused["paused"]["by"], paused["paused"]["reason"]) == ("paused", "alice", "holidays")
    assert client.post(f"/routines/{name}/resume").json()["status"] == "active"
    problem(client.post(f"/routines/{name}/pause", json={"for": "soon"}), 400)
    problem(client.post(f"/routines/{name}/pause", json={"until": "2001-01-01T00:00:00Z"}), 400)


# -- runs


def test_run_now_and_what_became_of_it(site):
    name = site.new(action={"command": "cat $ROUTINE_PAYLOAD; echo; echo bye"})
    asked = site.client().post(f"/routines/{name}/run_now", json={"payload": {"a": 1}})
    assert asked.status_code == 202
    run = asked.json()["run"]
    answers = []

    def ended():
        answers.append(site.client().get(asked.headers["location"]).json())
        return answers[-1]["state"] == "ended"

    try:
        until(ended)
    except AssertionError:
        raise AssertionError(answers[-1], site.workspace.events(subject=name)) from None
    found = answers[-1]
    assert (found["outcome"], found["run"], found["trigger"]) == ("succeeded", run, "manual")
    assert site.client().get(f"/routines/{name}/history").json()["items"][-1]["run"] == run
    log = site.client().get(f"/routines/{name}/runs/{run}/log")
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert log.text.endswith("}\n\nbye\n")
    tail = site.client().get(f"/routines/{name}/runs/{run}/log", headers={"Range": "bytes=-4"})
    assert (tail.status_code, tail.text, tail.headers["content-range"]) == (
        206,
        "bye\n",
        f"bytes {len(log.text) - 4}-{len(log.text) - 1}/{len(log.text)}",
    )
    assert site.client().get(f"/routines/{name}/runs/{run}/log?follow=1").text == log.text


def test_a_log_is_followed_until_the_run_ends(site):
    name = site.new(action={"command": "echo one; sleep 0.7; echo two"})
    run = site.client().post(f"/routines/{name}/run_now").json()["run"]
    until(lambda: site.client().get(f"/routines/{name}/runs/{run}/log").status_code == 200)
    with site.client().stream("GET", f"/routines/{name}/runs/{run}/log?follow=1") as answer:
        assert "".join(answer.iter_text()) == "one\ntwo\n"


@pytest.mark.parametrize("run", ["nothing", "..%2f..%2f", "%2e%2e", ".", "20261121T000000Z-aaaa"])
def test_a_log_of_no_run(site, run):
    name = site.new()
    problem(site.client().get(f"/routines/{name}/runs/{run}/log"), 404)


def test_what_a_gate_refuses_is_409_in_words_and_on_record(site):
    name = site.new(max_runs=1)
    site.client().post(f"/routines/{name}/run_now")
    until(lambda: site.client().get(f"/routines/{name}").json()["run_count"] == 1)
    found = problem(site.client().post(f"/routines/{name}/run_now"), 409)

    assert found["reason"] == "max_runs"
    assert "the routine has used up its max_runs" in found["detail"]
    assert site.client().get(f"/routines/{name}/runs/{found['run']}").json()["verdict"] == "skipped"


def test_dispatch_passes_no_gate_that_run_now_passes(site):
    name = site.new(enabled=False)

    assert problem(site.client().post(f"/routines/{name}/dispatch"), 409)["reason"] == "disabled"
    assert site.client().post(f"/routines/{name}/run_now").status_code == 202


def test_cancel(site):
    name = site.new(action={"command": ["sleep", "60"]}, kill_grace="1s")
    run = site.client().post(f"/routines/{name}/run_now").json()["run"]
    until(lambda: site.client().get(f"/routines/{name}/runs/{run}").json()["state"] == "running")
    assert site.client().post(f"/routines/{name}/cancel").json()["cancelled"] == [run]
    assert until(lambda: site.client().get(f"/routines/{name}/runs/{run}").json().get("outcome")) == "cancelled"


def test_an_idempotency_key_is_answered_once(site):
    name = site.new()
    key = {"Idempotency-Key": "k1"}
    first = site.client().post(f"/routines/{name}/run_now", headers=key)
    second = site.client().post(f"/routines/{name}/run_now", headers=key)

    assert second.json() == first.json()
    assert second.headers["idempotent-replay"] == "true"
    problem(site.client().post(f"/routines/{name}/run_now", headers=key, json={"force": True}), 422)
    assert len(site.workspace.events("run.requested", name)) == 1
    assert site.client().post("/routines", headers=key, json={"name": "Keyed", **GOOD}).status_code == 201
    assert site.client().post("/routines", headers=key, json={"name": "Keyed", **GOOD}).status_code == 201


# -- looking


def test_preview_status_templates_approvals(site):
    client = site.client()

    assert client.post("/schedule_preview", json={"schedule": "every monday at 9am", "count": 2}).json()["describe"]
    assert "hint" in problem(client.post("/schedule_preview", json={"schedule": "someday"}), 422)
    problem(client.post("/schedule_preview", json={}), 400)
    assert client.get("/status").json()["serve"]["alive"]
    assert any(row["template"] == "backup-git" for row in client.get("/templates").json()["items"])
    name = site.new(approval="before_enable")
    assert name in [item["id"] for item in until(lambda: client.get("/approvals").json()["items"])]
    assert client.post(f"/routines/{name}/approve", json={"note": "seen"}).json()["by"] == "alice"
    assert name not in client.get("/approvals").text


# -- who may do what (P10)

LEAST = {(item.method, item.path): item.role for item in ENDPOINTS}
WRITES = [key for key, role in LEAST.items() if role != "viewer"]


@pytest.mark.parametrize("bad", [None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer rtn_" + "A" * 43, "bearer \x7f"])
def test_no_good_token_nothing_happens(site, bad):
    name = site.new()
    before = len(site.workspace.events())
    headers = {} if bad is None else {"Authorization": bad}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30) as client:
        for method, path in LEAST:
            answer = client.request(method, path.format(id=name, run="r", proposal="p"), json={} if method in ("POST", "PATCH") else None)
            problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        problem(client.get("/routines/events"), 401)
        problem(client.post("/channels/x/messages", content="hello"), 401)
        assert client.get("/healthz").status_code == 200
    assert len(site.workspace.events()) == before


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_role_may_do_what_it_may(site, method, path):
    name = site.new()
    ranks = ["viewer", "agent", "user", "admin"]
    for role in ranks[: ranks.index(LEAST[method, path])]:
        answer = site.client(role).request(method, path.format(id=name, run="r", proposal="p"), json={} if method != "DELETE" else None)
        assert "may not do that" in problem(answer, 403)["detail"]


def test_a_token_that_is_revoked_or_over_lets_nobody_in(site):
    workspace = site.workspace
    made = workspace.ok("token", "create", "--role", "viewer", "--json").data
    over = workspace.ok("token", "create", "--role", "viewer", "--expires", "1s", "--json").data
    with httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {made['secret']}"}) as client:
        assert client.get("/status").status_code == 200
        assert made["id"] in workspace.ok("token", "list").out
        workspace.ok("token", "revoke", made["id"])
        problem(client.get("/status"), 401)
        until(lambda: client.get("/status", headers={"Authorization": f"Bearer {over['secret']}"}).status_code == 401)
    assert made["secret"] not in (workspace.root / ".routinectl/tokens.json").read_text()
    assert workspace.run("token", "revoke", "nothing").code == 3


def test_a_user_writes_his_own_routines_only(site):
    bob = site.client("user", "bob")
    mine = bob.post("/routines", json={"name": "Bobs own", **GOOD})
    assert (mine.status_code, mine.json()["owner"]) == (201, "bob")
    problem(bob.post("/routines", json={"name": "For alice", "owner": "alice", **GOOD}), 403)
    problem(bob.patch("/routines/bobs-own", json={"owner": "alice"}), 403)
    other = site.new()
    for method, path in WRITES:
        if "{id}" in path and method != "DELETE":
            problem(bob.request(method, path.format(id=other), json={}), 404)
    problem(bob.delete(f"/routines/{other}"), 404)
    problem(site.client("user", "alice").get("/routines/bobs-own"), 404)


def test_what_an_agent_makes_is_a_draft_that_it_cannot_approve(site):
    agent = site.client("agent", "bot")
    made = agent.post("/routines", json={"name": "Made by a bot", **GOOD})
    assert (made.status_code, made.json()["status"]) == (201, "draft")

    problem(agent.post("/routines/made-by-a-bot/approve"), 403)
    problem(agent.post("/routines/made-by-a-bot/run_now"), 403)
    assert problem(site.client().post("/routines/made-by-a-bot/run_now"), 409)["reason"] == "draft"
    assert site.client().post("/routines/made-by-a-bot/approve").status_code == 200
    assert site.client().get("/routines/made-by-a-bot").json()["status"] == "active"
    assert agent.patch("/routines/made-by-a-bot", json={"timeout": "5m"}).json()["status"] == "draft"


def test_what_an_agent_proposes_is_done_once_by_a_user(site):
    agent, user, name = site.client("agent"), site.client("user"), site.new()
    asked = agent.post(f"/routines/{name}/proposals", json={"what": "run_now", "reason": "late data", "payload": {"day": 1}})
    number = asked.json()["proposal"]

    assert (asked.status_code, asked.json()["by"]) == (201, "alice")
    problem(agent.post(f"/routines/{name}/proposals", json={"what": "format the disk"}), 400)
    problem(agent.post(f"/proposals/{number}/apply"), 403)
    problem(site.client("user", "bob").post(f"/proposals/{number}/apply"), 404)
    problem(site.client("user", "bob").post(f"/proposals/{name}/apply"), 404)
    problem(user.post(f"/proposals/{name}/apply"), 404)
    assert [item["proposal"] for item in user.get("/proposals").json()["items"]] == [number]
    assert user.post(f"/proposals/{number}/apply").json()["run"]
    problem(user.post(f"/proposals/{number}/apply"), 404)
    other = agent.post(f"/routines/{name}/proposals", json={"what": "delete"}).json()["proposal"]
    assert user.post(f"/proposals/{other}/reject", json={"note": "no"}).json()["rejected"]
    assert user.get("/proposals").json() == {"items": []}


def test_what_waits_for_review_is_run_or_dismissed(site):
    user, name, other = site.client("user"), site.new(), site.new()
    for day in (1, 2, 3):
        site.workspace.record("slot.held", name, slot=f"2026-03-0{day}T09:00:00Z", reason="review")
    site.workspace.record("slot.held", other, slot="2026-03-01T09:00:00Z", reason="damaged")
    found = user.get("/reviews").json()["items"]

    assert [(item["id"], item["slot"][8:10]) for item in found] == [(name, "01"), (other, "01"), (name, "02"), (name, "03")]
    assert "the journal" in found[1]["words"]
    assert site.client("user", "bob").get("/reviews").json() == {"items": []}
    problem(site.client("user", "bob").post(f"/routines/{name}/review", json={"run": True}), 404)
    problem(site.client("viewer").post(f"/routines/{name}/review", json={"run": True}), 403)
    problem(user.post(f"/routines/{name}/review", json={"run": "yes"}), 400)
    problem(user.post(f"/routines/{name}/review", json={"run": False, "slot": "soon"}), 400)
    assert user.post(f"/routines/{name}/review", json={"run": False, "slot": "2026-03-03T09:00:00Z"}).json() == {
        "answered": ["2026-03-03T09:00:00Z"]
    }
    assert user.post(f"/routines/{name}/review", json={"run": True}).json() == {"answered": ["2026-03-02T09:00:00Z"]}
    assert user.post(f"/routines/{other}/review", json={"run": False}).json() == {"answered": ["2026-03-01T09:00:00Z"]}
    problem(user.post(f"/routines/{other}/review", json={"run": False}), 404)
    until(lambda: [event["data"].get("slot") for event in site.workspace.events("run.claimed", name)] == ["2026-03-02T09:00:00Z"])


def test_a_person_makes_tokens_and_a_run_does_not(site, command_line):
    name = site.new(action={"command": f"{command_line} -w {site.workspace.root} token create --role admin"})
    run = site.client().post(f"/routines/{name}/run_now").json()["run"]
    found = until(lambda: (answer := site.client().get(f"/routines/{name}/runs/{run}").json())["state"] == "ended" and answer)

    assert found["exit_code"] == 77


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": ""}])
def test_a_browser_of_another_site_is_not_heard(site, headers):
    problem(site.client().get("/status", headers=headers), 403)
    assert site.client().get("/status", headers={"Origin": site.url}).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{", "application/json", 400), (b"[1]", "application/json", 400), (b'{"a": NaN}', "application/json", 400), (b"[" * 100_000, "application/json", 400),
     (b"a: 1", "application/yaml", 415), (b"\xff\xfe", "application/json", 400), (b"x" * (1 << 20) + b"y", "application/json", 413)],
)  # fmt: skip
def test_bodies_that_are_none(site, content, kind, status):
    problem(site.client().post("/routines", content=content, headers={"Content-Type": kind}), status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/routines", 405), ("GET", "/routines?limit=0", 400), ("GET", "/routines?limit=x", 400),
     ("GET", "/routines?cursor=%00", 400), ("GET", "/routines/events?after=x", 400), ("GET", "/routines/%00", 404)],
)  # fmt: skip
def test_questions_that_make_no_sense(site, method, path, status):
    problem(site.client().request(method, path), status)


# -- webhooks


def sign(secret, body, timestamp=None):
    stamp = str(int(timestamp if timestamp is not None else time.time()))
    return {"Routinectl-Timestamp": stamp,
            "Routinectl-Signature": "v1=" + hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()}  # fmt: skip


def github(secret, body):
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(), "X-GitHub-Event": "push"}


@pytest.fixture
def hook(site):
    """A routine with a webhook, and its secret."""

    def make(keys="", more=""):
        site.count += 1
        name = f"hook-{site.count}"
        site.workspace.define(name, HOOK % keys + more)
        until(lambda: site.client().get(f"/routines/{name}").status_code == 200)
        return name, site.workspace.ok("webhook", name, "--rotate").out.strip()

    return make


def delivered(site, name):
    return [event["data"]["payload"] for event in site.workspace.events("run.requested", name)]


def test_a_signed_delivery_is_on_record_before_the_answer_and_fires(site, hook):
    name, secret = hook()
    body = b'{"ref": "main"}'
    answer = site.client(None).post(f"/hooks/routine/{name}", content=body, headers=sign(secret, body))

    assert answer.status_code == 202
    assert answer.json() == {"routine": name, "run": answer.json()["run"], "status": "requested"}
    assert delivered(site, name) == [{"body": {"ref": "main"}}]
    found = until(
        lambda: (answer2 := site.client().get(f"/routines/{name}/runs/{answer.json()['run']}").json())["state"] == "ended" and answer2
    )
    assert found["trigger"] == "webhook"


@pytest.mark.parametrize(
    ("fault", "headers"),
    [
        ("none", lambda secret, body: {}),
        ("no signature", lambda secret, body: {"Routinectl-Timestamp": str(int(time.time()))}),
        ("short", lambda secret, body: {**sign(secret, body), "Routinectl-Signature": "v1=ab"}),
        ("wrong", lambda secret, body: sign("another", body)),
        ("of another body", lambda secret, body: sign(secret, body + b" ")),
        ("late", lambda secret, body: sign(secret, body, time.time() - 301)),
        ("early", lambda secret, body: sign(secret, body, time.time() + 310)),
        ("another timestamp", lambda secret, body: {**sign(secret, body), "Routinectl-Timestamp": str(int(time.time()) - 1)}),
        ("no number", lambda secret, body: {**sign(secret, body), "Routinectl-Timestamp": "now"}),
        ("not ASCII", lambda secret, body: {**sign(secret, body), "Routinectl-Signature": "v1=é".encode()}),
        ("another scheme", github),
        ("the secret itself", lambda secret, body: {"Routinectl-Secret": secret}),
    ],
)
def test_a_delivery_that_is_not_signed_well_does_nothing(site, hook, fault, headers):
    name, secret = hook()
    answer = site.client(None).post(f"/hooks/routine/{name}", content=b"{}", headers=headers(secret, b"{}"))

    problem(answer, 401)
    assert delivered(site, name) == []


def test_a_delivery_that_is_replayed_fires_once(site, hook):
    name, secret = hook()
    headers = sign(secret, b"{}")
    first, second = (site.client(None).post(f"/hooks/routine/{name}", content=b"{}", headers=headers) for _ in range(2))

    assert (first.json()["status"], second.json()["status"]) == ("requested", "known already")
    assert len(delivered(site, name)) == 1


def test_github(site, hook):
    name, secret = hook("path: github-main, signature: github")
    body = b'{"action": "opened"}'
    answer = site.client(None).post("/hooks/routine/github-main", content=body, headers=github(secret, body))
    assert answer.status_code == 202
    again = site.client(None).post(
        "/hooks/routine/github-main", content=body, headers={**github(secret, body), "X-GitHub-Delivery": "forged"}
    )
    assert again.json()["status"] == "known already"
    problem(site.client(None).post("/hooks/routine/github-main", content=body + b" ", headers=github(secret, body)), 401)
    problem(site.client(None).post(f"/hooks/routine/{name}", content=body, headers=github(secret, body)), 404)

    assert delivered(site, name) == [{"body": {"action": "opened"}, "event": "push"}]
    new = site.workspace.ok("webhook", name, "--rotate").out.strip()
    problem(site.client(None).post("/hooks/routine/github-main", content=body, headers=github(secret, body)), 401)
    fresh = site.client(None).post("/hooks/routine/github-main", content=body, headers=github(new, body))
    assert fresh.json()["status"] == "requested", "another secret, another memory"


def test_a_secret_in_a_header_over_loopback(site, hook):
    name, secret = hook("signature: header")
    post = site.client(None).post
    key = {"Idempotency-Key": "d1"}

    assert post(f"/hooks/routine/{name}", content=b"hi", headers={"Routinectl-Secret": secret, **key}).json()["status"] == "requested"
    assert post(f"/hooks/routine/{name}", content=b"hi", headers={"Routinectl-Secret": secret, **key}).json()["status"] == "known already"
    problem(post(f"/hooks/routine/{name}", content=b"hi", headers={"Routinectl-Secret": secret + "x"}), 401)
    assert delivered(site, name) == [{"body": "hi"}]


def test_what_a_webhook_refuses(site, hook):
    name, secret = hook("", "max_runs: 1\n")
    client = site.client(None)
    post = lambda body: client.post(f"/hooks/routine/{name}", content=body, headers=sign(secret, body))  # noqa: E731
    problem(client.post("/hooks/routine/nothing", content=b"{}"), 404)
    problem(post(b"x" * ((1 << 20) + 1)), 413)
    assert post(b"1").status_code == 202
    until(lambda: site.client().get(f"/routines/{name}").json()["run_count"] == 1)
    assert problem(post(b"2"), 409)["reason"] == "max_runs"
    (site.workspace.root / f"secrets/webhook-{name}").unlink()
    assert "no secret yet" in problem(post(b"3"), 403)["detail"]


def test_too_many_deliveries_are_told_to_wait_and_what_a_stranger_sends_counts_for_nothing(site, hook):
    name, secret = hook("", "max_runs: 1\n")  # what comes after the first is refused, and no run is waited for
    forged = [{}, {"Routinectl-Timestamp": str(int(time.time()))}, sign("another", b"")]
    with site.client(None) as client:
        post = lambda body, headers: client.post(f"/hooks/routine/{name}", content=body, headers=headers)  # noqa: E731
        first = sign(secret, b"first")
        assert post(b"first", first).status_code == 202
        assert {post(b"", forged[number % 3]).status_code for number in range(150)} == {401}
        assert {post(b"first", first).json()["status"] for _ in range(150)} == {"known already"}
        counted = 0
        while (answer := post(b"%d" % counted, sign(secret, b"%d" % counted))).status_code != 429 and counted < 400:
            assert answer.status_code in (202, 409)
            counted += 1
    assert counted >= 119
    assert problem(answer, 429)["status"] == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61


def test_two_routines_cannot_have_one_path(site, hook):
    name, _ = hook("path: taken")
    found = problem(site.client().post("/routines", json={**GOOD, "name": "Thief", "triggers": [{"webhook": {"path": "taken"}}]}), 409)

    assert f"belongs to {name}" in found["detail"]
    assert (
        site.client("agent", "bot")
        .post("/routines", json={**GOOD, "name": "Draft", "triggers": [{"webhook": {"path": "free"}}]})
        .status_code
        == 201
    )
    problem(site.client(None).post("/hooks/routine/free", content=b"{}"), 404)


@needs("curl", "openssl")
@pytest.mark.parametrize("keys", ["", "signature: github", "signature: header"])
def test_the_command_that_webhook_prints_delivers(site, hook, keys):
    name, _ = hook(keys)
    found = site.workspace.ok("webhook", name, "--base", site.url, "--json").data
    done = subprocess.run(["bash", "-c", found["example"]], cwd=site.workspace.root, capture_output=True, text=True, check=False)

    assert json.loads(done.stdout)["status"] == "requested", done.stdout + done.stderr
    assert delivered(site, name) == [{"body": {"hello": "world"}}]


# -- messages, events


def test_a_message_over_http(site):
    site.workspace.define("pager", "triggers: [{message: {channel: pager, pattern: fire}}]\ntimeout: 1m\naction: {command: ['true']}\n")
    until(lambda: site.client().get("/routines/pager").status_code == 200)
    asked = site.client("user").post("/channels/Pager/messages", json={"text": "fire in room 3", "room": 3})
    assert (asked.status_code, asked.json()["asked"][0]["routine"]) == (202, "pager")
    assert site.client("user").post("/channels/pager/messages", content="no smoke", headers={"Content-Type": "text/plain"}).json() == {
        "asked": []
    }

    assert delivered(site, "pager") == [{"channel": "Pager", "text": "fire in room 3", "data": {"text": "fire in room 3", "room": 3}}]


def heard(site, count, role="admin", owner="alice", **query):
    """Listen until so many events have come; return their ids and kinds."""
    found: list[tuple[int, str, str]] = []
    headers = {"Last-Event-ID": str(query.pop("after"))} if "after" in query else {}
    with site.client(role, owner).stream("GET", "/routines/events", params=query, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                found.append((event["seq"], event["type"], event["subject"]))
                if len(found) == count:
                    return found
    return found


def test_a_listener_that_is_cut_off_resumes_without_loss_and_without_doubles(site):
    name = site.new()
    begin = site.workspace.events()[-1]["seq"]
    for _ in range(3):
        site.client().post(f"/routines/{name}/pause", json={})
        site.client().post(f"/routines/{name}/resume")
    found, after = [], begin
    for _ in range(3):
        part = heard(site, 2, after=after, routine=name)
        found += part
        after = part[-1][0]

    wanted = [(event["seq"], event["type"], name) for event in site.workspace.events(subject=name) if event["seq"] > begin]
    assert found == wanted
    assert [kind for _, kind, _ in found] == ["routine.paused", "routine.resumed"] * 3


def test_events_come_as_they_happen_and_only_those_that_are_wanted(site):
    name = site.new()
    with site.client().stream("GET", "/routines/events", params={"routine": name, "type": "routine."}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": connected"
        site.client().post(f"/routines/{name}/run_now")
        site.client().post(f"/routines/{name}/pause", json={})
        kinds = [line for line in (next(lines) for _ in range(4)) if line.startswith("event")]
    assert kinds == ["event: routine.paused"]


def test_another_users_events_are_not_told(site):
    begin = site.workspace.events()[-1]["seq"]
    site.new()
    bobs = site.new(owner="bob")

    assert {subject for _, _, subject in heard(site, 1, "user", "bob", after=begin)} == {bobs}


# -- metrics


def families(text):
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_is_on_record_and_name_no_routine(site):
    name = site.new(max_runs=1)
    site.client().post(f"/routines/{name}/run_now")
    until(lambda: site.client().get(f"/routines/{name}").json()["run_count"] == 1)
    site.client().post(f"/routines/{name}/run_now")
    found = families(site.client("viewer", "*").get("/metrics").text)

    events = site.workspace.events()
    ended = [event["data"]["outcome"] for event in events if event["type"] == "run.ended"]
    assert found["routinectl_runs_total", "succeeded"] == ended.count("succeeded")
    refused = [
        event
        for event in events
        if event["type"] == "slot.skipped" and "request" in event["data"] and event["data"]["reason"] == "max_runs"
    ]
    assert found["routinectl_requests_refused_total", "max_runs", "skipped"] == len(refused)
    assert found["routinectl_serve_up",] == 1
    assert found["routinectl_journal_events",] >= len(events)
    assert not any(name in key for key in found)
    problem(site.client("user", "alice").get("/metrics"), 403)
    problem(site.client(None).get("/metrics"), 401)


def test_counters_survive_a_restart_and_a_file_of_them_is_for_node_exporter(workspace):
    path = workspace.root / "metrics.prom"
    workspace.define("tick", "triggers: [{every: 1s}]\ntimeout: 1m\naction: {command: ['true']}\n")
    for _ in range(2):
        with workspace.serving("--metrics-file", str(path)) as serving:
            serving.wait_for("succeeded", 2)
        path.unlink()
    (workspace.root / "routines/tick/ROUTINE.yaml").unlink()
    with workspace.serving("--metrics-file", str(path)):
        until(path.exists)
    found = families(path.read_text())

    ended = len(workspace.events("run.ended"))
    assert found["routinectl_runs_total", "succeeded"] == found["routinectl_run_duration_seconds_count",] == ended >= 4
    slots = [event["data"] for event in workspace.events("run.claimed")]
    assert found["routinectl_start_lateness_seconds_count",] == len(slots)
    assert found["routinectl_serve_starts_total",] == 3


def test_every_metric_of_the_dashboard_is_there(site):
    site.new()
    text = site.client().get("/metrics").text
    wanted = set(re.findall(r"routinectl_\w+", (ROOT / "docs/grafana/routinectl.json").read_text()))

    assert len(wanted) > 12
    known = {name for line in text.splitlines() if line.startswith("# TYPE") for name in [line.split()[2]]}
    assert {name for name in wanted if name.removesuffix("_bucket") not in known} == set()


def test_serve_tells_how_it_fares(workspace):
    path = workspace.root / "metrics.prom"
    workspace.define("tick", "triggers: [{every: 1s}]\ntimeout: 1m\naction: {command: ['true']}\n")
    for _ in range(2):
        with workspace.serving("--metrics-file", str(path)) as serving:
            serving.wait_for("succeeded", 1)
    turns = json.loads((workspace.root / ".routinectl/signs.json").read_text())["turns"]

    assert sum(turns[0]) > 0
    assert turns[1] > 0
    assert families(path.read_text())["routinectl_journal_sync_seconds_count",] > 0


# -- a calendar


def test_a_calendar_has_the_next_fires_of_ones_own_routines(site):
    import icalendar

    mine = site.new(triggers=[{"daily": "02:30"}], timezone="Europe/Berlin", description="To the other disk")
    paused = site.new(triggers=[{"daily": "03:30"}])
    site.client().post(f"/routines/{paused}/pause")
    hers = site.new(triggers=[{"daily": "04:30"}], owner="eve")
    token = site.client("viewer", "alice").headers["authorization"].partition(" ")[2]
    answer = httpx.get(f"{site.url}/calendar.ics", params={"token": token, "days": "10"})

    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    found = icalendar.Calendar.from_ical(answer.text)
    mine_of = [event for event in found.walk("VEVENT") if event["uid"].startswith(mine)]
    assert 9 <= len(mine_of) <= 10
    assert {event.decoded("dtstart").astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") for event in mine_of} == {"02:30"}
    assert "To the other disk" in mine_of[0]["description"]
    assert not [event for event in found.walk("VEVENT") if event["uid"].startswith((paused, hers))]
    problem(httpx.get(f"{site.url}/calendar.ics"), 401)
    problem(httpx.get(f"{site.url}/calendar.ics", params={"token": "rtn_x"}), 401)
    problem(site.client().get("/calendar.ics?days=1000"), 400)
    assert site.workspace.ok("export", mine, "--format", "ical").out.count("BEGIN:VEVENT") >= 29


# -- the server


def test_a_unix_socket_needs_no_token_and_is_closed_to_others(workspace):
    path = workspace.root / ".routinectl/run/http"
    with workspace.serving("--http", f"unix:{path}") as serving:
        serving.wait_for("HTTP on unix:")
        until(path.exists)
        assert path.stat().st_mode & 0o777 == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://any-name") as client:
            assert until(lambda: client.get("/status").status_code == 200)
            assert client.post("/routines", json={"name": "Local", **GOOD}).status_code == 201


def test_the_http_process_ends_with_serve_even_when_that_is_killed(workspace):
    with workspace.serving("--http", "127.0.0.1:0") as serving:
        port = int(serving.wait_for("HTTP on http://127.0.0.1:").partition("127.0.0.1:")[2].split()[0])
        serving.kill()
    until(lambda: _refuses(port))


def _refuses(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_an_address_that_is_taken_is_said_once_and_served_when_it_is_free(workspace):
    workspace.define("tick", "triggers: [{every: 1s}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with workspace.serving("--http", where) as serving:
            serving.wait_for(f"HTTP cannot listen on {where}: Address already in use; it is tried again, and serve goes on\n")
            serving.wait_for("succeeded", 3)
            taken.close()
            said = serving.wait_for(f"HTTP on http://{where}")
    assert said.count("cannot listen") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("written", "meant"),
    [("nonsense", "127.0.0.1:8766"), ("8080", "127.0.0.1:8080"), ("127.0.0.1:99999", "127.0.0.1:8766"), (":8766", "127.0.0.1:8766"), ("unix:", "127.0.0.1:8766"),
     ("::1:8766", "127.0.0.1:8766"), ("http://127.0.0.1:8766", "127.0.0.1:8766"), ("a b:80", "127.0.0.1:8766"), (f"unix:/{'x' * 120}", "127.0.0.1:8766")],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_before_anything_is_served(workspace, written, meant):
    result = workspace.run("serve", "--http", written)
    assert (result.code, result.err.splitlines()[-1]) == (2, f"Hint: routinectl serve --http {meant}")

    workspace.configure(f"http: {{listen: {json.dumps(written)}}}")
    result = workspace.run("serve")
    assert (result.code, "routinectl.yaml:" in result.err) == (78, True), result.err


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_serve_listens_where_the_settings_say_and_webhook_tells_the_address_in_force(workspace):
    configured, given = free_port(), free_port()
    workspace.configure(f"http: {{listen: '127.0.0.1:{configured}'}}")
    workspace.define("hook", HOOK % "")
    url = lambda: workspace.ok("webhook", "hook", "--json").data["url"]  # noqa: E731

    assert url() == f"http://127.0.0.1:{configured}/hooks/routine/hook"
    for options, port in ((["--http"], configured), ([], configured), (["--http", f"0.0.0.0:{given}"], given)):
        with workspace.serving(*options) as serving:
            serving.wait_for("HTTP on http://")
            until(lambda: url() == f"http://127.0.0.1:{port}/hooks/routine/hook")  # noqa: B023
            assert not _refuses(port)
            serving.kill()
        until(lambda: _refuses(port))  # noqa: B023
    until(lambda: url() == f"http://127.0.0.1:{configured}/hooks/routine/hook")  # its process has ended a moment after its socket


def test_a_file_that_is_no_socket_is_never_removed_for_one(workspace):
    path = workspace.root / "routinectl.yaml"
    before = path.read_text()
    with workspace.serving("--http", f"unix:{path}") as serving:
        serving.wait_for("that is no socket; it is tried again")
    assert path.read_text() == before


def test_the_command_that_webhook_prints_delivers_through_a_unix_socket(workspace):
    workspace.define("hook", HOOK % "")
    workspace.ok("webhook", "hook", "--rotate")
    with workspace.serving("--http", "unix:.routinectl/run/http") as serving:
        serving.wait_for("HTTP on unix:")
        until(lambda: "--unix-socket" in workspace.ok("webhook", "hook").out)
        example = workspace.ok("webhook", "hook", "--json").data["example"]
        done = subprocess.run(["bash", "-c", example], cwd=workspace.root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["status"] == "requested", done.stdout + done.stderr


# -- the description


def test_the_description_names_every_endpoint_and_every_role():
    document = openapi.document()

    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {(item.method, item.path) for item in ENDPOINTS} < described
    assert len({operation["operationId"] for item in document["paths"].values() for operation in item.values()}) == len(described)


def test_the_description_is_served(site):
    assert site.client(None).get("/openapi.json").json() == json.loads(json.dumps(openapi.document()))


def test_slow_senders_stop_nobody(site):
    host, port = site.url.removeprefix("http://").split(":")
    slow = []
    for _ in range(50):
        item = socket.create_connection((host, int(port)))
        item.sendall(b"POST /routines HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
        slow.append(item)
    assert site.client().get("/status").status_code == 200
    for item in slow:
        item.close()
    assert Path(site.workspace.root).exists()


# -- for screens


def test_rows_say_all_that_a_list_shows(site):
    name = site.new(name="Told at a glance", description="why", tags=["glance"], permissions={"network": True})
    row = next(row for row in site.client().get("/routines", params={"text": "at a glance"}).json()["items"])

    assert (row["id"], row["describe"], row["timezone"], row["action"], row["recent"]) == (name, "every day at 09:00", "UTC", "command", "")
    assert (row["badges"], row["tags"], row["owner"], row["enabled"]) == (["external"], ["glance"], "alice", True)
    site.client().post(f"/routines/{name}/run_now")
    until(lambda: site.client().get("/routines", params={"tag": "glance"}).json()["items"][0]["recent"] == "s")


def test_what_has_changed_since_a_position(site):
    name = site.new(name="Changing")
    client = site.client()
    before = client.get("/routines", params={"limit": "1"}).json()["position"]
    assert client.get("/routines", params={"since": before}).json() == {
        "items": [],
        "gone": [],
        "whole": False,
        "position": before,
        "none": "",
    }

    client.post(f"/routines/{name}/pause")
    found = client.get("/routines", params={"since": before}).json()
    assert [(row["id"], row["status"]) for row in found["items"]] == [(name, "paused")]
    assert site.client("user", "bob").get("/routines", params={"since": before}).json()["items"] == []

    client.delete(f"/routines/{name}")
    gone = client.get("/routines", params={"since": found["position"]}).json()
    assert (gone["items"], gone["gone"]) == ([], [name])
    assert site.client("user", "bob").get("/routines", params={"since": found["position"]}).json()["gone"] == []
    for other in ("another.1", "x", "1.-1", before.partition(".")[0] + ".x"):
        assert client.get("/routines", params={"since": other}).json()["whole"] is True


def test_a_definition_is_read_and_written_as_it_was_typed(site):
    client, text = site.client(), "# a note\nname: Typed\ntriggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: echo x}\n"
    made = client.put("/routines/typed/definition", json={"text": text}, headers={"If-None-Match": "*"})
    assert (made.status_code, made.json()["describe"]) == (201, "every day at 09:00")
    problem(client.put("/routines/typed/definition", json={"text": text}, headers={"If-None-Match": "*"}), 409)

    found = client.get("/routines/typed/definition")
    assert (found.json()["text"], found.json()["good"], found.json()["words"]) == (text, True, "every day at 09:00")
    changed = client.put("/routines/typed/definition", json={"text": text.replace("1m", "2m")}, headers={"If-Match": found.headers["etag"]})
    assert changed.status_code == 200
    problem(client.put("/routines/typed/definition", json={"text": text}, headers={"If-Match": found.headers["etag"]}), 412)

    faults = problem(client.put("/routines/typed/definition", json={"text": text.replace("1m", "soon")}), 422)["errors"]
    assert (faults[0]["path"], faults[0]["line"], faults[0]["column"]) == ("timeout", 4, 1)
    assert "2m" in (site.workspace.root / "routines/typed/ROUTINE.yaml").read_text()
    problem(client.put("/routines/No Id/definition", json={"text": text}), 400)
    assert "named 'Typed' already" in problem(client.put("/routines/typed-again/definition", json={"text": text}), 409)["detail"]
    problem(client.put("/routines/typed/definition", json={"text": "name: ["}), 422)


def test_a_file_that_somebody_has_just_put_there_is_not_overwritten(site):
    text = "name: Just there\nowner: alice\ntimeout: 1m\naction: {command: echo theirs}\n"
    client = site.client()
    client.get("/me")
    path = site.workspace.define("just-there", text)
    problem(
        client.put("/routines/just-there/definition", json={"text": text.replace("theirs", "mine")}, headers={"If-None-Match": "*"}), 409
    )
    assert path.read_text() == text


OWNERS = [
    ("his own", "bob", "owner: bob\n", 201), ("nobody's is the workspace's", "bob", "", 403), ("another's", "bob", "owner: alice\n", 403),
    ("the owner of the workspace need not say so", "alice", "", 201),
]  # fmt: skip


@pytest.mark.parametrize(("who", "owner", "status"), [row[1:] for row in OWNERS], ids=[row[0] for row in OWNERS])
def test_whose_definition_one_may_type(site, who, owner, status):
    site.count += 1
    text = f"name: Owned {site.count}\n{owner}timeout: 1m\naction: {{command: echo x}}\n"
    name = f"owned-{site.count}"
    assert site.client("user", who).put(f"/routines/{name}/definition", json={"text": text}).status_code == status
    if status == 201:
        given = text.replace(owner, "") + "owner: carol\n"
        assert site.client("user", who).put(f"/routines/{name}/definition", json={"text": given}).status_code == 403
        assert site.client("user", "eve").put(f"/routines/{name}/definition", json={"text": text}).status_code in (403, 404)
        assert site.client().put(f"/routines/{name}/definition", json={"text": given}).status_code == 200


def test_what_an_agent_types_is_a_draft(site):
    text = "name: By an agent\nowner: alice\ntimeout: 1m\naction: {command: echo x}\n"
    assert site.client("agent").put("/routines/by-an-agent/definition", json={"text": text}).json()["status"] == "draft"


def test_checking_writes_nothing(site):
    client = site.client("viewer")
    good = client.post("/check", json={"definition": {"name": "Checked", **GOOD, "triggers": [{"schedule": "weekdays at 9"}]}}).json()
    assert (good["good"], good["words"], len(good["next"])) == (True, "at 09:00, Monday to Friday", 5)
    assert "0 9 * * 1-5" in good["text"]

    half = client.post("/check", json={"definition": {"triggers": [{"daily": "09:00"}]}}).json()
    assert (half["good"], half["words"], len(half["next"])) == (False, "every day at 09:00", 5)
    assert {"name", "timeout", "action"} & {item["path"].partition(".")[0] or item["message"].split("'")[1] for item in half["problems"]}

    broken = client.post("/check", json={"text": "name: x\ntimeout: [\n"}).json()
    assert (broken["good"], broken["doc"], broken["problems"][0]["line"]) == (False, None, 3)
    phrase = client.post("/check", json={"definition": {"name": "X", **GOOD, "triggers": [{"schedule": "when it rains"}]}}).json()
    assert (phrase["good"], phrase["problems"][0]["path"]) == (False, "triggers")

    name = site.new(name="Patched")
    path = site.workspace.root / f"routines/{name}/ROUTINE.yaml"
    path.write_text(path.read_text() + "# kept\n")
    patched = client.post("/check", json={"id": name, "patch": {"timeout": "2m"}}).json()
    assert patched["good"]
    assert "2m" in patched["text"]
    assert "# kept" in patched["text"]
    assert "2m" not in path.read_text()
    problem(site.client("viewer", "bob").post("/check", json={"id": name, "patch": {}}), 404)
    for body in ({"definition": []}, {"patch": 1}, {"id": "No Id", "text": ""}, {"text": 5}):
        problem(client.post("/check", json=body), 400)
    assert not (site.workspace.root / "routines/new-routine").exists()


def test_a_timeline_counts_what_starts_together(site):
    names = [site.new(name=f"Together {number}", triggers=[{"daily": "12:00"}]) for number in range(3)]
    site.client().post(f"/routines/{names[0]}/pause")
    found = (
        site.client()
        .get("/timeline", params={"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z", "cells": "24", "ids": ",".join(names)})
        .json()
    )

    assert {row["id"]: row["marks"] for row in found["rows"]} == {
        names[0]: [],
        names[1]: [[12, "planned", 1]],
        names[2]: [[12, "planned", 1]],
    }
    assert (found["load"][12], sum(found["load"])) == (2, 2)
    second = site.new(name="Each second", triggers=[{"every": "1s"}])
    dense = (
        site.client()
        .get("/timeline", params={"from": "2030-01-01T00:00:00Z", "to": "2030-01-08T00:00:00Z", "cells": "100", "ids": second})
        .json()
    )
    site.client().delete(f"/routines/{second}")
    assert [mark[0] for mark in dense["rows"][0]["marks"]] == list(range(100))
    for query in ({"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}, {"cells": "0"}, {"cells": "401"}, {"from": "soon"},
                  {"from": "2030-01-01T00:00:00Z", "to": "2032-01-01T00:00:00Z"}):  # fmt: skip
        problem(site.client().get("/timeline", params=query), 400)


def test_the_state_of_the_workspace_names_only_what_one_sees(site):
    site.workspace.define("broken-one", "name: Broken\nowner: alice\ntimeout: soon\n")
    until(lambda: "broken-one" in site.client().get("/status").text)
    told = site.client("user", "bob").get("/status").json()
    assert "broken-one" not in json.dumps(told)
    assert [told[key] for key in ("running", "broken", "held", "health")] == [[], [], [], []]
    (site.workspace.root / "routines/broken-one/ROUTINE.yaml").unlink()


def test_who_one_is_and_why_and_agents_and_budgets(site):
    me = site.client("viewer", "bob").get("/me").json()
    assert (me["role"], me["owner"], me["sees_all"], me["serve_alive"], me["timezone"]) == ("viewer", "bob", False, True, "UTC")
    name = site.new(name="Asked why", budget={"per_day": {"runs": 3}})
    run = site.client().post(f"/routines/{name}/run_now").json()["run"]
    until(lambda: site.client().get(f"/routines/{name}/why", params={"run": run}).json()["verdict"] == "ran")
    assert site.client().get(f"/routines/{name}/why", params={"at": "2030-01-01T09:00:00Z"}).json()["verdict"] == "future"
    problem(site.client().get(f"/routines/{name}/why", params={"at": "soon"}), 400)
    assert [(row["what"], row["cap"]) for row in site.client().get("/budgets").json()["items"] if row["id"] == name] == [("runs", 3)]
    assert name not in site.client("user", "bob").get("/budgets").text
    assert site.client().get("/agents").json() == {"items": []}


@pytest.mark.parametrize("odd", ["UPPER", "../evil", "..", "/tmp/x", "a b", "events", "", "x" * 64, 7.5, ["a"], "a\n"])
def test_an_id_that_is_none_is_refused_at_every_door(site, odd):
    before = sorted((site.workspace.root / "routines").iterdir())
    client = site.client()
    assert client.post("/routines", json={"id": odd, "name": "Fine", **GOOD}).status_code == 400
    name = urllib.parse.quote(str(odd), safe="")
    assert client.put(f"/routines/{name}/definition", json={"text": "timeout: 1m\naction: {command: ['true']}\n"}).status_code in (
        400,
        404,
        405,
    )
    for verb, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/run"), ("GET", "/history"), ("GET", "/runs/..%2F..%2Fx")):
        if odd not in ("", "..", "events"):  # no client sends the first two as they are, and the last is a stream
            more = {"json": {}} if verb in ("PATCH", "POST") else {}
            assert client.request(verb, f"/routines/{name}{path}", **more).status_code in (404, 405)
    assert sorted((site.workspace.root / "routines").iterdir()) == before
