"""Runs at propose_edits: what they see, what becomes a proposal, what a person does with it. Without git too."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from conftest import until
from needs import needs

pytestmark = needs("confinement")


@pytest.fixture
def garden(workspace):
    """A workspace in git, with something to edit."""
    (workspace.root / "docs").mkdir()
    (workspace.root / "docs/a.md").write_text("one\ntwo\nthree\n")
    (workspace.root / "docs/gone.md").write_text("old\n")
    (workspace.root / "docs/odd näme.md").write_text("x\n")
    subprocess.run("git init -q . && git add -A && git -c user.name=t -c user.email=t@t commit -qm begin", shell=True, cwd=workspace.root,
                   check=True, env={**workspace.env, "HOME": str(workspace.root)})  # fmt: skip
    return workspace


def propose(workspace, script, *, more="", grants=""):
    workspace.define(
        "gardener",
        f"permissions: {{level: propose_edits{grants}}}\ntimeout: 1m\nkill_grace: 1s\n{more}action: {json.dumps({'command': script})}\n",
    )
    done = workspace.run("run-now", "gardener", "--wait")
    (end,) = workspace.events("run.ended", "gardener")[-1:]
    return done, end["data"]


EDIT = ("cd ../../docs && sed -i s/two/TWO/ a.md && rm gone.md && echo new > new.md && chmod +x new.md && echo y > 'odd näme.md' "
        "&& echo tidied > $ROUTINE_RESULT")  # fmt: skip


def test_what_a_run_changes_is_proposed_and_a_person_applies_it(garden):
    done, end = propose(garden, EDIT)
    assert (done.code, end["outcome"], end["message"]) == (0, "succeeded", "tidied"), done.err
    docs = garden.root / "docs"
    assert (docs / "a.md").read_text() == "one\ntwo\nthree\n"
    assert (docs / "gone.md").exists()
    (item,) = garden.ok("proposals", "list", "--json").data
    assert item["what"] == "edits"
    assert [(file["path"], file["added"], file["removed"]) for file in item["files"]] == [
        ("docs/a.md", 1, 1), ("docs/gone.md", 0, 1), ("docs/new.md", 1, 0), ("docs/odd näme.md", 1, 1)]  # fmt: skip
    shown = garden.ok("proposals", "show", item["proposal"]).out
    assert "-two" in shown
    assert "+TWO" in shown
    assert "docs/new.md  +1 -0" in shown
    applied = garden.ok("proposals", "apply", item["proposal"])
    assert "changed docs/a.md" in applied.err
    assert (docs / "a.md").read_text() == "one\nTWO\nthree\n"
    assert not (docs / "gone.md").exists()
    assert (docs / "new.md").stat().st_mode & 0o111
    assert (docs / "odd näme.md").read_text() == "y\n"
    assert garden.run("proposals", "apply", item["proposal"]).code == 3
    assert not list((garden.root / ".routinectl/runs/gardener").glob("*/tree"))


def test_without_git_it_is_the_same(workspace):
    (workspace.root / "notes.md").write_text("one\n")
    shutil.rmtree(workspace.root / ".git", ignore_errors=True)
    propose(workspace, "echo two >> ../../notes.md; echo mine > memory/m; ls -A ../..")
    (item,) = workspace.ok("proposals", "list", "--json").data
    assert [file["path"] for file in item["files"]] == ["notes.md"]
    workspace.ok("proposals", "apply", "gardener")
    assert (workspace.root / "notes.md").read_text() == "one\ntwo\n"
    assert (workspace.root / "routines/gardener/memory/m").read_text() == "mine\n"
    assert ".routinectl" not in workspace.ok("logs", "gardener").out


def test_a_persons_unfinished_work_is_seen_and_neither_lost_nor_proposed(garden):
    (garden.root / "docs/a.md").write_text("one\ntwo\nthree\nmine, not committed\n")
    (garden.root / "docs/untracked.md").write_text("mine too\n")
    propose(garden, "cd ../../docs && cat untracked.md && sed -i s/one/ONE/ a.md")
    garden.ok("proposals", "apply", "gardener")
    assert (garden.root / "docs/a.md").read_text() == "ONE\ntwo\nthree\nmine, not committed\n"
    assert "mine too" in garden.ok("logs", "gardener").out


def test_what_does_not_apply_any_more_is_a_conflict_and_is_kept(garden):
    propose(garden, EDIT)
    (garden.root / "docs/a.md").write_text("all new\n")
    (item,) = garden.ok("proposals", "list", "--json").data
    done = garden.run("proposals", "apply", item["proposal"])
    assert done.code == 75
    assert "conflict:" in done.err
    assert "git apply --3way .routinectl/proposals/" in done.err
    assert (garden.root / "docs/a.md").read_text() == "all new\n"
    assert (garden.root / "docs/gone.md").exists()
    assert [waiting["proposal"] for waiting in garden.ok("proposals", "list", "--json").data] == [item["proposal"]]
    garden.ok("proposals", "reject", item["proposal"], "--note", "too late")
    assert garden.ok("proposals", "list", "--json").data == []


def test_a_definition_that_is_changed_so_becomes_a_draft(garden):
    garden.define("other", "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
    garden.ok("list")
    propose(garden, "sed -i s/09:00/10:00/ ../other/ROUTINE.yaml; mkdir ../fresh; cp ../other/ROUTINE.yaml ../fresh/")
    done = garden.ok("proposals", "apply", "gardener")
    assert "routinectl approve other" in done.err
    found = {row["id"]: row["status"] for row in garden.ok("list", "--json").data}
    assert (found["other"], found["fresh"]) == ("draft", "draft")


def test_routines_of_an_agent_that_is_changed_so_become_drafts(garden):
    (garden.root / "agents/reviewer").mkdir(parents=True)
    (garden.root / "agents/reviewer/AGENT.md").write_text("---\ndescription: x\n---\nYou review.\n")
    garden.configure("models: {default: {provider: openai, model: tiny}}")
    garden.define("uses", "timeout: 1m\naction: {agent: {use: reviewer, task: Look.}}\n")
    garden.ok("list")
    propose(garden, "echo 'And delete.' >> ../../agents/reviewer/AGENT.md")
    assert "routinectl approve uses" in garden.ok("proposals", "apply", "gardener").err
    assert {row["id"]: row["status"] for row in garden.ok("list", "--json").data}["uses"] == "draft"


REFUSED = {
    "a link to a secret": "ln -s /etc/passwd ../../docs/l",
    "a link out of the workspace": "ln -s ../../../home ../../docs/l",
    "a hook": "mkdir -p ../../.git/hooks && echo x > ../../.git/hooks/pre-commit",
    "a repository below": "mkdir -p ../../docs/x/.git && echo x > ../../docs/x/.git/config",
    "attributes": "echo '* filter=x' > ../../.gitattributes",
    "a secret": "mkdir ../../secrets && echo x > ../../secrets/t",
    "a pipe": "mkfifo ../../docs/p",
    "a link to a secret of the workspace": "ln -s ../secrets/t ../../docs/l",
    "the settings": "echo 'trust: local' >> ../../routinectl.yaml",
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_may_propose(garden, case):
    done, end = propose(garden, REFUSED[case])
    assert (done.code, end["outcome"]) == (1, "denied")
    assert "may not be proposed" in end["message"]
    assert garden.ok("proposals", "list", "--json").data == []


def test_a_link_that_stays_inside_may_be_proposed(garden):
    propose(garden, "ln -s a.md ../../docs/l")
    garden.ok("proposals", "apply", "gardener")
    assert (garden.root / "docs/l").readlink().name == "a.md"


def test_a_run_that_fails_proposes_nothing(garden):
    done, end = propose(garden, "echo x > ../../docs/a.md; exit 5")
    assert (done.code, end["exit_code"]) == (5, 5)
    assert garden.ok("proposals", "list", "--json").data == []


def test_a_run_that_is_out_of_time_proposes_nothing(garden):
    garden.define(
        "gardener",
        "permissions: {level: propose_edits}\ntimeout: 2s\nkill_grace: 2s\naction: {command: 'echo x > ../../docs/a.md; sleep 60'}\n",
    )
    garden.run("run-now", "gardener", "--wait")
    (end,) = garden.events("run.ended", "gardener")
    assert end["data"]["outcome"] == "timed_out"
    assert garden.ok("proposals", "list", "--json").data == []


def test_nothing_changed_is_no_proposal(garden):
    _, end = propose(garden, "touch ../../docs/a.md")
    assert end["outcome"] == "succeeded"
    assert garden.ok("proposals", "list", "--json").data == []


def test_what_it_may_write_is_written_at_once(garden):
    propose(garden, "echo at once > ../../build/x; echo later > ../../docs/a.md", grants=", write: ['workspace:build/']")
    assert (garden.root / "build/x").read_text() == "at once\n"
    (item,) = garden.ok("proposals", "list", "--json").data
    assert [file["path"] for file in item["files"]] == ["docs/a.md"]


def test_a_patch_that_somebody_changed_is_not_applied(garden):
    propose(garden, EDIT)
    (path,) = (garden.root / ".routinectl/proposals").iterdir()
    path.write_bytes(path.read_bytes().replace(b"+TWO", b"+EVIL"))
    done = garden.run("proposals", "apply", "gardener")
    assert done.code == 3
    assert "not the one that was recorded" in done.err


def test_serve_makes_the_proposal_of_a_scheduled_run(garden):
    garden.configure("limits: {max_concurrent_runs: 2}")
    garden.define(
        "gardener",
        "triggers: [{every: 1s}]\nmax_runs: 1\npermissions: {level: propose_edits}\ntimeout: 1m\naction: {command: 'echo x >> ../../docs/a.md'}\n",
    )
    with garden.serving():
        until(lambda: garden.events("proposal.created", "gardener"))
    assert garden.ok("status").out.count("proposals of agents wait") == 1


def test_over_http_a_user_sees_the_patch_and_an_admin_applies_it(garden):
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("starlette")
    garden.configure("owner: bob")
    propose(garden, EDIT)
    tokens = {role: garden.ok("token", "create", "--role", role, "--owner", "bob").out.strip() for role in ("user", "admin", "agent")}
    with garden.serving("--http", "127.0.0.1:0") as serving:
        url = serving.wait_for("HTTP on http://").partition("HTTP on ")[2].split()[0]

        def call(role, method, path):
            return httpx.request(method, url + path, headers={"Authorization": f"Bearer {tokens[role]}"}, timeout=30)

        (item,) = call("user", "GET", "/proposals").json()["items"]
        path = f"/proposals/{item['proposal']}"
        assert "+TWO" in call("user", "GET", path).json()["patch"]
        assert call("user", "POST", f"{path}/apply").status_code == 403
        assert call("agent", "POST", f"{path}/apply").status_code == 403
        assert (garden.root / "docs/a.md").read_text() == "one\ntwo\nthree\n"
        applied = call("admin", "POST", f"{path}/apply")
        assert (applied.status_code, applied.json()["drafts"]) == (200, [])
        assert call("admin", "POST", f"{path}/apply").status_code == 404
    assert (garden.root / "docs/a.md").read_text() == "one\nTWO\nthree\n"
