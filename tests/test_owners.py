"""Whose a routine is that names nobody, and what whoever sees none is told: one rule for every face."""

from __future__ import annotations

import os
import pwd

import httpx
import pytest
from conftest import until
from test_mcp import talk

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(("settings", "default"), [("", ME), ("owner: ada", "ada")], ids=["nobody is named", "the settings name one"])
def test_what_add_makes_is_there_for_what_token_create_makes(workspace, settings, default):
    workspace.configure(settings)
    workspace.ok("add", "Hello", "--daily", "09:00", "--", "true")
    made = workspace.ok("token", "create", "--json").data
    assert made["owner"] == default
    assert workspace.ok("list", "--json").data[0]["owner"] == workspace.ok("show", "hello", "--json").data["owner"] == default

    with workspace.serving("--http", "127.0.0.1:0") as serving:
        client = client_of(serving, made["secret"])
        assert [(row["id"], row["owner"]) for row in client.get("/routines").json()["items"]] == [("hello", default)]
        assert client.get("/routines/hello").json()["owner"] == default
        text = client.get("/routines/hello/definition")
        assert client.put("/routines/hello/definition", json={"text": text.json()["text"] + "tags: [a]\n"}).status_code == 200
        assert (
            client.post("/routines", json={"name": "Hello", "id": "second", "action": {"command": ["true"]}, "timeout": "1m"}).status_code
            == 409
        )
    (got,) = talk(workspace, (), {"action": "get", "id": "hello"})
    assert got["owner"] == default


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_user_of_the_workspace_decides_and_not_the_one_who_runs_the_command(workspace):
    workspace.ok("add", "Hello", "--daily", "09:00", "--", "true")
    for uid, name in ((pwd.getpwnam("nobody").pw_uid, "nobody"), (54321, "54321")):
        os.chown(workspace.root / "routinectl.yaml", uid, -1)
        fingerprint = workspace.ok("show", "hello", "--json").data["fingerprint"]

        assert workspace.ok("list", "--json").data[0]["owner"] == name
        assert workspace.ok("token", "create", "--json").data["owner"] == name
        os.chown(workspace.root / "routinectl.yaml", 0, -1)
        assert workspace.ok("show", "hello", "--json").data["fingerprint"] == fingerprint, (
            "whose folder it is does not change what it means"
        )


def client_of(serving, secret):
    base = "http://" + serving.wait_for("HTTP on http://").partition("HTTP on http://")[2].split()[0]
    client = httpx.Client(base_url=base, headers={"Authorization": f"Bearer {secret}"}, timeout=30)
    until(lambda: answers(client))
    return client


def answers(client):
    try:
        return client.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False


EMPTY = [
    ("a user who has none", ("user", "bob"), "", "There are no routines of bob"),
    ("a viewer who has none", ("viewer", "bob"), "", "There are no routines of bob"),
    ("filters count only what one sees", ("user", "bob"), "status=paused", "There are no routines of bob"),
    ("none fits", ("user", "ada"), "status=paused&tag=x", "None of the 2 routines of ada fits: status paused, tag x"),
    ("none of one fits", ("user", "eve"), "text=nothing", "The one routine of eve does not fit: text nothing"),
    ("an admin", ("admin", "ada"), "tag=x", "None of the 3 routines fits: tag x"),
    ("a viewer of all", ("viewer", "*"), "tag=x", "None of the 3 routines fits: tag x"),
    ("whoever sees some is told nothing", ("user", "ada"), "", ""),
]


def test_an_empty_list_says_why_and_never_what_others_have(workspace):
    workspace.configure("owner: ada")
    for name, owner in (("one", ""), ("two", ""), ("three", "owner: eve\n")):
        workspace.define(name, f"{owner}timeout: 1m\naction: {{command: [echo, hi]}}\n")
    with workspace.serving("--http", "127.0.0.1:0") as serving:
        for what, (role, owner), query, none in EMPTY:
            client = client_of(serving, workspace.ok("token", "create", "--role", role, "--owner", owner).out.strip())
            found = client.get(f"/routines?{query}").json()
            assert found["none"] == none, what
            if not query:
                assert client.get("/routines", params={"since": found["position"]}).json()["none"] == none, what
    (listed,) = talk(workspace, ("--owner", "bob"), {"action": "list"})
    assert listed["none"] == "There are no routines of bob"


def test_the_command_says_why_its_list_is_empty(workspace):
    assert workspace.ok("list").err == "There are no routines here; Hint: routinectl add\n"
    workspace.define("one", "timeout: 1m\naction: {command: [echo, hi]}\n")
    assert workspace.ok("list", "--status", "paused", "--tag", "x").err == "The one routine here does not fit: status paused, tag x\n"


def test_whoever_makes_a_token_that_sees_nothing_is_told(workspace):
    workspace.configure("owner: ada")
    assert "has no routines" not in workspace.ok("token", "create", "--owner", "bob").err, "there are none at all"
    workspace.define("one", "timeout: 1m\naction: {command: [echo, hi]}\n")
    said = workspace.ok("token", "create", "--role", "viewer", "--owner", "bob").err

    assert "bob has no routines here: they are ada's" in said
    assert said.splitlines()[-1] == "Hint: routinectl token create --role viewer --owner ada"
