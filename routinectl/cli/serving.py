"""What serve says: the next fires when it opens, a line per verdict, and trouble; as text or as JSON lines."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from routinectl import clock
from routinectl.cli import output
from routinectl.cli.speaker import Speaker
from routinectl.core import address
from routinectl.core.event import Event
from routinectl.core.projection import history_line
from routinectl.core.units import from_epoch, to_iso
from routinectl.engine.engine import Listener
from routinectl.engine.loop import Options, Serve
from routinectl.errors import DefinitionError, UsageError
from routinectl.files.layout import Layout
from routinectl.operations.serve import MetricsFile, open_serve
from routinectl.process.supervisor import Companion

_LEVELS = ("error", "info", "debug")
_LAST_WORDS = 1.0  # seconds that the end of a serve waits for a slow reader of its last lines


def serve(
    layout: Layout,
    *,
    once: bool = False,
    until_idle: bool = False,
    standby: bool = False,
    log_format: str | None = None,
    log_level: str | None = None,
    listener: Listener | None = None,
    http: str | None = None,
    metrics_file: str | None = None,
    traces: bool = False,
) -> None:
    """Serve a workspace until told to stop; `listener` hears of every event too. Raises BusyError when another serve lives."""
    form = _choice("ROUTINECTL_LOG_FORMAT", log_format, ("text", "json"), "text")
    level = _choice("ROUTINECTL_LOG_LEVEL", log_level, _LEVELS, "info")
    log = Log(form == "json", _LEVELS.index(level))
    companions: list[Companion | MetricsFile] = []
    stays = not (once or until_idle)
    env = {"ROUTINECTL_LOG_FORMAT": form}  # so that those beside us speak as we do
    teller = Companion("routinectl.operations.notices", [str(layout.root)], env, log.talk)

    told = False

    def hear(events: Sequence[Event]) -> None:
        nonlocal told
        told = True  # those beside us are woken when there is time: a start comes first

    def rest() -> None:
        nonlocal told
        log.speaker.flush()
        if stays and running.engine.settings.notify.targets:
            teller.keep(clock.awake())
        for companion in companions:
            companion.keep(clock.awake())
        if told:
            told = False
            _poke([teller, *companions])

    options = Options(once=once, until_idle=until_idle, on_ready=log.ready, on_talk=log.talk, on_rest=rest)
    running = open_serve(layout, options, standby=standby)
    configured = running.engine.settings.http_listen
    if http is not None or (configured and stays):
        require(("starlette", "uvicorn"), "HTTP")
        companions.append(Companion("routinectl.api.server", [str(layout.root), http or configured or address.DEFAULT], env, log.talk))
    log.zone = running.engine.settings.timezone
    running.engine.listeners += [log.events, hear, *([listener] if listener else [])]
    if traces:
        require(("opentelemetry.sdk", "opentelemetry.exporter"), "traces", extra="otel")
        companions.append(Companion("routinectl.operations.traces", [str(layout.root)], env, log.talk))
    if metrics_file:
        require(("prometheus_client",), "metrics")
        companions.append(MetricsFile(Path(metrics_file).absolute(), running, log.talk))
    try:
        running.run()
    finally:
        for companion in (teller, *companions):
            if isinstance(companion, Companion):
                companion.stop()
    if not stays and running.engine.settings.notify.targets:
        from routinectl.operations import notices

        notices.flush(layout)
    if not once:
        going = ", ".join(sorted(set(running.world.running.values())))
        log.talk("stopped" + (f"; what runs goes on ({going}), is minded, and the next serve records its end" if going else ""))
    log.speaker.flush(patience=_LAST_WORDS)


def _poke(companions: Sequence[Companion | MetricsFile]) -> None:
    for companion in companions:
        if isinstance(companion, Companion):
            companion.poke()


def require(modules: Sequence[str], what: str, *, extra: str = "http") -> None:
    """Raise DefinitionError when a part of an extra is not installed."""
    missing = [name for name in modules if not _is_installed(name)]
    if missing:
        raise DefinitionError(f"{what} need{'s' if what == 'HTTP' else ''} {' and '.join(missing)}, which is not installed",
                              f"pip install 'routinectl[{extra}]'")  # fmt: skip


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that is not there either
        return False


def _choice(variable: str, given: str | None, allowed: Sequence[str], default: str) -> str:
    value = (given or os.environ.get(variable) or default).lower()
    if value not in allowed:
        raise UsageError(
            f"{variable.lower().removeprefix('routinectl_')} is '{value}'; allowed are {', '.join(allowed)}", f"{variable}={default}"
        )
    return value


class Log:
    """Writes to standard error. `level` 0 is trouble only, 1 verdicts too, 2 every event."""

    def __init__(self, as_json: bool, level: int) -> None:
        self.as_json, self.level = as_json, level
        self.zone = "UTC"
        self.speaker = Speaker(sys.stderr.fileno(), self._lost)

    def ready(self, running: Serve) -> None:
        """Say that serve is there, what it found, and what fires next."""
        world = running.world
        count = sum(1 for name in world.ids() if name in world.frozen or not world.standing(name).deleted)
        broken = [name for name in world.thawed if world.standing(name).invalid is not None and not world.standing(name).deleted]
        if self.as_json:
            self.speaker.say(_json("ready", {"routines": count, "broken": sorted(broken), "pid": os.getpid()}))
            return
        self.speaker.say(f"routinectl serves {running.engine.layout.root}: {count} routine{'s' if count != 1 else ''}, ready")
        for name in sorted(broken):
            problems = (world.standing(name).invalid or {})["problems"]
            first = problems[0] if problems else {"message": "broken", "where": ""}
            self.speaker.say(f"  {output.word('invalid', sys.stderr)} {name}: {output.safe(first['message'])} ({first['where']})")
        if sys.stderr.isatty():
            now = clock.now()
            for epoch, name in sorted((wake, name) for name, wake in world.wakes.items())[:5]:
                self.speaker.say(f"  next {output.instant(to_iso(from_epoch(round(epoch))), self.zone, now)}  {name}")

    def talk(self, text: str) -> None:
        """Say something that is no event."""
        self.speaker.say(self._note(text))

    def events(self, events: Sequence[Event]) -> None:
        """Write a line for every verdict, and for what is wrong."""
        for event in events:
            if self.as_json and self.level > 0:
                self.speaker.say(_json("event", event.as_dict()))
            elif not self.as_json:
                text = self._text(event)
                if text:
                    self.speaker.say(text)

    def _text(self, event: Event) -> str:
        if event.type == "routine.invalid":
            first = event.data["problems"][0] if event.data["problems"] else {"message": "", "where": ""}
            return f"{self._stamp(event)}  {event.subject}  {output.word('invalid', sys.stderr)}  {output.safe(first['message'])} ({first['where']})"
        if self.level == 0:
            return ""
        line = history_line(event)
        if line is not None:
            return f"{self._stamp(event)}  {event.subject}  {_verdict(line)}"
        if self.level > 1 or event.type in ("slot.held", "clock.jumped", "journal.damaged") or event.type in _CHANGES:
            reason = event.data.get("reason", "")
            return f"{self._stamp(event)}  {event.subject or 'workspace'}  {event.type}  {output.safe(str(reason))}".rstrip()
        return ""

    def _stamp(self, event: Event) -> str:
        return output.instant(event.time[:19] + "Z", self.zone)

    def _lost(self, count: int) -> str:
        return self._note(f"{count} lines are not shown here: nobody took them in time (routinectl history has them all)")

    def _note(self, text: str) -> str:
        return _json("note", {"message": text}) if self.as_json else text


_CHANGES = frozenset({"routine.created", "routine.updated", "routine.deleted", "routine.enabled", "routine.disabled", "routine.paused",
                      "routine.resumed"})  # fmt: skip


def _verdict(line: dict[str, Any]) -> str:
    from routinectl.cli.lines import took

    if line["verdict"] == "ran":
        code = f"exit {line['exit_code']}" if line.get("exit_code") else line.get("signal") or ""
        parts = [output.word(line["outcome"], sys.stderr), code, took(line), output.safe(line.get("message") or "")]
        return "  ".join(filter(None, parts))
    count = f"{line['count']} slots, " if (line.get("count") or 0) > 1 else ""
    return f"{output.word(line['verdict'], sys.stderr)}  {count}{line['reason']}"


def _json(kind: str, value: dict[str, Any]) -> str:
    return json.dumps({"time": to_iso(clock.now()), "kind": kind, **value}, ensure_ascii=False)
