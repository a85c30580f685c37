"""P13: what was approved is what runs, whatever becomes of the files meanwhile."""

from __future__ import annotations

import contextlib
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import until
from needs import need

from routinectl import clock
from routinectl.engine.engine import Engine
from routinectl.files import config, sealed
from routinectl.files.layout import Layout
from routinectl.operations.upkeep import keep_up

ASKS = "approval: before_first_run\n"
WAITS = "#!/bin/sh\necho on its way > memory/sign\nwhile [ ! -e memory/go ]; do sleep 0.05; done\n. ./part.sh\necho and done\n"
READS_ITSELF = '#!/bin/sh\n[ "$1" = again ] && { echo what was approved; echo and done; exit; }\n' + WAITS.replace(
    ". ./part.sh\necho and done\n", 'exec sh "$0" again\n')  # fmt: skip
CONFINED = "permissions: {level: read_only}\n"
PYTHON = """
import pathlib, time
def main():
    memory = pathlib.Path(__import__("os").environ["ROUTINE_MEMORY"])
    (memory / "sign").touch()
    while not (memory / "go").exists():
        time.sleep(0.05)
    import part
    print(part.WORD)
    return "and done"
"""


def ship(workspace, command: str = "[./ship.sh]", more: str = "", script: str = WAITS) -> Path:
    folder = workspace.define("ship", f"{ASKS}{more}action: {{command: {command}}}\n").parent
    (folder / "ship.sh").write_text(script)
    (folder / "ship.sh").chmod(0o755)
    (folder / "part.sh").write_text("echo what was approved\n")
    return folder


def printed_by(workspace, run: str) -> str:
    return (workspace.root / ".routinectl/runs/ship" / run / "out").read_text()


WAYS = [
    # name, the action, the rest of the definition
    ("a script of its folder", "{command: [./ship.sh]}", ""),
    ("a line for a shell", "{command: './ship.sh && true'}", ""),
    ("an absolute path in a line", "{command: 'cd / && exec {folder}/ship.sh'}", ""),
    (
        "a line with all that shells have",
        "{command: \"./ship.sh 2>/dev/null | cat > 'out/a b' && cat < \\\"out/a b\\\" ./.settings; cat 'out/a b' >&2\"}",
        "",
    ),
    ("a program that is given the script", "{command: [sh, ship.sh]}", ""),
    ("a script elsewhere", "{command: [../../tools/deploy/ship.sh]}", ""),
    ("a script elsewhere, in a line", "{command: 'sh ../../tools/deploy/ship.sh'}", ""),
    ("a function of its folder", "{python: {entrypoint: 'mission:main'}}", ""),
    ("a function of the workspace", "{python: {entrypoint: 'tools.mission:main'}}", ""),
    ("confined, a script of its folder", "{command: [./ship.sh]}", CONFINED),
    ("confined, a script elsewhere", "{command: [../../tools/deploy/ship.sh]}", CONFINED),
    ("proposing edits", "{command: [./ship.sh]}", "permissions: {level: propose_edits}\n"),
    ("confined, a function", "{python: {entrypoint: 'mission:main'}}", CONFINED),
]


@pytest.mark.parametrize(("action", "more"), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS])
def test_a_run_goes_on_with_the_bytes_that_were_approved(workspace, action, more):
    if more:
        need("confinement")
    folder = ship(workspace)
    tools = workspace.root / "tools/deploy"
    tools.mkdir(parents=True)
    (tools / "ship.sh").write_text(READS_ITSELF)
    (tools / "ship.sh").chmod(0o755)
    for place in (folder, tools.parent):
        (place / "mission.py").write_text(PYTHON)
        (place / "part.py").write_text("WORD = 'what was approved'\n")
    workspace.define("ship", f"{ASKS}{more}action: {action.replace('{folder}', str(folder))}\n")
    if "cd /" in action:
        (folder / "ship.sh").write_text(WAITS.replace("memory/", "$ROUTINE_MEMORY/").replace("./part", "$(dirname $0)/part"))
    workspace.ok("approve", "ship")
    with workspace.serving():
        run = workspace.ok("run-now", "ship", "--json").data["run"]
        until((folder / "memory/sign").exists)
        for path in (*folder.glob("*.sh"), *tools.glob("*.sh"), folder / "part.py", folder / "mission.py"):
            path.write_text("#!/bin/sh\necho what nobody approved; exit 3\n" if path.suffix == ".sh" else "WORD = 'what nobody approved'\n")
        (folder / "memory/go").touch()
        until(lambda: workspace.events("run.ended"))
    (end,) = workspace.events("run.ended")

    assert (end["data"]["outcome"], end["data"]["message"]) == ("succeeded", "and done"), printed_by(workspace, run)
    assert "what was approved" in printed_by(workspace, run)
    assert "nobody" not in printed_by(workspace, run)


class TestAskedAgain:
    def once_approved(self, workspace) -> Path:
        folder = ship(workspace, script="#!/bin/sh\necho yes\n")
        workspace.ok("approve", "ship")
        assert workspace.run("run-now", "ship", "--wait").code == 0
        return folder

    def test_after_a_change_that_hides_behind_size_and_time(self, workspace):
        with workspace.serving():
            folder = self.once_approved(workspace)
            before = (folder / "part.sh").stat()
            (folder / "part.sh").write_text("echo what was aqqroved\n")
            os.utime(folder / "part.sh", ns=(before.st_atime_ns, before.st_mtime_ns))

            workspace.ok("run-now", "ship")
            until(lambda: workspace.ok("approvals", "--json").data)
        assert len(workspace.events("run.claimed")) == 1

    def test_after_a_link_to_a_folder_leads_elsewhere(self, workspace):
        folder = ship(workspace, script="#!/bin/sh\necho yes\n")
        for name in ("one", "two"):
            (folder / name).mkdir()
        (folder / "current").symlink_to("one")
        workspace.ok("approve", "ship")
        assert workspace.run("run-now", "ship", "--wait").code == 0
        (folder / "current").unlink()
        (folder / "current").symlink_to("two")

        assert workspace.run("run-now", "ship").code == 77

    def test_not_after_its_workspace_moved(self, workspace):
        workspace.define("ship", f"{ASKS}action: {{command: [../../ship.sh]}}\n")
        (workspace.root / "ship.sh").write_text("#!/bin/sh\necho yes\n")
        (workspace.root / "ship.sh").chmod(0o755)
        workspace.ok("approve", "ship")
        workspace.root = workspace.root.rename(workspace.root.with_name("elsewhere"))

        assert workspace.run("run-now", "ship", "--wait").code == 0


def test_a_later_attempt_acts_with_the_bytes_of_the_first(workspace):
    script = "#!/bin/sh\n[ -e memory/again ] && echo the second && exit 0\ntouch memory/again; exit 4\n"
    folder = ship(workspace, more="retry: {attempts: 2, delay: 2s}\n", script=script)
    workspace.ok("approve", "ship")
    with workspace.serving() as serving:
        workspace.ok("run-now", "ship")
        serving.wait_for("failed")
        (folder / "ship.sh").write_text("#!/bin/sh\necho what nobody approved\n")
        serving.wait_for("succeeded")

    assert workspace.events("run.ended")[-1]["data"]["message"] == "the second"
    assert len({event["data"]["content"] for event in workspace.events("run.claimed")}) == 1


def test_what_is_changed_between_claim_and_start_does_not_run(workspace):
    folder = ship(workspace, script="#!/bin/sh\necho yes\n")
    workspace.define("ship", f"{ASKS}triggers: [{{every: 1s}}]\naction: {{command: [./ship.sh]}}\n")
    workspace.ok("approve", "ship")
    engine = Engine(Layout(workspace.root), config.load(Layout(workspace.root)))
    engine.world.load()
    later = clock.now() + timedelta(seconds=2)
    claimed = engine.fire(["ship"], later)
    (folder / "part.sh").write_text("echo what nobody approved\n")
    engine.hand_over(claimed, later)

    (end,) = workspace.events("run.ended")
    assert (end["data"]["outcome"], end["data"]["message"]) == (
        "not_started", "what it acts with was changed after it was claimed; nothing of it ran")  # fmt: skip
    assert not list((workspace.root / ".routinectl").glob("sealed.*"))


def test_a_run_that_proposes_edits_works_on_the_bytes_that_were_approved(tmp_path):
    sealed_one, copied = tmp_path / "sealed", tmp_path / "copy"
    for place in (sealed_one, copied / "routines/x"):
        (place / "part").mkdir(parents=True)
        (place / "run.sh").write_text("approved\n")
        (place / "part/more.sh").write_text("approved\n")
    (sealed_one / sealed.NAMED / "tools").mkdir(parents=True)
    (sealed_one / sealed.NAMED / "tools/x.sh").write_text("approved\n")

    assert sealed.difference(sealed_one, copied, "x") == ""
    for name in ("tools/x.sh", "routines/x/part/more.sh", "routines/x/json.py"):
        path = copied / name
        before = path.read_text() if path.exists() else ""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("another\n")
        assert sealed.difference(sealed_one, copied, "x") == name
        path.write_text(before) if before else path.unlink()


def test_a_copy_that_was_tampered_with_is_made_again(workspace):
    ship(workspace, script="#!/bin/sh\n. ./part.sh\n")
    workspace.ok("approve", "ship")
    assert workspace.run("run-now", "ship", "--wait").code == 0
    (copy,) = (workspace.root / ".routinectl").glob("sealed.ship.*")
    (copy / "part.sh").write_text("echo forged; exit 9\n")
    copy.chmod(0o755)
    (copy / "ship.sh.bak").touch()

    assert workspace.run("run-now", "ship", "--wait").code == 0
    assert not (copy / "ship.sh.bak").exists()
    assert {event["data"]["message"] for event in workspace.events("run.ended")} == {"what was approved"}


def test_the_rest_of_its_folder_is_there(workspace):
    script = "#!/bin/sh\ncat .settings && echo kept > memory/note && mkdir -p out && echo done > out/report && ls ../../routinectl.yaml\n"
    folder = ship(workspace, script=script)
    (folder / ".settings").write_text("as they are\n")
    workspace.ok("approve", "ship")

    assert workspace.run("run-now", "ship", "--wait").code == 0
    assert (folder / "out/report").read_text() == "done\n"
    assert (folder / "memory/note").read_text() == "kept\n"


def test_the_files_of_another_commit_run_only_if_they_were_approved(workspace):
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=workspace.root, check=True, capture_output=True)

    folder = ship(workspace, script="#!/bin/sh\necho the first\n")
    (workspace.root / ".gitignore").write_text(".routinectl/\nmemory/\nstate.json\nhistory.jsonl\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    workspace.ok("approve", "ship")
    with workspace.serving():
        first = workspace.ok("run-now", "ship", "--wait", "--json").data["run"]
        workspace.ok("replay", first, "--at-commit")
        until(lambda: len(workspace.events("run.ended")) == 2)
        (folder / "ship.sh").write_text("#!/bin/sh\necho the second\n")
        workspace.ok("approve", "ship")
        workspace.ok("run-now", "ship", "--wait")
        workspace.ok("replay", first, "--at-commit")
        until(lambda: len(workspace.events("run.ended")) == 4)

    assert [event["data"]["message"] for event in workspace.events("run.ended")] == [
        "the first", "the first", "the second", "the files of that commit were never approved"]  # fmt: skip


@pytest.mark.parametrize(("made", "served"), [(0o002, 0o022), (0o002, 0o077), (0o022, 0o002), (0o077, 0o002), (0o077, 0o077)],
                         ids=lambda mask: f"{mask:03o}")  # fmt: skip
@pytest.mark.parametrize("level", ["full", "read_only"])
def test_files_of_another_commit_are_those_that_were_approved_under_any_umask(workspace, made, served, level):
    """git keeps no mode but the x bit; whoever has umask 002 has scripts of mode 775."""

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=workspace.root, check=True, capture_output=True)

    before = os.umask(made)
    try:
        folder = ship(workspace, more=f"permissions: {{level: {level}}}\n", script="#!/bin/sh\n. ./lib/part.sh\n")
        (folder / "lib").mkdir()
        (folder / "part.sh").rename(folder / "lib/part.sh")
        (folder / "lib/link.sh").symlink_to("part.sh")
        (folder / "ship.sh").chmod(0o777 & ~made)
        (workspace.root / ".gitignore").write_text(".routinectl/\nmemory/\nstate.json\nhistory.jsonl\n")
        git("init", "-q")
        git("add", "-A")
        git("commit", "-qm", "one")
        workspace.ok("approve", "ship", env={})
        os.umask(served)
        with workspace.serving(env={}):
            run = workspace.ok("run-now", "ship", "--wait", "--json").data["run"]
            workspace.ok("replay", run, "--at-commit", env={})
            until(lambda: len(workspace.events("run.ended")) == 2)
    finally:
        os.umask(before)
    assert [event["data"]["message"] for event in workspace.events("run.ended")] == ["what was approved"] * 2


def test_whether_a_file_may_be_run_is_approved_and_other_modes_are_not(workspace):
    folder = ship(workspace, script="#!/bin/sh\n. ./part.sh\n")
    workspace.ok("approve", "ship")
    assert workspace.run("run-now", "ship", "--wait").code == 0
    (folder / "part.sh").chmod(0o664)
    (folder / "ship.sh").chmod(0o4775)
    assert workspace.run("run-now", "ship", "--wait").code == 0
    assert not any(
        path.stat().st_mode & 0o6000 for copy in (workspace.root / ".routinectl").glob("sealed.ship.*") for path in copy.rglob("*")
    )
    (folder / "part.sh").chmod(0o755)
    assert workspace.run("run-now", "ship").code == 77


ALONE = {
    "argv": "command: [echo, hi]",
    "absolute": "command: [/bin/echo, hi]",
    "shell": "command: 'echo hi; true'",
    "python": "python: {entrypoint: 'platform:node'}",
}


@pytest.mark.parametrize("serve", [True, False], ids=["with a serve", "without one"])
@pytest.mark.parametrize("level", ["full", "read_only"])
def test_a_routine_that_is_no_more_than_its_definition_runs(workspace, level, serve):
    """There is nothing to copy, and that is not the same as a copy that is there."""
    names = {
        f"{mode}-{kind}".replace("_", "-"): (mode, text)
        for mode in ("before_enable", "before_first_run", "every_run")
        for kind, text in ALONE.items()
    }
    for name, (mode, text) in names.items():
        workspace.define(name, f"approval: {mode}\ntimeout: 1m\npermissions: {{level: {level}}}\naction: {{{text}}}\n")
    with workspace.serving() if serve else contextlib.nullcontext():
        for name in names:
            workspace.run("run-now", name)
            workspace.ok("approve", name)
            if not serve:
                workspace.run("run-now", name)
        until(lambda: workspace.ok("list") and {event["subject"] for event in workspace.events("run.ended")} >= set(names))
    ends = {event["subject"]: (event["data"]["outcome"], event["data"].get("message", "")) for event in workspace.events("run.ended")}
    assert {name: end for name, end in ends.items() if end[0] != "succeeded"} == {}


def removed(copy: Path) -> None:
    sealed.remove(copy)


def emptied(copy: Path) -> None:
    removed(copy)
    copy.mkdir()


def half_made(copy: Path) -> None:
    copy.chmod(0o755)
    next(path for path in copy.iterdir() if path.is_file() or path.is_dir()).rename(copy.parent / "gone")


def a_file(copy: Path) -> None:
    removed(copy)
    copy.write_text("")


def a_link(copy: Path) -> None:
    copy.rename(copy.parent / "kept")
    copy.symlink_to("kept")


@pytest.mark.parametrize("level", ["full", "read_only"])
@pytest.mark.parametrize("harm", [removed, emptied, half_made, a_file, a_link])
@pytest.mark.parametrize("holds", ["nothing", "an empty folder", "a file"])
def test_a_copy_that_is_not_whole_is_made_anew(workspace, level, harm, holds):
    command = {"nothing": "[echo, hi]", "an empty folder": "'ls data && echo hi'", "a file": "[sh, ship.sh]"}[holds]
    folder = workspace.define("ship", f"{ASKS}timeout: 1m\npermissions: {{level: {level}}}\naction: {{command: {command}}}\n").parent
    if holds == "an empty folder":
        (folder / "data").mkdir()
    if holds == "a file":
        (folder / "ship.sh").write_text("echo hi\n")
    workspace.ok("approve", "ship")
    workspace.ok("run-now", "ship", "--wait")
    (copy,) = (workspace.root / ".routinectl").glob("sealed.ship.*")
    if harm is half_made and not any(copy.iterdir()):
        pytest.skip("there is no half of it")
    harm(copy)
    workspace.ok("run-now", "ship", "--wait")
    assert [event["data"].get("message") for event in workspace.events("run.ended")] == ["hi", "hi"]


def test_copies_that_nothing_needs_are_removed_a_day_later(workspace):
    folder = ship(workspace, script="#!/bin/sh\necho yes\n")
    workspace.ok("approve", "ship")
    assert workspace.run("run-now", "ship", "--wait").code == 0
    (first,) = (workspace.root / ".routinectl").glob("sealed.ship.*")
    (folder / "part.sh").write_text("echo another\n")
    workspace.ok("approve", "ship")
    assert workspace.run("run-now", "ship", "--wait").code == 0
    old = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    for copy in (workspace.root / ".routinectl").glob("sealed.ship.*"):
        os.utime(copy, (old, old))
    keep_up(workspace.root, ["retention"])

    (left,) = (workspace.root / ".routinectl").glob("sealed.ship.*")
    assert left != first
