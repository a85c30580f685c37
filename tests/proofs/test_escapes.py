"""P12: a read-only run stays read-only, reads only what it was given, and has no network.

One run tries everything that `escapes.py` knows, at each level of confinement, as the user of the tests and as one without
privileges. What it says it got is looked at, and what can be seen from outside: files, listeners, processes, keys. The control
is the same run at level full, which gets most of what harms no machine: attempts that cannot succeed prove nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="need x86-64: attempts make calls by their numbers there"),
]
libc = ctypes.CDLL(None, use_errno=True)
ATTEMPTS = Path(__file__).with_name("escapes.py")
USERS = {"root": (), "somebody": ("unshare", "--user", "--map-user=1000", "--map-group=1000")} if os.geteuid() == 0 else {"somebody": ()}
LEVELS = ("read_only", "propose_edits")
CONFINED = 'permissions: {{level: {}, read: ["workspace:daily/"], write: [out/, "workspace:site"]}}\n'
CASES = [(level, user) for level in LEVELS for user in USERS]
if os.environ.get("ROUTINECTL_PROOFS") == "short":  # each level and each user, in as few runs as that takes
    CASES = [(level, list(USERS)[number % len(USERS)]) for number, level in enumerate(LEVELS)]
PLACES = {  # what there is to get or to spoil, beside what the attempts make themselves
    "secrets/token": "CANARY", "routines/other/memory/notes": "CANARY", "routines/other/out/page": "CANARY", "daily/notes.md": "given\n",
    "inbox/signal/message": "CANARY", ".git/config": "CANARY", "site/page": "given\n", "site/.git/config": "CANARY",
    "site/deep/.git/config": "CANARY", "routines/try/memory/pages/.git/config": "CANARY", ".routinectl/tokens.json": "CANARY",
    ".routinectl/sealed.canary/other/run.sh": "CANARY", ".routinectl/locks/canary": "CANARY", "agents/one/AGENT.md": "CANARY",
}  # fmt: skip


class Outside:
    """What a run may not reach: listeners that remember, files that are compared, a process that must live."""

    def __init__(self, workspace, tmp_path):
        self.heard = []
        self.root = workspace.root
        self.home = Path(workspace.env["HOME"])
        (self.home / "canary").write_text("CANARY of the home\n")
        for path, text in PLACES.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        (self.home / ".ssh").mkdir()
        (self.home / ".ssh/id").write_text("CANARY")
        (self.root.parent / "beside").write_text("CANARY")
        workspace.define("other", "timeout: 1m\naction: {command: [echo, other]}\n")
        self.folder = self.root / "routines" / "try"
        (self.folder / "out").mkdir(parents=True)
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
        for name in ("daily", "site"):
            self.listeners[name] = socket.socket(socket.AF_UNIX)
            self.listeners[name].bind(f"{os.path.relpath(self.root)}/{name}/s")  # a path of a socket is short
        self.listeners["tcp6"] = socket.create_server(("::1", 0), family=socket.AF_INET6)
        for name, listener in self.listeners.items():
            listener.listen(5)
            threading.Thread(target=self.accept, args=(name, listener), daemon=True).start()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagrams.bind(f"{self.socket_path}d")
        self.datagrams.setblocking(False)
        self.victim = subprocess.Popen(["sleep", "600"], env={"CANARY": "of another process"}, start_new_session=True, cwd=self.home,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
        self.shared = Path(f"/dev/shm/{self.abstract}")
        self.shared.write_text("CANARY")
        self.shm = libc.shmget(os.getpid() << 8 | id(self) >> 4 & 0xFF, 4096, 0o1600)
        assert self.shm >= 0
        self.key = libc.syscall(248, b"user", b"routinectl-canary-key", b"CANARY", 6, -4)  # of the user

    def accept(self, name, listener):
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            self.heard.append(name)

    def targets(self, *, free, copied):
        return {
            "free": free, "copied": copied,
            "root": str(self.root), "folder": str(self.folder), "home": str(self.home), "socket": str(self.socket_path), "abstract": self.abstract,
            "tcp": self.listeners["tcp"].getsockname()[1], "udp": self.udp.getsockname()[1], "pid": self.victim.pid, "python": sys.executable,
            "package": str(ROOT), "shared": str(self.shared), "shm": os.getpid() << 8 | id(self) >> 4 & 0xFF, "datagrams": f"{self.socket_path}d",
            "tcp6": self.listeners["tcp6"].getsockname()[1], "watches": int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()),
        }  # fmt: skip

    def process(self):
        """Return what another process could change of one: its priorities, processors, limits, how it is killed."""
        pid = self.victim.pid
        return (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid), libc.syscall(252, 1, pid),
                *(resource.prlimit(pid, which) for which in (resource.RLIMIT_CORE, resource.RLIMIT_CPU)),
                Path(f"/proc/{pid}/oom_score_adj").read_text())  # fmt: skip

    def marks(self):
        """Return the attributes that an overlay would believe in, on anything of the workspace that a person has."""
        paths = [path for path in [self.root, *self.root.rglob("*")] if ".routinectl" not in path.parts]
        return [(path, key) for path in paths for key in os.listxattr(path, follow_symlinks=False) if ".overlay." in key]

    def devices(self):
        """Return what the host's devices are, with every attribute that a run might change."""
        found = [os.stat(f"/dev/{name}") for name in ("null", "zero", "full", "random", "urandom")]
        return [(item.st_mode, item.st_uid, item.st_gid, item.st_ctime_ns, item.st_ino) for item in found]

    def set_id(self):
        """Return the files of the workspace that have a set-user-id or set-group-id bit."""
        return [path for path in self.root.rglob("*") if not path.is_symlink() and path.is_file() and path.stat().st_mode & 0o6000]

    def files(self):
        """Return all that is there, apart from what the run may write and what routinectl does itself."""
        own = [self.folder / "out", self.folder / "memory", self.root / "site", self.root / ".routinectl"]
        paths = [
            path
            for path in [*self.root.rglob("*"), *self.home.rglob("*"), self.root.parent / "beside", self.shared]
            if not self.is_below(path, own)
        ]
        paths += [self.root / path for path in PLACES]
        paths += [path for path in (self.root / ".routinectl").rglob("*") if "canary" in str(path)]
        return {str(path): os.path.lexists(path) and self.node(path) for path in paths if path.name not in ("state.json", "history.jsonl")}

    def is_below(self, path, tops):
        return any(path.is_relative_to(top) for top in tops)

    def node(self, path):
        found = path.lstat()
        is_ours = path in (self.folder, self.root, self.root / "routines/other")  # where routinectl itself makes files
        return (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            0 if is_ours else found.st_ctime_ns,
            path.read_bytes() if path.is_file() else b"",
        )

    def close(self):
        self.victim.kill()
        self.victim.wait()
        for listener in [*self.listeners.values(), self.udp, self.datagrams]:
            listener.close()
        self.shared.unlink()
        libc.shmctl(self.shm, 0, None)
        libc.syscall(250, 9, self.key, -4)  # unlink it from the keyring


@pytest.fixture
def outside(workspace, tmp_path):
    found = Outside(workspace, tmp_path)
    yield found
    found.close()


OF_THE_COPY = {  # what a run that proposes edits does to its copy of the workspace; outside nothing of it may be seen
    "read_definition_of_another", "write_definition", "write_script", "write_state", "write_ledger", "write_settings", "write_what_it_may_read",
    "rename_its_folder", "change_mode", "change_times", "change_attributes", "make_routine", "write_the_output_of_another",
    "write_the_definition_of_another", "write_an_agent_of_its_own", "write_its_own_folder", "write_the_workspace", "write_a_module_that_others_import",
    "write_an_agent", "write_a_skill",
}  # fmt: skip


def attempts(workspace, outside, permissions, user=()):
    """Make the run, and return what it said of each attempt."""
    targets = json.dumps(outside.targets(free="full" in permissions, copied="propose_edits" in permissions))
    workspace.define("try", f"{permissions}timeout: 1m\nleftovers: kill\naction: {{python: {{entrypoint: 'escapes:main', args: "
                     f"{{targets: {targets}}}}}, stdin: payload, payload: {{a: 1}}}}\n")  # fmt: skip
    before = outside.files()
    done = subprocess.run(
        [*user, sys.executable, "-m", "routinectl", "run-now", "try", "--wait"], cwd=workspace.root, capture_output=True, text=True, timeout=120,
        env=workspace.env, check=False)  # fmt: skip
    (out,) = workspace.root.glob(".routinectl/runs/try/*/out")
    said = [json.loads(line) for line in out.read_text().strip("\0").splitlines() if line.startswith("{")]
    assert said, (done.stderr, done.stdout, out.read_text())
    return {item["attempt"]: item for item in said}, before


@pytest.mark.parametrize(("level", "user"), CASES)
def test_nothing_gets_out(workspace, outside, level, user):
    devices, process = outside.devices(), outside.process()
    found, before = attempts(workspace, outside, CONFINED.format(level), USERS[user])
    assert len(found) >= 150
    spared = OF_THE_COPY if level == "propose_edits" else set()
    assert [f"{name}: {item['got']}" for name, item in found.items() if item["got"] and name not in spared] == []
    (end,) = workspace.events("run.ended", "try")
    wanted = ("succeeded", None) if level == "read_only" else ("denied", "the workspace's settings")  # which were in what it proposed
    assert end["data"]["outcome"] == wanted[0], end
    assert (wanted[1] or "") in end["data"]["message"]
    assert outside.files() == before
    assert outside.devices() == devices
    assert outside.process() == process
    assert outside.set_id() == []
    assert outside.marks() == []
    assert outside.heard == []
    with pytest.raises(BlockingIOError):
        outside.udp.recv(100)
    with pytest.raises(BlockingIOError):
        outside.datagrams.recv(100)
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
    assert len(got) >= 150
    assert nobody_is_left(outside)


PLANTS = {
    # what a run leaves in out/ for the next one to be led by, or to hang on
    "marks of overlays": """
for what, value in {"opaque": b"y", "redirect": b"/../../secrets", "metacopy": b"", "whiteout": b"y", "origin": b"x"}.items():
    os.makedirs(f"{what}/pages", exist_ok=True)
    open(f"{what}/file", "w").write("mine")
    for path in (".", what, f"{what}/pages", f"{what}/file"):
        os.setxattr(path, f"user.overlay.{what}", value)""",
    "closed folders": "os.makedirs('a/b'); os.chmod('a/b', 0); os.chmod('a', 0); os.chmod('.', 0)",
    "pipes where files were": "[os.mkfifo(name) for name in ('config', 'HEAD', 'page', 'ready')]",
    "long and odd names": "[os.mkdir(name) for name in (b'x' * 255, b'\\xff\\n', b'-rf', b'a,b:c=d\\\\', b'lowerdir=x')]",
    "links beside it": "os.mkdir('d'); os.symlink('d', 'pages'); os.symlink('loop', 'loop'); os.symlink('../memory', 'memory')",
    "a folder that becomes a link and is one again": """
libc = ctypes.CDLL(None)
latest = time.monotonic() + 10  # where out/ is moved aside meanwhile, it is never told to stop
os.mkdir("d")
os.symlink("../../../secrets", "l")
if os.fork() == 0:
    while not os.path.exists("stop") and time.monotonic() < latest:
        libc.renameat2(-100, b"d", -100, b"l", 2)
    os._exit(0)
open("ready", "w").close()
while not os.path.exists("stop") and time.monotonic() < latest:
    time.sleep(0.01)
os.wait()
for name in ("l", "d"):
    os.path.islink(name) and os.unlink(name)""",
}  # fmt: skip
LOOKS = """
import os
os.chmod("out", 0o755)
for top, folders, names in os.walk("out"):
    for name in names:
        try:
            print(open(os.path.join(top, name)).read() if os.path.isfile(os.path.join(top, name)) else "")
        except OSError:
            continue
for path in ("out/d/token", "out/l/token", "out/redirect/token", "out/redirect/pages/token", "out/pages/.git/config"):
    for _ in range(300):
        try:
            print(open(path).read())
        except OSError:
            continue
open("out/" + os.environ["ROUTINE_RUN_ID"], "w").close()
"""


@pytest.mark.parametrize("then", ["as it is", "in a layer"])
@pytest.mark.parametrize("case", PLANTS)
def test_what_a_run_plants_leads_the_next_one_nowhere(workspace, case, then):
    folder = workspace.root / "routines/try"
    for path in ("secrets/token", "routines/try/memory/kept"):
        (workspace.root / path).parent.mkdir(parents=True)
        (workspace.root / path).write_text("CANARY" if "secrets" in path else "kept")
    (folder / "plant.py").write_text(f"import ctypes, os, time\nos.chdir('out')\n{PLANTS[case]}\n")
    (folder / "look.py").write_text(LOOKS)
    workspace.define("try", "permissions: {level: read_only, write: [out/]}\ntimeout: 30s\nkill_grace: 1s\nconcurrency: {policy: allow}\n"
                     "action: {command: 'python3 ${WORK:-plant}.py'}\n")  # fmt: skip
    text = (folder / "ROUTINE.yaml").read_text()
    words = [sys.executable, "-m", "routinectl", "run-now", "try", "--wait"]
    first = subprocess.Popen(words, cwd=workspace.root, env=workspace.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if "becomes" in case:
        until((folder / "out/ready").exists)
    else:
        first.wait(60)
    if then == "in a layer":  # for a person has made a repository there meanwhile
        (folder / "out").chmod(0o755)
        (folder / "out/hers/.git").mkdir(parents=True)
        (folder / "out/hers/.git/config").write_text("CANARY")
    (folder / "ROUTINE.yaml").write_text(text.replace(":-plant", ":-look"))
    place = "routines/try/out" + ("/d" if "becomes" in case else "")
    reader = f"import glob\nfor _ in range(300): [print(open(path).read()) for path in glob.glob('{workspace.root}/{place}/**/token', recursive=True)]"
    workspace.define("reader", f'permissions: {{level: read_only, read: ["workspace:{place}"]}}\ntimeout: 30s\n'
                     f"action: {json.dumps({'command': ['python3', '-c', reader]})}\n")  # fmt: skip
    for _ in range(3):
        read = [*words[:4], "reader", "--wait"]
        for _ in range(4 if "becomes" in case else 1):
            done = subprocess.run(read, cwd=workspace.root, env=workspace.env, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0 or "becomes" in case, (done.stdout, done.stderr)
        done = subprocess.run(words, cwd=workspace.root, env=workspace.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or "becomes" in case, (done.stdout, done.stderr)  # a race may cost it its view, never more
    if "becomes" in case:
        with contextlib.suppress(FileNotFoundError):
            (folder / "out/stop").touch()
        first.wait(60)
    said = "".join(path.read_text(errors="replace") for path in workspace.root.glob(".routinectl/runs/*/*/out"))
    assert "CANARY" not in said
    assert (workspace.root / "secrets/token").read_text() == "CANARY"
    ends = [event["data"]["outcome"] for event in workspace.events("run.ended", "try")]
    assert len(ends) == 4
    assert "timed_out" not in ends


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
