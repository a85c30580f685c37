"""Telling people: reads what is on record, tells what is news, and records what became of that.

serve keeps one process for it, `python -m routinectl.operations.notices WORKSPACE`, and pokes it through its standard
input; without serve, `routinectl notify send` does one round. Nothing that runs waits for it.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from routinectl import clock
from routinectl.core import legible
from routinectl.core.event import AS_JSON, Event
from routinectl.core.notice import Block, Desk, Notice, blocks, incidents_from
from routinectl.core.outbox import Letter, Most, Outbox, outbox_from
from routinectl.core.settings import Notify, Target
from routinectl.core.units import to_iso
from routinectl.errors import BusyError, DefinitionError, NotFoundError, RoutinectlError
from routinectl.files import config, outbox, run_logs, secrets
from routinectl.files.layout import Layout
from routinectl.files.lock import try_lock
from routinectl.operations.follow import Follower, say, wait
from routinectl.process import child

_TAIL_LINES, _TAIL_BYTES = 10, 2000  # of a failed run's output, in its notice
_MOST_SIGNATURE = 150  # characters
_LONGEST = 3600.0
_SAVE_EVENTS = 5000
_AT_ONCE = 8  # targets that are sent to at the same time


class Notifier:
    """What is told by whom, over one session. Close it. Raises BusyError when another process does it already."""

    def __init__(self, layout: Layout) -> None:
        layout.make()
        lock = try_lock(layout.lock("notify"))
        if lock is None:
            raise BusyError("notices are being sent already", "routinectl notify list")
        self.lock, self.layout = lock, layout
        self.follower = Follower(layout)
        self.session = self.follower.session
        self.config_key = config.key_of(layout.config)
        plain = outbox.read(layout)
        self.desk = Desk(self.wanted.remind, incidents_from(plain.get("incidents", {})))
        self.outbox: Outbox = outbox_from(plain.get("outbox", {}))
        self.seq = int(plain.get("seq", self.follower.beginning()))
        self.saved: dict[str, Any] = {}
        self.follower.begin_after(self.seq)

    @property
    def wanted(self) -> Notify:
        """The settings of notices."""
        return self.session.settings.notify

    def round(self) -> float:
        """Take in what is new, send what is due; return for how many seconds there is nothing to do."""
        news = self.follower.take()
        self._reread_settings()
        self._take_in(news)
        self.deliver(self.outbox.ready(self.session.now))
        self.session.world.cool()
        wakes = [at for at in (self.outbox.next_at(), self.desk.next_at(self._muted())) if at is not None]
        return min([max((at - clock.now()).total_seconds(), 0.0) for at in wakes] + [_LONGEST])

    def _reread_settings(self) -> None:
        key = config.key_of(self.layout.config)
        if key != self.config_key:
            self.config_key = key
            try:
                self.session.settings = config.load(self.layout)
            except DefinitionError:
                return  # serve says so; the settings before stay in force
            self.desk.remind = self.wanted.remind
            self.outbox.forget(self.wanted.targets)

    def _take_in(self, news: list[Event]) -> None:
        """Fold events into incidents and letters, and write that down before anything is sent."""
        session = self.session
        lost: list[Event] = []
        for event in news:
            self.seq = max(self.seq, event.seq)
            if event.type.startswith("notice."):
                self.outbox.heard(event)
            elif event.subject:
                standing = session.standing(event.subject)
                found = self.desk.hear(event, standing.doc or {})
                lost += self._post(found)
        lost += self._post(self.desk.due(session.now, self._muted()))
        self._save()
        if lost:
            session.append(*lost)

    def _post(self, notices: Iterable[Notice]) -> list[Event]:
        found: list[Event] = []
        for notice in notices:
            wanted, most = self._blocks(notice.routine), self._most(notice.routine)
            found += self.outbox.post(self._with_output(notice), wanted, self.wanted.targets, self.session.now, most)
        return found

    def _blocks(self, name: str) -> list[Block]:
        doc = self.session.standing(name).doc
        return blocks(doc) if doc is not None else [Block()]

    def _most(self, name: str) -> Most | None:
        routine = self.session.routine(name)
        return Most(routine.notices_per_day, routine.zone) if routine is not None and routine.notices_per_day is not None else None

    def _with_output(self, notice: Notice) -> Notice:
        """Return a notice of a failed run with the end of what the run printed, in which secrets are masked."""
        if "failed" not in notice.occasions or not notice.run:
            return notice
        printed = run_logs.text(self.layout.run(notice.routine, notice.run) / "out", _TAIL_BYTES)
        tail = [legible.line(line) for line in printed.splitlines()[-_TAIL_LINES:]]
        said = [line for line in notice.lines[:-1] if line not in {" ".join(item.split()) for item in tail}]
        return replace(notice, lines=(*said, *(f"| {line}" for line in tail), *notice.lines[-1:]))

    def _muted(self) -> set[str]:
        """Return the routines with an incident of which nothing is expected for now."""
        found = set()
        for name in self.desk.incidents:
            standing = self.session.standing(name)
            if standing.paused is not None or standing.deleted or not standing.enabled:
                found.add(name)
        return found

    def deliver(self, letters: Sequence[Letter]) -> None:
        """Send letters, one target not waiting for another, and record what became of each."""
        if not letters:
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            wrong = list(pool.map(self._send, letters))
        now = clock.now()
        events: list[Event] = []
        for letter, why in zip(letters, wrong, strict=True):
            events += [self.outbox.sent(letter, now)] if not why else self.outbox.failed(letter, why, now)
            if why:
                again = self.outbox.troubles[letter.target].again_at
                say(f"notice to {letter.target} failed: {why.splitlines()[-1]}; next try at {again}")
        self.session.refresh()
        self.session.append(*events)
        self._save()

    def _send(self, letter: Letter) -> str:
        return send(self.layout, self.wanted.targets[letter.target], letter)

    def _save(self) -> None:
        """Write down how things stand, if that is news: events that changed nothing may be read again."""
        plain = {"seq": self.seq, "incidents": self.desk.to_plain(), "outbox": self.outbox.to_plain()}
        if {**plain, "seq": 0} != {**self.saved, "seq": 0} or self.seq > self.saved["seq"] + _SAVE_EVENTS:
            outbox.write(self.layout, plain)
            self.saved = plain

    def close(self) -> None:
        """End the session, and let another process tell."""
        self.follower.close()
        self.lock.close()


def send(layout: Layout, target: Target, letter: Letter) -> str:
    """Deliver a letter, in a process of its own; return what is against it, nothing when it has arrived."""
    env = {"ROUTINECTL_WORKSPACE": str(layout.root), "ROUTINECTL_NOTICE_TITLE": letter.title}
    run = functools.partial(child.run, seconds=target.timeout, folder=layout.root, env=env)
    signed = "\n".join(filter(None, [letter.body, legible.line(f"({layout.root.name} on {socket.gethostname()})", _MOST_SIGNATURE)]))
    if target.sender == "command":
        return run(target.value, json.dumps(_plain(letter), ensure_ascii=False).encode("utf-8", AS_JSON))
    if target.sender == "desktop":
        urgency = "critical" if letter.high else "normal"
        return run(["notify-send", "--app-name=routinectl", f"--urgency={urgency}", "--", letter.title, letter.body], b"")
    url = dereference(layout, target.value)
    if not url:
        return f"its URL is not set: {target.value[0]} {target.value[1]}"
    asked = {"url": url, "title": letter.title, "body": signed, "high": letter.high}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return run([sys.executable, "-m", "routinectl.notify"], json.dumps(asked).encode())


def _plain(letter: Letter) -> dict[str, Any]:
    """Return a letter as a command gets it."""
    return {"title": letter.title, "body": letter.body, "target": letter.target, "host": socket.gethostname(),
            "notices": [asdict(notice) for notice in letter.notices]}  # fmt: skip


def dereference(layout: Layout, reference: Sequence[str]) -> str:
    """Return what a reference of the settings (("env" or "file", name)) stands for; empty when that is not there."""
    if not reference:
        return ""
    kind, name = reference
    return os.environ.get(name, "") if kind == "env" else secrets.read(str(layout.root / name)).decode(errors="replace")


def test(layout: Layout, name: str, now: datetime) -> str:
    """Send a notice that says it is a test; return what is against it. Raises NotFoundError."""
    targets = config.load(layout).notify.targets
    if name not in targets:
        raise NotFoundError(f"there is no target '{name}'", f"notify: {{targets: {{{name}: {{command: [./tell.sh]}}}}}}")
    notice = Notice("test", "", ("succeeded",), to_iso(now), "A test from routinectl", ("Notices that go to this target arrive here.",))
    return send(layout, targets[name], Letter(name, (notice,)))


def state(layout: Layout) -> dict[str, Any]:
    """Return the targets, what waits for each and what is wrong with it, and the open incidents."""
    settings, plain = config.load(layout).notify, outbox.read(layout)
    box = outbox_from(plain.get("outbox", {}))
    waiting = {name: sum(item.target == name for item in box.waiting) for name in settings.targets}
    return {
        "targets": [{"name": name, "sender": target.sender, "to": _shown(target), "waiting": waiting[name],
                     "trouble": asdict(box.troubles[name]) if name in box.troubles else None} for name, target in settings.targets.items()],
        "incidents": [{"routine": name, **item} for name, item in plain.get("incidents", {}).items()],
    }  # fmt: skip


def _shown(target: Target) -> str:
    return f"{target.value[0]} {target.value[1]}" if target.sender == "apprise" else " ".join(target.value)


def flush(layout: Layout) -> Mapping[str, int]:
    """Do one round; return how many notices wait still, by target."""
    notifier = Notifier(layout)
    try:
        notifier.round()
        found: dict[str, int] = {}
        for item in notifier.outbox.waiting:
            found[item.target] = found.get(item.target, 0) + 1
        return found
    finally:
        notifier.close()


def main(root: str) -> int:
    """Tell what is news of a workspace until standard input ends; every byte that comes there says: there may be some."""
    notifier = Notifier(Layout(Path(root)))
    try:
        while True:
            try:
                patience = notifier.round()
            except OSError as error:
                say(f"notices wait: {error}")
                patience = 5.0
            if not wait(patience):
                return 0
    finally:
        notifier.close()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except RoutinectlError as error:
        sys.exit(f"notices: {error}")
