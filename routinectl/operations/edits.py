"""Proposals of edits: showing the patch that a run has left, and applying it to the workspace, once, if it still applies."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable
from typing import Any

from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.errors import BusyError, NotFoundError, RoutinectlError
from routinectl.files import editing, regular
from routinectl.files.layout import DEFINITION
from routinectl.operations.session import Session
from routinectl.process import git

Item = dict[str, Any]
_MOST_BYTES = 256 * 1024 * 1024
_AGENT = re.compile(r"agents/([^/]+)/")
_DEFINITION = re.compile(rf"routines/([^/]+)/{re.escape(DEFINITION)}")


def patch(session: Session, item: Item) -> bytes:
    """Return the patch of a proposal of edits. Raises NotFoundError when it is gone, or is not what was recorded."""
    path = session.layout.proposal(item["proposal"])
    try:
        data = regular.read(path, _MOST_BYTES)
    except OSError as error:
        raise NotFoundError(f"the patch of {item['proposal']} cannot be read: {path}: {error.strerror}",
                              f"routinectl proposals reject {item['proposal']}") from None  # fmt: skip
    if hashlib.sha256(data).hexdigest() != item["sha256"]:
        raise NotFoundError(f"the patch of {item['proposal']} is not the one that was recorded: {path}",
                              f"routinectl proposals reject {item['proposal']}")  # fmt: skip
    return data


def _touched(session: Session, paths: list[str]) -> list[str]:
    """Return the routines whose definition a patch changes: their own file, or that of the agent they use."""
    agents = {match[1] for match in map(_AGENT.match, paths) if match}
    users = {name for name in session.alive() if (session.standing(name).doc or {}).get("action", {}).get("agent", {}).get("use") in agents}
    return sorted(users | {match[1] for match in map(_DEFINITION.fullmatch, paths) if match})


def apply(session: Session, item: Item, answer: Callable[[], None], by: str) -> Item:
    """Apply a patch to the workspace; `answer` records that it was, before it is. Raises BusyError when it conflicts.

    What it changes of definitions becomes a draft: that is on record before the file is there.
    """
    data, root = patch(session, item), session.layout.root
    fault = git.apply(root, data, check=True)
    if fault:
        kept = session.layout.proposal(item["proposal"]).relative_to(root)
        raise BusyError(f"conflict: what {item['proposal']} changes has changed meanwhile: {fault.splitlines()[0]}",
                        f"git apply --3way {kept}, or routinectl proposals reject {item['proposal']}")  # fmt: skip
    paths = git.touched(root, data)
    drafts = _touched(session, paths)
    answer()
    for name in drafts:
        session.append(Event("routine.drafted", name, {"at": to_iso(session.now), "by": item["by"]}))
    fault = git.apply(root, data, check=False)
    if fault:
        raise RoutinectlError(f"{item['proposal']} was not applied: {fault}", f"git apply {session.layout.proposal(item['proposal'])}")
    for name in drafts:
        session.look_at(name)
    return {"files": paths, "drafts": drafts, "committed": _commit(session, item, paths, by)}


def _commit(session: Session, item: Item, paths: list[str], by: str) -> bool:
    """Commit what was applied, where the workspace wants that; say whether it was."""
    if session.settings.git_commit:
        with contextlib.suppress(RoutinectlError), editing.lock(session.layout):
            root, message = session.layout.root, f"routine {item['routine']}: {item['proposal']}, applied by {by}"
            git.commit(root, [root / path for path in paths], message)
            return True
    return False
