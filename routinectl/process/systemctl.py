"""Speaking to systemd through its own command."""

from __future__ import annotations

import shutil
import subprocess


def answers(*, system: bool) -> bool:
    """Say whether a service manager is there to be spoken to."""
    return shutil.which("systemctl") is not None and _run(["show", "--property=Version"], system=system).returncode == 0


def version() -> int:
    """Return the version of systemd, 0 where there is none."""
    if shutil.which("systemctl") is None:
        return 0
    words = _run(["--version"], system=True).stdout.split()  # "systemd 252 (252.39-1)"
    return int(words[1].partition(".")[0]) if words[1:] and words[1].partition(".")[0].isdigit() else 0


def call(words: list[str], *, system: bool) -> str:
    """Run systemctl; return what it said against it, empty when it worked."""
    done = _run(words, system=system)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"


def is_active(unit: str, *, system: bool) -> tuple[bool, str]:
    """Return whether a unit is active, and its state in words."""
    done = _run(["show", unit, "--property=ActiveState,SubState,StatusText,MainPID"], system=system)
    state = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    text = f"{state.get('ActiveState', 'unknown')} ({state.get('SubState', '')}), pid {state.get('MainPID', '0')}, {state.get('StatusText', '')}"
    return state.get("ActiveState") == "active", text


def _run(words: list[str], *, system: bool) -> subprocess.CompletedProcess[str]:
    scope = [] if system else ["--user"]
    return subprocess.run(["systemctl", *scope, *words], capture_output=True, text=True, check=False)
