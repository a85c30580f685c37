"""`add` on a terminal, asking step by step: no answer is lost, and a wrong one is asked again with the reason."""

from __future__ import annotations

import os
import pty
import select
import time

import pytest
import yaml
from conftest import PATIENCE, _forker

NAME, COMMAND, WHEN = "Name: ", "Command (a line for /bin/sh): ", "by hand only): "


def talk(workspace, words, *steps):
    """Run a command on a terminal of its own; each step is what it says, and the answer. Returns its code and all that was seen."""
    ours, theirs = pty.openpty()
    process = _forker().start(words, workspace.root, workspace.env, (theirs, theirs, theirs))
    os.close(theirs)
    seen, said = "", ""
    try:
        for asked, answer in steps:
            seen = heard(ours, seen, asked)
            said, seen = said + seen, ""
            os.write(ours, answer.encode() + b"\n")
        seen = heard(ours, seen, None)
        return process.wait(PATIENCE), (said + seen).replace("\r\n", "\n")
    finally:
        os.close(ours)


def heard(terminal, seen, word):
    """Read until a word is said, or (None) until the end."""
    deadline = time.monotonic() + PATIENCE
    while word is None or word not in seen:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"{word!r} was not said: {seen!r}"
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            chunk = b""
        if not chunk:
            assert word is None, f"{word!r} was not said: {seen!r}"
            return seen
        seen += chunk.decode()
    return seen


def made(workspace, name):
    return yaml.safe_load((workspace.root / f"routines/{name}/ROUTINE.yaml").read_text())


def test_an_empty_when_means_by_hand_only(workspace):
    code, said = talk(workspace, ["add"], (NAME, "Tea"), (COMMAND, "echo tea; true"), (WHEN, ""))

    assert (code, "runs by hand only" in said) == (0, True), said
    assert made(workspace, "tea") == {"schema": 1, "name": "Tea", "action": {"command": "echo tea; true"}}


AGAIN = {
    "a name that gives no id": ([(NAME, "???"), (NAME, "Tea"), (COMMAND, "x"), (WHEN, "")], "gives no id"),
    "an id that is taken": ([(NAME, "taken"), (NAME, "Tea"), (COMMAND, "x"), (WHEN, "")], "the routine taken exists already"),
    "a name that is taken": ([(NAME, "The Name!"), (NAME, "Tea"), (COMMAND, "x"), (WHEN, "")], "has a routine named 'The Name!' already"),
    "no name, no command": ([(NAME, ""), (NAME, "Tea"), (COMMAND, ""), (COMMAND, "x"), (WHEN, "")], ""),
    "a schedule that is none": ([(NAME, "Tea"), (COMMAND, "x"), (WHEN, "when it rains"), (WHEN, "0 9 32 * *"), (WHEN, "")], "Error: "),
}


@pytest.mark.parametrize(("steps", "reason"), AGAIN.values(), ids=list(AGAIN))
def test_a_wrong_answer_is_asked_again_with_the_reason(workspace, steps, reason):
    workspace.define("taken", "name: The Name!\ntimeout: 1m\naction: {command: 'true'}\n")
    code, said = talk(workspace, ["add"], *steps)

    assert (code, reason in said) == (0, True), said
    assert made(workspace, "tea")["action"] == {"command": "x"}


def test_only_what_was_not_given_is_asked(workspace):
    code, said = talk(workspace, ["add", "--daily", "9:00", "--shell", "echo x"], (NAME, "Tea"))
    assert (code, COMMAND in said, WHEN in said) == (0, False, False), said
    assert made(workspace, "tea")["action"] == {"command": "echo x"}

    code, said = talk(workspace, ["add", "--manual"], (NAME, "Two"), (COMMAND, "echo two"))
    assert (code, WHEN in said) == (0, False), said


def test_answers_are_told_as_a_command_where_an_option_was_wrong(workspace):
    code, said = talk(workspace, ["add", "--timeout", "soon"], (NAME, "My tea"), (COMMAND, "echo 'tea'"), (WHEN, "every day at 9"))

    assert (code, "not a duration" in said) == (78, True), said
    assert """What you answered: routinectl add 'My tea' --schedule 'every day at 9' --shell 'echo '"'"'tea'"'"''""" in said
    assert not (workspace.root / "routines/my-tea").exists()


def test_ctrl_d_ends_it_and_nothing_is_made(workspace):
    code, said = talk(workspace, ["add"], (NAME, "Tea"), (COMMAND, "\x04"))
    assert (code, "Traceback" in said) == (130, False), said
    assert not (workspace.root / "routines/tea").exists()
