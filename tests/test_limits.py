"""Limits for the tree of a run: nothing outlives it however it forks, and what it uses is counted, with cgroups and without.

A keeper without cgroups is one that finds /sys/fs/cgroup covered, as in many a container.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import until
from needs import lack, need, needs
from test_keeper import Kept

from routinectl.process import cgroups, proc, trial

HERE = Path(__file__).resolve().parent
COVERED = """#!/bin/sh
exec unshare --mount sh -c 'mount -t tmpfs none /sys/fs/cgroup && exec "$0" "$@"' {python} "$@"
"""
with_groups = pytest.param(True, id="cgroups", marks=needs("cgroups"))
without = pytest.param(False, id="sampled", marks=needs("root", "unshare") if cgroups.find().v2 else ())


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> str:
    need("gcc")
    made = tmp_path_factory.mktemp("chain")
    made.chmod(0o755)
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", made / "chain", HERE / "chain.c"], check=True)
    return str(made / "chain")


@pytest.fixture
def keepers(tmp_path, monkeypatch):
    """Return what starts a keeper, with cgroups or without; what it leaves is ended by the names of its groups and of its program."""
    started = []

    def start(*, groups: bool) -> Kept:
        if not groups and cgroups.find().v2:
            wrapper = tmp_path / "python"
            wrapper.write_text(COVERED.format(python=sys.executable))
            wrapper.chmod(0o755)
            monkeypatch.setattr(sys, "executable", str(wrapper))
        found = Kept(tmp_path / f"k{len(started)}")
        monkeypatch.undo()
        started.append(found)
        return found

    yield start
    for found in started:
        with suppress(ProcessLookupError):
            os.kill(found.hello["pid"], signal.SIGKILL)
        for group in groups_of(found):
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            until(lambda group=group: removed(group))


def removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def groups_of(kept: Kept) -> list[Path]:
    info = (kept.root / "runs").stat()
    name = f"routinectl-{info.st_dev:x}.{info.st_ino:x}-*"
    return [path for place in set(cgroups.find()) - {""} for path in Path(place).glob(name)]


def alive(program: str) -> list[int]:
    """Return the processes of a program, by its file: names can be changed."""
    found = []
    for item in proc.everybody():
        with suppress(OSError):
            if os.readlink(f"/proc/{item.pid}/exe") == program and item.state not in "ZX":
                found.append(item.pid)
    return found


def gone(program: str) -> bool:
    """Say whether a program has no process: a chain is missed by one look, hardly by twenty."""
    return not any(alive(program) for _ in range(20))


def confinement(folder: str) -> dict:
    links, binds = trial.system()
    return {"network": False, "links": links, "empty": [], "base": "", "tmp": 64 << 20, "binds": [*binds, [folder, folder, False]]}


LEVELS = {
    # how the run is started beside its command, from the folder of the chain
    "full": lambda folder: {},
    "full with a limit": lambda folder: {"limits": {"cpu": 60}},
    "confined": lambda folder: {"confine": confinement(folder)},
}
CHAINS = {"2 ms": "2000 40", "500 us": "500 40", "100 us": "100 40", "at once": "0 40", "five, 1 ms": "1000 40 5"}
ENDINGS = {
    # the command with the chain, options of the run, why it was stopped
    "it has ended": ("{chain}; exit 0", {}, ""),
    "its time is over": ("trap '' TERM; {chain}; sleep 60", {"timeout": 0.5}, "timed_out"),
    "it hides its mark": ("env -i setsid {chain} </dev/null >/dev/null 2>&1 3>&-; exit 0", {}, ""),
}


@pytest.mark.parametrize("groups", [with_groups, without])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("speed", CHAINS)
@pytest.mark.parametrize("level", LEVELS)
def test_no_chain_of_forks_outlives_its_run(keepers, chain, level, speed, ending, groups):
    if level == "confined" and lack("confinement"):
        pytest.skip(lack("confinement"))
    kept = keepers(groups=groups)
    line, more, stopped = ENDINGS[ending]
    options = {"grace": 0.2, **more, **LEVELS[level](str(Path(chain).parent))}
    kept.shell("a", line.format(chain=f"{chain} {CHAINS[speed]}"), **options)
    (record,) = kept.hear("ended")

    assert gone(chain)
    assert record["stopped"] == stopped
    assert groups_of(kept) == []


@pytest.mark.parametrize("speed", ["2000", "100"])
def test_a_run_beside_keeps_its_own_chain_until_it_ends(keepers, chain, speed):
    kept = keepers(groups=False)
    kept.shell("lives", f"{chain} {speed} 40; exec sleep 60", grace=0.2)
    until(lambda: alive(chain))
    kept.shell("ends", "(setsid sleep 61 &); exit 0", grace=0.2)
    (record,) = kept.hear("ended")

    assert record["run"] == "ends"
    until(lambda: alive(chain))
    kept.wire.send({"cancel": ["lives"]})
    (record,) = kept.hear("ended")

    assert record["run"] == "lives"
    assert gone(chain)


@pytest.mark.parametrize("speed", ["2000", "100"])
def test_a_chain_that_hides_among_runs_that_come_and_go_ends_with_those_that_were_there(keepers, chain, speed):
    kept = keepers(groups=False)
    kept.shell("beside", "exec sleep 60", grace=0.2)
    kept.shell("hides", f"env -i setsid {chain} {speed} 40 </dev/null >/dev/null 2>&1 3>&-; exit 0", grace=0.2)
    assert [record["run"] for record in kept.hear("ended")] == ["hides"]
    kept.shell("later", "exec sleep 60", grace=0.2)
    kept.hear("spawned")
    kept.wire.send({"cancel": ["beside"]})

    assert [record["run"] for record in kept.hear("ended")] == ["beside"]
    assert gone(chain)
    kept.wire.send({"cancel": ["later"]})
    kept.hear("ended")
