"""Completion with a real Tab in real shells: commands, options, and ids that live."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import pytest
from needs import need

DAILY = "triggers: [{daily: '09:00'}]\ntimeout: 5m\naction: {command: [echo, hi]}\n"
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SETUP = {
    "bash": "bind 'set bell-style none'; PS1='READY> '; source <(routinectl completion bash)",
    "zsh": "PS1='READY> '; autoload -U compinit; compinit -u -D; source <(routinectl completion zsh)",
    "fish": "function fish_prompt; echo -n 'READY> '; end; routinectl completion fish | source",
}


@pytest.fixture
def command(workspace, tmp_path) -> Path:
    """A folder with a `routinectl` in it, as an installation would have one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "routinectl").write_text(f'#!/bin/sh\nexec {sys.executable} -m routinectl "$@"\n')
    (folder / "routinectl").chmod(0o755)
    return folder


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_completes_commands_ids_and_options(workspace, command, shell):
    need(shell)
    workspace.define("backup-nightly", DAILY)
    env = {**workspace.env, "PATH": f"{command}:{workspace.env['PATH']}", "TERM": "dumb" if shell != "fish" else "xterm"}
    child = pexpect.spawn(
        SHELLS[shell][0], SHELLS[shell][1:], cwd=str(workspace.root), env=env, encoding="utf-8", timeout=20, dimensions=(40, 200)
    )
    try:
        child.sendline(SETUP[shell])
        child.expect("READY> ")
        child.expect(["READY> ", pexpect.TIMEOUT], timeout=3)
        child.send("echo routinectl-was; routinectl sho\t")
        child.expect("show")
        child.send(" back\t")
        child.expect("backup-nightly")
        child.send(" --js\t")
        child.expect("--json")
        child.sendline("")
        child.expect('"id": "backup-nightly"')
    finally:
        child.close(force=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pre"], ["preview"]),
        (["-w", "x", "pau"], ["pause"]),
        (["import", "c"], ["crontab"]),
        (["completion", "z"], ["zsh"]),
        (["show", "ba"], ["backup-nightly"]),
        (["rm", "--y"], ["--yes"]),
        (["events", "--routine", ""], ["backup-nightly"]),
        (["list", ""], []),
        (["nonsense", ""], []),
    ],
    ids=" ".join,
)
def test_candidates(workspace, words, expected):
    workspace.define("backup-nightly", DAILY)
    assert workspace.ok("__complete", *words).out.split() == expected


def test_runs_are_offered_to_logs(workspace):
    workspace.define("x", DAILY)
    workspace.ok("run-now", "x", "--wait")

    assert len(workspace.ok("__complete", "logs", "x", "2").out.split()) == 1


def test_an_unknown_shell_is_refused(workspace):
    assert workspace.run("completion", "zhs").err.splitlines()[-1] == "Hint: did you mean 'zsh'?"
