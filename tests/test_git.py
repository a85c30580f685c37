"""Every git call of ours: what a repository brings along never runs, and a person's own repository works as they know it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import until

from routinectl.errors import RoutinectlError
from routinectl.process import git, repository

FILE = "routines/x/ROUTINE.yaml"
ROUTINE = "timeout: 1m\naction: {command: [echo, hi]}\n"
PROPOSES = "permissions: {level: propose_edits}\ntimeout: 1m\naction: {command: 'echo new > ../../notes.txt'}\n"
DRIVERS = "* filter=f diff=d merge=m\n"

# name, the settings, and what a person would type for the marker to show that the row is one (None: it needs a terminal or a network)
KEYS: list[tuple[str, list[str], list[str] | None]] = [
    ("a monitor", ["core.fsmonitor={evil}"], ["status"]),
    ("hooks elsewhere", ["core.hooksPath={hooks}"], ["commit", "--allow-empty", "-m", "x"]),
    ("a pager", ["core.pager={evil}", "pager.config={evil}", "pager.log={evil}", "pager.diff=true"], None),
    ("an editor", ["core.editor={evil}"], ["commit", "--allow-empty"]),
    ("an editor of sequences", ["sequence.editor={evil}"], ["rebase", "-i", "--root"]),
    ("ssh", ["core.sshCommand={evil}", "remote.origin.url=ssh://localhost/x"], ["fetch", "origin"]),
    ("a proxy", ["core.gitProxy={evil}"], ["ls-remote", "git://127.0.0.1:1/x"]),
    ("who asks for passwords", ["core.askPass={evil}"], None),
    ("a helper of credentials", ["credential.helper={evil}"], ["credential", "fill"]),
    ("refs of alternates", ["core.alternateRefsCommand={evil}"], None),
    ("a signer", ["commit.gpgSign=true", "gpg.program={evil}"], ["commit", "--allow-empty", "-m", "x"]),
    ("a signer with ssh", ["commit.gpgSign=true", "gpg.format=ssh", "gpg.ssh.program={evil}", "user.signingKey=/dev/null"],
     ["commit", "--allow-empty", "-m", "x"]),
    ("a signer of tags", ["tag.gpgSign=true", "tag.forceSignAnnotated=true", "gpg.program={evil}"], ["tag", "-m", "x", "t"]),
    ("a filter that cleans", ["filter.f.clean={evil}", "filter.f.required=true"], ["add", "--renormalize", "."]),
    ("a filter that smudges", ["filter.f.smudge={evil}"], ["checkout-index", "-a", "--prefix=.routinectl/c/"]),
    ("a filter that goes on", ["filter.f.process={evil}", "filter.f.required=true"], ["add", "--renormalize", "."]),
    ("a program that compares", ["diff.external={evil}"], ["diff", "HEAD~1"]),
    ("a program that compares some", ["diff.d.command={evil}"], ["diff", "HEAD~1"]),
    ("a program that makes text", ["diff.d.textconv={evil}"], ["diff", "HEAD~1"]),
    ("a program that merges", ["merge.m.driver={evil}", "merge.default=m"], None),
    ("an alias", ["alias.st=!{evil}", "alias.commit=!{evil}", "alias.update-index=!{evil}"], ["st"]),
    ("an included file", ["include.path={included}"], ["status"]),
    ("a file included here", ["includeIf.gitdir:/**.path={included}"], ["status"]),
    ("the settings of a work tree", ["extensions.worktreeConfig=true"], ["status"]),
    ("a promise of objects", ["extensions.partialClone=origin", "remote.origin.promisor=true", "protocol.allow=always",
     "protocol.ext.allow=always", "remote.origin.url=ext::{evil} %S"], ["cat-file", "-p", "1" * 40]),
    ("an archiver", ["tar.x.command={evil}", "tar.tar.command={evil}"], ["archive", "--format=x", "HEAD"]),
    ("a hook of the settings", ["hook.x.command={evil}", "hook.x.event=reference-transaction", "uploadpack.packObjectsHook={evil}"], None),
    ("trailers", ["trailer.x.command={evil}", "trailer.x.ifmissing=add"], ["interpret-trailers"]),
]  # fmt: skip


def person(folder: Path, *words: str, check: bool = True, **options) -> str:
    """Return what git says to a person."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=folder, check=check, capture_output=True, text=True, env=env, timeout=30, **options)
    return done.stdout.strip()


def begin(folder: Path) -> None:
    """Make a repository with two commits in a workspace."""
    person(folder, "init", "-q")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        person(folder, "config", key, value)
    (folder / ".gitignore").write_text(".routinectl/\nstate.json\nhistory.jsonl\nmemory/\n")
    person(folder, "add", "-A")
    person(folder, "commit", "-qm", "one")
    (folder / "notes.txt").write_text("notes\n")
    person(folder, "add", "-A")
    person(folder, "commit", "-qm", "two")


class Marked:
    """Programs that leave a mark when something runs them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ran"
        self.evil = folder / "evil"
        self.evil.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.path}\nexit 1\n')
        self.evil.chmod(0o755)
        self.hooks = folder / "hooks"
        self.fill(self.hooks)
        self.included = folder / "included"
        self.included.write_text(f"[core]\n\tfsmonitor = {self.evil}\n")

    def fill(self, hooks: Path) -> None:
        """Make every hook that git knows."""
        hooks.mkdir(exist_ok=True)
        for name in ("pre-commit", "commit-msg", "post-commit", "prepare-commit-msg", "post-index-change", "reference-transaction",
                     "pre-auto-gc", "post-checkout", "post-rewrite", "applypatch-msg", "pre-applypatch", "post-applypatch", "fsmonitor-watchman"):  # fmt: skip
            shutil.copy(self.evil, hooks / name)

    def settle(self, git_dir: Path, settings: list[str]) -> None:
        """Write settings into a repository's own config."""
        for setting in settings:
            key, _, value = setting.format(evil=self.evil, hooks=self.hooks, included=self.included).partition("=")
            person(git_dir, "config", "--file", str(git_dir / "config"), "--add", key, value)
        shutil.copy(self.included, git_dir / "config.worktree")

    @property
    def said(self) -> str:
        """What ran."""
        return self.path.read_text() if self.path.exists() else ""


@pytest.fixture
def marked(tmp_path: Path) -> Marked:
    folder = tmp_path / "attacker"
    folder.mkdir()
    return Marked(folder)


@pytest.mark.parametrize(("settings", "control"), [pytest.param(*row[1:], id=row[0]) for row in KEYS])
def test_no_setting_of_a_repository_runs_anything(workspace, marked, settings, control):
    workspace.define("x", ROUTINE)
    begin(workspace.root)
    for where in (".gitattributes", ".git/info/attributes"):
        (workspace.root / where).write_text(DRIVERS)
    marked.settle(workspace.root / ".git", settings)
    if control:
        person(workspace.root, *control, check=False, input="url=http://x\n")
        assert marked.said, "the row is none"
        marked.path.unlink()

    workspace.define("x", ROUTINE + "tags: [y]\n")
    git.commit(workspace.root, [workspace.root / FILE], "three")
    git.files_at(workspace.root, "1" * 40, ("routines",))
    assert git.files_at(workspace.root, "HEAD", ("routines",)) == {FILE: (workspace.root / FILE).read_bytes()}
    assert git.export(workspace.root, "HEAD", workspace.root / ".routinectl/tree") == ""
    assert "notes.txt" in git.listed(workspace.root)
    patch = b"--- base/notes.txt\n+++ edited/notes.txt\n@@ -1 +1 @@\n-notes\n+others\n"
    assert (git.touched(workspace.root, patch), git.apply(workspace.root, patch, check=False)) == (["notes.txt"], "")
    git.difference("routines", ".routinectl", workspace.root)
    assert marked.said == ""


def every_setting(marked: Marked, git_dir: Path) -> None:
    marked.settle(git_dir, [setting for _, settings, _ in KEYS for setting in settings])
    marked.fill(git_dir / "hooks")
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info/attributes").write_text(DRIVERS)


def as_it_is(root: Path, marked: Marked) -> None:
    every_setting(marked, root / ".git")


def embedded(root: Path, marked: Marked) -> None:
    """Make the workspace's folder itself one that git would take for a repository, and .git is gone."""
    as_it_is(root, marked)
    for path in (root / ".git").iterdir():
        path.rename(root / path.name)
    (root / ".git").rmdir()
    person(root, "config", "--file", str(root / "config"), "core.worktree", str(root))


def by_a_file(root: Path, marked: Marked) -> None:
    """Have a `.git` that names a repository elsewhere."""
    as_it_is(root, marked)
    (root / ".git").rename(root.parent / "elsewhere")
    (root / ".git").write_text(f"gitdir: {root.parent}/elsewhere\n")


def with_another_tree(root: Path, marked: Marked) -> None:
    as_it_is(root, marked)
    (root.parent / "precious").mkdir()
    (root.parent / "precious" / FILE).parent.mkdir(parents=True)
    (root.parent / "precious" / FILE).write_text("precious\n")
    person(root, "config", "--file", str(root / ".git/config"), "core.worktree", str(root.parent / "precious"))


SHAPES = {
    "its own .git": as_it_is,
    "an embedded bare repository": embedded,
    "a .git file": by_a_file,
    "another work tree": with_another_tree,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_no_verb_runs_what_a_hostile_workspace_brings(workspace, marked, shape):
    workspace.configure("git: {commit: true}")
    workspace.define("x", ROUTINE)
    workspace.define("p", PROPOSES)
    (workspace.root / ".gitattributes").write_text(DRIVERS)
    begin(workspace.root)
    shape(workspace.root, marked)
    person(workspace.root, "status", check=False)
    assert marked.said, "it is not hostile"
    marked.path.unlink()
    before = {path: path.read_bytes() for path in sorted((workspace.root.parent).glob("precious/**/*")) if path.is_file()}

    for words in (["init"], ["add", "new", "--daily", "09:00", "--", "true"], ["edit", "x", "--set", "timeout=2m"], ["disable", "x"],
                  ["enable", "x"], ["run-now", "x", "--wait"], ["plan", "HEAD~1..HEAD"], ["plan", "1" * 40], ["show", "x"], ["doctor"],
                  ["history", "x"], ["validate"], ["rm", "new", "--yes"], ["run-now", "p", "--wait"]):  # fmt: skip
        workspace.run(*words)
        assert marked.said == "", words
    run = workspace.events("run.ended", "x")[-1]["data"]["run"]
    workspace.run("replay", run, "--at-commit")
    proposals = workspace.ok("proposals", "--json").data
    if proposals:  # the copy of an embedded one holds what looks like git's
        workspace.run("proposals", "apply", proposals[0]["proposal"])
        assert (workspace.root / "notes.txt").read_text() == "new\n"
    assert marked.said == ""
    assert before == {path: path.read_bytes() for path in before}


def test_a_head_that_leads_elsewhere_is_no_commit(workspace):
    secret = workspace.root.parent / "secret"
    secret.write_text("CANARY\n")
    workspace.define("x", ROUTINE)
    begin(workspace.root)
    (workspace.root / ".git/HEAD").write_text("ref: refs/../../../secret\n")
    assert repository.find(workspace.root) is None
    (workspace.root / ".git/HEAD").write_text("ref: refs/heads/link\n")
    (workspace.root / ".git/refs/heads/link").symlink_to(secret)
    os.mkfifo(workspace.root / ".git/refs/heads/pipe")
    assert repository.commit(repository.find(workspace.root)) == ""
    (workspace.root / ".git/HEAD").write_text("ref: refs/heads/pipe\n")
    assert repository.commit(repository.find(workspace.root)) == ""


@pytest.mark.parametrize("link", ["logs/HEAD", "logs", "logs/refs/heads/main", "refs/heads", "index"])
def test_nothing_is_written_through_links_of_a_repository(workspace, link):
    workspace.define("x", ROUTINE)
    begin(workspace.root)
    person(workspace.root, "branch", "-m", "main")
    outside = workspace.root.parent / "outside"
    outside.mkdir()
    place, target = workspace.root / ".git" / link, outside / "thing"
    shutil.move(place, target)
    place.symlink_to(target)
    before = {path: path.read_bytes() for path in sorted(outside.rglob("*")) if path.is_file()}
    workspace.define("x", ROUTINE + "tags: [y]\n")
    with pytest.raises(RoutinectlError) if link == "refs/heads" else contextlib.nullcontext():
        git.commit(workspace.root, [workspace.root / FILE], "three")
    assert {path: path.read_bytes() for path in sorted(outside.rglob("*")) if path.is_file()} == before


def at_the_top(tmp: Path) -> Path:
    root = tmp / "place"
    (root / "routines/x").mkdir(parents=True)
    return root


def in_a_folder(tmp: Path) -> Path:
    begin_at(tmp / "above")
    root = tmp / "above/ops/jobs"
    (root / "routines/x").mkdir(parents=True)
    return root


def begin_at(folder: Path) -> None:
    folder.mkdir()
    (folder / "readme").write_text("hello\n")
    begin(folder)


def as_a_worktree(tmp: Path) -> Path:
    begin_at(tmp / "main")
    person(tmp / "main", "worktree", "add", "-q", str(tmp / "tree"))
    (tmp / "tree/routines/x").mkdir(parents=True)
    return tmp / "tree"


def as_a_submodule(tmp: Path) -> Path:
    begin_at(tmp / "inner")
    begin_at(tmp / "outer")
    person(tmp / "outer", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp / "inner"), "jobs")
    person(tmp / "outer/jobs", "checkout", "-q", "--detach")  # as `submodule update` leaves it
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        person(tmp / "outer/jobs", "config", key, value)
    (tmp / "outer/jobs/routines/x").mkdir(parents=True)
    return tmp / "outer/jobs"


def with_a_folder_of_git_elsewhere(tmp: Path) -> Path:
    root = at_the_top(tmp)
    person(root, "init", "-q", "--separate-git-dir", str(tmp / "kept"))
    begin(root)
    person(root, "config", "core.worktree", str(root))  # what git does not write by itself here
    return root


def by_a_link(tmp: Path) -> Path:
    root = in_a_folder(tmp)
    (tmp / "linked").symlink_to(root)
    return tmp / "linked"


def with_hashes_of_256(tmp: Path) -> Path:
    root = at_the_top(tmp)
    person(root, "init", "-q", "--object-format=sha256")
    begin(root)
    return root


PLACES = [at_the_top, in_a_folder, as_a_worktree, as_a_submodule, with_a_folder_of_git_elsewhere, by_a_link, with_hashes_of_256]


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def place(request, tmp_path: Path) -> Path:
    root = request.param(tmp_path)
    if request.param is at_the_top:
        begin(root)
    return root


def test_exactly_the_file_is_committed_wherever_the_workspace_lies(place):
    """And what else is staged stays staged, what is changed stays changed, and git finds nothing to complain about."""
    head = person(place, "rev-parse", "HEAD")
    (place / FILE).write_text(ROUTINE)
    (place / "staged").write_text("1\n")
    person(place, "add", "staged")
    (place / "staged").write_text("2\n")
    (place / "other").write_text("untracked\n")
    assert repository.commit(repository.find(place)) == head
    git.commit(place, [place / FILE], "routine x: add")

    assert person(place, "log", "--format=%P %an <%ae> %s", "-1") == f"{head} Ada <ada@example.org> routine x: add"
    assert person(place, "show", "--relative", "--format=", "--name-status", "HEAD") == f"A\t{FILE}"
    assert set(person(place, "status", "--porcelain", ".").splitlines()) >= {f"AM {person(place, 'rev-parse', '--show-prefix')}staged"}
    assert "ROUTINE" not in person(place, "status", "--porcelain", ".")
    assert person(place, "reflog", "-1", "--format=%gs") == "commit: routine x: add"
    assert repository.commit(repository.find(place)) == person(place, "rev-parse", "HEAD") != head
    person(place, "fsck", "--strict")

    (place / FILE).write_text(ROUTINE + "tags: [y]\n")
    (place / FILE).chmod(0o755)
    git.commit(place, [place / FILE], "routine x: edit")
    git.commit(place, [place / FILE], "routine x: nothing")
    (place / FILE).unlink()
    (place / FILE).parent.rmdir()
    git.commit(place, [place / FILE], "routine x: remove")
    git.commit(place, [place / "routines/never/ROUTINE.yaml"], "routine never: remove")
    assert person(place, "log", "--format=%s", "-4").splitlines()[:3] == ["routine x: remove", "routine x: edit", "routine x: add"]
    assert (
        person(place, "show", "--format=", "--summary", "HEAD") == f"delete mode 100755 {person(place, 'rev-parse', '--show-prefix')}{FILE}"
    )
    assert git.files_at(place, "HEAD~1", ("routines",)) == {FILE: (ROUTINE + "tags: [y]\n").encode()}
    assert git.export(place, "HEAD~1", place / "exported") == ""
    assert (place / "exported" / FILE).stat().st_mode & 0o100
    assert "staged" in git.listed(place)


def test_the_first_commit_of_a_repository(tmp_path):
    person(tmp_path, "init", "-q")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        person(tmp_path, "config", key, value)
    (tmp_path / "file").write_text("x\n")
    git.commit(tmp_path, [tmp_path / "file"], "first")
    assert (person(tmp_path, "log", "--format=%s"), person(tmp_path, "status", "--porcelain")) == ("first", "")


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("EMAIL", raising=False)
    return home


def test_the_author_is_who_the_users_own_settings_say(tmp_path, home):
    (home / ".gitconfig").write_text(
        f'[user]\n\tname = Global\n\temail = global@example.org\n[includeIf "gitdir:{tmp_path}/work/"]\n\tpath = work\n'
    )
    (home / "work").write_text("[user]\n\temail = work@example.org\n")
    for name, author in (("work", "Global <work@example.org>"), ("other", "Global <global@example.org>"), ("own", "Own <own@example.org>")):
        root = tmp_path / name
        root.mkdir()
        person(root, "init", "-q")
        if name == "own":
            person(root, "config", "user.name", "Own")
            person(root, "config", "user.email", "own@example.org")
        (root / "file").write_text("x\n")
        git.commit(root, [root / "file"], "first")
        assert person(root, "log", "--format=%an <%ae>|%cn <%ce>") == f"{author}|{author}"


REFUSED = {
    "nobody": ("it does not know who you are", "git config --global user.name"),
    "a merge": ("a merge is going on", "git merge --continue"),
    "an ignored file": ("it is told to ignore file", "git check-ignore -v file"),
    "a folder of git elsewhere": (".git names a repository that does not name it back", "config core.worktree"),
    "no repository": ("is in no git repository", "git init"),
    "a repository of somebody else": ("is in no git repository", "git init"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_commit_that_cannot_be_says_why_and_what_helps(tmp_path, home, case):
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("x\n")
    if case != "no repository":
        person(root, "init", "-q")
    (home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n" + ("" if case == "nobody" else "\tname = a\n\temail = a@b\n"))
    if case == "a folder of git elsewhere":
        person(root, "init", "-q", "--separate-git-dir", str(tmp_path / "kept"))
    if case == "a merge":
        (root / ".git/MERGE_HEAD").write_text("1" * 40 + "\n")
    if case == "an ignored file":
        (root / ".gitignore").write_text("file\n")
    if case == "a repository of somebody else":
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        os.chown(root / ".git", 4711, 4711)
    with pytest.raises(RoutinectlError) as error:
        git.commit(root, [root / "file"], "x")
    message, hint = REFUSED[case]
    assert message in error.value.message
    assert hint in error.value.hint


def test_ends_of_lines_are_converted_and_programs_are_not_asked(tmp_path, home):
    """By core.autocrlf and .gitattributes, in and out, as a person's own git does."""
    (home / ".gitconfig").write_text(
        '[user]\n\tname = a\n\temail = a@b\n[core]\n\tautocrlf = true\n[filter "lfs"]\n\tclean = false\n\tsmudge = false\n'
    )
    root = tmp_path / "root"
    root.mkdir()
    person(root, "init", "-q")
    (root / ".gitattributes").write_text("*.sh eol=lf\n*.big filter=lfs -text\n")
    for name, data in (("a.yaml", b"a\r\nb\r\n"), ("b.sh", b"#!/bin/sh\n"), ("c.big", b"as it\r\nis\n")):
        (root / name).write_bytes(data)
    git.commit(root, [root / name for name in (".gitattributes", "a.yaml", "b.sh", "c.big")], "x")
    kept = git.files_at(root, "HEAD", (".",))
    assert (kept["a.yaml"], kept["b.sh"], kept["c.big"]) == (b"a\nb\n", b"#!/bin/sh\n", b"as it\r\nis\n")
    assert git.export(root, "HEAD", tmp_path / "out") == ""
    assert [(tmp_path / "out" / name).read_bytes() for name in ("a.yaml", "b.sh", "c.big")] == [
        b"a\r\nb\r\n",
        b"#!/bin/sh\n",
        b"as it\r\nis\n",
    ]


def tree(root: Path, entries: list[tuple[str, str, bytes]]) -> str:
    """Make a commit of a tree whose names nobody checks; return it."""
    data = b""
    for mode, name, content in entries:
        kind = "tree" if mode == "40000" else "blob"
        words = ["git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
        found = subprocess.run(words, cwd=root, input=content, capture_output=True, check=True).stdout.decode().strip()
        data += f"{mode} {name}\0".encode() + bytes.fromhex(found)
    words = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    found = subprocess.run(words, cwd=root, input=data, capture_output=True, check=True).stdout.decode().strip()
    return person(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", found, "-m", "x")


TREES = {
    "a name that leads up": [("100644", "../evil", b"x")],
    "git's own": [("100755", ".git/hooks/pre-commit", b"x")],
    "a link out": [("120000", "link", b"../../evil")],
    "an absolute link": [("120000", "link", b"/etc/passwd")],
    "a file behind a link": [("120000", "a", b".."), ("100644", "a/evil", b"x")],
    "no such commit": [],
}


@pytest.mark.parametrize("entries", TREES.values(), ids=TREES)
def test_files_of_another_commit_never_lie_elsewhere(tmp_path, entries):
    root = tmp_path / "root"
    root.mkdir()
    person(root, "init", "-q")
    commit = tree(root, entries) if entries else "1" * 40
    target = tmp_path / "out/tree"
    assert git.export(root, commit, target) or (target / "a").is_dir()
    assert not [path for path in tmp_path.rglob("evil") if not path.resolve().is_relative_to(target)]
    assert not (target / ".git").exists()


def test_init_never_wakes_what_lies_in_a_broken_repository(workspace, marked):
    (workspace.root / ".git").mkdir()
    every_setting(marked, workspace.root / ".git")
    assert "no repository" in workspace.ok("init").err
    assert not (workspace.root / ".git/HEAD").exists()


def test_every_verb_commits(workspace):
    """The commands of a person, in a repository as they have it."""
    workspace.configure("git: {commit: true}")
    workspace.define("x", ROUTINE)
    workspace.define("p", PROPOSES)
    begin(workspace.root)
    for words in (["add", "new", "--daily", "09:00", "--", "true"], ["edit", "new", "--set", "timeout=2m"], ["disable", "new"], ["enable", "new"],
                  ["rm", "new", "--yes"], ["run-now", "p", "--wait"]):  # fmt: skip
        workspace.ok(*words)
    proposal = workspace.ok("proposals", "--json").data[0]["proposal"]
    assert workspace.ok("proposals", "apply", proposal, "--json").data["committed"]
    assert [line.partition(":")[2].strip() for line in person(workspace.root, "log", "--format=%s", "-6").splitlines()[1:]] == [
        "remove", "edit", "edit", "edit", "add"]  # fmt: skip
    with workspace.serving():
        run = workspace.ok("run-now", "x", "--wait", "--json").data["run"]
        assert workspace.events("run.claimed", "x")[-1]["data"]["commit"] == person(workspace.root, "rev-parse", "HEAD")
        workspace.ok("replay", run, "--at-commit")
        until(lambda: len(workspace.events("run.ended", "x")) == 2)
    assert [event["data"]["outcome"] for event in workspace.events("run.ended", "x")] == ["succeeded"] * 2
    assert json.loads(workspace.ok("plan", "HEAD~5..HEAD", "--json").out)["data"]
