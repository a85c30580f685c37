"""What every test may use: a fresh workspace, the command in an emptied environment, a serve that really runs."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from forking import Forked, Forker
from needs import need, summary

from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.files.layout import Layout
from routinectl.operations.session import Session

# Whoever is started in the background (nohup, a script's &) ignores Ctrl-C, and hands that on to what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0


def clean_environment(home: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC",
        "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120", "NO_COLOR": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null", "USER": "tester", "LOGNAME": "tester",
    }  # fmt: skip


@functools.cache
def _forker() -> Forker:
    return Forker(clean_environment(Path("/nonexistent")))


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)["data"]


@dataclass
class Workspace:
    """A workspace in a temporary folder, and the command that works on it."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    forks: bool = True  # whether commands are forked, not started: see `forking`

    def run(self, *words: str, stdin: str = "", env: dict[str, str] | None = None, cwd: Path | None = None) -> Result:
        if env is None and self.forks:
            result = Result(*_forker().run(words, cwd or self.root, self.env, stdin, 120))
        else:  # an interpreter may read it as it starts
            done = subprocess.run(
                [sys.executable, "-m", "routinectl", *words], cwd=cwd or self.root, input=stdin, capture_output=True, text=True,
                env={**self.env, **(env or {})}, timeout=120, check=False)  # fmt: skip
            result = Result(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in result.err, result.err
        return result

    def ok(self, *words: str, **options) -> Result:
        result = self.run(*words, **options)
        assert result.code == 0, f"{words}: {result.code}\n{result.out}\n{result.err}"
        return result

    def define(self, routine_id: str, text: str) -> Path:
        path = self.root / "routines" / routine_id / "ROUTINE.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configure(self, text: str) -> None:
        """Make routinectl.yaml say this beside the time zone; `limits` keeps the short interval that tests need."""
        text = text.replace("limits: {", "limits: {min_interval: 1s, ") if "limits: {" in text else text + "\nlimits: {min_interval: 1s}"
        (self.root / "routinectl.yaml").write_text(f"schema: 1\ntimezone: UTC\n{text}\n")

    def events(self, kind: str | None = None, subject: str | None = None) -> list[dict]:
        """Return the journal's events; a last line without its end is being written just now and is none yet."""
        found = []
        for path in sorted((self.root / ".routinectl/journal").glob("*.jsonl")):
            for line in path.read_bytes().split(b"\n")[:-1]:
                event = json.loads(line)
                if kind in (None, event["type"]) and subject in (None, event["subject"]):
                    found.append(event)
        return found

    def record(self, kind: str, routine_id: str, **data) -> None:
        """Put an event on record, now."""
        with Session(Layout(self.root)) as session:
            session.append(Event(kind, routine_id, {"at": to_iso(session.now), **data}))

    @contextmanager
    def serving(self, *options: str, env: dict[str, str] | None = None) -> Iterator[Serving]:
        if env is None and self.forks:
            process = _forker().serve(["serve", *options], self.root, self.env)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", "routinectl", "serve", *options], cwd=self.root, env={**self.env, **(env or {})},
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip
        serving = Serving(process)
        try:
            serving.wait_for("ready")
            yield serving
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE)
            process.stderr.close()


class Serving:
    """A serve that runs, and what it has said."""

    def __init__(self, process: subprocess.Popen | Forked) -> None:
        self.process = process
        self.text = ""

    def wait_for(self, word: str, count: int = 1) -> str:
        deadline = time.monotonic() + PATIENCE
        while self.text.count(word) < count:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stderr], [], [], max(left, 0))
            chunk = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            assert chunk, f"{word!r} was not said; what was said:\n{self.text}"
            self.text += chunk.decode(errors="replace")
        return self.text

    def end(self) -> str:
        """End it as a person would, and return all that it and its servers have said."""
        self.process.send_signal(signal.SIGTERM)
        while chunk := os.read(self.process.stderr.fileno(), 65536):
            self.text += chunk.decode(errors="replace")
        return self.text

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=PATIENCE)


def until(question, patience: float = PATIENCE):
    """Wait until a question has an answer, and return it."""
    deadline = time.monotonic() + patience
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{question} was never true"
        select.select([], [], [], 0.02)


@pytest.fixture
def command_line() -> str:
    """The command, as a routine would call it: its environment is not that of the tests."""
    return f"PYTHONPATH={ROOT} {sys.executable} -m routinectl"


@pytest.fixture
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    home = tmp_path / "home"
    home.mkdir()
    root = tmp_path / "workspace"
    (root / "routines").mkdir(parents=True)
    (root / "routinectl.yaml").write_text("schema: 1\ntimezone: UTC\nlimits: {min_interval: 1s}\n")
    proof = request.node.get_closest_marker("slow") is not None  # these measure, strike and count what really is started
    yield Workspace(root, clean_environment(home), forks=not proof)
    stop_keepers(root)


@pytest.fixture(scope="session")
def shim(tmp_path_factory) -> Path:
    """Return the library that proofs preload; `shim.c` tells what it does to a process."""
    need("gcc")
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", made, ROOT / "tests/proofs/shim.c", "-ldl"], check=True)
    return made


def keepers_of(root: Path) -> list[int]:
    """Return the keepers of a workspace: for a moment, while one starts, there may be two processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            held = [os.readlink(path) for path in (folder / "fd").iterdir()]
            if b"keeper import main" in (folder / "cmdline").read_bytes() and any(path.startswith(str(root)) for path in held):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def stop_keepers(root: Path) -> None:
    """End whatever a test left behind in its workspace."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "fd/3").startswith(str(root)) or str(root).encode() in (folder / "environ").read_bytes():
                if int(folder.name) != os.getpid():
                    os.kill(int(folder.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue


def pytest_terminal_summary(terminalreporter) -> None:
    reports = terminalreporter.stats.get("skipped", ())
    for line in summary(report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)):
        terminalreporter.write_line(line)


ECHO = "triggers: [{{every: {every}}}]\ntimeout: 1m\naction: {{command: [echo, hello]}}\n"
