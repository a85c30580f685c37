"""Whether confinement works here: a real trial, in which a small program tries to get out.

It is made once in a process, in an interpreter of its own: `confine.start` forks, which a process with threads must not.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from routinectl.process import view

_PACKAGE = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.process.trial import main; main(*sys.argv[2:])"
_SECONDS = 20
_OFF = "none"
_PROFILE = "/etc/apparmor.d/routinectl"
_SWITCHES = {  # a setting of the kernel that forbids it, as its file says it: what to paste
    ("kernel/apparmor_restrict_unprivileged_userns", "1"): (
        "printf 'abi <abi/4.0>,\\nprofile routinectl {python} flags=(unconfined) {{ userns, }}\\n' | sudo tee {profile}"
        " && sudo apparmor_parser -r {profile}"
    ),
    ("kernel/unprivileged_userns_clone", "0"): "sudo sysctl kernel.unprivileged_userns_clone=1",
    ("user/max_user_namespaces", "0"): "sudo sysctl user.max_user_namespaces=10000",
}


@dataclass(frozen=True, slots=True)
class Found:
    """How runs are confined here, empty where they cannot be; `why_not` says what is in the way."""

    level: str
    why_not: str = ""


@functools.cache
def best() -> Found:
    """Return what a trial shows: whether a program is kept in."""
    if not sys.platform.startswith("linux"):
        return Found("", "it is Linux-only")
    if os.environ.get("ROUTINECTL_CONFINEMENT") == _OFF:
        return Found("", f"ROUTINECTL_CONFINEMENT is {_OFF}")
    return _tried()


def overlay(folder: Path) -> str:
    """Return why what a run may write beside `out/` cannot be kept in a layer in this folder, empty where it can."""
    found = _tried(str(folder))
    return "" if found.level else found.why_not.rpartition(": ")[2]


def _tried(*words: str) -> Found:
    import subprocess

    words = (sys.executable, "-I", "-S", "-c", _PROGRAM, str(_PACKAGE), *words)
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        found: dict[str, str] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError, OSError) as error:
        return Found("", f"the trial failed: {error}")
    return Found(**found)


def remedy() -> str:
    """Return what to paste so that runs can be confined here, by the settings of the kernel that forbid it."""
    for (name, value), text in _SWITCHES.items():
        try:
            if Path(f"/proc/sys/{name}").read_text().strip() == value:
                return text.format(python=os.path.realpath(sys.executable), profile=_PROFILE)
        except OSError:
            continue
    return "a kernel, container or service that lets this user make user namespaces (unshare --user --map-root-user true)"


@functools.cache
def system() -> tuple[list[list[str]], list[list[str]]]:
    """Return the links, and the binds (source, target, how, layer), of what every confined run sees of the system."""
    links: list[list[str]] = []
    binds = [["/usr", "/usr", view.PLAIN, ""]]
    for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(path):
            links.append([path, os.readlink(path)])
        elif os.path.isdir(path):
            binds.append([path, path, view.PLAIN, ""])
    return links, binds


def main(where: str = "") -> None:
    """Make the trial, and print what it shows as JSON; `where` is a folder for it, in which an overlay is tried too.

    The folder of the trial is this process's own: whoever asked may end in the middle of it, as a `serve` that is stopped at once does.
    """
    import tempfile

    from routinectl.process.confine import HOW

    with tempfile.TemporaryDirectory(prefix="routinectl-", dir=where or None, ignore_cleanup_errors=True) as folder:
        fault = _fault(os.path.realpath(folder), kept=bool(where))
        print(json.dumps({"level": "" if fault else HOW, "why_not": fault}))


def _fault(folder: str, *, kept: bool) -> str:
    """Return what is wrong with confinement here, empty when nothing is."""
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
        "confine": {"network": False, "links": links, "hidden": [[], []], "makes": "", "base": "", "tmp": 1 << 20, "written": f"{folder}/layers",
                    "binds": [*binds, [shown, shown, view.READ, ""], *([[hidden, f"{folder}/kept", view.KEPT, "0"]] if kept else [])]},
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
