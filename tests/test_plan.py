"""What a change of the definitions means, between two commits and up to the files as they are."""

from __future__ import annotations

import subprocess

import pytest

DAILY = "triggers: [{daily: '09:00'}]\ntimeout: 5m\naction: {command: ['true']}\n"


def git(workspace, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t.invalid"]
    subprocess.run(["git", *identity, *words], cwd=workspace.root, check=True, capture_output=True, env=workspace.env)


@pytest.fixture
def repository(workspace):
    workspace.define("keep", DAILY)
    workspace.define("change", DAILY)
    workspace.define("gone", DAILY)
    git(workspace, "init", "-q")
    git(workspace, "add", "-A")
    git(workspace, "commit", "-qm", "one")
    return workspace


def test_between_head_and_the_files(repository):
    repository.define("new", "triggers: [{every: 15m}]\ntimeout: 5m\naction: {command: ['true']}\n")
    repository.define("change", DAILY.replace("daily: '09:00'", "every: 12h") + "cooldown: 1h\n")
    (repository.root / "routines/gone/ROUTINE.yaml").unlink()

    found = repository.ok("plan", "--json").data
    assert {item["id"]: (item["kind"], item["fires_before"], item["fires_after"]) for item in found["changes"]} == {
        "change": ("changed", 30, 60), "gone": ("removed", 30, 0), "new": ("added", 0, 2880),
    }  # fmt: skip
    assert (found["fires_gained"], found["fires_lost"], found["widening"]) == (2910, 30, 0)
    said = repository.ok("plan")
    assert "cooldown: 1h (new)" in said.out
    assert "+ new  2880 fires in 30 days" in said.out
    assert "1 added, 1 removed, 1 changed; 2910 fires more and 30 less in 30 days" in said.err


def test_between_two_commits_and_what_widens_is_marked(repository):
    repository.define("change", DAILY.replace("action: {", "approval: none\naction: {secrets: {T: {env: T}}, "))
    git(repository, "commit", "-qam", "two")

    found = repository.run("plan", "HEAD~1..HEAD")
    assert found.code == 1
    assert "! action.secrets.T.env: T (new)" in found.out
    assert "1 may do more than before" in found.err
    assert repository.ok("plan").err.strip() == "Nothing changes between HEAD and the files"


def test_an_approval_that_is_dropped_widens(repository):
    repository.define("change", DAILY + "approval: every_run\n")
    assert repository.run("plan").code == 0
    git(repository, "commit", "-qam", "two")
    repository.define("change", DAILY)

    assert "! approval: every_run (gone)" in repository.run("plan").out


@pytest.mark.parametrize(("was", "now", "more"), [
    ("{cpu: 60s}", "{cpu: 2m}", True),
    ("{cpu: 2m}", "{cpu: 60s}", False),
    ("{memory: 512MiB}", "{memory: 1GiB}", True),
    ("{memory: 512MiB}", "{}", True),
    ("{per_day: {runs: 3, wall: 1h}}", "{per_day: {runs: 4, wall: 1h}}", True),
    ("{per_day: {wall: 1h}}", "{per_day: {wall: 60m}}", False),
    ("{}", "{per_day: {wall: 60m}}", False),
])  # fmt: skip
def test_a_budget_that_grows_widens(repository, was, now, more):
    repository.define("change", DAILY + f"budget: {was}\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "two")
    repository.define("change", DAILY + f"budget: {now}\n")

    assert ("! budget." in repository.run("plan").out) is more


def test_what_is_broken_afterwards_is_named(repository):
    repository.define("change", "nonsense: 1\n")

    found = repository.run("plan")
    assert (found.code, "change is broken" in found.out) == (1, True)


@pytest.mark.parametrize("revision", ["nothing", "--output=x", "HEAD..nothing"])
def test_a_revision_that_is_none_is_said(repository, revision):
    assert repository.run("plan", "--", revision).code == 3
