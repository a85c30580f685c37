"""The few things asked of git: by a git dir of our own, so that what a repository brings along never runs anything.

A repository may come out of an archive, or from a run. Its hooks, and whatever its config has git start (filters, monitors,
signers, pagers, transports: the list grows with git), do not take part, because git reads neither: it is given a fresh git
dir, in which the repository's objects, refs, index and rules of what to ignore are linked, and of all its settings and the
user's own those of a closed list: who commits, and how files are compared. End-of-line conversion is among them, and
programs that convert (filters, Git LFS) are not: a file that wants one is taken as it lies there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from routinectl.errors import RoutinectlError
from routinectl.process import repository
from routinectl.process.repository import Repository

_KEPT = re.compile(
    r"(?:user|author|committer)\.(?:name|email)|user\.useconfigonly|branch\..+\.(?:remote|merge)|remote\..+\.fetch|"
    r"core\.(?:autocrlf|eol|safecrlf|filemode|ignorecase|symlinks|precomposeunicode|excludesfile|attributesfile|"
    r"sharedrepository|logallrefupdates|sparsecheckout|sparsecheckoutcone)|index\.sparse",
    re.DOTALL,
)
_FORMAT = re.compile(r"extensions\.(objectformat|refstorage)=([a-z0-9]+)")
_SHARED = ("objects", "refs", "packed-refs", "reftable", "shallow", "info")
_SECONDS = 60  # git may wait for a pipe that lies where it looks for a file


class Git:
    """git, started with a git dir of our own for one folder; `place` is that git dir, and `index` the repository's own."""

    def __init__(self, place: str, folder: str, work_tree: str, settings: list[str], index: str) -> None:
        self.place, self.index = place, index
        self._folder = folder
        self._words = ["git", "--no-pager", f"--git-dir={place}", f"--work-tree={work_tree}"]
        for setting in settings:
            self._words += ["-c", setting]

    def run(self, *words: str, data: bytes = b"", index: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run git, with another index where one is named."""
        env = _environment() | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        return _run([*self._words, *words], self._folder, env | {"GIT_INDEX_FILE": index or self.index}, data)

    def ask(self, *words: str, data: bytes = b"", index: str = "") -> bytes:
        """Return what git prints. Raises RoutinectlError when it fails."""
        done = self.run(*words, data=data, index=index)
        if done.returncode:
            raise RoutinectlError(_said(done), "git status")
        return done.stdout

    def commit(self, revision: str) -> str:
        """Return the name of a commit, empty where git knows none of this name."""
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return "" if done.returncode else done.stdout.decode().strip()


def init(folder: Path) -> bool:
    """Make an empty repository where nothing is in its place; say whether that was done."""
    if os.path.lexists(folder / ".git"):
        return False
    return _run(["git", "init", "--quiet", str(folder)], "/", _environment()).returncode == 0


def commit(root: Path, paths: list[Path], message: str) -> None:
    """Commit exactly these files of a workspace, where they have changed; what else is staged stays so. Raises RoutinectlError."""
    with _of(root, writing=True) as (git, found):
        if found is None:
            raise _without(root)
        if any(os.path.lexists(f"{found.git_dir}/{name}") for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD")):
            raise RoutinectlError("a merge is going on", "git merge --continue")
        names = [os.path.join(os.path.realpath(root), path.relative_to(root)) for path in paths]
        for name in names:
            _refuse_what_waits(found, os.path.dirname(name))
        listed = b"".join(os.fsencode(name) + b"\0" for name in names)
        ignored = git.run("check-ignore", "-z", "--stdin", data=listed).stdout
        if ignored:
            name = os.path.relpath(os.fsdecode(ignored.split(b"\0")[0]), os.path.realpath(root))
            raise RoutinectlError(f"it is told to ignore {name}", f"git check-ignore -v {name}")
        if any(git.run("var", f"GIT_{who}_IDENT").returncode for who in ("AUTHOR", "COMMITTER")):
            raise RoutinectlError("it does not know who you are: user.name and user.email are not set",
                                  'git config --global user.name "Your Name"; git config --global user.email you@example.org')  # fmt: skip
        git.ask("update-index", "--add", "--remove", "-z", "--stdin", data=listed)
        before = git.commit("HEAD")
        after = _committed(git, before, names, message)
        if after:
            _advance(git, found, before, after, message)


def _without(root: Path) -> RoutinectlError:
    if os.path.isfile(root / ".git"):
        return RoutinectlError(f"{root}/.git names a repository that does not name it back", f"git -C {root} config core.worktree {root}")
    return RoutinectlError(f"{root} is in no git repository of yours", f"git init {root}")


def _committed(git: Git, before: str, names: list[str], message: str) -> str:
    """Return a new commit on another one, with these files as the index has them; empty where nothing of them has changed."""
    index = f"{git.place}/of-the-commit"
    git.ask("read-tree", *([before] if before else ["--empty"]), index=index)
    was, now = (
        git.ask("--literal-pathspecs", "ls-files", "--stage", "--full-name", "-z", "--", *names, index=place) for place in (index, "")
    )
    gone = [item.partition(b"\t") for item in was.split(b"\0") if item]
    removed = b"".join(b"0 " + meta.split()[1] + b"\t" + path + b"\0" for meta, _, path in gone)
    git.ask("update-index", "--add", "--replace", "-z", "--index-info", data=removed + now, index=index)
    tree = git.ask("write-tree", index=index).decode().strip()
    if before and tree == git.ask("rev-parse", f"{before}^{{tree}}").decode().strip():
        return ""
    parent = ["-p", before] if before else []
    return git.ask("commit-tree", tree, *parent, data=message.encode() + b"\n").decode().strip()


def _advance(git: Git, found: Repository, before: str, after: str, message: str) -> None:
    """Move HEAD from one commit to another, through its branch or, where it is on none, itself."""
    git.ask("update-ref", "-m", f"commit: {message}", "HEAD", after, before or "0" * len(after))
    if repository.head_of(git.place) != after:
        return
    lock = f"{found.git_dir}/HEAD.lock"  # no branch: git has moved the HEAD of our own git dir
    try:
        with open(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "w") as file:
            file.write(f"{after if repository.head_of(found.git_dir) == before else before}\n")
        os.rename(lock, f"{found.git_dir}/HEAD")
    except OSError as error:
        raise RoutinectlError(f"{lock}: {error.strerror}", "git status") from None


def files_at(root: Path, revision: str, paths: tuple[str, ...]) -> dict[str, bytes] | None:
    """Return the files below some paths as a revision has them, by path from `root`; None where git knows no such revision."""
    with _of(root) as (git, _):
        named = git.commit(revision)
        if not named:
            return None
        listed = [
            item.partition(b"\t")
            for item in git.ask("--literal-pathspecs", "ls-tree", "-r", "-z", named, "--", *paths).split(b"\0")
            if item
        ]
        blobs = [(meta.split()[2], os.fsdecode(path)) for meta, _, path in listed if meta.split()[1] == b"blob"]
        rest = git.ask("cat-file", "--batch", data=b"".join(name + b"\n" for name, _ in blobs))
    files: dict[str, bytes] = {}
    for _, path in blobs:
        head, _, rest = rest.partition(b"\n")
        if head.endswith(b" missing"):
            raise RoutinectlError(f"git lacks the bytes of {path} at {revision}", f"git show {revision}:{path}")
        size = int(head.rsplit(b" ", 1)[1])
        files[path], rest = rest[:size], rest[size + 1 :]
    return files


def export(root: Path, revision: str, target: Path) -> str:
    """Write the files of a revision below `root` into a new folder, as a checkout would; return what went wrong, empty when nothing did."""
    with _of(root) as (git, found):
        named = git.commit(revision) if found else ""
        if found is None or not named:
            return "it knows no such commit here"
        index, whole = f"{git.place}/of-the-commit", target.with_name(f".{target.name}")
        whole.mkdir(parents=True, mode=0o700)
        try:
            git.ask("read-tree", named, index=index)
            names = git.ask("ls-files", "--full-name", "-z", "--", ".", index=index)
            # Over there no file of today says how those of then are converted.
            git.ask("-C", str(whole), f"--work-tree={whole}", "checkout-index", "--quiet", "-z", "--stdin", data=names, index=index)
            (whole / os.path.relpath(os.path.realpath(root), found.work_tree)).rename(target)
        except RoutinectlError as error:
            return error.message
        except FileNotFoundError:
            return "it has no file of this workspace there"
        finally:
            shutil.rmtree(whole, ignore_errors=True)
    return _leads_out(str(target))


def _leads_out(top: str) -> str:
    """Return what is wrong with a tree that git has written: a link by which a run would leave it."""
    for path, folders, files in os.walk(top):
        for name in (*folders, *files):
            place = f"{path}/{name}"
            if os.path.islink(place) and not os.path.realpath(place).startswith(os.path.realpath(top) + "/"):
                return f"{os.path.relpath(place, top)} is a link that leads out of the workspace"
    return ""


def listed(root: Path) -> list[str] | None:
    """Return the files below `root` that are tracked, or untracked and not ignored; None where it is in no work tree."""
    with _of(root) as (git, found):
        done = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
        return None if found is None or done.returncode else sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def difference(before: str, after: str, folder: Path) -> tuple[bytes, list[tuple[str, int | None, int | None]]]:
    """Return what changed between two folders in `folder` as a patch, and each file with its added and removed lines (None: binary).

    No repository takes part, and no configuration: what is compared was written by a run.
    """
    words = ["diff", "--no-index", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color"]
    with _of(None, folder) as (git, _):
        text, counted = (
            git.run(*words, *more, before, after).stdout
            for more in (["--binary", "--src-prefix=", "--dst-prefix="], ["--numstat", "-z"]))  # fmt: skip
    return text, _counted(counted, before, after)


def _counted(data: bytes, before: str, after: str) -> list[tuple[str, int | None, int | None]]:
    """Read `--numstat -z` of two folders: counts, then both names, one of which may be /dev/null."""
    found = []
    parts = data.split(b"\0")
    for index in range(0, len(parts) - 2, 3):
        added, removed, _ = os.fsdecode(parts[index]).split("\t")
        names = [os.fsdecode(part) for part in parts[index + 1 : index + 3]]
        name = next(name.removeprefix(top + "/") for name, top in zip(names, (before, after), strict=True) if name != os.devnull)
        found.append((name, None if added == "-" else int(added), None if removed == "-" else int(removed)))
    return found


def apply(root: Path, patch: bytes, *, check: bool) -> str:
    """Apply a patch of `difference` to the files below `root`, or only see whether that can be done; return what git says against it."""
    done = _apply(root, patch, *(["--check"] if check else []))
    return "" if done.returncode == 0 else _said(done)


def touched(root: Path, patch: bytes) -> list[str]:
    """Return the files that `apply` would change, as git itself reads the patch."""
    done = _apply(root, patch, "--numstat", "-z")
    return sorted(os.fsdecode(line.split(b"\t", 2)[2]) for line in done.stdout.split(b"\0") if line)


def _apply(root: Path, patch: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    with _of(None, root) as (git, _):
        return git.run("apply", "-p1", "--whitespace=nowarn", *options, "-", data=patch)


@contextlib.contextmanager
def _of(root: Path | None, folder: Path | None = None, *, writing: bool = False) -> Iterator[tuple[Git, Repository | None]]:
    """Give git for the repository that a workspace is in, or for a `folder` as if it were in none."""
    found = repository.find(root) if root else None
    here = os.path.realpath(root or folder or ".")
    if found:
        _refuse_what_waits(found, here)
    with tempfile.TemporaryDirectory(prefix="routinectl-git-") as place:
        settings = _settings(found) if found else []
        _make(Path(place), found, settings)
        if found:
            _link(place, found, writing=writing)
        kept = [item for item in settings if _KEPT.fullmatch(item.partition("=")[0])]
        index = f"{found.git_dir}/index" if found and found.owns(f"{found.git_dir}/index") else f"{place}/index"
        yield Git(place, here, found.work_tree if found else here, kept, index), found


def _refuse_what_waits(found: Repository, here: str) -> None:
    """Raise RoutinectlError for a FIFO, or another thing that is no file, in place of one that git would open and wait for."""
    folders = [found.work_tree]
    for part in os.path.relpath(here, found.work_tree).split("/"):
        folders += [f"{folders[-1]}/{part}"] if part not in (".", "..") else []
    paths = [f"{folder}/{name}" for folder in folders for name in (".gitattributes", ".gitignore")]
    paths += [f"{found.git_dir}/{name}" for name in ("config", "config.worktree", "index", "HEAD")]
    paths += [
        f"{found.common}/{name}"
        for name in ("config", "packed-refs", "shallow", "info/exclude", "info/attributes", "objects/info/alternates")
    ]
    for path in paths:
        if os.path.exists(path) and not os.path.isfile(path):
            raise RoutinectlError(f"{path}: it is no file, and git would wait for it", f"ls -l {path}")


def _settings(found: Repository) -> list[str]:
    """Return all settings that a repository and the user have, as `key=value`; those to come are stronger. Raises RoutinectlError."""
    words = ["git", "--no-pager", f"--git-dir={found.git_dir}", f"--work-tree={found.work_tree}", "config", "--list", "-z"]
    done = _run(words, "/", _environment())
    if done.returncode:
        raise RoutinectlError(_said(done), "git config --list")
    pairs = [item.partition("\n") for item in os.fsdecode(done.stdout).split("\0") if item]
    return [f"{key}={value if given else 'true'}" for key, given, value in pairs if "=" not in key]


def _make(place: Path, found: Repository | None, settings: list[str]) -> None:
    """Make a git dir that says nothing but how objects and refs are kept, and which branch HEAD is on."""
    formats = [f"\t{match[1]} = {match[2]}\n" for match in map(_FORMAT.fullmatch, settings) if match]
    core = f"[core]\n\trepositoryformatversion = {int(bool(formats))}\n\tbare = false\n\tsplitIndex = false\n"
    (place / "config").write_text(core + "".join(["[extensions]\n", *formats] if formats else []))
    (place / "HEAD").write_text((repository.head_of(found.git_dir) if found else "ref: refs/heads/none") + "\n")
    (place / "logs").mkdir()
    if found is None:
        (place / "objects").mkdir()
        (place / "refs").mkdir()


def _link(place: str, found: Repository, *, writing: bool) -> None:
    """Link what belongs to a repository and cannot run. What leads out of it is left out: nothing is written there."""
    branch = repository.head_of(found.git_dir).removeprefix("ref: ")
    if writing and not found.owns(f"{found.common}/{branch}"):
        raise RoutinectlError(f"{found.common}/{branch} leads out of the repository", f"ls -l {found.common}/refs")
    logs = {"logs/HEAD": f"{found.git_dir}/logs/HEAD", "logs/refs": f"{found.common}/logs/refs"}
    if all(found.owns(path) for path in (*logs.values(), f"{found.common}/logs/{branch}")):
        if writing:
            os.makedirs(f"{found.git_dir}/logs", exist_ok=True)
            os.makedirs(logs["logs/refs"], exist_ok=True)
    else:
        logs = {}
    links = logs | {name: f"{found.common}/{name}" for name in _SHARED}
    links |= {name: f"{found.git_dir}/{name}" for name in os.listdir(found.git_dir) if name.startswith("sharedindex.")}
    for name, path in links.items():
        if name == "objects" or ((os.path.lexists(path) or name == "logs/HEAD") and found.owns(path)):
            os.symlink(path, f"{place}/{name}")


def _run(words: list[str], folder: str, env: dict[str, str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(words, cwd=folder, env=env, input=data, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, b"", f"git gives no answer within {_SECONDS} s".encode())
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 1, b"", b"git is not installed")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stderr or done.stdout).decode(errors="replace").strip() or "it did not say why"


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {"LC_ALL": "C.UTF-8"}
