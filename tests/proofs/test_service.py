"""A service as a person has it: `service install` in a booted Debian, as the system's and as a user's, in both hardenings.

Each is installed, runs what it is for, is started anew and upgraded while a run goes on, and is removed. What a run did is
looked at from outside of it: files, processes, the journal.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from conftest import ROOT, until
from debian import NEWER, Machine
from needs import needs

LONG = pytest.mark.skipif(os.environ.get("ROUTINECTL_PROOFS") == "short", reason="it boots a machine, as make proofs does")
pytestmark = [pytest.mark.slow, LONG, *(needs(what) for what in ("root", "debootstrap", "systemd-nspawn"))]
MODEL = """
import sys, threading
sys.path.insert(0, '/proof')
from model_server import ModelServer
server = ModelServer({'tools': [('files_read', {'path': 'notes.md'})]}, {'text': 'It says canary.'})
open('/proof/url', 'w').write(server.url)
threading.Event().wait()
"""
STRICT_LOSES = {  # what a run of a user without privileges can do, and cannot below `strict`
    "backup": "date > /var/backups/app/now",
    "home": "touch ~/x && rm ~/x",
    "become": "sudo -n id -u",
    "device": "test -e /dev/net/tun",
    "compile": "python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)'",
    "personality": "setarch -R true",
    "setuid": "touch s && chmod u+s s",
    "trace": "python3 -c 'import ctypes; exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0))'",
}
TRIES = "echo in > out/x; echo x > ../y; echo x > y; echo x > /var/backups/app/kept; echo x > /tmp/kept; echo tried"
ROUTINES = {
    **{name: f"action: {{command: [sh, -c, {json.dumps(text)}]}}" for name, text in STRICT_LOSES.items()},
    "kept": f"permissions: {{level: read_only, write: [out/]}}\naction: {{command: [sh, -c, '{TRIES}']}}",
    "free": f"action: {{command: [sh, -c, '{TRIES}']}}",
    "ask": "action: {agent: {task: What do the notes say?}}",
    "long": "action: {command: [sh, -c, 'echo $$ >> marks; while [ ! -e go ]; do sleep 0.1; done; exit 7']}",
}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine()
    try:
        machine.root_does("mkdir /proof && install -d -o alice /var/backups/app")
        (machine.root / "proof/model_server.py").write_text((ROOT / "tests/model_server.py").read_text())
        machine.root_does(f"systemd-run --quiet --unit=model python3 -c {shlex.quote(MODEL)}")
        until((machine.root / "proof/url").exists)
        yield machine
    finally:
        machine.end()


@dataclass
class Service:
    """A service of one workspace of alice's, and what its runs left."""

    machine: Machine
    system: bool
    name: str

    def __post_init__(self) -> None:
        self.unit = f"routinectl-{self.name}.service"
        self.at = f"/home/alice/{self.name}"
        self.here = self.machine.root / self.at[1:]
        self.manager = "root" if self.system else "alice"
        self.flag = "--system" if self.system else ""
        self.dropins = "/etc/systemd/system" if self.system else "/home/alice/.config/systemd/user"

    def create(self) -> None:
        self.machine.alice_does(f"routinectl init {self.at}")
        model = f"default: {{provider: openai, model: tiny, base_url: '{(self.machine.root / 'proof/url').read_text()}', api_key: {{file: secrets/key}}}}"
        for name, text in ROUTINES.items():
            (self.here / "routines" / name / "out").mkdir(parents=True)
            (self.here / "routines" / name / "ROUTINE.yaml").write_text(f"timeout: 5m\n{text}\n")
        (self.here / "routines/ask/notes.md").write_text("canary\n")
        (self.here / "secrets/key").write_text("sk-none")
        (self.here / "routinectl.yaml").write_text(f"schema: 1\ntimezone: UTC\nmodels: {{{model}}}\n")
        self.machine.root_does(f"chown -R alice: {self.at}")

    def says(self, words: str) -> str:
        """Say something to the program, as alice, and return what it answers."""
        return self.machine.alice_does(f"routinectl -w {self.at} {words}")

    def install(self, *words: str) -> str:
        return self.machine.try_as(self.manager, f"routinectl -w {self.at} service install {self.flag} {' '.join(words)}").stderr

    def systemctl(self, words: str) -> str:
        return self.machine.try_as(self.manager, f"systemctl {'' if self.system else '--user'} {words}").stdout.strip()

    def drop_in(self, text: str) -> None:
        folder = f"{self.dropins}/{self.unit}.d"
        getattr(self.machine, f"{self.manager}_does")(f"mkdir -p {folder} && printf '[Service]\\n{text}\\n' > {folder}/more.conf")
        self.systemctl("daemon-reload")
        self.systemctl(f"restart {self.unit}")

    def events(self, kind: str) -> list[dict]:
        lines = [
            line for path in sorted((self.here / ".routinectl/journal").glob("*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]
        ]
        return [event["data"] for event in map(json.loads, lines) if event["type"] == kind]

    def run(self, name: str) -> dict:
        """Ask for a run and return its end, as it is on record."""
        return self.end(self.begin(name))

    def begin(self, name: str) -> str:
        run = json.loads(self.says(f"run-now {name} --json"))["data"]["run"]
        return str(run)

    def end(self, run: str) -> dict:
        ends = until(lambda: [data for data in self.events("run.ended") if data["run"] == run])
        assert len(ends) == 1, ends
        return ends[0]

    def begin_long(self) -> tuple[str, str]:
        """Begin a run that waits, and return it and its process."""
        (self.here / "routines/long/go").unlink(missing_ok=True)
        before = self.marks()
        run = self.begin("long")
        return run, until(lambda: self.marks()[len(before) :])[0]

    def marks(self) -> list[str]:
        """Return the processes in which the long one has begun, ever."""
        path = self.here / "routines/long/marks"
        return path.read_text().split() if path.exists() else []

    def release(self) -> None:
        self.machine.alice_does(f"touch {self.at}/routines/long/go")

    def processes(self) -> list[str]:
        """Return the processes that work for this workspace, as far as their folder or their command says."""
        script = f"""for p in /proc/[0-9]*; do [ $p = /proc/$$ ] && continue
            case "$(readlink $p/cwd) $(tr '\\0' ' ' < $p/cmdline 2>/dev/null)" in {self.at}*|*' {self.at} '*) echo ${{p#/proc/}};; esac
        done 2>/dev/null; true"""
        return self.machine.root_does(script).split()

    def written(self, name: str) -> list[str]:
        """Return what a run got of what it tried outside of what it may write, and remove it."""
        tried = ["/var/backups/app/kept", "/tmp/kept", f"{self.at}/routines/{name}/y", f"{self.at}/routines/y"]
        return [path for path in tried if self.machine.try_as("root", f"rm {path}").returncode == 0]

    def found(self) -> dict[str, dict]:
        """Return what `doctor` finds once the serve that runs has said what it can do."""
        pid = int(self.systemctl(f"show --value -p MainPID {self.unit}"))
        ability = self.here / ".routinectl/run/ability.json"
        until(lambda: ability.exists() and json.loads(ability.read_text())["pid"] == pid)
        said = self.machine.try_as("alice", f"routinectl -w {self.at} doctor --json").stdout
        return {item["name"]: item for item in json.loads(said)["data"]}


@pytest.mark.parametrize("hardening", ["default", "strict"])
@pytest.mark.parametrize("manager", ["system", "user"])
def test_a_service_from_its_installation_to_its_end(machine, manager, hardening):
    service = Service(machine, manager == "system", f"{manager}-{hardening}")
    strict = hardening == "strict"
    machine.install(machine.wheel)
    service.create()
    said = service.install("--hardening", hardening)
    assert service.systemctl(f"is-active {service.unit}") == "active", said
    assert ("NoNewPrivileges=yes: sudo" in said) == strict

    # What it is for: a backup outside of the workspace and other jobs that need rights, a confined run, an agent.
    for name in STRICT_LOSES:
        assert (service.run(name)["outcome"] == "succeeded") != strict, service.says(f"logs {name}")
    kept = service.run("kept")
    assert (kept["outcome"], kept["confinement"], kept["message"]) == ("succeeded", "namespaces", "tried")
    assert (service.here / "routines/kept/out/x").read_text() == "in\n"
    assert service.written("kept") == []
    asked = service.run("ask")
    assert (asked["outcome"], asked["message"], asked["confinement"]) == ("succeeded", "It says canary.", "namespaces"), service.says(
        "logs ask"
    )
    found = service.found()
    assert found["confinement"]["well"]
    assert found["serve"]["well"] != strict
    if strict:
        assert "use sudo" in found["serve"]["found"]
        service.drop_in("ReadWritePaths=/var/backups")
        assert service.run("backup")["outcome"] == "succeeded", "what a drop-in gives back is there for the next run"

    # A run that goes on while the service is started anew, dies, and is upgraded.
    run, process = service.begin_long()
    serves = [service.systemctl(f"show --value -p MainPID {service.unit}")]
    service.systemctl(f"restart {service.unit}")
    serves.append(service.systemctl(f"show --value -p MainPID {service.unit}"))
    machine.root_does(f"kill -9 {serves[-1]}")
    until(lambda: service.systemctl(f"show --value -p MainPID {service.unit}") not in ("0", *serves))
    machine.install(machine.newer)
    service.install("--hardening", hardening)
    assert service.systemctl(f"is-active {service.unit}") == "active"
    assert service.events("serve.started")[-1]["version"] == NEWER
    assert len(service.events("serve.started")) >= 4
    assert service.marks() == [process], "it was begun once"
    assert process in service.processes(), "and goes on"
    assert "keeper" not in service.found()
    service.release()
    end = service.end(run)
    assert (end["outcome"], end["exit_code"], end["attempt"]) == ("failed", 7, 1)

    # Removed while a run goes on: nothing fires, the run ends in peace.
    run, process = service.begin_long()
    text = machine.try_as(service.manager, f"routinectl -w {service.at} service uninstall {service.flag}").stderr
    assert "long goes on" in text
    assert service.systemctl(f"is-active {service.unit}") == "inactive"
    assert machine.try_as("root", f"test -e {service.dropins}/{service.unit}").returncode == 1
    assert process in service.processes()
    service.release()
    until(lambda: service.processes() == [])
    assert "exit 7" in service.says("history long --limit 1")
    assert service.end(run)["exit_code"] == 7
    service.says("audit")


def test_what_a_unit_takes_is_said_by_the_run_and_by_doctor(machine):
    """The controls: below a unit that forbids namespaces the confined run is refused, and nothing else is; what is not confined gets all."""
    machine.install(machine.wheel)
    service = Service(machine, True, "control")
    service.create()
    service.install()
    service.drop_in("RestrictNamespaces=yes")

    kept = service.run("kept")
    found = service.found()
    assert kept["outcome"] == "not_started"
    assert service.run("free")["outcome"] == "succeeded"
    assert len(service.written("free")) == 4
    assert "RestrictNamespaces" in kept["message"]
    assert service.run("backup")["outcome"] == "succeeded"
    assert not found["confinement"]["well"]
    assert "the serve that runs" in found["confinement"]["found"]
    machine.root_does(f"routinectl -w {service.at} service uninstall --system && rm -r {service.dropins}/{service.unit}.d")
