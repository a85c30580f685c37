"""How far a run may go: what a definition grants, which paths nobody may be granted, and the words for it.

A run at `full` has the power of the user that serves it. The others are confined: they see their own folder, what was
named, and the system's programs; they write only what `write:` names and their own memory; without `network: true` they
have no network. What enforces it is `process/confine.py`; a run that cannot be confined is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from routinectl.core import repositories
from routinectl.core.problem import Path, Problem

LEVELS = ("read_only", "propose_edits", "full")  # the narrower first
EXTERNAL = ("none", "suggest", "allow")
_NOBODYS = (".routinectl", "secrets")  # may not be granted to anybody
PRIVATE = (
    *_NOBODYS,
    "inbox",
    "routines/*/memory",
)  # is in no other grant, as far as it is not named itself; so is what `repositories` names
_DEFINED = ("routines", "agents", "templates")  # folders of folders that each hold a definition
_WRITTEN_HERE = ("ROUTINE.yaml", "AGENT.md", "state.json", "history.jsonl", "memory", "calendars")
_MACHINE = ("/proc", "/sys", "/dev")
_TOO_WIDE = frozenset({"/", "/run", "/var", "/var/run", "/tmp", "/home", *_MACHINE})  # noqa: S108  # named to be refused


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a definition grants. Paths are as written: relative to the routine's folder, `workspace:` ones to the root."""

    level: str = "full"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None
    network: bool = True
    external: str = "none"

    @property
    def confined(self) -> bool:
        """Whether anything keeps the run from doing what its user may do."""
        return self.level != "full"


FULL = Permissions()


def for_model(doc: Mapping[str, Any]) -> bool:
    """Say whether a language model decides what the action of a definition does."""
    return any(kind in doc["action"] for kind in ("prompt", "agent"))


def read(doc: Mapping[str, Any]) -> Permissions:
    """Return what a valid definition grants; a model's work is read_only unless more is said, a command's is full."""
    written = doc.get("permissions", {})
    level = written.get("level", "read_only" if for_model(doc) else "full")
    return Permissions(
        level,
        tuple(written.get("read", ())),
        tuple(written.get("write", ())),
        tuple(written["tools"]) if "tools" in written else None,
        bool(written.get("network", level == "full")),
        written.get("external", "suggest" if for_model(doc) else "none"),
    )


def outward(doc: Mapping[str, Any]) -> bool:
    """Say whether a routine may have effects outside this machine: every face shows a badge then."""
    if "prompt" in doc["action"]:
        return False  # one call without tools does nothing outside
    return read(doc).external != "none" or doc.get("permissions", {}).get("network") is True


def words(granted: Permissions) -> str:
    """Return in one line what a run may do."""
    if not granted.confined:
        return "full: what its user may do"
    reads = ", ".join(["its own folder", *granted.read])
    writes = ", ".join(["its memory", *granted.write])
    if granted.level == "propose_edits":
        writes += ", and a copy of the workspace, as a proposal"
    return f"{granted.level}: reads {reads}; writes {writes}; {'network' if granted.network else 'no network'}"


def wider(asked: Permissions, granted: Permissions) -> str:
    """Say what is asked for that was not granted, as a definition would have to say it; empty when nothing is."""
    if LEVELS.index(asked.level) > LEVELS.index(granted.level):
        return f"permissions.level: {granted.level}"
    if asked.network and not granted.network:
        return "permissions.network: false"
    if EXTERNAL.index(asked.external) > EXTERNAL.index(granted.external):
        return f"permissions.external: {granted.external}"
    for key, more, given in (
        ("read", asked.read, granted.read),
        ("write", asked.write, granted.write),
        ("tools", asked.tools, granted.tools),
    ):
        bound = granted.confined if key != "tools" else given is not None and more is not None
        if bound and not set(more or ()) <= set(given or ()):
            return f"permissions.{key}: [{', '.join(given or ())}]"
    return ""


def faults(doc: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what a definition may not ask for."""
    written = doc.get("permissions", {})
    granted = read(doc)
    if not granted.confined:
        for key in ("read", "write"):
            if written.get(key):
                message = f"permissions.{key} narrows nothing at level full, where a run may do what its user may"
                yield Problem(message, ("permissions", key), "level: read_only")
        if written.get("network") is False:
            message = "network: false cannot be kept at level full, where a run may do what its user may"
            yield Problem(message, ("permissions", "network"), "level: read_only, and write: for what it may change")
    if granted.confined and doc.get("leftovers") == "keep":
        message = f"leftovers: keep cannot be had at level {granted.level}: with the end of a confined run all of it ends"
        yield Problem(message, ("leftovers",), "leftovers: kill, or level: full")
    if granted.external == "suggest" and not for_model(doc):
        message = "external: suggest is for prompts and agents: a command acts without asking"
        yield Problem(message, ("permissions", "external"), "external: allow, so that it is badged")
    for key in ("read", "write"):
        for index, text in enumerate(written.get(key, ())):
            path: Path = ("permissions", key, index)
            why = refusal_of(text, writing=key == "write")
            if why:
                yield Problem(f"permissions.{key} '{text}' {why}", path, f"{key}: [{'out/' if key == 'write' else 'workspace:daily/'}]")


def is_private(path: str) -> bool:
    """Say whether a path, from the workspace's root, is nobody's to be shown: git's, routinectl's own, secrets, messages, a routine's memory."""
    parts = path.split("/")
    return not {part.lower() for part in parts}.isdisjoint(repositories.NAMES) or any(_is_within(parts, place) for place in PRIVATE)


def _is_within(parts: list[str], place: str) -> bool:
    wanted = place.split("/")
    return len(parts) >= len(wanted) and all(name in ("*", part) for name, part in zip(wanted, parts, strict=False))


def refusal_of(text: str, *, writing: bool) -> str:
    """Say why a path as a definition writes it may not be granted; empty when it may, as far as its text can tell."""
    placed = _placed(text)
    if not text.startswith("/") and placed != "/w" and not placed.startswith("/w/"):
        return "leaves the workspace"
    return refusal(placed, "/w", "id", writing=writing)


def _placed(text: str) -> str:
    """Return where a path would be in a workspace at /w."""
    if text.startswith("workspace:"):
        return posixpath.normpath(f"/w/{text.removeprefix('workspace:')}")
    return posixpath.normpath(posixpath.join("/w/routines/id", text))


def refusal(path: str, root: str, routine_id: str, *, writing: bool) -> str:
    """Say why an absolute, normal path may not be granted to a routine of the workspace at `root`; empty when it may."""
    if path in _TOO_WIDE or any(path.startswith(top + "/") for top in _MACHINE):
        return "is too much of the machine: sockets, devices and other people's files are there"
    if writing and (path == root or root.startswith(path + "/")):
        return "covers the workspace itself"
    if not path.startswith(root + "/"):
        return ""
    parts = path.removeprefix(root + "/").split("/")
    if parts[0] in _NOBODYS:
        return f"is inside {parts[0]}/, which no confined run may see"
    if parts[0] == "routines" and parts[2:3] == ["memory"] and parts[1] != routine_id:
        return "is the memory of another routine"
    return _unwritable(parts) if writing else ""


def _unwritable(parts: list[str]) -> str:
    if not {part.lower() for part in parts}.isdisjoint(repositories.NAMES):
        return "is git's own"
    if parts[0] in _DEFINED and len(parts) < 3:
        return "covers a definition, which a run may not write"
    if parts[0] in _DEFINED and parts[2] in _WRITTEN_HERE:
        return f"covers {parts[2]}, which a run may not write" if parts[2] != "memory" else ""
    return "is the workspace's settings" if parts == ["routinectl.yaml"] else ""
