"""The HTTP process: `python -m routinectl.api.server WORKSPACE ADDRESS`, started and ended by serve.

It lives as long as its standard input is open: serve holds the other end, so that nothing is left when serve dies.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from routinectl.api.app import App
from routinectl.api.hub import Hub
from routinectl.errors import RoutinectlError
from routinectl.files import config
from routinectl.files.layout import Layout
from routinectl.operations.follow import say


def main(words: list[str]) -> int:
    """Serve HTTP for a workspace until standard input ends."""
    layout, address = Layout(Path(words[0])), words[1]
    try:
        settings = config.load(layout)
        listening = listen(address)
    except (RoutinectlError, OSError) as error:
        say(f"HTTP cannot listen on {address}: {error}")
        return 1
    local = address.startswith("unix:")
    hub = Hub(layout)
    app = App(hub, settings.http_hosts, local=local)
    server = uvicorn.Server(uvicorn.Config(
        app.starlette(), log_level="warning", access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=2,
        lifespan="on"))  # fmt: skip
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    where = address if local else f"http://{address.rpartition(':')[0]}:{listening.getsockname()[1]}"
    say(f"HTTP on {where}")
    server.run(sockets=[listening])
    return 0


def listen(address: str) -> socket.socket:
    """Return a listening socket for HOST:PORT or unix:PATH; a unix socket is closed to other users."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if os.path.exists(path):
            os.unlink(path)
        found = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            found.bind(path)
        finally:
            os.umask(before)
        found.listen(128)
        return found
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an answer waits 40 ms for the client.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host.strip("[]"), int(port)))
    found.listen(128)
    return found


def _end_with_parent(server: uvicorn.Server) -> None:
    while os.read(0, 4096):
        continue
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
