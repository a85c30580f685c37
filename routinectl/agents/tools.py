"""An agent's tools, from outside: starting their one confined process, asking it, and not waiting for ever."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Any

from routinectl.process import confine

_ANSWER_BYTES = 4 << 20


class Tools:
    """The process of the tools. Start it before there are threads: starting forks."""

    def __init__(self, entry: Mapping[str, Any], env: Mapping[str, str]) -> None:
        """Start it as `entry` says. Raises OSError."""
        self._entry, self._env = dict(entry), dict(env)
        self._pid = 0
        self._start()

    def _start(self) -> None:
        inside, self._asking = os.pipe2(os.O_CLOEXEC)
        self._answers, outside = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid, self._fate = confine.start({**self._entry, "stdin": inside, "errors": 2}, self._env, outside, -1)
        finally:
            os.close(inside)
            os.close(outside)
        self._rest = b""

    def call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> tuple[bool, str]:
        """Have a tool do something; return whether it could, and what it says. A tool that takes too long is ended with its process."""
        try:
            os.write(self._asking, json.dumps({"tool": tool, "arguments": dict(arguments)}).encode() + b"\n")
            line = self._line(time.monotonic() + seconds)
        except BrokenPipeError:
            line = b""
        if line:
            answer = json.loads(line)
            return bool(answer["ok"]), str(answer["text"])
        fault = self.end()
        self._start()
        return False, fault or f"the tool was stopped after {seconds:.0f} s"

    def _line(self, until: float) -> bytes:
        """Return one answer; nothing when the process has ended or the time is over."""
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(until - time.monotonic(), 0))
            data = os.read(self._answers, 65536) if ready else b""
            if not data or len(self._rest) > _ANSWER_BYTES:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def end(self) -> str:
        """End it, and return why it never began, where that is so."""
        os.close(self._asking)
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            return ""
        finally:
            os.close(self._answers)
        _, fault = confine.told(self._fate, os.waitpid(self._pid, 0)[1])
        return fault
