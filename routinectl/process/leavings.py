"""What a confined run has left where it may write: looked at whole when everything of the run has ended, before anybody opens it.

What means nothing inside may mean much outside: a repository runs what its configuration says as soon as somebody types `git
status` in it; a set-user-id file lends its owner's power; a link leads whoever follows it. None of these is let out. A folder
that only runs write and that has any of them (or cannot be looked through) is moved aside whole, and is empty for the next run.
What was written over a person's files lies in layers of the run's own: it is carried over whole, or moved aside whole.

A child of the keeper does this, so that no loop waits for it, or a command where a run had no keeper. The run is gone by then;
nothing here follows a link. A change time before the run began says that the run has not touched it: no call can set one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

from routinectl.core import repositories
from routinectl.process import view
from routinectl.process.kernel import checked, libc

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
ASKED, FOUND, WRITTEN = "leaves.json", "left.json", "written"  # in the folder of a run
SECONDS = 120.0  # that looking and carrying over may take
_SETTLE_SECONDS = 20.0  # for a run that lost its keeper: whoever recovers waits for it
_MOST = 100_000  # entries that are looked through
_DEEPEST = 100
_LONGEST = 3_000  # characters of a path that can be followed
_MOST_LINKS = 40  # as the kernel follows
_NAMED = 5  # paths that a message names
_SETTINGS = "routinectl.yaml"
_DEFINITIONS = frozenset({"ROUTINE.yaml", _SETTINGS, "AGENT.md", ".routinectl"})
_RECORDS = frozenset({"state.json", "history.jsonl"})  # of a routine, where they lie beside its definition
_OPAQUE = "user.overlay.opaque"
_DEVICES = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_WORDS = {
    "forged_git": "it made a repository",
    "set_id": "it made a file that lends its owner's power (set-user-id)",
    "device": "it made a device",
    "link_out": "it made a link to what it could not read",
    "definition": "it wrote what only a person may write",
    "too_many_files": "it left more than can be looked through",
    "conflict": "somebody else has changed what it wrote while it ran",
    "not_carried": "what it wrote could not be carried over",
    "not_judged": "what it left could not be looked at",
}


class RefusedError(Exception):
    """What was left may not be let out: why, as a word of the record, and where."""

    def __init__(self, why: str, where: list[str]) -> None:
        super().__init__(why)
        self.why, self.where = why, where


class _Place:
    """A folder (or a file) that a run could write, by its path, and where its layers are, by the processes that had one."""

    def __init__(self, asked: dict[str, Any], path: str, layer: str) -> None:
        self.path, self.name = path, layer
        top = f"{asked['folder']}/{WRITTEN}"
        self.layers = [f"{top}/{who}/{layer}" for who in _names(top) if os.path.isdir(f"{top}/{who}/{layer}")]
        self.kept = [layer for layer in self.layers if os.path.lexists(f"{layer}/{view.UPPER}") or _is_changed(layer)]
        direct = [layer for layer in self.layers if os.path.lexists(f"{layer}/{view.AS_IT_IS}")]
        self.is_direct = bool(direct)
        # Where the links led that were there before: one that leads there still is none of the run's. Its change time does
        # not say so: it leads elsewhere as soon as a folder on its way is moved, or becomes a link.
        self.links = {path: leads for layer in direct for path, leads in json.loads(_text(f"{layer}/{view.AS_IT_IS}") or "{}").items()}
        self.inodes = {_text(f"{layer}/{view.BEGAN}") for layer in direct}  # of what was written as it is
        self.began = min((os.lstat(f"{layer}/{view.BEGAN}").st_ctime_ns for layer in self.layers), default=0)
        if self.began > time.time_ns():
            self.began = 1  # the clock was set back meanwhile: nothing says what was there before


def start(folder: int, routine: str, run: str) -> int:
    """Fork what looks at the leavings of a run; return its pid. `folder` holds all runs. Call it single-threaded only."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        os.fchdir(folder)
        os.chdir(f"{routine}/{run}")
        os.closerange(3, 1 << 20)
        judge(".")
    finally:
        os._exit(0)


def settle(folder: str) -> dict[str, Any]:
    """Have the leavings of a run that has no keeper any more looked at by another process; return what it found. Raises OSError."""
    import subprocess

    program = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.process.leavings import judge; judge(sys.argv[2])"
    words = [sys.executable, "-I", "-S", "-c", program, _PACKAGE, folder]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(words, start_new_session=True, check=False, timeout=_SETTLE_SECONDS,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        with open(f"{folder}/{FOUND}", "rb") as file:
            found: dict[str, Any] = json.loads(file.read())
            return found
    except FileNotFoundError:
        return give_up(folder)


def judge(folder: str) -> dict[str, Any]:
    """Look at what a run has left, let it out or move it aside; return what was found, and write it in the run's folder.

    `denied` says why it may not be let out, `message` where that is and what became of it, `removed` which sockets and FIFOs are gone.
    """
    with open(f"{folder}/{ASKED}", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one that lost its keeper may look on, while a recovery has begun another
        asked = json.loads(file.read())
        with contextlib.suppress(FileNotFoundError), open(f"{folder}/{FOUND}", "rb") as done_before:
            before: dict[str, Any] = json.loads(done_before.read())
            return before
        found, done = _judged(asked)
        _write(folder, found)
        if done:
            _remove(f"{asked['folder']}/{WRITTEN}")
    return found


def give_up(folder: str) -> dict[str, Any]:
    """Move aside, unlooked at, what a run has written, where looking has not come to an end; return what `judge` would have written."""
    with open(f"{folder}/{ASKED}", "rb") as file:
        asked = json.loads(file.read())
    places = [_Place(asked, *item) for item in asked["writes"]]
    aside = [moved for place in places if place.is_direct for moved in _set_aside(asked, place.path, place.path, defuse=False)]
    aside += [moved for place in places for layer in place.kept for moved in _layer_aside(asked, place, layer, defuse=False)]
    found = {"denied": "not_judged", "message": f"{_WORDS['not_judged']}{_moved(asked, aside)}"}
    _write(folder, found)
    return found


def _write(folder: str, found: dict[str, Any]) -> None:
    with open(f"{folder}/{FOUND}.new", "wb") as file:
        file.write(json.dumps(found).encode())
    os.rename(f"{folder}/{FOUND}.new", f"{folder}/{FOUND}")


def _judged(asked: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return what was found, and whether nothing is left in the layers that anybody could want."""
    places = [_Place(asked, path, layer) for path, layer in asked["writes"]]
    looks = [_Look(asked, place, places) for place in places]
    refused: list[RefusedError] = []
    aside: list[str] = []
    for look in looks:
        if look.place.is_direct:
            try:
                look.at_folder()
            except (RefusedError, OSError) as error:
                refused.append(_refusal(error, look.place.path))
                if refused[-1].why != "conflict":  # else it is not the folder that it wrote
                    aside += _set_aside(asked, look.place.path, look.place.path)
    kept = [(look, layer) for look in looks for layer in look.place.kept]
    try:
        for look, layer in kept:
            look.at_layer(layer)
        if not refused:
            _carry_all(asked, kept)
    except (RefusedError, OSError) as error:
        refused.append(_refusal(error, kept[0][0].place.path))
    if refused:
        aside += [moved for look, layer in kept for moved in _layer_aside(asked, look.place, layer)]
    removed = sorted(path for look in looks for path in look.removed)
    found: dict[str, Any] = {"removed": [_short(asked, path) for path in removed[:_NAMED]]}
    if refused:
        first = refused[0]
        where = ", ".join(_short(asked, path) for path in first.where[:_NAMED])
        found |= {"denied": first.why, "message": f"{_WORDS[first.why]}: {where}{_moved(asked, aside)}"}
    return found, not refused or not any(_has_changes(layer) for _, layer in kept)


def _is_changed(layer: str) -> bool:
    """Say whether the copy of a file is not as it was made."""
    try:
        now = os.lstat(f"{layer}/{view.FILE}")
    except FileNotFoundError:
        return False
    return view.state_of(now) != _text(f"{layer}/{view.COPIED}")


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()


def _refusal(error: RefusedError | OSError, path: str) -> RefusedError:
    return error if isinstance(error, RefusedError) else RefusedError("not_judged", [f"{path}: {error.strerror or error}"])


def _moved(asked: dict[str, Any], aside: list[str]) -> str:
    """Say where something was moved to, and what; empty where nothing was."""
    if not aside:
        return ""
    what = "what was not carried over yet" if os.path.lexists(_decided(asked)) else "all that it wrote there"
    return f"; {what} was moved to {_short(asked, os.path.dirname(aside[0]))}/"


def _short(asked: dict[str, Any], path: str) -> str:
    """Return a path as people of the workspace know it."""
    return path[len(asked["root"]) + 1 :] if path.startswith(f"{asked['root']}/") else path


class _Look:
    """Looking through one place. Raises RefusedError for what may not be let out."""

    def __init__(self, asked: dict[str, Any], place: _Place, places: list[_Place]) -> None:
        self.place = place
        self.removed: list[str] = []
        self._sees = [(target, source) for source, target in asked["sees"]]
        self._hidden = view.Hidden(*asked["hidden"])
        self._layers = [(item.path, f"{layer}/{view.UPPER}") for item in places for layer in item.kept]
        self._count = 0

    def at_folder(self) -> None:
        """Look through a folder that was written as it is."""
        try:
            fd = view.walk("/", self.place.path)
        except FileNotFoundError:
            raise RefusedError("conflict", [self.place.path]) from None
        try:
            if str(os.fstat(fd).st_ino) not in self.place.inodes:  # it was moved aside for what another run of the routine made in it
                raise RefusedError("conflict", [self.place.path])
            self._at(fd, self.place.path, 0, fresh=self.place.began)
        finally:
            os.close(fd)

    def at_layer(self, layer: str) -> None:
        """Look through what was written over a person's files."""
        if os.path.lexists(f"{layer}/{view.FILE}"):
            if os.lstat(f"{layer}/{view.FILE}").st_mode & 0o6000:
                raise RefusedError("set_id", [self.place.path])
            return
        fd = os.open(f"{layer}/{view.UPPER}", _PATH)
        try:
            self._at(fd, self.place.path, 0, fresh=0)
        finally:
            os.close(fd)

    def _at(self, at: int, path: str, depth: int, *, fresh: int) -> None:
        """Look at the entries of a folder; `path` is where people find it, `fresh` since when the run may have made something."""
        if depth > _DEEPEST or len(path) > _LONGEST:
            raise RefusedError("too_many_files", [f"{path[:200]}..."])
        mode = stat.S_IMODE(os.fstat(at).st_mode)
        fd = _opened(at)
        try:
            names = os.listdir(fd)
            self._count += len(names)
            if self._count > _MOST:
                raise RefusedError("too_many_files", [f"{self.place.path} (over {_MOST})"])
            signs = repositories.signs(set(names))
            if not signs and not fresh and repositories.is_bare(self._merged(path)):
                signs = names  # parts of it a person has, or an earlier run has left, when they were none yet
            if signs:
                raise RefusedError("forged_git", [f"{path}/{name}" for name in signs])
            if not fresh and (named := _definitions(path, names)):
                raise RefusedError("definition", named)
            for name in names:
                try:
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    below = os.open(name, _PATH, dir_fd=fd) if stat.S_ISDIR(found.st_mode) else -1
                except FileNotFoundError:
                    continue  # a person, or another run of the routine, works there as well
                if below >= 0:
                    try:
                        self._at(below, f"{path}/{name}", depth + 1, fresh=fresh)
                    finally:
                        os.close(below)
                elif stat.S_ISLNK(found.st_mode) or (found.st_ctime_ns >= fresh and not (not fresh and _is_whiteout(found))):
                    self._entry(fd, name, f"{path}/{name}", found)
        finally:
            if fresh and mode != stat.S_IMODE(os.fstat(fd).st_mode):
                os.fchmod(fd, mode)
            os.close(fd)

    def _merged(self, path: str) -> set[str]:
        """Return the names that a folder will have, and those that are removed from it, when all layers are carried over."""
        places = [path, *(upper + path[len(top) :] for top, upper in self._layers if f"{path}/".startswith(f"{top}/"))]
        return {name for place in places for name in _names(place)}

    def _entry(self, at: int, name: str, path: str, found: os.stat_result) -> None:
        """Judge what is no folder."""
        kind = stat.S_IFMT(found.st_mode)
        if name == _SETTINGS:  # routinectl, typed below it, takes the folder for its workspace
            raise RefusedError("definition", [path])
        if kind == stat.S_IFREG:
            if found.st_mode & 0o6000:
                raise RefusedError("set_id", [path])
        elif kind == stat.S_IFLNK:
            text, leads = os.readlink(name, dir_fd=at), self._leads(path)
            if self.place.links.get(path) != leads and not (
                _is_steady(text) and self._is_seen(leads) and not self._hidden.may_be_in(leads)
            ):
                raise RefusedError("link_out", [f"{path} -> {text}"])
        elif kind in (stat.S_IFIFO, stat.S_IFSOCK):
            os.unlink(name, dir_fd=at)
            self.removed.append(path)
        else:
            raise RefusedError("device", [path])

    # -- where links lead

    def _leads(self, path: str) -> str:
        """Return where a path leads, as it will when the layers are carried over; a loop leads to itself."""
        parts, done, links = path.split("/")[1:], "", 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = os.path.dirname(done).rstrip("/")
                continue
            target = self._link(f"{done}/{part}")
            if target is None:
                done = f"{done}/{part}"
                continue
            links += 1
            if links > _MOST_LINKS or len(target) > _LONGEST:
                return path
            parts = [*target.split("/"), *parts]
            done = "" if target.startswith("/") else done
        return done or "/"

    def _link(self, path: str) -> str | None:
        """Return what a link says, None where a path is none."""
        for top, upper in self._layers:
            place = upper + path[len(top) :]
            if path.startswith(f"{top}/") and os.path.lexists(place):
                return os.readlink(place) if os.path.islink(place) else None
        with contextlib.suppress(OSError):
            return os.readlink(path)
        return None

    def _is_seen(self, path: str) -> bool:
        """Say whether a run has seen, under its own name, what is at this path of the machine."""
        if path in _DEVICES:
            return True
        for target, source in self._sees:
            if path == target or path.startswith(f"{target}/"):
                if source != target:
                    return os.path.lexists(source + path[len(target) :])
                if not self._hidden.covers(path, target):
                    return True
        return False


def _is_steady(text: str) -> bool:
    """Say whether a link's words lead where they say, whatever becomes of the folders that they name: a later run may make them links.

    So none goes up again behind a name, and none names what is hidden by its name. Nor may a link lead to a folder in which
    something is hidden by its place: it would be such a folder for links that were judged before.
    """
    parts = [part for part in text.split("/") if part not in ("", ".")]
    down = [part for part in parts if part != ".."]
    return parts[len(parts) - len(down) :] == down and not {part.lower() for part in down} & set(repositories.NAMES)


def _definitions(path: str, names: list[str]) -> list[str]:
    """Return the entries of a folder of this or another workspace that only a person may write."""
    there = _DEFINITIONS | (_RECORDS if os.path.lexists(f"{path}/ROUTINE.yaml") else frozenset())
    return sorted(f"{path}/{name}" for name in there.intersection(names))


def _is_whiteout(found: os.stat_result) -> bool:
    """Say whether an entry of a layer stands for something that was removed."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _opened(at: int) -> int:
    """Open a folder to be read, whatever mode the run has given it: it is ours. Raises OSError."""
    place = f"/proc/self/fd/{at}"
    mode = stat.S_IMODE(os.fstat(at).st_mode)
    if mode & 0o500 != 0o500:
        with contextlib.suppress(OSError):  # the root user may look into another's as it is
            os.chmod(place, mode | 0o700)
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


# -- carrying over


def _carry_all(asked: dict[str, Any], kept: list[tuple[_Look, str]]) -> None:
    """Carry over all that was written, or nothing. Raises RefusedError.

    What somebody changes between the look at conflicts and its own file's turn is overwritten: so nothing that takes long is between.
    """
    if not kept:
        return
    decided = _decided(asked)  # from there on it is done, and done again after a stop in the middle of it
    again = os.path.lexists(decided)
    if not again:
        _to_disk(f"{asked['folder']}/{WRITTEN}")
    written: set[str] = set()
    for look, layer in kept:
        path = look.place.path
        changed = list(_conflicts(path, layer, decided if again else f"{layer}/{view.BEGAN}", again=again))
        twice = sorted(written & (mine := set(_changes(path, layer))))
        if changed or twice:
            raise RefusedError("conflict", [*changed, *twice])
        written |= mine
        _give_to_its_owner(path, layer)
    if not again:
        _mark(decided)
    for look, layer in kept:
        try:
            _carry(look.place.path, layer)
        except OSError as error:
            raise RefusedError("not_carried", [f"{look.place.path}: {error.strerror}"]) from None


def _give_to_its_owner(path: str, layer: str) -> None:
    """Have the copy of a file belong to whom the file does, which it is about to replace. Raises RefusedError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            there = os.lstat(path)
            os.chown(f"{layer}/{view.FILE}", there.st_uid, there.st_gid, follow_symlinks=False)
    except OSError as error:
        raise RefusedError("not_carried", [f"{path}: {error.strerror}"]) from None


def _decided(asked: dict[str, Any]) -> str:
    return f"{asked['folder']}/{WRITTEN}/decided"


def _mark(path: str) -> None:
    """Make an empty file that outlives a power cut. Raises OSError."""
    for place, flags in ((path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC), (os.path.dirname(path), _FOLDER)):
        fd = os.open(place, flags, 0o600)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _to_disk(folder: str) -> None:
    """Have all of a file system on the disk: what is carried over replaces what is there."""
    fd = os.open(folder, _FOLDER)
    try:
        checked(libc.syncfs(fd), "syncfs")
    finally:
        os.close(fd)


def _below(at: int) -> Iterator[tuple[str, os.stat_result]]:
    for name in os.listdir(at):
        yield name, os.stat(name, dir_fd=at, follow_symlinks=False)


def _changes(path: str, layer: str) -> Iterator[str]:
    """Yield every path that a layer changes, folders that it only passes through apart."""
    if os.path.lexists(f"{layer}/{view.FILE}"):
        yield path
        return
    upper = f"{layer}/{view.UPPER}"
    for top, folders, names in os.walk(upper):
        yield from (path + f"{top}/{name}"[len(upper) :] for name in names)
        yield from (path + f"{top}/{name}"[len(upper) :] for name in folders if os.path.islink(f"{top}/{name}"))


def _conflicts(path: str, layer: str, since: str, *, again: bool) -> Iterator[str]:
    """Yield what somebody else has changed since a file was made, of all that a layer replaces.

    Where it is done `again`, folders have changed by what was done already, and a copy of what is still there is none of theirs.
    """
    began = os.lstat(since).st_ctime_ns
    if os.path.lexists(f"{layer}/{view.FILE}"):
        if _newer(path, began) and not (again and _is_copy(f"{layer}/{view.FILE}", path)):
            yield path
        return
    if not os.path.isdir(path) or os.path.islink(path) or _text(f"{layer}/{view.BEGAN}") != str(os.lstat(path).st_ino):
        yield path  # another folder in its place may be of files that are older than the run
        return
    upper = f"{layer}/{view.UPPER}"
    for top, folders, names in os.walk(upper):
        here = path + top[len(upper) :]
        if top != upper and _is_opaque(top):
            yield from _newer_below(here, began, again=again)
        for name in [*names, *(name for name in folders if os.path.islink(f"{top}/{name}"))]:
            if not (again and _is_copy(f"{top}/{name}", f"{here}/{name}")):
                yield from _newer_below(f"{here}/{name}", began, again=again)
        for name in folders:
            place = f"{here}/{name}"
            if os.path.lexists(place) and (os.path.islink(place) or not os.path.isdir(place)):
                yield from _newer_below(place, began, again=again)


def _is_copy(one: str, other: str) -> bool:
    """Say whether a file was copied to another file system already, and only its source is still to be removed."""
    try:
        return view.state_of(os.lstat(one)) == view.state_of(os.lstat(other))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _newer(path: str, began: int) -> bool:
    try:
        return os.lstat(path).st_ctime_ns >= began
    except (FileNotFoundError, NotADirectoryError):
        return False


def _newer_below(path: str, began: int, *, again: bool) -> Iterator[str]:
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    if not (is_folder and again) and _newer(path, began):
        yield path
    if is_folder:
        for top, folders, names in os.walk(path):
            looked = names if again else [*folders, *names]
            yield from (f"{top}/{name}" for name in looked if _newer(f"{top}/{name}", began))


def _is_opaque(folder: str) -> bool:
    """Say whether a folder of a layer stands in place of what was there, rather than over it."""
    with contextlib.suppress(OSError):
        return os.getxattr(folder, _OPAQUE, follow_symlinks=False) == b"y"
    return False


def _carry(path: str, layer: str) -> None:
    """Carry over a layer. Raises OSError."""
    source = os.open(layer, _FOLDER)
    try:
        if view.UPPER in os.listdir(source):
            _carry_folder(os.open(view.UPPER, _FOLDER, dir_fd=source), view.walk("/", path))
        elif view.FILE in os.listdir(source):
            above = view.walk("/", os.path.dirname(path))
            _move(source, view.FILE, above, os.path.basename(path))
            os.close(above)
    finally:
        os.close(source)


def _carry_folder(upper: int, lower: int) -> None:
    """Do to a folder what a layer says. Closes both."""
    for name, found in list(_below(upper)):
        is_folder = stat.S_ISDIR(found.st_mode)
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=lower, follow_symlinks=False)
            opaque = is_folder and _is_opaque(f"/proc/self/fd/{upper}/{name}")
            if _is_whiteout(found) or opaque or stat.S_ISDIR(there.st_mode) != is_folder:
                _remove_at(lower, name)
            if opaque:  # where this is done again, what was carried over since stays
                os.removexattr(f"/proc/self/fd/{upper}/{name}", _OPAQUE)
        if _is_whiteout(found):
            continue
        if is_folder:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, stat.S_IMODE(found.st_mode) & 0o777, dir_fd=lower)
                os.chmod(f"/proc/self/fd/{lower}/{name}", stat.S_IMODE(found.st_mode) & 0o777)
            _carry_folder(_opened_below(upper, name), os.open(name, _PATH | os.O_DIRECTORY, dir_fd=lower))  # a person's: its mode stays
        else:
            _move(upper, name, lower, name)
    os.close(upper)
    os.close(lower)


def _opened_below(at: int, name: str) -> int:
    fd = os.open(name, _PATH, dir_fd=at)
    try:
        return _opened(fd)
    finally:
        os.close(fd)


def _move(source: int, name: str, target: int, new: str) -> None:
    """Put a file or a link in the place of another, at once. Raises OSError."""
    place = f"/proc/self/fd/{source}/{name}"
    for key in os.listxattr(place, follow_symlinks=False):
        if key.startswith("user.overlay."):
            os.removexattr(place, key, follow_symlinks=False)
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = f".routinectl-{os.lstat(place).st_ino:x}"  # the same where this is done again
        _copy(source, name, target, beside)
        os.rename(beside, new, src_dir_fd=target, dst_dir_fd=target)
        os.unlink(name, dir_fd=source)


def _copy(source: int, name: str, target: int, new: str) -> None:
    """Copy a file or a link to another file system. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=target)
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), new, dir_fd=target)
        return
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    writing = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while data := os.read(reading, 1 << 20):
            while data:
                data = data[os.write(writing, data) :]
        with contextlib.suppress(PermissionError):  # on a disk of another machine, that may have its own mind about owners
            os.fchown(writing, found.st_uid, found.st_gid)
        os.fchmod(writing, stat.S_IMODE(found.st_mode) & 0o777)
        os.utime(writing, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(writing)
    finally:
        os.close(reading)
        os.close(writing)


# -- moving aside, removing


def _set_aside(asked: dict[str, Any], path: str, was: str, *, defuse: bool = True) -> list[str]:
    """Move something whole to where nobody works, and take from it what makes it a repository; return where it is, if it is.

    `was` is where people know it: it keeps that name.
    """
    if not os.path.lexists(path):
        return []
    beside = os.path.dirname(path) if not path.startswith(f"{asked['folder']}/") else asked["folder"]
    for above in (asked["aside"], f"{beside}/.set-aside-{os.path.basename(asked['aside'])}"):  # where it is another disk
        try:
            os.makedirs(above, 0o700, exist_ok=True)
            place = f"{above}/{os.path.basename(was)}"
            while os.path.lexists(place):
                place += "+"
            os.rename(path, place)
        except OSError:
            continue
        break
    else:
        place = ""  # it is a mount of its own: it stays
    with contextlib.suppress(OSError):
        if defuse:
            _defuse(os.open(place or path, _PATH), 0)
    return [place] if place else []


def _has_changes(layer: str) -> bool:
    """Say whether anything is in a layer of those that were written."""
    upper = f"{layer}/{view.UPPER}"
    return bool(os.listdir(upper)) if os.path.isdir(upper) else os.path.lexists(f"{layer}/{view.FILE}")


def _layer_aside(asked: dict[str, Any], place: _Place, layer: str, *, defuse: bool = True) -> list[str]:
    """Move aside what was written into a layer, if anything was."""
    if not _has_changes(layer):
        return []
    return [moved for name in (view.UPPER, view.FILE) for moved in _set_aside(asked, f"{layer}/{name}", place.path, defuse=defuse)]


def _defuse(at: int, depth: int) -> None:
    """Rename what makes folders repositories. Closes the descriptor."""
    try:
        if depth > _DEEPEST or not stat.S_ISDIR(os.fstat(at).st_mode):
            return
        fd = _opened(at)
        try:
            while names := repositories.signs(set(os.listdir(fd))):
                for name in names:
                    os.rename(name, f"refused-{os.urandom(4).hex()}", src_dir_fd=fd, dst_dir_fd=fd)
            for name in os.listdir(fd):
                if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    _defuse(os.open(name, _PATH, dir_fd=fd), depth + 1)
        finally:
            os.close(fd)
    finally:
        os.close(at)


def _remove_at(at: int, name: str) -> None:
    """Remove an entry of a folder, and all below it. Raises OSError."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=at)
        return
    fd = _opened_below(at, name)
    try:
        for below in os.listdir(fd):
            _remove_at(fd, below)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=at)


def _remove(path: str) -> None:
    """Remove a folder of ours that has done its work; what cannot be removed goes with the run's folder."""
    with contextlib.suppress(OSError, RecursionError):
        fd = os.open(os.path.dirname(path), _FOLDER)
        try:
            _remove_at(fd, os.path.basename(path))
        finally:
            os.close(fd)
