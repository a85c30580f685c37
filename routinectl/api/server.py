"""The HTTP process: `python -m routinectl.api.server WORKSPACE ADDRESS`, started and ended by serve.

It lives as long as its standard input is open: serve holds the other end, so that nothing is left when serve dies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path

import uvicorn

from routinectl import clock
from routinectl.api.app import App
from routinectl.api.hub import Hub
from routinectl.core import address
from routinectl.core.address import Address
from routinectl.errors import RoutinectlError
from routinectl.files import config, served
from routinectl.files.layout import Layout
from routinectl.operations.follow import say, wait

_FIRST_PATIENCE, _MOST_PATIENCE = 1.0, 60.0  # seconds until an address that could not be had is tried again


def main(words: list[str]) -> int:
    """Serve HTTP for a workspace until standard input ends."""
    layout, where = Layout(Path(words[0])), address.read(words[1])
    try:
        settings = config.load(layout)
    except (RoutinectlError, OSError) as error:
        say(f"HTTP cannot begin: {error}")
        return 1
    listening = _wait_for(where)
    if listening is None:
        return 0
    if not where.path:
        where = replace(where, port=listening.getsockname()[1])
    threading.Thread(target=served.tell, args=(layout, str(where)), daemon=True).start()
    hub = Hub(layout)
    app = App(hub, settings.http_hosts, local=bool(where.path))
    server = uvicorn.Server(uvicorn.Config(
        app.starlette(), log_level="warning", access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=2,
        lifespan="on"))  # fmt: skip
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    say(f"HTTP on {where if where.path else f'http://{where}'}")
    server.run(sockets=[listening])
    return 0


def _wait_for(where: Address) -> socket.socket | None:
    """Return a listening socket, once the address can be had; what is in the way is said once. None when serve has ended."""
    told, patience = None, _FIRST_PATIENCE
    while True:
        try:
            return listen(where)
        except OSError as error:
            if error.errno != told:
                say(f"HTTP cannot listen on {where}: {error.strerror or error}; it is tried again, and serve goes on")
            told = error.errno
        until = clock.awake() + patience
        while (left := until - clock.awake()) > 0:
            if not wait(left):
                return None
        patience = min(patience * 2, _MOST_PATIENCE)


def listen(where: Address) -> socket.socket:
    """Return a listening socket; a unix socket is closed to other users. Raises OSError."""
    if where.path:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(where.path).st_mode):
                raise FileExistsError(errno.EEXIST, "there is a file of this name that is no socket")
            os.unlink(where.path)
        found = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            found.bind(where.path)
        except BaseException:
            found.close()
            raise
        finally:
            os.umask(before)
        found.listen(128)
        return found
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an answer waits 40 ms for the client.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((where.host, where.port))
        found.listen(128)
    except BaseException:
        found.close()
        raise
    return found


def _end_with_parent(server: uvicorn.Server) -> None:
    while os.read(0, 4096):
        continue
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
