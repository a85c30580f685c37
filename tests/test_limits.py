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
from conftest import Result, until
from needs import lack, need, needs
from test_keeper import Kept

from routinectl.process import cgroups, proc, trial, view

HERE = Path(__file__).resolve().parent
COVERED = """#!/bin/sh
exec unshare --mount sh -c 'mount -t tmpfs none /sys/fs/cgroup && exec "$0" "$@"' {python} "$@"
"""
with_groups = pytest.param(True, id="cgroups", marks=needs("cgroups"))
without = pytest.param(False, id="sampled", marks=needs("root", "unshare") if cgroups.look().v2 else ())


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
        if not groups and cgroups.look().v2:
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
    prefix = f"routinectl-{info.st_dev:x}.{info.st_ino:x}-"
    return [Path(above, name) for above, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith(prefix)]


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
    return {"network": False, "links": links, "hidden": [[], []], "makes": "", "written": "", "base": "", "tmp": 64 << 20,
            "binds": [*binds, [folder, folder, view.READ, ""]]}  # fmt: skip


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


BURNER = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range({children}):
    if not os.fork():
        while time.process_time() < 0.05: pass
        os._exit(0)
    time.sleep(0.02)
try: os.wait()
except ChildProcessError: pass
"""
USES = {
    # a program, the limits of its run, what it goes over with cgroups
    "CPU time of children that nobody waits for": (BURNER.format(children=600), {"cpu": 1}, "cpu"),
    "the same, all over soon": (BURNER.format(children=30), {"cpu": 1}, "cpu"),
    "memory in memfds": ("import os\nfd = os.memfd_create('x')\nfor _ in range(200): os.write(fd, bytes(1 << 20))\nimport time; time.sleep(30)",
                         {"memory": 64 << 20}, "memory"),
    "memory of many": ("import os, time\nfor _ in range(3): os.fork()\nx = bytearray(30 << 20); time.sleep(30)", {"memory": 128 << 20}, "memory"),
    "within its limits": ("x = bytearray(1 << 20)", {"cpu": 20, "memory": 128 << 20}, ""),
}  # fmt: skip


@pytest.mark.parametrize("groups", [with_groups, without])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("level", ["full", "confined"])
def test_what_the_whole_tree_of_a_run_uses_is_limited(keepers, tmp_path, level, use, groups):
    if level == "confined" and lack("confinement"):
        pytest.skip(lack("confinement"))
    if not groups and use.startswith(("CPU", "the same")):
        pytest.skip("it is what samples cannot see")
    kept = keepers(groups=groups)
    program, limits, over = USES[use]
    (tmp_path / "use.py").write_text(program)
    more = {"confine": confinement(str(tmp_path))} if level == "confined" else {}
    kept.spawn("a", "/usr/bin/python3", str(tmp_path / "use.py"), limits=limits, grace=0.2, **more)
    (record,) = kept.hear("ended")

    assert record.get("over", "") == over, (record, kept.out("a"))
    wanted = [name for name in cgroups.FUNCTIONS if name in limits or (level == "confined" and name == "cpu")]
    assert record["measured"] == {name: (cgroups.look() if groups else cgroups.Places()).way(name) for name in wanted}
    if over == "cpu":
        assert limits["cpu"] < record["cpu"] <= limits["cpu"] + 1.5
    assert groups_of(kept) == []


@needs("cgroups")
def test_no_more_processes_than_it_may_have(keepers):
    if not cgroups.look().processes:
        pytest.skip("need a hierarchy of cgroups that counts processes")
    kept = keepers(groups=True)
    line = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 30 & done; echo all"
    kept.shell("a", line, limits={"cpu": 60, "processes": 6} if os.geteuid() else {"processes": 6}, grace=0.2)
    kept.hear("ended")

    assert b"Resource temporarily unavailable" in kept.out("a") or b"annot fork" in kept.out("a")


@pytest.mark.parametrize("groups", [with_groups, without])
def test_cpu_time_that_must_be_counted_is_never_sampled(keepers, groups):
    kept = keepers(groups=groups)
    kept.shell("a", "exit 0", limits={"cpu": 60}, exact=True)
    (answer,) = kept.hear("spawned")

    assert ("error" in answer) is not groups
    if not groups:
        assert "lower bound" in answer["error"]
        assert kept.out("a") == b""


def test_a_run_without_limits_has_no_group(keepers):
    kept = keepers(groups=True)
    kept.shell("a", "cat /proc/self/cgroup; exec sleep 60", limits={"files": 64})
    kept.shell("b", "exec sleep 60")
    kept.hear("spawned")
    made = groups_of(kept)
    kept.wire.send({"cancel": ["a", "b"]})
    record, *_ = kept.hear("ended")

    assert made == []
    assert "measured" not in record
    assert b"routinectl-" not in kept.out("a")


@needs("cgroups")
def test_the_groups_of_a_keeper_that_was_killed_are_removed_by_the_next(keepers, monkeypatch):
    kept = keepers(groups=True)
    kept.shell("a", "exec sleep 60", limits={"cpu": 60})
    (started,) = kept.hear("spawned")
    assert [group.name.startswith("routinectl-") for group in groups_of(kept)] == [True]
    os.kill(kept.hello["pid"], signal.SIGKILL)
    os.kill(started["pid"], signal.SIGKILL)
    until(lambda: not (proc.stat(started["pid"]) and proc.stat(started["pid"]).state not in "ZX"))
    kept.start()
    kept.shell("b", "exit 0", limits={"cpu": 60})
    kept.hear("ended")

    assert groups_of(kept) == []


@needs("cgroups")
def test_what_is_kept_keeps_its_group_for_as_long(keepers):
    kept = keepers(groups=True)
    kept.shell("a", "sleep 62 & exit 0", limits={"cpu": 60}, keep=True)
    kept.hear("ended")
    (group,) = groups_of(kept)
    for pid in (group / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: not (group / "cgroup.procs").read_text())
    kept.shell("b", "exit 0", limits={"cpu": 60})
    kept.hear("ended")

    assert not group.exists()


SAID = {
    # the budget: whether a run starts where CPU time and memory are only sampled, and what validate says of it
    "a day's CPU time": ("{per_day: {cpu: 10s}}", False, "budget.per_day.cpu: sampled here"),
    "about a day's CPU time": ("{per_day: {cpu: 10s, approximate: true}}", True, "budget.per_day.cpu: sampled here"),
    "a run's": ("{cpu: 10s, memory: 64MiB}", True, "budget.cpu, budget.memory: sampled here"),
    "nothing": ("{output: 1MiB}", True, ""),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_a_lower_bound_is_said_and_what_must_be_counted_does_not_start(workspace, monkeypatch, case):
    budget, starts, said = SAID[case]
    monkeypatch.setattr(workspace, "run", covered(workspace)) if cgroups.look().v2 else None
    workspace.define("x", f"timeout: 1m\nbudget: {budget}\naction: {{command: ['true']}}\n")
    validated, shown, linted = workspace.ok("validate", "x"), workspace.ok("show", "x"), workspace.run("lint", "x")
    done = workspace.run("run-now", "x", "--wait")
    (end,) = workspace.events("run.ended")

    for answer in (validated.err + validated.out, shown.out, linted.out + linted.err):
        assert said in answer
        assert ("lower bound" in answer) is bool(said)
    assert (done.code == 0) is starts, done.err
    assert end["data"]["outcome"] == ("succeeded" if starts else "not_started")
    if starts and said:
        assert set(end["data"]["measured"].values()) == {"sampled"}
    if not starts:
        assert "approximate: true" in end["data"]["message"]
    assert ("does not start" in workspace.run("doctor").out) is not starts


def covered(workspace):
    """Return what runs a command where /sys/fs/cgroup is covered; its keeper is started there too."""
    need("root", "unshare")

    def run(*words: str) -> Result:
        line = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount -t tmpfs none /sys/fs/cgroup && exec "$0" "$@"',
            sys.executable,
            "-m",
            "routinectl",
        ]
        done = subprocess.run(
            [*line, *words], cwd=workspace.root, capture_output=True, text=True, env=workspace.env, timeout=120, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@needs("cgroups")
def test_where_there_are_cgroups_the_end_of_a_run_says_so(workspace):
    workspace.define("x", "timeout: 1m\nbudget: {per_day: {cpu: 10s}}\naction: {command: ['true']}\n")
    workspace.ok("run-now", "x", "--wait")
    (end,) = workspace.events("run.ended")

    assert end["data"]["measured"] == {"cpu": "cgroup"}
    assert "lower bound" not in workspace.ok("show", "x").out


@pytest.mark.parametrize(("text", "where"), [
    ("leftovers: keep\npermissions: {level: read_only}\n", "ROUTINE.yaml:1:1"),
    ("timeout: 1m\nbudget: {per_day: {approximate: true, wall: 1h}}\n", "ROUTINE.yaml:2:20"),
], ids=["confined, and keeps what it leaves", "approximate, of nothing"])  # fmt: skip
def test_what_cannot_be_had_is_refused_with_its_place(workspace, text, where):
    workspace.define("x", f"{text}action: {{command: ['true']}}\n")
    found = workspace.run("validate", "x")

    assert found.code == 78
    assert where in found.err
    assert "Hint:" in found.err


HIERARCHIES = {
    # lines of mountinfo (v1 controllers by name, "" is v2), of the cgroup file, files there; what is used for cpu, memory, processes
    "v2 alone, controllers handed on": ({"": "/"}, {"": "/"}, {"": {"cgroup.subtree_control": "memory pids"}}, ("v2", "v2", "v2")),
    "v2 without controllers": ({"": "/"}, {"": "/"}, {"": {"cgroup.subtree_control": ""}}, ("v2", "", "")),
    "v2 for some, v1 for the rest": ({"": "/", "memory": "/", "pids": "/"}, {"": "/", "memory": "/", "pids": "/"},
                                     {"": {"cgroup.subtree_control": "pids"}}, ("v2", "memory", "v2")),
    "v1 alone": ({"cpuacct": "/", "pids": "/"}, {"cpuacct": "/", "pids": "/"}, {}, ("cpuacct", "", "pids")),
    "a container that sees its own part": ({"": "/docker/x"}, {"": "/docker/x"}, {"": {"cgroup.subtree_control": ""}}, ("v2", "", "")),
    "somewhere outside of what is mounted": ({"": "/docker/x"}, {"": "/elsewhere"}, {}, ("", "", "")),
    "nothing": ({}, {}, {}, ("", "", "")),
}  # fmt: skip


@pytest.mark.parametrize("case", HIERARCHIES)
def test_each_function_comes_from_whichever_hierarchy_has_it(tmp_path, case):
    mounts, own, files, wanted = HIERARCHIES[case]
    lines, places = [], {}
    for number, (name, root) in enumerate(mounts.items()):
        place = tmp_path / (name or "v2") if name != "memory" else tmp_path / "mem ory"
        place.mkdir()
        places[name or "v2"] = str(place)
        (place / "cgroup.procs").touch()
        for file, text in files.get(name, {}).items():
            (place / file).write_text(text)
        kind, options = ("cgroup", f"rw,{name}") if name else ("cgroup2", "rw")
        shown = str(place).replace(" ", "\\040")
        lines.append(f"{number} 1 0:{number} {root} {shown} rw,relatime - {kind} {kind} {options}")
    (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
    (tmp_path / "cgroup").write_text("".join(f"{number}:{name}:{path}\n" for number, (name, path) in enumerate(own.items())))
    found = cgroups.find(str(tmp_path / "mountinfo"), str(tmp_path / "cgroup"))

    assert (found.cpu, found.memory, found.processes) == tuple(places.get(name, "") for name in wanted)


@needs("cgroups", "root")
@pytest.mark.parametrize(("started", "name", "there"), [("", "x.scope", ""), ("serve", "x.scope", "serve"), ("", "{base}", "routinectl-keeper")],
                         ids=["a service", "with a sub-group for serve", "a scope of its own"])  # fmt: skip
def test_a_delegated_folder_is_divided_where_systemd_can_still_start_serve_in_it(started, name, there):
    """v2 hands nothing on from a folder that holds processes, nor does anything start in one that hands something on."""
    base = Path(cgroups.find().v2) / f"routinectl-tests-{os.getpid()}"
    program = ("import os, sys\nfrom routinectl.process import cgroups\n"
               "open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\ncgroups.acquire(sys.argv[2])\n"
               "print(next(line for line in open('/proc/self/cgroup') if line.startswith('0:')).strip().rpartition('/')[2], cgroups.find().v2)\n")  # fmt: skip
    (base / started).mkdir(parents=True)
    try:
        os.setxattr(base, "trusted.delegate", b"1")
        words = [base / started, name.format(base=base.name)]
        done = subprocess.run([sys.executable, "-c", program, *words], cwd=HERE.parent, capture_output=True, text=True, check=True)
    finally:
        for folder in (*(path for path in base.glob("*") if path.is_dir()), base):
            folder.rmdir()

    assert done.stdout.split() == [there or base.name, str(base)]


@pytest.mark.parametrize("limits", [{}, {"cpu": 1}, {"memory": 1 << 26}, {"processes": 9}, {"memory": 1 << 26, "processes": 9}], ids=str)
@pytest.mark.parametrize(
    "had", [(), ("v2",), ("cpu",), ("memory",), ("processes",), ("memory", "processes"), ("v2", "cpu"), ("v2", "memory")], ids=str
)
def test_a_group_is_of_something_or_there_is_none(tmp_path, monkeypatch, limits, had):
    """Whatever of the functions there is: folders that are no cgroups, and have no caps, stand for them."""
    monkeypatch.setattr(cgroups.Group, "_cap", lambda group, limits: None)
    groups = cgroups.Groups("x")
    groups.places = cgroups.Places(**{name: str(tmp_path / name) for name in had})
    for name in had:
        (tmp_path / name).mkdir()
    made = groups.make(limits)
    used = [name for name in had if name in ("v2", "cpu") or name in limits]

    assert sorted(made.folders if made else ()) == sorted(str(tmp_path / name) for name in used)
    assert made is None or made.pids() == set()


@pytest.mark.parametrize(("budget", "tmp", "shm"), [("", 1 << 30, 64 << 20), ("budget: {memory: 32MiB}\n", 32 << 20, 32 << 20)])
@needs("confinement")
def test_what_a_confined_run_has_in_memory_has_a_size(workspace, budget, tmp, shm):
    line = "stat -f -c '%b %S' /tmp /dev/shm"
    workspace.define("x", f'permissions: {{level: read_only}}\ntimeout: 1m\n{budget}action: {{command: "{line}"}}\n')
    workspace.ok("run-now", "x", "--wait")
    sizes = [int(blocks) * int(size) for blocks, size in (said.split() for said in workspace.ok("logs", "x").out.splitlines() if said)]

    assert sizes == [tmp, shm]
