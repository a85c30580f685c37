"""What a test needs of the machine, said in one way: it is skipped where that is not there, and the end of a run says why."""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from collections.abc import Iterable

import pytest

from routinectl.process import cgroups, trial

PACKAGES = {  # what is needed: the Debian package that has it, where the name is another
    "crontab": "cron", "mkfs.ext4": "e2fsprogs", "unshare": "util-linux", "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
}  # fmt: skip
CONFINEMENT = "confinement"


@functools.cache
def lack(what: str) -> str:
    """Return why a thing is not there, with what would bring it; empty where it is."""
    if what == CONFINEMENT:
        return "" if trial.best().level else f"a machine where runs can be confined ({trial.best().why_not})"
    if what == "cgroups":
        return "" if cgroups.look().v2 else "a hierarchy of cgroups (v2) that this user may write to"
    if what == "root":
        return "" if os.geteuid() == 0 else "root"
    found = shutil.which(what, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return "" if found else f"{what} (apt-get install {PACKAGES.get(what, what)})"


def needs(*things: str) -> pytest.MarkDecorator:
    """Return the mark of a test, or a table's row, that needs programs, `root` or `confinement`."""
    lacks = [lack(what) for what in things if lack(what)]
    return pytest.mark.skipif(bool(lacks), reason=f"need {' and '.join(lacks)}")


def need(*things: str) -> None:
    """Skip the test that asks, unless all is there."""
    lacks = [lack(what) for what in things if lack(what)]
    if lacks:
        pytest.skip(f"need {' and '.join(lacks)}")


def summary(reasons: Iterable[str]) -> list[str]:
    """Return a line for each reason of skipped tests, with their number."""
    lines = []
    for reason, count in sorted(Counter(reasons).items()):
        text = reason.removeprefix("Skipped: ")
        who = "1 test" if count == 1 else f"{count} tests"
        verb = f" {text.replace('need ', 'needs ', 1) if count == 1 else text}" if text.startswith("need ") else f": {text}"
        lines.append(f"skipped: {who}{verb}")
    return lines
