"""Signals, and the service manager: what the outside may tell a daemon, and what it tells back."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

_FIRST_PATIENCE, _MOST_PATIENCE = 1.0, 60.0  # seconds before a companion that has died is started again
_STOP_SECONDS = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Signals:
    """Signals as bytes in a pipe, so that a loop waits for them like for everything else."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = {number: signal.signal(number, lambda received, frame: None) for number in SIGNALS}
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.reading

    def take(self) -> set[int]:
        """Return the signals that have come."""
        with contextlib.suppress(BlockingIOError):
            return set(os.read(self.reading, 4096))
        return set()

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.reading)
        os.close(self._writing)


class Helper:
    """A module of ours that runs beside the loop and answers once, on its standard output. Wait on `fileno`."""

    def __init__(self, module: str, words: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})  # fmt: skip
        self._said = b""

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is news."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def answer(self) -> bytes | None:
        """Return what it said once it has ended, None while it goes on. Never waits."""
        while select.select([self], [], [], 0)[0]:
            chunk = os.read(self.fileno(), 65536)
            if not chunk:
                self.stop()
                return self._said
            self._said += chunk
        return None

    def stop(self) -> None:
        """End it and give its descriptors back."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Companion:
    """A module of ours that lives beside serve, and is started again when it dies. It ends when its standard input does."""

    def __init__(self, module: str, words: list[str], env: Mapping[str, str], talk: Callable[[str], None]) -> None:
        self._module, self._words, self._env, self._talk = module, words, env, talk
        self._process: subprocess.Popen[bytes] | None = None
        self._patience = _FIRST_PATIENCE
        self._again = 0.0

    def keep(self, awake: float) -> None:
        """Start it, or start it again; `awake` are seconds on a clock that nobody sets."""
        if self._process is None or self._process.poll() is not None:
            if self._process is not None and self._again == 0.0:
                self._talk(f"{self._module} has ended with {self._process.returncode}; it is started again in {self._patience:.0f} s")
                self._again, self._patience = awake + self._patience, min(self._patience * 2, _MOST_PATIENCE)
            if awake >= self._again:
                self._again = 0.0
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self._module, *self._words], stdin=subprocess.PIPE, stdout=sys.stderr.fileno(),
                    env={**os.environ, **self._env, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})  # fmt: skip
                assert self._process.stdin is not None
                os.set_blocking(self._process.stdin.fileno(), False)

    def poke(self) -> None:
        """Tell it that there is news; where it has not taken the last one in, this one says nothing more."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), b"!")

    def stop(self) -> None:
        """End it, and wait for that."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def notify(**values: str) -> None:
    """Tell systemd (READY=1, STATUS=..., WATCHDOG=1, ...); does nothing where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    text = "\n".join(f"{key}={value}" for key, value in values.items())
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall(text.encode())


def watchdog_seconds() -> float | None:
    """Return how often systemd wants to hear from us (half of its limit), or None."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(limit) / 2e6 if limit.isdigit() and mine else None


@contextlib.contextmanager
def many_descriptors() -> Iterator[int]:
    """Raise the descriptor limit for this process as far as it goes; yields the limit that runs should have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TooSlow(Exception):
    """What was done within `time_limit` took longer."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the body after so long; regular expressions are interrupted too. Main thread only."""

    def stop(number: int, frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when a process ends, or -1 where that cannot be had."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return -1
