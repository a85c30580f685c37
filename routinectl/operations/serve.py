"""Serving a workspace."""

from __future__ import annotations

import os
import socket

from routinectl.core.settings import Settings
from routinectl.core.units import parse_duration
from routinectl.engine.engine import Engine
from routinectl.engine.loop import Options, Serve
from routinectl.errors import DefinitionError, UsageError
from routinectl.files import config
from routinectl.files.layout import Layout


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
    return Serve.open(engine, options, standby=standby)


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
