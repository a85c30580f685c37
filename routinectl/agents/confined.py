"""Starting something confined from a run's own process, and ending as it has ended."""

from __future__ import annotations

import os
import resource
import signal
from typing import Any

from routinectl.process import confine


def run_confined(entry: dict[str, Any], env: dict[str, str]) -> int:
    """Run a program confined, with this process's output; return its exit status. Raises OSError when it never began."""
    pid, fate = confine.start(entry, env, 1, -1)
    status, fault = confine.told(fate, os.waitpid(pid, 0)[1])
    if fault:
        raise OSError(fault)
    return status


def end_like(status: int) -> None:
    """End as another process has ended, so that whoever waits for this one sees the truth."""
    number = status & 0x7F
    if number:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(status >> 8)
