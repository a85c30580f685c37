"""The command as a process of its own, without the start of an interpreter: one process has imported it, and forks.

Half of the suite's time was interpreters that read the same modules. What a forked command does is what `python -m
routinectl` does: its own memory, environment, folder, descriptors and end. Commands that need an interpreter of another
make (an environment that Python itself reads) are started as usual, and so is every process that a command starts.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
_MOST = 1 << 20


class Forker:
    """The process that forks, from the side of the tests; it ends with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.path = f"\0routinectl-tests-{os.getpid()}-{id(self)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.path)
            listener.listen(16)
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from forking import serve; serve()", str(listener.fileno())],
                cwd=HERE, env=dict(env), pass_fds=[listener.fileno()], stdin=subprocess.PIPE)  # fmt: skip
        atexit.register(self.end)

    def end(self) -> None:
        self.process.kill()
        self.process.stdin.close()
        self.process.wait()

    def start(self, words: Sequence[str], cwd: Path, env: Mapping[str, str], descriptors: Sequence[int]) -> Forked:
        """Start a command with these descriptors as its 0, 1 and 2."""
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wire.connect(self.path)
        socket.send_fds(wire, [json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()], descriptors)
        return Forked(words, wire)

    def run(self, words: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: str, patience: float) -> tuple[int, str, str]:
        """Run a command to its end; return its exit code, output and errors."""
        given, out, err = (os.memfd_create(name) for name in ("in", "out", "err"))
        try:
            os.write(given, stdin.encode())
            os.lseek(given, 0, os.SEEK_SET)
            process = self.start(words, cwd, env, (given, out, err))
            try:
                code = process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                raise subprocess.TimeoutExpired(list(words), patience, _text(out), _text(err)) from None
            return code, _text(out), _text(err)
        finally:
            for fd in (given, out, err):
                os.close(fd)

    def serve(self, words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Forked:
        """Start a command whose errors can be read as they come."""
        reading, writing = os.pipe()
        with open(os.devnull, "r+b") as nothing:
            process = self.start(words, cwd, env, (nothing.fileno(), nothing.fileno(), writing))
        os.close(writing)
        process.stderr = open(reading, "rb", buffering=0)  # noqa: SIM115  # whoever asked closes it
        return process


class Forked:
    """A command that was started, as far as subprocess.Popen is asked about it."""

    def __init__(self, words: Sequence[str], wire: socket.socket) -> None:
        self.words, self.wire = words, wire
        self.pid: int = json.loads(wire.recv(_MOST))
        self.returncode: int | None = None
        self.stderr: IO[bytes] | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.wire.settimeout(timeout)
            try:
                self.returncode = json.loads(self.wire.recv(_MOST))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(list(self.words), timeout or 0) from None
            self.wire.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile, and is told in a moment
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _text(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode().replace("\r\n", "\n")


def serve() -> None:
    """Fork for whoever connects, and say how each of them has ended. Runs until the tests end."""
    import routinectl.cli.commands

    for module in pkgutil.iter_modules(routinectl.cli.commands.__path__):
        importlib.import_module(f"routinectl.cli.commands.{module.name}")
    gc.collect()
    gc.freeze()
    with selectors.DefaultSelector() as selector:
        listener = socket.socket(fileno=int(sys.argv[1]))
        selector.register(listener, selectors.EVENT_READ, None)
        selector.register(0, selectors.EVENT_READ, None)  # closed when the tests have ended
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    return
                if key.data is None:
                    wire, _ = listener.accept()
                    pid = _start(wire)
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, wire))
                else:
                    pid, wire = key.data
                    _, status = os.waitpid(pid, 0)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    with contextlib.suppress(OSError):
                        wire.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
                    wire.close()


def _start(wire: socket.socket) -> int:
    asked, given, _, _ = socket.recv_fds(wire, _MOST, 3)
    pid = os.fork()
    if pid:
        for fd in given:
            os.close(fd)
        wire.send(json.dumps(pid).encode())
        return pid
    code = 1
    try:
        code = _be(json.loads(asked), given)
    except BaseException:  # noqa: BLE001, RUF100
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _be(asked: Mapping[str, object], given: Sequence[int]) -> int:
    for number, fd in enumerate(given):
        os.dup2(fd, number)
        name, mode = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))[number]
        setattr(sys, name, open(number, mode, buffering=1 if number == 2 else -1, closefd=False))  # noqa: SIM115  # as an interpreter finds them
    os.closerange(3, 1 << 16)
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    sys.argv = ["routinectl", *asked["words"]]
    from routinectl.cli.main import main

    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    atexit._run_exitfuncs()
    return code
