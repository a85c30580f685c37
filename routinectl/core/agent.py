"""An agent: what its AGENT.md grants and asks, what a routine makes of it, and the tools that there are.

A schedule never loosens what an agent may do: of the agent's word and the routine's, the narrower is in force.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from routinectl.core import permissions, prompt
from routinectl.core.problem import Path, Problem, did_you_mean
from routinectl.core.units import parse_duration, parse_size

DEFAULT_ITERATIONS = 10
MAX_TOOL_CALLS = 20  # in one answer of the model
_EXTERNAL = ("none", "suggest", "allow")
_FENCE = "---"
_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of ours: what it is called, what the model is told, its arguments, and whether it has effects.

    `outward` effects reach beyond this machine: `external` decides whether they are done, suggested or denied.
    """

    name: str
    description: str
    arguments: Mapping[str, Any]
    required: tuple[str, ...]
    effect: bool = False
    outward: bool = False
    network: bool = False
    given: Mapping[str, Any] | None = None  # the schema, where a server gives it

    @property
    def schema(self) -> dict[str, Any]:
        """What its arguments look like, as JSON Schema."""
        if self.given is not None:
            return dict(self.given)
        return {"type": "object", "properties": dict(self.arguments), "required": list(self.required), "additionalProperties": False}


_PATH = {"type": "string", "description": "A path, from your folder, or absolute."}
TOOLS = {tool.name: tool for tool in (
    Tool("files.read", "Read a text file, at most 64 KiB of it.",
         {"path": _PATH, "offset": {"type": "integer", "minimum": 0, "description": "The first line, from 0."}}, ("path",)),
    Tool("files.list", "List a folder.", {"path": _PATH}, ("path",)),
    Tool("files.search", "Find lines that hold a text, below a folder; at most 200 of them.", {"text": _TEXT, "path": _PATH}, ("text", "path")),
    Tool("files.write", "Write a text file, as a whole; folders are made.", {"path": _PATH, "text": _TEXT}, ("path", "text"), effect=True),
    Tool("shell.run", "Run a command line of sh in your folder; you are told its exit code and the end of its output.",
         {"command": _TEXT, "seconds": {"type": "integer", "minimum": 1, "maximum": 600}}, ("command",), effect=True),
    Tool("routines.draft", "Draft a routine: a person approves it before it fires. Its permissions are no wider than yours, and it ends after 90 days.",
         {"id": {"type": "string", "description": "lower-case letters, digits and -"},
          "definition": {"type": "object", "description": "The keys of a ROUTINE.yaml: name, triggers [{schedule: every monday at 9am}], action."}},
         ("id", "definition"), effect=True),
    Tool("web.fetch", "Get a page over HTTP, at most 256 KiB of it.", {"url": _TEXT}, ("url",), network=True),
    Tool("web.send", "Send something over HTTP: a POST, PUT, PATCH or DELETE.",
         {"method": {"enum": ["POST", "PUT", "PATCH", "DELETE"]}, "url": _TEXT, "body": _TEXT,
          "headers": {"type": "object", "additionalProperties": _TEXT}}, ("method", "url"), effect=True, outward=True, network=True),
)}  # fmt: skip
READING = tuple(name for name, tool in TOOLS.items() if not tool.effect and not tool.network)


@dataclass(frozen=True, slots=True)
class Server:
    """An MCP server: a command that is started inside the confinement, or a URL; and which of its tools there are."""

    command: tuple[str, ...] = ()
    url: str = ""
    read: tuple[str, ...] = ()
    effect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What a routine has an agent do."""

    task: str
    agent: str = ""
    instructions: str = ""
    model: str = prompt.DEFAULT_MODEL
    tools: tuple[str, ...] = READING
    context: tuple[str, ...] = ()
    max_iterations: int = DEFAULT_ITERATIONS
    max_tokens: int = prompt.DEFAULT_MAX_TOKENS
    quiet_reply: str = ""
    servers: Mapping[str, Server] = field(default_factory=dict)


def server_tools(servers: Mapping[str, Server]) -> dict[str, Tool]:
    """Return the tools of MCP servers, as far as a head names them; what they take, the servers themselves say."""
    marked = [(f"{name}.{tool}", effect) for name, server in servers.items()
              for tools, effect in ((server.read, False), (server.effect, True)) for tool in tools]  # fmt: skip
    return {name: Tool(name, "", {}, (), effect=effect, outward=effect) for name, effect in marked}


def read_servers(doc: Mapping[str, Any]) -> dict[str, Server]:
    """Return the MCP servers of a valid head."""
    return {name: Server(tuple(item.get("command", ())), item.get("url", ""), tuple(item.get("read", ())), tuple(item.get("effect", ())))
            for name, item in doc.items()}  # fmt: skip


def split(text: str) -> tuple[str, str] | None:
    """Return the head of an AGENT.md (its lines keep their numbers) and the instructions; None where there is no head."""
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != _FENCE:
        return None
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == _FENCE:
            return "".join(["#\n", *lines[1:number]]), "".join(lines[number + 1 :]).strip()
    return None


def faults(head: Mapping[str, Any], models: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a head that its schema accepts."""
    found = list(permissions.faults({"action": {"agent": {}}, **head}))
    servers = read_servers(head.get("mcp", {}))
    known = TOOLS | server_tools(servers)
    found += tool_faults(head.get("tools", ()), ("tools",), known)
    found += tool_faults(head.get("permissions", {}).get("tools", ()), ("permissions", "tools"), known)
    for name, server in servers.items():
        if bool(server.command) == bool(server.url):
            found.append(Problem(f"mcp.{name} is a command or a url, one of the two", ("mcp", name), f"{name}: {{command: [./server]}}"))
        if server.url and not head.get("permissions", {}).get("network"):
            found.append(
                Problem(
                    f"mcp.{name} is reached over the network, which this agent has not",
                    ("mcp", name, "url"),
                    "permissions: {network: true}",
                )
            )
    model = head.get("model")
    if model is not None and model not in models:
        found.append(Problem(f"routinectl.yaml has no model '{model}'", ("model",), did_you_mean(model, models) or "model: default"))
    return found


def tool_faults(names: Any, path: Path, known: Mapping[str, Tool]) -> list[Problem]:
    """Return the tools of a list that there are not."""
    return [Problem(f"there is no tool '{name}'", (*path, index), did_you_mean(name, known) or f"one of {', '.join(known)}")
            for index, name in enumerate(names) if name not in known]  # fmt: skip


def in_force(doc: Mapping[str, Any], name: str, head: Mapping[str, Any], instructions: str) -> dict[str, Any]:
    """Return a definition with what its agent says worked in: the narrower permissions and budgets, the agent beside the job."""
    asked = doc["action"]["agent"]
    resolved = {"agent": name, "instructions": instructions, "tools": list(_tools(head, doc)), "model": asked.get("model") or head.get("model", "default"),
                "max_iterations": _least(asked.get("max_iterations"), head.get("max_iterations")) or DEFAULT_ITERATIONS,
                "max_tokens": _least(asked.get("max_tokens"), head.get("max_tokens")) or prompt.DEFAULT_MAX_TOKENS,
                "granted": dict(head.get("permissions", {})), "mcp": dict(head.get("mcp", {}))}  # fmt: skip
    narrowed = {**doc, "action": {**doc["action"], "agent": {**asked, "resolved": resolved}}}
    narrowed["permissions"] = narrow(head.get("permissions", {}), doc.get("permissions", {}))
    budget = _budget(head.get("budget", {}), doc.get("budget", {}))
    return {**narrowed, "budget": budget} if budget else narrowed


def _tools(head: Mapping[str, Any], doc: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tools in force: what the agent has, narrowed by its permissions and by the routine's."""
    servers = server_tools(read_servers(head.get("mcp", {})))
    tools = tuple(head.get("tools", (*READING, *(name for name, tool in servers.items() if not tool.effect))))
    for grants in (head.get("permissions", {}), doc.get("permissions", {})):
        if "tools" in grants:
            tools = tuple(name for name in tools if name in grants["tools"])
    return tools


def narrow(granted: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the narrower of what an agent is granted and what a routine asks for; what is not said is the default for agents."""
    level = min(
        granted.get("level", "read_only"),
        asked.get("level", granted.get("level", "read_only")),
        key=permissions.LEVELS.index,
    )
    external = min(
        granted.get("external", "suggest"),
        asked.get("external", granted.get("external", "suggest")),
        key=_EXTERNAL.index,
    )
    found: dict[str, Any] = {"level": level, "external": external}
    if level != "full":
        found["network"] = bool(granted.get("network", False)) and bool(asked.get("network", True))
        for key in ("read", "write"):
            paths = _paths(granted.get(key, ()), asked.get(key))
            found |= {key: paths} if paths else {}
    return found


def _paths(granted: Any, asked: Any) -> list[str]:
    """Return the paths that a routine asks for and that lie within what the agent is granted; all of these where it asks for none."""
    if asked is None:
        return list(granted)
    tops = [posixpath.normpath(path) for path in granted]
    inside = [
        path
        for path in asked
        if any(posixpath.normpath(path) == top or posixpath.normpath(path).startswith(top.rstrip("/") + "/") for top in tops)
    ]
    return list(dict.fromkeys(inside))


def _least(*values: Any) -> Any:
    return min((value for value in values if value is not None), default=None)


def _budget(granted: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {**granted, **asked}
    readers: dict[str, Callable[[Any], Any]] = {"cpu": parse_duration, "wall": parse_duration, "memory": parse_size, "output": parse_size}
    for key in granted.keys() & asked.keys():
        if key == "per_day":
            found[key] = _budget(granted[key], asked[key])
        else:
            found[key] = min(granted[key], asked[key], key=readers.get(key, float))
    return found


def descendant(definition: Mapping[str, Any], granted: permissions.Permissions, budget: Mapping[str, Any], end: str) -> dict[str, Any]:
    """Return a definition that a run drafts, with permissions and caps no wider than the run's own, and an end (a date)."""
    own = {
        "level": granted.level,
        "read": list(granted.read),
        "write": list(granted.write),
        "network": granted.network,
        "external": granted.external,
    }
    action = definition.get("action")
    for_model = isinstance(action, Mapping) and bool(action.keys() & {"prompt", "agent"})
    asked = definition.get("permissions")
    narrowed = narrow(own, asked if isinstance(asked, Mapping) else {})
    if not for_model:
        narrowed["external"] = "none" if narrowed["external"] != "allow" else "allow"
    caps = _budget(budget, definition.get("budget") or {}) if for_model else dict(definition.get("budget") or {})
    found = {**definition, "permissions": narrowed, **({"budget": caps} if caps else {})}
    found.setdefault("end", end)
    return found


def read(doc: Mapping[str, Any]) -> Job:
    """Return the job of a valid definition's `agent`, its agent worked in."""
    resolved = doc.get("resolved", {})
    return Job(
        doc["task"], resolved.get("agent", ""), resolved.get("instructions", ""), resolved.get("model") or doc.get("model", prompt.DEFAULT_MODEL),
        tuple(resolved.get("tools", READING)), tuple(doc.get("context", ())),
        int(resolved.get("max_iterations") or doc.get("max_iterations", DEFAULT_ITERATIONS)),
        int(resolved.get("max_tokens") or doc.get("max_tokens", prompt.DEFAULT_MAX_TOKENS)), doc.get("quiet_reply", "").strip(),
        read_servers(resolved.get("mcp", {})))  # fmt: skip


def refusal(tool: str, job_tools: tuple[str, ...], granted: permissions.Permissions, known: Mapping[str, Tool]) -> str:
    """Say why a call of a tool is denied before it is made; empty when it is not. `known` are all tools that there are."""
    found = known.get(tool)
    if found is None:
        return f"there is no tool '{tool}'"
    if tool not in job_tools:
        return f"the tool {tool} is not among those this run may use"
    if found.network and not granted.network and not found.outward:
        return f"the tool {tool} needs the network, and this run has none"
    if found.outward and granted.external == "none":
        return f"the tool {tool} has effects outside, and this run may have none (external: none)"
    if found.outward and found.network and granted.external == "allow" and not granted.network:
        return f"the tool {tool} needs the network, and this run has none"
    return ""
