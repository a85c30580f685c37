"""Which level of confinement works here: a real trial of each, in which a small program tries to get out.

It is made once in a process, in an interpreter of its own: `confine.start` forks, which a process with threads must not.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.process.trial import main; main(sys.argv[2:])"
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Found:
    """The level that is used, empty where none works; `faults` say what is wrong with those tried before it."""

    level: str
    program: str
    faults: dict[str, str]

    @property
    def why_not(self) -> str:
        """What is wrong with each level."""
        return "; ".join(f"{level}: {fault}" for level, fault in self.faults.items())


@functools.cache
def best() -> Found:
    """Return the first level whose trial shows that it keeps a program in."""
    import shutil
    import subprocess

    if not sys.platform.startswith("linux"):
        return Found("", "", {"confinement": "this is Linux-only"})
    program = shutil.which("bwrap") or ""
    wanted = os.environ.get("ROUTINECTL_CONFINEMENT", "")
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_PACKAGE), program, wanted]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        faults: dict[str, str] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError, OSError) as error:
        return Found("", program, {"confinement": f"the trial failed: {error}"})
    level = next((name for name, fault in faults.items() if not fault), "")
    return Found(level, program, {name: fault for name, fault in faults.items() if fault})


@functools.cache
def system() -> tuple[list[list[str]], list[list[Any]]]:
    """Return the links, and the read-only binds (source, target, writable), of what every confined run sees of the system."""
    links: list[list[str]] = []
    binds: list[list[Any]] = [["/usr", "/usr", False]]
    for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(path):
            links.append([path, os.readlink(path)])
        elif os.path.isdir(path):
            binds.append([path, path, False])
    return links, binds


def main(arguments: list[str]) -> None:
    """Try the levels with the bwrap given (or none), or only one of them; print what is wrong with each as JSON.

    The folder of the trial is this process's own: whoever asked may end in the middle of it, as a `serve` that is stopped at once does.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="routinectl-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(_tried(os.path.realpath(folder), *arguments)))


def _tried(folder: str, program: str, wanted: str) -> dict[str, str]:
    from routinectl.process.confine import LEVELS

    faults: dict[str, str] = {}
    for level in [level for level in LEVELS if wanted in ("", level)] or [wanted]:
        if level not in LEVELS:
            faults[level] = f"ROUTINECTL_CONFINEMENT names no level; there are {' and '.join(LEVELS)}"
            continue
        faults[level] = "bwrap is not installed" if level == "bubblewrap" and not program else _try(level, folder, program)
        if not faults[level]:
            break
    return faults


def _try(level: str, folder: str, program: str) -> str:
    """Return what is wrong with a level, empty when nothing is."""
    from routinectl.process import confine

    hidden, shown = os.path.join(folder, "hidden"), os.path.join(folder, "shown")
    for path in (hidden, shown):
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "file"), "w") as file:
            file.write("seen\n")
    links, binds = system()
    script = (f'[ "$(cat {shown}/file)" = seen ] || echo "it cannot read what it was given"; '
              f'cat {hidden}/file 2>/dev/null && echo "it reads what it was not given"; '
              f'( : > {shown}/file ) 2>/dev/null && echo "it writes what is read-only"; '
              'for n in /proc/[0-9]*; do [ "${n#/proc/}" -lt 20 ] || echo "it sees processes of others"; done; '
              'while read -r line; do case $line in *:*) case $line in lo:*) ;; *) echo "it has a network";; esac;; esac; done '
              "</proc/net/dev; echo end")  # fmt: skip
    entry = {
        "argv0": "/bin/sh", "argv": ["sh", "-c", script], "cwd": "/", "stdin": os.devnull, "limits": {},
        "confine": {"how": level, "program": program, "network": False, "links": links, "empty": [], "base": "", "tmp": 1 << 20,
                    "binds": [*binds, [shown, shown, False]]},
    }  # fmt: skip
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid, fate = confine.start(entry, {"PATH": "/usr/bin:/bin"}, writing, -1)
    except OSError as error:
        os.close(reading)
        return error.strerror or str(error)
    finally:
        os.close(writing)
    with open(reading, "rb") as said:
        text = said.read().decode(errors="replace").split("\n")
    _, fault = confine.told(fate, os.waitpid(pid, 0)[1])
    if fault:
        return fault
    return "" if text == ["end", ""] else next((line for line in text if line and line != "end"), "its trial did not end")
