"""MCP servers of an agent: started inside the confinement (or reached by a URL), asked for their tools, and called.

The client is the protocol's own SDK, in a thread; what it starts is a launcher of ours that puts up the confinement.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from routinectl.core import agent
from routinectl.core.agent import Server, Tool

_PACKAGE = Path(__file__).resolve().parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.process.confined_exec import main; main(sys.argv[2])"
_CONNECT_SECONDS = 30.0
_MOST_TEXT = 64 * 1024  # characters of an answer


class ServerError(OSError):
    """A server could not be reached, or has not the tools that its agent names; the text says which."""


class Servers:
    """The servers of one run. `folder` is where what is started is written down; close it when the run is over."""

    def __init__(self, servers: Mapping[str, Server], entry: Mapping[str, Any], env: Mapping[str, str], folder: Path) -> None:
        """Start or reach all of them. Raises ServerError."""
        self.tools: dict[str, Tool] = {}
        self._clients: dict[str, Any] = {}
        self._stack = contextlib.ExitStack()
        self._portal: Any = None
        if not servers:
            return
        try:
            from anyio.from_thread import start_blocking_portal
        except ImportError:
            raise ServerError("MCP servers need the extra mcp: pip install 'routinectl[mcp]'") from None
        self._portal = self._stack.enter_context(start_blocking_portal())
        try:
            for name, server in servers.items():
                self._connect(name, server, entry, env, folder)
        except BaseException:
            self.close()
            raise

    def _connect(self, name: str, server: Server, entry: Mapping[str, Any], env: Mapping[str, str], folder: Path) -> None:
        from mcp import Client, StdioServerParameters

        where: Any = server.url
        if server.command:
            path = folder / f"mcp-{name}.json"
            path.write_text(json.dumps({**_with_layers(entry, f"mcp-{name}"), "argv0": server.command[0], "argv": list(server.command)}))
            where = StdioServerParameters(command=sys.executable, args=["-I", "-S", "-c", _START, str(_PACKAGE), str(path)], env=dict(env))
        try:
            client = self._stack.enter_context(
                self._portal.wrap_async_context_manager(Client(where, read_timeout_seconds=_CONNECT_SECONDS))
            )
            listed = self._portal.call(client.list_tools).tools
        except Exception as error:  # noqa: BLE001  # whatever a foreign server does
            raise ServerError(f"the MCP server {name} does not answer: {_reason(error)}") from None
        self._clients[name] = client
        offered = {f"{name}.{tool.name}": tool for tool in listed}
        for known in agent.server_tools({name: server}).values():
            if known.name not in offered:
                raise ServerError(
                    f"the MCP server {name} has no tool {known.name.partition('.')[2]}; it has {', '.join(tool.name for tool in listed)}"
                )
            found = offered[known.name]
            self.tools[known.name] = replace(known, description=found.description or "", given=found.input_schema)

    def call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> tuple[bool, str]:
        """Call a tool; return whether it could do it, and what it says."""
        name, _, its = tool.partition(".")
        ask: Callable[[], Any] = lambda: self._clients[name].call_tool(its, dict(arguments), read_timeout_seconds=seconds)  # noqa: E731
        try:
            result = self._portal.call(ask)
        except Exception as error:  # noqa: BLE001  # whatever a foreign server does
            return False, f"the MCP server {name} failed: {_reason(error)}"
        text = "\n".join(part.text for part in result.content if getattr(part, "text", None))
        return not result.is_error, text[:_MOST_TEXT] or "done"

    def close(self) -> None:
        """End them."""
        with contextlib.suppress(Exception):
            self._stack.close()


def _with_layers(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an entry whose process writes into layers of its own: two views of one layer at a time would spoil it."""
    spec = entry.get("confine")
    return {**entry, "confine": {**spec, "written": f"{spec['written'].rpartition('/')[0]}/{name}"}} if spec else dict(entry)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:300] or type(error).__name__
