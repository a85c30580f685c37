"""What a confined run sees and what it may write, as its first process makes it at the start; and what becomes of it at the end."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import keepers_of, stop_keepers, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs import needs
from test_keeper import Kept

from routinectl.process import keep, kernel, leavings, trial, view

pytestmark = needs("confinement")
LEVELS = ("read_only", "propose_edits")
CANARY = "CANARY"


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{CANARY} {path}\n")


def repository(folder: Path) -> None:
    """Make a repository that a person works in."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


def define(workspace, script, *, grants="", level="read_only", more="") -> None:
    workspace.define(
        "c", f"permissions: {{level: {level}{grants}}}\ntimeout: 1m\nkill_grace: 1s\n{more}action: {json.dumps({'command': script})}\n"
    )


def confined(workspace, script, **options):
    """Run a script confined; return what it said, and the end that is on record."""
    define(workspace, script, **options)
    workspace.run("run-now", "c", "--wait")
    end = workspace.events("run.ended", "c")[-1]["data"]
    out = workspace.root / ".routinectl/runs/c" / end["attempt_id"] / "out" if "attempt_id" in end else None
    return (out.read_text() if out and out.exists() else workspace.run("logs", "c").out), end


@contextmanager
def running(workspace, script, **options):
    """Have a script run that has said it is ready; what is done meanwhile comes before its last part, which follows `; go; `."""
    before, _, after = script.partition("go; ")
    place = f"{workspace.root}/routines/c/out"
    grants = options.pop("grants").replace("write: [", "write: [out/, ")
    script = f"{before}touch {place}/ready; while [ ! -e {place}/go ]; do sleep 0.02; done; {after}"
    define(workspace, script, grants=grants, **options)
    command = subprocess.Popen([sys.executable, "-m", "routinectl", "run-now", "c", "--wait"], cwd=workspace.root, env=workspace.env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        until(lambda: os.path.exists(f"{place}/ready"))
        yield
        Path(f"{place}/go").touch()
        command.wait(60)
    finally:
        command.kill()
        command.wait()


def snapshot(folder: Path) -> dict[str, tuple]:
    """Return everything that can be said of the nodes below a folder without opening them, and what the files hold."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        state = path.lstat()
        held = path.read_bytes() if stat.S_ISREG(state.st_mode) else os.readlink(path) if path.is_symlink() else None
        found[str(path)] = (state.st_mode, state.st_uid, state.st_gid, state.st_ino, state.st_ctime_ns, held)
    return found


# -- what is seen

PRIVATE = (
    "secrets/t",
    "inbox/signal/m.txt",
    ".git/config",
    "routines/other/memory/m",
    "site/.git/config",
    "site/deep/er/.GIT/config",
    "sub/.hg/hgrc",
)
SEEN = ("notes/n", "routines/other/ROUTINE.yaml", "site/page", "site/deep/er/x", "routinectl.yaml", "routines/c/ROUTINE.yaml")
READS = {
    "the whole workspace": ('["workspace:."]', ""),
    "its parts": ('["workspace:notes", "workspace:site", "workspace:routines", "workspace:sub", "workspace:routinectl.yaml"]', ""),
    "from above it": ('["{above}"]', ""),
    "as the folder it works in": ("[]", "workdir: 'workspace:.'"),
}


@pytest.mark.parametrize("case", READS)
def test_what_is_private_is_in_no_grant_but_its_own(workspace, case):
    reads, _ = READS[case]
    put(workspace.root, *PRIVATE, *(path for path in SEEN if path not in ("routinectl.yaml", "routines/c/ROUTINE.yaml")))
    workspace.define("other", "timeout: 1m\naction: {command: 'true'}\n")
    grants = f", read: {reads.format(above=workspace.root.parent)}"
    script = f"cd {workspace.root}; find . -type f | sort; grep -rs {CANARY} . | sort"
    said, end = confined(workspace, script, grants=grants)
    if READS[case][1]:
        workspace.define(
            "c", f"permissions: {{level: read_only}}\ntimeout: 1m\naction: {{command: {json.dumps(script)}, {READS[case][1]}}}\n"
        )
        workspace.run("run-now", "c", "--wait")
        said, end = workspace.run("logs", "c").out, workspace.events("run.ended", "c")[-1]["data"]
    assert end["outcome"] == "succeeded", end
    for path in SEEN:
        assert f"./{path}" in said
    for path in PRIVATE:
        assert path not in said
    assert ".routinectl" not in said


def test_a_private_name_that_is_made_a_moment_later_does_not_exist_inside(workspace):
    put(workspace.root, "notes/n", "site/page")
    workspace.define("other", "timeout: 1m\naction: {command: 'true'}\n")
    script = "go; cd ../..; find . | sort; cat secrets/late inbox/x/late .git/config routines/*/memory/late"
    with running(workspace, script, grants=', read: ["workspace:."], write: []'):
        put(workspace.root, "secrets/late", "inbox/x/late", ".git/config", "routines/other/memory/late", "routines/new/memory/late")
    said = workspace.ok("logs", "c").out
    assert "./notes/n" in said
    assert CANARY not in said
    assert "/late\n" not in said


@needs("git")
def test_what_became_private_between_two_runs_is_hidden_from_the_second(workspace):
    """Served, and with a secret: such a routine is prepared for its next run as soon as the one before has ended."""
    put(workspace.root, "site/page", "mine")
    script = "cat ../../secrets/token ../../routines/new/memory/notes ../../site/.git/HEAD; echo evil > ../../site/.git/config; echo end"
    workspace.define("c", "triggers: [{every: 2s}]\nmax_runs: 3\npermissions: {level: read_only, read: ['workspace:.'], write: ['workspace:site']}\n"
                     f"timeout: 1m\naction: {{secrets: {{T: {{file: 'workspace:mine'}}}}, command: {json.dumps(script)}}}\n")  # fmt: skip
    with workspace.serving():
        until(lambda: workspace.events("run.ended", "c"))
        put(workspace.root, "secrets/token", "routines/new/memory/notes")
        repository(workspace.root / "site")
        before = snapshot(workspace.root / "site/.git")
        until(lambda: len(workspace.events("run.ended", "c")) == 3, 30)
    said = "".join(path.read_text() for path in workspace.root.glob(".routinectl/runs/c/*/out"))
    assert said.count("end") == 3
    assert CANARY not in said
    assert "refs/heads" not in said
    assert snapshot(workspace.root / "site/.git") == before
    assert {event["data"]["outcome"] for event in workspace.events("run.ended", "c")[1:]} == {"succeeded"}


def test_nothing_that_answers_is_in_a_folder_that_is_only_read(workspace):
    put(workspace.root, "data/file", "data/deep/file")
    for folder in ("data", "data/deep"):
        os.mkfifo(workspace.root / folder / "fifo")
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            before = os.getcwd()
            os.chdir(workspace.root / folder)  # a path of a socket is short
            listener.bind("socket")
            os.chdir(before)
    said, end = confined(workspace, "find ../../data | sort", grants=', read: ["workspace:data"]')
    assert end["outcome"] == "succeeded"
    assert "data/deep/file" in said
    assert "fifo" not in said
    assert "socket" not in said


def test_what_is_private_can_be_named_itself_and_only_read(workspace):
    put(workspace.root, "inbox/signal/m.txt", ".git/config", "site/.git/config", "secrets/t")
    grants = ', read: ["workspace:.", "workspace:inbox", "workspace:.git", "workspace:site/.git"]'
    said, end = confined(
        workspace,
        f"cd ../..; grep -rs {CANARY} . | sort; echo x >> .git/config; touch inbox/signal/x; rm site/.git/config; :",
        grants=grants,
    )
    assert end["outcome"] == "succeeded", end
    for path in ("inbox/signal/m.txt", ".git/config", "site/.git/config"):
        assert f"{CANARY} {path}\n" in said
        assert (workspace.root / path).read_text() == f"{CANARY} {path}\n"
    assert "secrets/t" not in said


def test_a_file_that_the_command_names_is_seen_wherever_it_is(workspace):
    said, end = confined(workspace, "cat /etc/debian_version /etc/ld.so.conf; ls /etc")
    assert end["outcome"] == "succeeded", end
    assert Path("/etc/debian_version").read_text() in said
    assert "passwd" in said
    assert "shadow" not in said


def test_a_link_stays_a_link_where_entries_are_bound_one_by_one(workspace):
    put(workspace.root, "notes/n", "secrets/t")
    (workspace.root / "latest").symlink_to("notes/n")
    (workspace.root / "hidden").symlink_to("secrets/t")
    said, _ = confined(workspace, "cat ../../latest; cat ../../hidden; readlink ../../latest", grants=', read: ["workspace:."]')
    assert f"{CANARY} notes/n" in said
    assert said.rstrip().endswith("notes/n")
    assert "secrets/t\n" not in said


def test_what_goes_while_the_view_is_made_keeps_nobody_from_starting(monkeypatch, tmp_path):
    listed = view._entries
    gone = [("gone", "folder"), ("link", "link"), ("file", "file"), ("socket", "")]  # a temporary file of an editor, or of ours
    monkeypatch.setattr(view, "_entries", lambda at: [*listed(at), *gone])
    assert trial._fault(str(tmp_path), kept=True) == ""


def test_a_view_that_would_take_too_many_mounts_is_refused_with_its_reason(workspace):
    folder = workspace.root / "many"
    folder.mkdir()
    for number in range(20_050):
        (folder / str(number)).touch()
    (folder / ".git").mkdir()
    _, end = confined(workspace, "true", grants=', read: ["workspace:many"]')
    assert end["outcome"] == "not_started"
    assert "name a smaller folder" in end["message"]


@contextmanager
def hanging(folder: Path):
    """Mount a file system that answers nobody, as one of a dead server."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    folder.mkdir()
    kernel.checked(
        kernel.libc.mount(b"none", bytes(folder), b"fuse", 0, f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()), "mounting"
    )
    try:
        yield
    finally:
        os.close(fd)
        kernel.libc.umount2(bytes(folder), 2)


@needs("root")
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="need /dev/fuse")
def test_a_view_that_hangs_is_given_up(tmp_path, monkeypatch):
    short = "from routinectl.process import view; view.SECONDS = 1.0; from routinectl.process.keeper"
    monkeypatch.setattr(keep, "_PROGRAM", keep._PROGRAM.replace("from routinectl.process.keeper", short))
    links, binds = trial.system()
    with hanging(tmp_path / "dead"):
        kept = Kept(tmp_path / "k")
        spec = {"network": False, "links": links, "hidden": [[], []], "makes": "", "written": "", "base": "", "tmp": 1 << 20,
                "binds": [*binds, [str(tmp_path / "dead"), "/srv", view.READ, ""]]}  # fmt: skip
        kept.shell("a", "echo never", confine=spec)
        kept.shell("b", "echo fine")
        ended = {record["run"]: record for _ in range(2) for record in kept.hear("ended")}
    assert (ended["a"]["status"], ended["a"]["error"]) == (None, "what it may see could not be made ready in 1 s")
    assert ended["b"]["status"] == 0


@needs("root")
def test_where_no_overlay_can_be_made_such_a_run_is_refused(workspace, tmp_path):
    """A workspace that lies on an overlay itself, as in many containers."""
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={workspace.root},upperdir={tmp_path}/upper,workdir={tmp_path}/work".encode()
    put(workspace.root, "site/page")
    kernel.checked(kernel.libc.mount(b"overlay", bytes(workspace.root), b"overlay", 0, options), "mounting")
    try:
        _, end = confined(workspace, "echo x > ../../site/x", grants=', write: ["workspace:site"]')
        assert end["outcome"] == "not_started"
        assert f"{workspace.root}/site: no overlay can be made here" in end["message"]
        found = {item["name"]: item for item in workspace.run("doctor", "--json").data}
        assert "c asks for more" in found["overlays"]["found"]
        _, end = confined(workspace, "echo x > out/x", grants=", write: [out/]")
        assert end["outcome"] == "succeeded", end
        assert {item["name"]: item["well"] for item in workspace.run("doctor", "--json").data}["overlays"]
    finally:
        stop_keepers(workspace.root)
        until(lambda: kernel.libc.umount2(bytes(workspace.root), 2) == 0)


# -- what is written

WRITES = {
    # what a run does in site/: what is there afterwards, beside what was
    "a new file": ("echo new > site/new", {"new": "new\n"}),
    "a change": ("echo more >> site/page", {"page": f"{CANARY} site/page\nmore\n"}),
    "a removal": ("rm site/page", {"page": None}),
    "a rename": ("mv site/page site/other", {"page": None, "other": f"{CANARY} site/page\n"}),
    "a new tree": ("mkdir -p site/a/b && echo x > site/a/b/c", {"a/b/c": "x\n"}),
    "a tree removed": ("rm -r site/deep", {"deep/er/x": None}),
    "a tree replaced": ("rm -r site/deep && mkdir site/deep && echo y > site/deep/y", {"deep/er/x": None, "deep/y": "y\n"}),
    "a file for a folder": ("rm -r site/deep && echo z > site/deep", {"deep": "z\n"}),
    "a folder for a file": ("rm site/page && mkdir site/page && echo z > site/page/z", {"page/z": "z\n"}),
    "a link inside": ("ln -s deep/er/x site/link", {"link": f"{CANARY} site/deep/er/x\n"}),
    "a mode of its own": ("echo '#!/bin/sh' > site/run && chmod 750 site/run", {"run": "#!/bin/sh\n"}),
    "folders that it closes": ("mkdir -p site/shut/in && echo s > site/shut/in/x && chmod 0 site/shut/in site/shut", {"shut/in/x": "s\n"}),
    "odd names": ("echo o > \"site/a,b:c d\" && mkdir 'site/-n' && touch 'site/-n/ü'", {"a,b:c d": "o\n", "-n/ü": ""}),
    "what it does and undoes": ("echo t > site/t && rm site/t && mkdir site/u && rmdir site/u", {"t": None, "u": None}),
    "a FIFO, which is removed and said": ("mkfifo site/pipe; echo new > site/new", {"new": "new\n", "pipe": None}),
}  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", WRITES)
def test_what_is_written_over_a_persons_files_is_carried_over_at_the_end(workspace, case, level):
    script, wanted = WRITES[case]
    put(workspace.root, "site/page", "site/deep/er/x", "site/kept")
    before = (workspace.root / "site/kept").stat()
    _, end = confined(workspace, f"cd ../.. && {script}", grants=', write: ["workspace:site"]', level=level)
    assert end["outcome"] == "succeeded", end
    for path, held in wanted.items():
        place = workspace.root / "site" / path
        if held is None:
            assert not os.path.lexists(place)
        else:
            for above in reversed(place.relative_to(workspace.root / "site").parents):
                (workspace.root / "site" / above).chmod(0o755)
            assert place.read_text() == held
    after = (workspace.root / "site/kept").stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns), "nothing else is touched"
    assert not list(workspace.root.glob(".routinectl/runs/c/*/written"))
    assert not (workspace.root / ".routinectl/set-aside").exists()
    if "FIFO" in case:
        assert "removed: site/pipe" in end["message"]


def test_nothing_of_it_is_seen_outside_before_the_end(workspace):
    put(workspace.root, "site/page")
    with running(workspace, "echo new > ../../site/new; go; ", grants=', write: ["workspace:site"]'):
        assert [path.name for path in (workspace.root / "site").iterdir()] == ["page"]
    assert (workspace.root / "site/new").read_text() == "new\n"


@pytest.mark.parametrize("level", LEVELS)
def test_a_single_file_is_written_as_a_copy_and_carried_over(workspace, level):
    put(workspace.root, "notes/a", "notes/b")
    grants = ', write: ["workspace:notes/a", "workspace:notes/b"]'
    before = (workspace.root / "notes/b").stat().st_ino
    _, end = confined(workspace, "echo more >> ../../notes/a", grants=grants, level=level)
    assert end["outcome"] == "succeeded", end
    assert (workspace.root / "notes/a").read_text().endswith("more\n")
    assert (workspace.root / "notes/b").stat().st_ino == before


def test_a_single_file_of_somebody_else_stays_his(workspace):
    put(workspace.root, "one")
    mine = (workspace.root / "one").stat()
    his = (12345, 12346) if os.geteuid() == 0 else (mine.st_uid, next(iter({*os.getgroups()} - {mine.st_gid}), mine.st_gid))
    os.chown(workspace.root / "one", *his)
    _, end = confined(workspace, "echo more >> ../../one", grants=', write: ["workspace:one"]')
    assert end["outcome"] == "succeeded", end
    found = (workspace.root / "one").stat()
    assert (found.st_uid, found.st_gid) == his
    assert (workspace.root / "one").read_text().endswith("more\n")


@needs("root")
def test_a_file_of_somebody_else_in_a_folder_cannot_be_changed(workspace):
    put(workspace.root, "site/page", "site/hers")
    os.chown(workspace.root / "site/hers", 1000, 1000)
    os.chmod(workspace.root / "site/hers", 0o666)  # anybody may write it, as far as it goes by modes
    said, end = confined(workspace, "cd ../../site; echo x >> hers; echo y >> page", grants=', write: ["workspace:site"]')
    assert "Value too large for defined data type" in said
    assert end["outcome"] == "succeeded"
    assert (workspace.root / "site/hers").read_text() == f"{CANARY} site/hers\n"
    assert (workspace.root / "site/page").read_text().endswith("y\n")


def test_what_an_interrupted_run_has_left_is_looked_at_before_its_next_attempt(workspace):
    """The keeper is killed with the run, as with the machine: nobody looks, until the run is recorded as interrupted."""
    put(workspace.root, "site/page")
    script = 'if [ "$ROUTINE_ATTEMPT" = 1 ]; then mkdir out/.git; echo x > ../../site/new; touch out/ready; sleep 600; fi; ls -A out; echo again > out/again'
    more = "idempotent: true\nretry: {attempts: 2, delay: 0s, on: [interrupted]}\n"
    define(workspace, script, grants=', write: [out/, "workspace:site"]', more=more)
    with workspace.serving():
        workspace.run("run-now", "c")
        until((workspace.root / "routines/c/out/ready").exists)
        (started,) = until(lambda: workspace.events("run.started", "c"))
        for pid in (*keepers_of(workspace.root), started["data"]["pid"]):
            os.kill(pid, signal.SIGKILL)
        until(lambda: workspace.events("run.ended", "c"), 30)
    kinds = [event for event in workspace.events(None, "c") if event["type"] in ("run.retrying", "run.ended")]
    assert "its end was not seen; it made a repository: routines/c/out/.git" in kinds[0]["data"]["message"]
    assert kinds[-1]["data"]["outcome"] == "succeeded", kinds
    assert [path.name for path in (workspace.root / "routines/c/out").iterdir()] == ["again"]
    assert [path.name for path in (workspace.root / "site").iterdir()] == ["page"]


def test_the_command_that_judges_sees_what_was_written(workspace):
    put(workspace.root, "site/page")
    more = "expect: {command: [sh, -c, 'grep -q made ../../site/page']}\n"
    _, end = confined(workspace, "echo made > ../../site/page", grants=', write: ["workspace:site"]', more=more)
    assert end["outcome"] == "succeeded", end
    assert (workspace.root / "site/page").read_text() == "made\n"


def test_a_failed_run_and_one_that_is_stopped_leave_what_they_wrote(workspace):
    put(workspace.root, "site/page")
    _, end = confined(workspace, "echo half > ../../site/half; exit 3", grants=', write: ["workspace:site"]')
    assert end["outcome"] == "failed"
    assert (workspace.root / "site/half").exists()
    with running(workspace, "echo late > ../../site/late; go; sleep 600", grants=', write: ["workspace:site"]'):
        workspace.run("cancel", "c")
    assert workspace.events("run.ended", "c")[-1]["data"]["outcome"] == "cancelled"
    assert (workspace.root / "site/late").read_text() == "late\n"


# -- what a person has


@pytest.mark.parametrize("level", LEVELS)
@needs("git")
def test_a_persons_repository_in_what_a_run_may_write_is_neither_seen_nor_touched(workspace, level):
    for folder in ("site", "routines/c/out/pages", "routines/c/memory"):
        repository(workspace.root / folder)
    put(workspace.root, "site/page")
    before = {name: snapshot(workspace.root / name / ".git") for name in ("site", "routines/c/out/pages", "routines/c/memory")}
    script = ("ls -A out/pages/.git memory/.git ../../site/.git; for d in out/pages memory ../../site; do echo evil >> $d/.git/config; rm -rf $d/.git; "
              "mv $d/.git $d/was; chmod 777 $d/.git; touch -d 1999-01-01 $d/.git; echo good > $d/file; done; :")  # fmt: skip
    said, end = confined(workspace, script, grants=', write: [out/, "workspace:site"]', level=level)
    assert end["outcome"] == "succeeded", (end, said)
    assert "HEAD" not in said
    assert {name: snapshot(workspace.root / name / ".git") for name in before} == before
    for name in before:
        assert (workspace.root / name / "file").read_text() == "good\n"


@needs("git")
def test_a_repository_that_a_person_makes_while_it_runs_is_left_alone(workspace):
    put(workspace.root, "site/page")
    script = "go; echo evil >> ../../site/.git/config; rm -rf ../../site/.git; echo good > ../../site/file"
    with running(workspace, script, grants=', read: ["workspace:."], write: ["workspace:site"]'):
        repository(workspace.root / "site")
        before = snapshot(workspace.root / "site/.git")
    assert snapshot(workspace.root / "site/.git") == before
    again, end = confined(workspace, "echo more > ../../site/more", grants=', write: [out/, "workspace:site"]')
    assert end["outcome"] == "succeeded", (end, again)
    assert snapshot(workspace.root / "site/.git") == before


def replace(folder: Path) -> None:
    """Put another folder in the place of one, as a deployment does, whose files are older than that."""
    folder.rename(folder.with_name("was"))
    folder.with_name("other").rename(folder)


CONFLICTS = {
    "both change a file": ("echo mine > site/page", lambda root: (root / "site/page").write_text("hers\n"), {"site/page": "hers\n"}),
    "it removes what she changes": ("rm site/page", lambda root: (root / "site/page").write_text("hers\n"), {"site/page": "hers\n"}),
    "it removes a tree in which she writes": ("rm -r site/deep", lambda root: put(root, "site/deep/er/hers"), {"site/deep/er/hers": None}),
    "it replaces a tree in which she writes": ("rm -r site/deep; mkdir site/deep", lambda root: put(root, "site/deep/er/hers"), {"site/deep/er/hers": None}),
    "both make a file": ("echo mine > site/new", lambda root: (root / "site/new").write_text("hers\n"), {"site/new": "hers\n"}),
    "she puts another folder in its place": ("echo mine > site/page", lambda root: replace(root / "site"), {"site/page": "hers\n"}),
    "she removes the whole folder": ("echo mine > site/new", lambda root: shutil.rmtree(root / "site"), {}),
    "she changes the one file it may write": ("echo mine > one", lambda root: (root / "one").write_text("hers\n"), {"one": "hers\n"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFLICTS)
def test_what_a_person_changes_meanwhile_is_never_lost(workspace, case):
    script, hers, wanted = CONFLICTS[case]
    put(workspace.root, "site/page", "site/deep/er/x", "one", "other/page")
    (workspace.root / "other/page").write_text("hers\n")
    with running(workspace, f"cd ../..; go; {script}", grants=', write: ["workspace:site", "workspace:one"]'):
        hers(workspace.root)
        before = snapshot(workspace.root / "site") if (workspace.root / "site").exists() else {}
    (end,) = workspace.events("run.ended", "c")
    assert (end["data"]["outcome"], end["data"]["detail"]) == ("denied", "conflict"), end
    assert "somebody else has changed what it wrote" in end["data"]["message"]
    assert (snapshot(workspace.root / "site") if (workspace.root / "site").exists() else {}) == before
    for path, held in wanted.items():
        assert held is None or (workspace.root / path).read_text() == held
    (aside,) = (workspace.root / ".routinectl/set-aside/c").iterdir()
    assert f".routinectl/set-aside/c/{aside.name}/" in end["data"]["message"]
    assert list(aside.iterdir())


UNTOUCHED = {
    "changes it": (lambda path: path.write_text("hers\n"), "hers\n"),
    "removes it": (lambda path: path.unlink(), None),
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_a_single_file_that_the_run_never_wrote_is_the_persons_to_change(workspace, case):
    hers, wanted = UNTOUCHED[case]
    put(workspace.root, "one", "site/page")
    with running(workspace, "cd ../..; cat one; go; echo mine > site/page", grants=', write: ["workspace:site", "workspace:one"]'):
        hers(workspace.root / "one")
    (end,) = workspace.events("run.ended", "c")
    assert end["data"]["outcome"] == "succeeded", end
    assert ((workspace.root / "one").read_text() if (workspace.root / "one").exists() else None) == wanted
    assert (workspace.root / "site/page").read_text() == "mine\n"


# -- what may not be let out

LEFT = {
    # what a run leaves in a folder: why it is denied
    "a repository": ("mkdir -p .git && echo x > .git/config", "forged_git"),
    "one in capitals": ("mkdir .GIT", "forged_git"),
    "a file that leads to one": ("mkdir x && echo 'gitdir: y' > x/.git", "forged_git"),
    "a link that leads to one": ("mkdir x y && ln -s ../y x/.git", "forged_git"),
    "deep below": ("mkdir -p a/b/c/d/e/.git", "forged_git"),
    "a bare one": ("mkdir -p x/objects x/refs && echo x > x/HEAD", "forged_git"),
    "a bare one at the top": ("mkdir -p objects refs && echo x > HEAD", "forged_git"),
    "one whose parts are elsewhere": ("mkdir -p r x/objects x/refs && echo 'ref: refs/heads/main' > r/HEAD && echo ../x > r/commondir", "forged_git"),
    "a worktree's": ("mkdir w && echo x > w/HEAD && echo .. > w/commondir && echo ../x/.git > w/gitdir", "forged_git"),
    "whose HEAD is a link": ("mkdir -p x/objects x/refs && ln -s refs/heads/main x/HEAD", "forged_git"),
    "mercurial": ("mkdir .hg && echo x > .hg/hgrc", "forged_git"),
    "darcs": ("mkdir -p x/_darcs/prefs", "forged_git"),
    "in folders that it closes": ("mkdir -p a/b/.git && chmod 0 a/b/.git && chmod 0 a/b && chmod 0111 a", "forged_git"),
    "with a name taken for setting aside": ("mkdir -p .git .git.refused-$ROUTINE_RUN_ID/x .git.refused/x && echo x > .git/config", "forged_git"),
    "a link out": ("ln -s /root x", "link_out"),
    "a link out, relative": ("ln -s ../../../../../../../../../../../../root x", "link_out"),
    "a link to a secret": ("ln -s {root}/secrets/t x", "link_out"),
    "a link to another's memory": ("ln -s {root}/routines/other/memory x", "link_out"),
    "a link over a link": ("ln -s /usr/share d && ln -s d/../../root x", "link_out"),
    "a link to another's temporary file": ("touch /tmp/x && ln -s /tmp/x x", "link_out"),
    "a link to a file of /etc": ("ln -s /etc/sha''dow x", "link_out"),  # in one word it would be named, and seen
    "a link to a process": ("ln -s /proc/self/root x", "link_out"),
    "a name that speaks to a terminal": ("n=\"$(printf 'a\\033[31m\\nb\\377')\" && mkdir \"$n\" \"$n/.git\"", "forged_git"),
    "too deep": ("python3 -c 'import os\nfor i in range(300): os.mkdir(\"d\"); os.chdir(\"d\")'", "too_many_files"),
}  # fmt: skip
LEFT["settings of a workspace"] = ("mkdir x && touch x/routinectl.yaml", "definition")
ONLY_KEPT = {
    "a definition": ("mkdir r && echo 'name: x' > r/ROUTINE.yaml", "definition"),
    "the record of a workspace": ("mkdir .routinectl", "definition"),
    "another workspace's records": ("mkdir -p w/.routinectl/journal", "definition"),
    "an agent": ("mkdir a && echo x > a/AGENT.md", "definition"),
}
FOLDERS = {"out": "out/", "memory": "", "site": '"workspace:site"'}


SHORT = ("a repository", "a link out", "too deep")  # memory/ is written like out/


def _cases():
    for folder in FOLDERS:
        yield from ((folder, name) for name in LEFT if folder != "memory" or name in SHORT)
    yield from (("site", name) for name in ONLY_KEPT)


@pytest.mark.parametrize(("folder", "case"), list(_cases()))
def test_what_may_not_be_let_out_is_moved_aside_whole_and_the_routine_runs_again(workspace, folder, case):
    script, why = {**LEFT, **ONLY_KEPT}[case]
    put(workspace.root, "secrets/t", "routines/other/memory/m", "site/page")
    place = workspace.root / ("site" if folder == "site" else f"routines/c/{folder}")
    before = snapshot(workspace.root / "site")
    grants = f', read: ["workspace:."], write: [{FOLDERS[folder]}]'
    work = f"cd {place} && echo mine > mine && {script.replace('{root}', str(workspace.root))}"
    said, end = confined(workspace, work, grants=grants)
    assert (end["outcome"], end.get("detail")) == ("denied", why), (end, said)
    assert "moved to .routinectl/set-aside/c/" in end["message"]
    assert end["message"].isprintable()
    aside = list((workspace.root / ".routinectl/set-aside/c").iterdir())
    assert [path.name for path in aside] == [end["message"].rpartition("/set-aside/c/")[2].rstrip("/")]
    (held,) = aside[0].iterdir()
    assert (held / "mine").read_text() == "mine\n", "all that it wrote is there, and may be looked at"
    assert not [path for path in held.rglob("*") if path.name.lower() == ".git"]
    if folder == "site":
        assert snapshot(workspace.root / "site") == before
    else:
        assert not place.exists()
    if case in SHORT:
        said, end = confined(workspace, f"cd {place} && ls -A && echo again > again", grants=grants)
        assert end["outcome"] == "succeeded", (end, said)
        assert (place / "again").exists()


def bare(folder: Path) -> None:
    """Make a repository that is no `.git` of another."""
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)


@needs("git")
def test_a_persons_bare_repository_in_what_a_run_may_write_is_neither_seen_nor_touched(workspace):
    put(workspace.root, "site/page")
    bare(workspace.root / "site/p.git")
    bare(workspace.root / "routines/c/out/p")
    before = [snapshot(workspace.root / path) for path in ("site/p.git", "routines/c/out/p")]
    script = ("for d in ../../site/p.git out/p; do ls -A $d; echo evil > $d/hooks/post-update; echo evil >> $d/config; rm -rf $d; done; "
              "echo good > ../../site/file")  # fmt: skip
    said, end = confined(workspace, f"{script}; :", grants=', write: [out/, "workspace:site"]')
    assert end["outcome"] == "succeeded", (end, said)
    assert "HEAD" not in said
    assert [snapshot(workspace.root / path) for path in ("site/p.git", "routines/c/out/p")] == before
    assert (workspace.root / "site/file").exists()


PARTS_OF_A_REPOSITORY = {
    "HEAD last": ("mkdir -p x/objects x/refs", "echo 'ref: refs/heads/main' > x/HEAD; echo evil > x/config"),
    "its folders last": ("mkdir -p x/objects; echo x > x/HEAD", "mkdir x/refs"),
    "one that names another": ("echo x > HEAD", "echo .. > commondir"),
}


@pytest.mark.parametrize("case", PARTS_OF_A_REPOSITORY)
def test_a_repository_that_is_made_in_parts_is_not_let_out(workspace, case):
    first, second = PARTS_OF_A_REPOSITORY[case]
    put(workspace.root, "site/page")
    _, end = confined(workspace, f"cd ../../site; {first}", grants=', write: ["workspace:site"]')
    assert end["outcome"] == "succeeded", end
    before = snapshot(workspace.root / "site")
    _, end = confined(workspace, f"cd ../../site; {second}", grants=', write: ["workspace:site"]')
    assert (end["outcome"], end.get("detail")) == ("denied", "forged_git"), end
    assert snapshot(workspace.root / "site") == before


FINE = {
    "a folder that it closes": "mkdir shut && echo x > shut/x && chmod 0 shut",
    "a link beside it": "echo x > a && ln -s a b",
    "a link up and down": "mkdir d && echo x > a && ln -s ../a d/b",
    "a link that leads nowhere, inside": "ln -s not-yet x",
    "a link to a program": "ln -s /usr/bin/env x && ln -s /bin/sh y",
    "a link to what is read": "ln -s {root}/notes/n x",
    "a link to a device": "ln -s /dev/null x",
    "a link to what it sees of /etc": "ln -s /etc/passwd x",
    "a loop": "ln -s loop loop",
    "a file called HEAD": "echo x > HEAD && mkdir objects",
    "a hard link": "echo x > a && ln a b",
    "many folders": "mkdir many && cd many && seq 1 1500 | xargs mkdir",
    "many files": "mkdir many && cd many && seq 1 3000 | xargs touch",
}


@pytest.mark.parametrize("folder", ["out", "site"])
@pytest.mark.parametrize("case", FINE)
def test_what_harms_nobody_is_let_out(workspace, folder, case):
    put(workspace.root, "site/page", "notes/n")
    place = workspace.root / ("site" if folder == "site" else "routines/c/out")
    work = f"cd {place} && {FINE[case].replace('{root}', str(workspace.root))}"
    for _ in range(2 if "a link" in case or "many" in case else 1):
        said, end = confined(workspace, f"{work}; :", grants=f', read: ["workspace:notes"], write: [{FOLDERS[folder]}]')
        assert end["outcome"] == "succeeded", (end, said)
    assert len(list(place.iterdir())) > (folder == "site")


def test_a_link_that_a_person_has_put_there_is_none_of_the_runs(workspace, tmp_path):
    (workspace.root / "routines/c/out").mkdir(parents=True)
    (workspace.root / "routines/c/out/archive").symlink_to(tmp_path)
    for _ in range(2):
        _, end = confined(workspace, "echo x > out/x", grants=", write: [out/]")
        assert end["outcome"] == "succeeded", end
    assert (workspace.root / "routines/c/out/archive").is_symlink()


def test_sockets_and_fifos_that_it_leaves_are_removed_and_said(workspace):
    script = "mkfifo out/p memory/p; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"out/s\")'; echo done"
    _, end = confined(workspace, script, grants=", write: [out/]")
    assert (end["outcome"], end["message"]) == (
        "succeeded",
        "done; sockets and FIFOs that it left were removed: routines/c/memory/p, routines/c/out/p, routines/c/out/s",
    )
    assert not [path for path in (workspace.root / "routines/c").rglob("*") if path.is_fifo() or path.is_socket()]


def test_more_files_than_are_looked_through_are_moved_aside_and_the_routine_runs_again(workspace):
    script = "mkdir out/d && cd out/d && seq 1 100100 | xargs touch"
    _, end = confined(workspace, script, grants=", write: [out/]")
    assert (end["outcome"], end["detail"]) == ("denied", "too_many_files")
    _, end = confined(workspace, "echo x > out/x", grants=", write: [out/]")
    assert end["outcome"] == "succeeded"


def test_where_anything_is_refused_nothing_is_carried_over(workspace):
    put(workspace.root, "site/page", "notes/page", "one", "routines/c/memory/kept")
    before = {name: snapshot(workspace.root / name) for name in ("site", "notes", "one")}
    script = "cd ../..; mkdir routines/c/out/.git; echo x >> site/page; echo x >> one; echo x > routines/c/memory/new"
    _, end = confined(workspace, script, grants=', write: [out/, "workspace:site", "workspace:notes", "workspace:one"]')
    assert (end["outcome"], end["detail"]) == ("denied", "forged_git")
    assert {name: snapshot(workspace.root / name) for name in ("site", "notes", "one")} == before
    (aside,) = (workspace.root / ".routinectl/set-aside/c").iterdir()
    assert sorted(path.name for path in aside.iterdir()) == ["one", "out", "site"]
    assert sorted(path.name for path in (workspace.root / "routines/c/memory").iterdir()) == ["kept", "new"]


def test_more_files_than_are_looked_through_that_were_there_before_are_left_alone(workspace):
    place = workspace.root / "routines/c/out"
    put(place, "many/x", "hers/page")
    subprocess.run("seq 1 100100 | xargs touch", shell=True, cwd=place / "many", check=True)
    before = snapshot(place / "hers")
    _, end = confined(workspace, "echo x > out/x", grants=", write: [out/]")
    assert end["outcome"] == "succeeded", end
    assert (place / "x").exists()
    assert snapshot(place / "hers") == before


def test_what_nobody_could_look_at_is_moved_aside_unlooked_at(workspace):
    confined(workspace, "echo x > out/x", grants=", write: [out/]")
    (folder,) = workspace.root.glob(".routinectl/runs/c/*")
    (folder / leavings.FOUND).unlink()
    for _, layer in json.loads((folder / leavings.ASKED).read_text())["writes"]:  # as they are while it is looked at
        (folder / leavings.WRITTEN / "run" / layer).mkdir(parents=True)
        (folder / leavings.WRITTEN / "run" / layer / view.BEGAN).write_text("1")
        (folder / leavings.WRITTEN / "run" / layer / view.AS_IT_IS).touch()
    found = leavings.give_up(str(folder))
    assert found["denied"] == "not_judged"
    assert not (workspace.root / "routines/c/out").exists()
    assert (workspace.root / ".routinectl/set-aside/c" / folder.name).is_dir()
    assert found["message"].endswith(f".routinectl/set-aside/c/{folder.name}/")


# -- what is judged after a stop in the middle


def after(path: Path, made: Path) -> None:
    """Make a file, surely later than anything at or below a path has changed: change times go by the ticks of the kernel."""
    newest = max(item.lstat().st_ctime_ns for item in [path, *path.rglob("*")])
    made.touch()
    until(lambda: made.touch() or made.stat().st_ctime_ns > newest)
    made.write_text(str(path.stat().st_ino))


def left_by(root: Path, *layers: Path, began: str = "run") -> Path:
    """Return the folder of a run that could write these, as it is when its view has begun and nothing else."""
    folder = root / ".routinectl/runs/c/r"
    for number, path in enumerate(layers):
        layer = folder / leavings.WRITTEN / began / str(number)
        layer.mkdir(parents=True)
        after(path, layer / view.BEGAN)
    asked = {"folder": str(folder), "root": str(root), "aside": f"{root}/.routinectl/set-aside/c/r", "sees": [], "hidden": [[], []],
             "writes": [[str(path), str(number)] for number, path in enumerate(layers)]}  # fmt: skip
    (folder / leavings.ASKED).write_text(json.dumps(asked))
    return folder


@pytest.mark.parametrize("end", [leavings.judge, leavings.give_up])
def test_what_a_person_has_is_left_alone_where_the_view_was_never_finished_or_its_file_is_carried_over_already(tmp_path, end):
    put(tmp_path, "site/page", "one")
    repository(tmp_path / "site")
    folder = left_by(tmp_path, tmp_path / "site", tmp_path / "one")
    before = snapshot(tmp_path / "site")
    end(str(folder))
    assert snapshot(tmp_path / "site") == before
    assert (tmp_path / "one").exists()
    assert not (tmp_path / ".routinectl/set-aside").exists()


def half_carried(root: Path) -> Path:
    """Return the folder of a run whose writing was being carried over when that was stopped."""
    put(root, "site/page", "site/gone", "site/tree/x")
    folder = left_by(root, root / "site")
    layer = folder / leavings.WRITTEN / "run/0"
    put(layer, "upper/page", "upper/new")
    for name in ("gone", "tree"):
        os.mknod(layer / "upper" / name, stat.S_IFCHR, 0)
    after(root / "site", folder / leavings.WRITTEN / "decided")
    (layer / "upper/new").rename(root / "site/new")
    return folder


def test_what_was_being_carried_over_is_carried_over_when_it_is_judged_again(tmp_path):
    folder = half_carried(tmp_path)
    assert "denied" not in leavings.judge(str(folder))
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["new", "page"]
    assert "upper/page" in (tmp_path / "site/page").read_text()


LATER = {
    "changes what is still to come": ("page", lambda root: (root / "site/page").write_text("hers\n")),
    "makes anew what was to be removed": ("gone", lambda root: (root / "site/gone").write_text("hers\n")),
    "writes in a tree that was to be removed": ("tree/y", lambda root: (root / "site/tree/y").write_text("hers\n")),
}


@pytest.mark.parametrize("case", LATER)
def test_what_a_person_changes_before_it_is_judged_again_is_never_lost(tmp_path, case):
    path, hers = LATER[case]
    folder = half_carried(tmp_path)
    hers(tmp_path)
    found = leavings.judge(str(folder))
    assert found["denied"] == "conflict"
    assert "; what was not carried over yet was moved to .routinectl/set-aside/c/r/" in found["message"]
    assert (tmp_path / "site" / path).read_text() == "hers\n"


def test_what_is_judged_is_judged_once_whoever_asks(tmp_path):
    put(tmp_path, "site/page")
    folder = left_by(tmp_path, tmp_path / "site")
    put(folder / leavings.WRITTEN / "run/0", "upper/new")
    with (folder / leavings.ASKED).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        settling = threading.Thread(target=leavings.settle, args=(str(folder),))
        settling.start()
        waits = f":{os.fstat(held.fileno()).st_ino} "
        until(lambda: any("-> FLOCK" in line and waits in line for line in Path("/proc/locks").read_text().splitlines()))
        assert not (tmp_path / "site/new").exists()
    settling.join()
    first = (folder / leavings.FOUND).stat().st_ino
    assert leavings.judge(str(folder)) == {"removed": []}
    assert (folder / leavings.FOUND).stat().st_ino == first


def test_layers_on_another_disk_than_what_is_set_aside_are_kept_too(monkeypatch, tmp_path):
    put(tmp_path, "site/page")
    folder = left_by(tmp_path, tmp_path / "site")
    put(folder / leavings.WRITTEN / "run/0", "upper/.git/config")
    renamed = os.rename

    def rename(old, new, **named):
        if str(new).startswith(f"{tmp_path}/.routinectl/set-aside/"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        renamed(old, new, **named)

    monkeypatch.setattr(os, "rename", rename)
    found = leavings.judge(str(folder))
    assert found["denied"] == "forged_git"
    place = tmp_path / found["message"].rpartition(" moved to ")[2]
    assert [path.name for path in place.rglob("config")] == ["config"], "it is where the message says"


def test_a_part_of_a_copy_is_never_carried_over(monkeypatch, tmp_path):
    put(tmp_path, "one")
    folder = left_by(tmp_path, tmp_path / "one")
    layer = os.open(folder / leavings.WRITTEN / "run/0", os.O_RDONLY)
    source = os.open(tmp_path / "one", os.O_RDONLY)
    stopped = []

    def stop(fd, data):
        stopped.append(len(data))
        raise KeyboardInterrupt

    look = object.__new__(view._View)
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **named: opened(str(path).removeprefix("/old"), *args, **named))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "write", stop)
        look._copy(source, "/one", layer)
    os.close(layer)
    os.close(source)
    leavings.judge(str(folder))
    assert stopped
    assert (tmp_path / "one").read_text() == f"{CANARY} one\n"


def test_a_persons_folder_keeps_its_mode_when_something_is_carried_over_into_it(tmp_path):
    put(tmp_path, "site/shut/x", "one/deep/x")
    folder = left_by(tmp_path, tmp_path / "site", tmp_path / "one/deep/x")
    layers = folder / leavings.WRITTEN / "run"
    put(layers, "0/upper/shut/new", "1/file", "1/copied")
    modes = {tmp_path / "site/shut": 0o311, tmp_path / "site": 0o333, tmp_path / "one/deep": 0o300}
    for path, mode in modes.items():
        path.chmod(mode)
    assert "denied" not in leavings.judge(str(folder))
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in modes} == modes
    for path in reversed(modes):
        path.chmod(0o755)
    assert (tmp_path / "site/shut/new").exists()
    assert "1/file" in (tmp_path / "one/deep/x").read_text()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_run_whose_folder_was_moved_aside_for_another_says_so_and_the_new_one_stays(tmp_path, is_new):
    put(tmp_path, "memory/page")
    folder = left_by(tmp_path, tmp_path / "memory")
    (folder / leavings.WRITTEN / "run/0" / view.AS_IT_IS).touch()
    (tmp_path / "memory").rename(tmp_path / "aside")
    if is_new:
        put(tmp_path, "memory/new")
    assert leavings.judge(str(folder))["denied"] == "conflict"
    assert (tmp_path / "memory/new").exists() == is_new


def test_what_another_run_of_it_removes_meanwhile_is_no_reason_to_move_its_memory_aside(monkeypatch, tmp_path):
    put(tmp_path, "memory/page", "memory/deep/x")
    folder = left_by(tmp_path, tmp_path / "memory")
    (folder / leavings.WRITTEN / "run/0" / view.AS_IT_IS).touch()
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda of: [*listed(of), "gone"] if isinstance(of, int) else listed(of))
    assert "denied" not in leavings.judge(str(folder))
    assert (tmp_path / "memory/deep/x").exists()


# -- a law: writing over a layer and carrying it over is writing

PARTS = st.sampled_from(["a", "b", "d", "d/e", "d/e/f", "d/g", "n"])
STEPS = st.one_of(
    st.tuples(st.just("write"), PARTS, st.sampled_from(["one", "two"])),
    st.tuples(st.just("append"), PARTS, st.just("more")),
    st.tuples(st.just("mkdir"), PARTS, st.just("")),
    st.tuples(st.just("remove"), PARTS, st.just("")),
    st.tuples(st.just("rename"), PARTS, PARTS),
    st.tuples(st.just("link"), PARTS, st.just("a")),
    st.tuples(st.just("chmod"), PARTS, st.just("")),
)
WORK = """
import json, os, shutil, sys
for what, path, more in json.loads(sys.argv[1]):
    try:
        if what in ("write", "append"):
            with open(path, "w" if what == "write" else "a") as file:
                file.write(more)
        elif what == "mkdir":
            os.makedirs(path)
        elif what == "remove":
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        elif what == "rename" and not (os.path.isdir(path) and not os.path.islink(path)):
            os.replace(path, more)
        elif what == "link":
            os.symlink(more, path)
        elif what == "chmod" and not os.path.islink(path) and os.path.isfile(path):
            os.chmod(path, 0o640)
    except OSError:
        pass
"""


def tree(folder: Path) -> dict[str, tuple]:
    return {str(path.relative_to(folder)): (path.lstat().st_mode, os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "")
            for path in folder.rglob("*")}  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_writing_into_a_layer_that_is_carried_over_is_writing(workspace, tmp_path, steps):
    shutil.rmtree(workspace.root / "site", ignore_errors=True)
    put(workspace.root, "site/a", "site/b", "site/d/e/f", "site/d/g")
    shutil.rmtree(tmp_path / "control", ignore_errors=True)
    shutil.copytree(workspace.root / "site", tmp_path / "control", symlinks=True)
    (workspace.root / "routines/c").mkdir(parents=True, exist_ok=True)
    (workspace.root / "routines/c/work.py").write_text(WORK)
    asked = json.dumps(steps)
    workspace.define("c", "permissions: {level: read_only, write: ['workspace:site']}\ntimeout: 1m\naction: "
                     + json.dumps({"command": ["python3", f"{workspace.root}/routines/c/work.py", asked], "workdir": "workspace:site"}) + "\n")  # fmt: skip
    workspace.run("run-now", "c", "--wait")
    end = workspace.events("run.ended", "c")[-1]["data"]
    subprocess.run(["python3", str(workspace.root / "routines/c/work.py"), asked], cwd=tmp_path / "control", check=True)
    assert end["outcome"] == "succeeded", end
    assert tree(workspace.root / "site") == tree(tmp_path / "control")


TWICE = {  # what one run leaves that leads nowhere, and what the next does so that it leads to a secret
    "a folder becomes a link to what holds it": ("mkdir b; ln -s b/secrets/t a", "rmdir b; ln -s {root} b"),
    "a folder becomes a link beside it": ("mkdir b; ln -s b/../../secrets/t a", "rmdir b; ln -s {root}/notes/deep b"),
    "a folder is moved up": ("mkdir -p p/q; ln -s ../{up}/secrets/t p/q/a", "mv p/q q"),
    "a link becomes a folder": ("ln -s {root}/notes/deep/er b; ln -s b/../{up}/secrets/t a", "rm b; mkdir b"),
}


@pytest.mark.parametrize("folder", ["out", "site"])
@pytest.mark.parametrize("case", TWICE)
def test_a_link_of_one_run_is_led_out_by_no_later_one(workspace, folder, case):
    put(workspace.root, "secrets/t", "notes/deep/er/n", "site/page")
    place = workspace.root / ("site" if folder == "site" else "routines/c/out")
    place.mkdir(parents=True, exist_ok=True)
    up = os.path.relpath(workspace.root, place)
    for script in TWICE[case]:
        work = f"cd {place} && {script.replace('{root}', str(workspace.root)).replace('{up}', up)}"
        said, end = confined(workspace, work, grants=f', read: ["workspace:."], write: [{FOLDERS[folder]}]')
        if end["outcome"] == "denied":
            break
    assert (end["outcome"], end.get("detail")) == ("denied", "link_out"), (end, said)
    assert not [path for path in place.rglob("*") if path.is_symlink() and os.path.realpath(path).startswith(f"{workspace.root}/secrets")]
