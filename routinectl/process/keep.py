"""Starting a keeper and speaking to one, from the side of serve and the commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routinectl.errors import RoutinectlError

if TYPE_CHECKING:
    from routinectl.process.wire import Wire

SOCKET = "k"
_PACKAGE = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.process.keeper import main; main(sys.argv[2:])"


def connect(folder: Path) -> tuple[Wire, dict[str, Any]] | None:
    """Return a connection to the living keeper and its greeting, or None when there is none.

    The socket is reached through a descriptor of its folder, because a path of more than 108 bytes cannot be bound.
    """
    import socket

    from routinectl.process.message import Closed
    from routinectl.process.wire import PROTOCOL, Wire

    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{SOCKET}")
        wire = Wire(connection)
        hello, *more = wire.receive_some()
    except (OSError, Closed):
        connection.close()
        return None
    finally:
        os.close(directory)
    if hello.get("hello") != PROTOCOL:
        connection.close()
        return None
    for message in more:  # a run has ended in this very moment
        hello["ended"] += message.get("ended", [])
    return wire, hello


def start(folder: Path, log: int, runs_folder: int, lock: int) -> None:
    """Start a keeper that listens in `folder`. It inherits the lock, so there is never a second one beside it.

    Raises RoutinectlError where it does not come up.
    """
    import socket
    import subprocess

    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path = f"/proc/self/fd/{directory}/{SOCKET}"
        if os.path.lexists(path):
            os.unlink(path)
        listener.bind(path)
        listener.listen(64)
        fds = [listener.fileno(), log, runs_folder, lock]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_PACKAGE), *map(str, fds)],
            pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", env={"LC_ALL": "C.UTF-8"}, start_new_session=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RoutinectlError(
                f"the keeper, which runs are started by, could not be started (exit code {done.returncode})", "ulimit -n 1024; ulimit -u"
            )
    finally:
        listener.close()
        os.close(directory)
