"""The server that an agent's client starts: tools, resources and prompts, over standard input and output."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal

from mcp import Client, StdioServerParameters
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field

from routinectl.files import config, schemas
from routinectl.files.layout import Layout
from routinectl.mcp.desk import Asked, Desk
from routinectl.version import VERSION

_QUERY = """Read routines of this workspace: recurring work (commands on a schedule or a trigger) with a ledger that says why each slot ran or did not.
Actions: list (text, status), get (id), runs (id, since, outcome, limit: the ledger, newest last), why (id, and at or run: what decided, and what would change it),
preview (schedule, timezone, at, limit: what a schedule means and when it fires), status (serve, what runs, what is next, what is broken or waits)."""
_CONTROL = """Change routines of this workspace, as far as an agent may. pause (id, for, reason) acts at once. create (definition) and update (id, definition: a JSON merge patch)
write a draft that a person must approve. resume, delete and run_now (id, reason, payload) propose, and a person applies it. An interval under 30 s is refused.
A definition: {"name": "Nightly backup", "triggers": [...], "timeout": "30m", "action": {"command": ["./backup.sh"]}}; all keys: the resource routinectl://schema/routine."""
_PHRASES = """Schedules in this workspace are in {zone} unless a trigger has a timezone. Phrases and what they mean:
"every weekday at 9am" = {{"cron": "0 9 * * MON-FRI"}}; "every 15 minutes" = {{"every": "15m"}}; "daily at 02:30" = {{"daily": "02:30"}}; "every monday and thursday at 6pm" = {{"weekly": {{"days": ["mon", "thu"], "time": "18:00"}}}};
"on the first of the month at noon" = {{"cron": "0 12 1 * *"}}; once = {{"at": "2026-12-24T18:00"}}. Weekdays in cron: 0 and 7 are Sunday. Where both day fields of a cron line are restricted, either fires.
Triggers that are no time: {{"after": {{"routine": "backup", "outcome": ["succeeded"]}}}}, {{"message": {{"channel": "alerts"}}}}, {{"file": {{"paths": ["workspace:inbox/*.pdf"]}}}}, {{"webhook": {{}}}}."""


def build(desk: Desk) -> MCPServer:
    """Return the server for one workspace."""
    zone = config.load(desk.layout).timezone
    phrases = _PHRASES.format(zone=zone)
    server = MCPServer(
        "routinectl", version=VERSION, instructions=f"Routines of the workspace {desk.layout.root.name}. {phrases}", log_level="WARNING"
    )

    @server.tool(description=f"{_QUERY}\n{phrases}", annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    def routines_query(
        action: Literal["list", "get", "runs", "why", "preview", "status"],
        id: Annotated[str, Field(description="A routine's id.")] = "",  # noqa: A002 - the word agents know from the definition
        text: Annotated[str, Field(description="list: part of the id, name or description.")] = "",
        status: Annotated[str, Field(description="list: active, paused, draft, disabled, invalid, completed or pending_approval.")] = "",
        schedule: Annotated[str | dict[str, Any] | None, Field(description="preview: a phrase, a cron line or a trigger.")] = None,
        timezone: Annotated[str, Field(description="preview: an IANA zone.")] = "",
        at: Annotated[str, Field(description="why: the slot at this instant; preview: after this one. ISO 8601.")] = "",
        since: Annotated[str, Field(description="runs: from this instant on, ISO 8601.")] = "",
        run: Annotated[str, Field(description="why: this run.")] = "",
        outcome: Annotated[str, Field(description="runs: only failed, succeeded, timed_out, skipped, missed...")] = "",
        limit: Annotated[int | None, Field(description="How many at most.")] = None,
    ) -> dict[str, Any]:
        rest = {"text": text, "status": status, "schedule": schedule, "timezone": timezone, "at": at, "since": since, "run": run,
                "outcome": outcome, "limit": limit}  # fmt: skip
        return desk.query(action, Asked(id, rest))

    if desk.control:
        _add_control(server, desk, phrases)
    _add_reading(server, desk)
    return server


def _add_control(server: MCPServer, desk: Desk, phrases: str) -> None:
    @server.tool(description=f"{_CONTROL}\n{phrases}", annotations=ToolAnnotations(destructive_hint=False, open_world_hint=False))
    def routines_control(
        action: Literal["create", "update", "pause", "resume", "delete", "run_now"],
        id: Annotated[str, Field(description="The routine's id; for create it may be left to the name.")] = "",  # noqa: A002
        definition: Annotated[
            dict[str, Any] | None, Field(description="create: the definition; update: the keys to change, null removes one.")
        ] = None,
        reason: Annotated[str, Field(description="Why, for the person who answers.")] = "",
        payload: Annotated[dict[str, Any] | None, Field(description="run_now: input of the run.")] = None,
        pause_for: Annotated[str, Field(description="pause: how long, such as 2h; else until it is resumed.")] = "",
    ) -> dict[str, Any]:
        return desk.act(action, Asked(id, {"definition": definition, "reason": reason, "payload": payload, "for": pause_for}))


def _add_reading(server: MCPServer, desk: Desk) -> None:
    @server.resource("routinectl://routines/{routine_id}", description="A definition, as its file says it.", mime_type="application/yaml")
    def definition(routine_id: str) -> str:
        return desk.definition(routine_id)

    @server.resource("routinectl://schema/routine", description="The JSON schema of definitions.", mime_type="application/schema+json")
    def schema() -> str:
        return json.dumps(schemas.load("routine"))

    @server.prompt(description="What failed, what did not run, and why: a report to start the day with.")
    def triage(since: str = "the last 24 hours") -> str:
        return (
            f"Find out what went wrong with the routines of this workspace in {since}. Use routines_query: status first, then runs with outcome failed,"
            " timed_out, interrupted, missed and skipped. For each routine concerned, ask why about one of them. Group by cause. For each say: what, since"
            " when, how often, the line that decided, and what a person could do, as a command to paste. Change nothing."
        )

    @server.prompt(description="Make a new routine, as a draft.")
    def new_routine(wish: str) -> str:
        return (
            f"Make a routine for this: {wish}\nFirst preview the schedule with routines_query and say in words when it will fire, with the zone. Then create it"
            " with routines_control: a timeout, and what should happen when it is late or still running. Tell the person how to approve the draft."
        )


async def check(layout: Layout, words: list[str]) -> str:
    """Start a server as a client would, ask it, and return what came of it in one line."""
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "routinectl", "-w", str(layout.root), "mcp", *words])
    async with Client(parameters, read_timeout_seconds=20) as client:
        tools = (await client.list_tools()).tools
        answer = await client.call_tool("routines_query", {"action": "status"})
        found = answer.structured_content or {}
        if "error" in found:
            return f"a client gets through, and is told: {found['error']}"
        count = sum(found["routines"].values())
        return f"a client gets through: {', '.join(tool.name for tool in tools)}; {count} routines; MCP {client.protocol_version}"
