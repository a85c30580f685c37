"""A program that is given something to read and has so long to do its work."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_MOST_SAID = 1000  # characters that are kept of what it said


def run(words: Sequence[str], given: bytes, seconds: float, *, folder: Path, env: Mapping[str, str]) -> str:
    """Run a program; return what is against its success: nothing, or what it said. At the deadline its group is killed."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, **env},
            start_new_session=True)  # fmt: skip
    except OSError as error:
        return f"{words[0]} cannot be run: {error.strerror}"
    with process:
        try:
            said, _ = process.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"it took longer than {seconds:.0f} s"
    text = said.decode(errors="replace").strip()[-_MOST_SAID:]
    return "" if process.returncode == 0 else text or f"exit code {process.returncode}"


def output_of(words: Sequence[str], env: Mapping[str, str], seconds: float) -> str:
    """Run a program in exactly this environment, and return what it printed, or why it printed nothing. At the deadline its group is killed."""
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(env), start_new_session=True
    )
    with process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"it took longer than {seconds:.0f} s"
    return said.decode(errors="replace")


def follow(words: Sequence[str], env: Mapping[str, str], seconds: float, heard: Callable[[bytes], None]) -> int:
    """Run a program in exactly this environment, pass on what it prints as it comes, and return its exit code (124 at the deadline)."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(env))
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        while data := os.read(process.stdout.fileno(), 65536):
            heard(data)
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        over = not timer.is_alive()
        timer.cancel()
        process.stdout.close()
        code = process.wait()
    return 124 if over and code < 0 else code
