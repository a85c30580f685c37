"""Serving a workspace."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from routinectl import clock
from routinectl.core.routine import Routine
from routinectl.core.settings import Settings
from routinectl.core.standing import Standing
from routinectl.core.units import parse_duration
from routinectl.engine.engine import Engine
from routinectl.engine.loop import Options, Serve
from routinectl.engine.world import World
from routinectl.errors import DefinitionError, UsageError
from routinectl.files import atomic, config
from routinectl.files.layout import Layout
from routinectl.operations import metrics
from routinectl.process import ability, trial

_METRICS_SECONDS = 15.0


def open_serve(layout: Layout, options: Options, *, standby: bool = False) -> Serve:
    """Return a serve of the workspace that holds its lock; `run` it.

    Raises BusyError when another serve lives, DefinitionError when this host is not one that serves the workspace.
    """
    settings = config.load(layout)
    _check_host(settings)
    engine = Engine(layout, settings, fires=_fires())
    limit = os.environ.get("ROUTINECTL_MAX_CONCURRENT", "")
    if limit:
        engine.limit = _number("ROUTINECTL_MAX_CONCURRENT", limit)
    interval = os.environ.get("ROUTINECTL_SCAN_INTERVAL", "")
    if interval:
        try:
            options.scan_interval = max(parse_duration(interval).total_seconds(), 0.1)
        except ValueError as error:
            raise UsageError(f"ROUTINECTL_SCAN_INTERVAL: {error}", "ROUTINECTL_SCAN_INTERVAL=60s") from None
    # Whether programs can be confined here is tried now and not when the first of them is due.
    tried = threading.Thread(target=trial.best, daemon=True)
    tried.start()
    serve = Serve.open(engine, options, standby=standby)
    if not options.once:
        threading.Thread(target=_tell_ability, args=(layout, tried), daemon=True).start()
    return serve


def _tell_ability(layout: Layout, tried: threading.Thread) -> None:
    """Leave what this serve can do, for `doctor`: a shell cannot see it."""
    tried.join()
    with contextlib.suppress(OSError):
        atomic.write(layout.ability, json.dumps(ability.look()).encode(), durable=False)


@dataclass(slots=True)
class Glance:
    """A running serve, as something to look at from inside."""

    serve: Serve
    now: datetime
    serve_lives: bool = True

    @property
    def world(self) -> World:
        """The world, folded."""
        return self.serve.world

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.serve.engine.settings

    def standing(self, name: str) -> Standing:
        """Return where a routine stands."""
        return self.world.standing(name)

    def routine(self, name: str) -> Routine | None:
        """Return the definition in force."""
        return self.world.routine(name)


class MetricsFile:
    """Metrics in a file, for node_exporter's textfile collector; replaced in one step every so many seconds."""

    def __init__(self, path: Path, serve: Serve, talk: Callable[[str], None]) -> None:
        self.path, self.serve, self.talk = path, serve, talk
        self.next_at = 0.0
        self.trouble = ""

    def keep(self, awake: float) -> None:
        """Write it when its time has come; a file that cannot be written is said once, and stops nothing."""
        if awake < self.next_at or not self.serve.ready:
            return
        self.next_at = awake + _METRICS_SECONDS
        try:
            atomic.write(self.path, metrics.text(Glance(self.serve, clock.now())), mode=0o644, durable=False)
            self.trouble = ""
        except OSError as error:
            if str(error) != self.trouble:
                self.talk(f"metrics cannot be written: {error}")
            self.trouble = str(error)


def _check_host(settings: Settings) -> None:
    host = socket.gethostname()
    if settings.serve_on and host not in settings.serve_on:
        allowed = ", ".join(settings.serve_on)
        raise DefinitionError(
            f"this workspace is served on {allowed}, and this machine is {host}: two clones that both fire would fire twice",
            f"serve_on: [{', '.join([*settings.serve_on, host])}]    # in routinectl.yaml, if that is meant",
        )


def _fires() -> bool:
    value = os.environ.get("ROUTINECTL_ENABLED", "true").lower()
    if value not in ("true", "false", "1", "0", "yes", "no"):
        raise UsageError(f"ROUTINECTL_ENABLED is '{value}'", "ROUTINECTL_ENABLED=false")
    return value in ("true", "1", "yes")


def _number(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"{name} is '{text}', not a whole number above 0", f"{name}=10")
    return int(text)
