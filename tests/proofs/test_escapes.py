"""P12: a read-only run stays read-only, reads only what it was given, and has no network.

One run tries everything that `escapes.py` knows, at each level of confinement, as the user of the tests and as one without
privileges. What it says it got is looked at, and what can be seen from outside: files, listeners, processes. The control
is the same run at level full, which gets nearly all of it: attempts that cannot succeed prove nothing.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT, until

pytestmark = pytest.mark.slow
ATTEMPTS = Path(__file__).with_name("escapes.py")
USERS = {"root": (), "somebody": ("unshare", "--user", "--map-user=1000", "--map-group=1000")} if os.geteuid() == 0 else {"somebody": ()}
CONFINED = 'permissions: {level: read_only, read: ["workspace:daily/"], write: [out/]}\n'


class Outside:
    """What a run may not reach: listeners that remember, files that are compared, a process that must live."""

    def __init__(self, workspace, tmp_path):
        self.heard = []
        self.root = workspace.root
        self.home = Path(workspace.env["HOME"])
        (self.home / "canary").write_text("CANARY of the home\n")
        for path, text in {"secrets/token": "CANARY", "routines/other/memory/notes": "CANARY", "daily/notes.md": "given\n"}.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        workspace.define("other", "timeout: 1m\naction: {command: [echo, other]}\n")
        self.folder = self.root / "routines" / "try"
        (self.folder / "out" / ".git").mkdir(parents=True)
        (self.folder / "out" / ".git" / "config").write_text("[core]\n")
        (self.folder / "out" / "link-to-secret").symlink_to(self.root / "secrets" / "token")
        (self.folder / "escapes.py").write_text(ATTEMPTS.read_text())
        self.socket_path = tmp_path / "s"
        self.abstract = f"routinectl-{os.getpid()}-{id(self)}"
        self.listeners = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "file": socket.socket(socket.AF_UNIX),
            "abstract": socket.socket(socket.AF_UNIX),
        }
        self.listeners["file"].bind(str(self.socket_path))
        self.listeners["abstract"].bind("\0" + self.abstract)
        for name, listener in self.listeners.items():
            listener.listen(5)
            threading.Thread(target=self.accept, args=(name, listener), daemon=True).start()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.victim = subprocess.Popen(["sleep", "600"], env={"CANARY": "of another process"})

    def accept(self, name, listener):
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            self.heard.append(name)

    def targets(self, *, free):
        return {
            "free": free,
            "root": str(self.root), "folder": str(self.folder), "home": str(self.home), "socket": str(self.socket_path), "abstract": self.abstract,
            "tcp": self.listeners["tcp"].getsockname()[1], "udp": self.udp.getsockname()[1], "pid": self.victim.pid, "python": sys.executable,
            "package": str(ROOT),
        }  # fmt: skip

    def devices(self):
        """Return what the host's devices are, with every attribute that a run might change."""
        found = [os.stat(f"/dev/{name}") for name in ("null", "zero", "full", "random", "urandom")]
        return [(item.st_mode, item.st_uid, item.st_gid, item.st_ctime_ns, item.st_ino) for item in found]

    def set_id(self):
        """Return the files of the workspace that have a set-user-id or set-group-id bit."""
        return [path for path in self.root.rglob("*") if not path.is_symlink() and path.is_file() and path.stat().st_mode & 0o6000]

    def files(self):
        paths = [self.root / "routinectl.yaml", self.root / "daily/notes.md", self.root / "secrets/token", self.folder / "ROUTINE.yaml",
                 self.folder / "escapes.py", self.folder / "out/.git/config"]  # fmt: skip
        return {str(path): path.exists() and (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in paths}

    def close(self):
        self.victim.kill()
        self.victim.wait()
        for listener in [*self.listeners.values(), self.udp]:
            listener.close()


@pytest.fixture
def outside(workspace, tmp_path):
    found = Outside(workspace, tmp_path)
    yield found
    found.close()


def attempts(workspace, outside, permissions, user=()):
    """Make the run, and return what it said of each attempt."""
    targets = json.dumps(outside.targets(free="full" in permissions))
    workspace.define("try", f"{permissions}timeout: 1m\nleftovers: kill\naction: {{python: {{entrypoint: 'escapes:main', args: "
                     f"{{targets: {targets}}}}}, stdin: payload, payload: {{a: 1}}}}\n")  # fmt: skip
    before = outside.files()
    done = subprocess.run(
        [*user, sys.executable, "-m", "routinectl", "run-now", "try", "--wait"], cwd=workspace.root, capture_output=True, text=True, timeout=120,
        env=workspace.env, check=False)  # fmt: skip
    (out,) = workspace.root.glob(".routinectl/runs/try/*/out")
    said = [json.loads(line) for line in out.read_text().strip("\0").splitlines() if line.startswith("{")]
    assert done.returncode == 0, (done.stderr, done.stdout, out.read_text())
    return {item["attempt"]: item for item in said}, before


@pytest.mark.parametrize("user", USERS)
def test_nothing_gets_out(workspace, outside, user):
    devices = outside.devices()
    found, before = attempts(workspace, outside, CONFINED, USERS[user])
    assert len(found) >= 80
    assert {name: item["got"] for name, item in found.items() if item["got"]} == {}
    assert outside.files() == before
    assert outside.devices() == devices
    assert outside.set_id() == []
    assert outside.heard == []
    with pytest.raises(BlockingIOError):
        outside.udp.recv(100)
    assert outside.victim.poll() is None
    (claim,) = workspace.events("run.claimed", "try")
    assert claim["data"]["confinement"] == "namespaces"
    assert nobody_is_left(outside)


def test_the_control_gets_nearly_everything(workspace, outside):
    found, before = attempts(workspace, outside, "permissions: {level: full}\n")
    got = {name for name, item in found.items() if item["got"]}
    assert outside.files() != before
    assert set(outside.heard) >= {"tcp", "file", "abstract"}
    assert outside.udp.recv(100) == b"escaped"
    assert outside.victim.wait(5) != 0
    print(f"{len(got)} of {len(found)} succeed where nothing is confined; not: {sorted(found.keys() - got)}")
    assert len(got) >= 25
    assert nobody_is_left(outside)


def nobody_is_left(outside):
    """Wait until no process of the run is there any more, the one that left its session included."""

    def gone():
        return not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(outside.folder).encode() in quietly(path)]  # fmt: skip

    return until(gone, 15)


def quietly(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_without_any_level_a_read_only_run_is_refused(workspace):
    workspace.define("try", "permissions: {level: read_only}\ntimeout: 1m\naction: {command: [touch, ran]}\n")
    done = workspace.run("run-now", "try", "--wait", env={"ROUTINECTL_CONFINEMENT": "none"})
    assert done.code != 0
    (end,) = workspace.events("run.ended", "try")
    assert end["data"]["outcome"] == "not_started"
    assert "ROUTINECTL_CONFINEMENT" in end["data"]["message"]
    assert not list(workspace.root.rglob("ran"))
