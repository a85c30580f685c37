"""Agents over MCP: a real client, over the pipes it would use, and what it may and may not do."""

from __future__ import annotations

import json
import sys

import anyio
import pytest
from conftest import Workspace
from mcp import Client, StdioServerParameters

READING, CONTROL = (), ("--allow-control",)


def talk(workspace: Workspace, words: tuple[str, ...], *calls: dict) -> list[dict]:
    """Start a server as a client does, make these calls of its tools, and return what each answered."""

    async def conversation() -> list[dict]:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "routinectl", "mcp", *words], env=workspace.env, cwd=workspace.root
        )
        async with Client(parameters, read_timeout_seconds=60) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            answers = []
            for call in calls:
                tool = (
                    "routines_control"
                    if call["action"] in ("create", "update", "pause", "resume", "delete", "run_now")
                    else "routines_query"
                )
                if tool not in tools:
                    answers.append({"error": f"no tool {tool}"})
                    continue
                answers.append((await client.call_tool(tool, call)).structured_content)
            return answers

    return anyio.run(conversation)


@pytest.fixture
def stocked(workspace):
    workspace.configure("owner: ada")
    workspace.define("backup", "triggers: [{daily: '02:00'}]\ntimeout: 1m\naction: {command: ['true']}\n")
    workspace.define("hers", "owner: eve\ntriggers: [{daily: '02:00'}]\ntimeout: 1m\naction: {command: ['true']}\n")
    workspace.ok("list")
    return workspace


def test_what_a_reader_may_ask(stocked):
    stocked.run("run-now", "backup", "--wait")
    listed, got, runs, why, preview, status, wrong = talk(
        stocked, READING,
        {"action": "list"}, {"action": "get", "id": "backup"}, {"action": "runs", "outcome": "succeeded"}, {"action": "why", "id": "backup"},
        {"action": "preview", "schedule": "every monday at 6pm", "timezone": "Europe/Berlin", "limit": 2}, {"action": "status"},
        {"action": "preview", "schedule": "now and then"})  # fmt: skip

    assert [row["id"] for row in listed["routines"]] == ["backup"]
    assert (got["status"], got["owner"], got["words"]) == ("active", "ada", "every day at 02:00")
    assert [line["outcome"] for line in runs["runs"]] == ["succeeded"]
    assert why["verdict"] == "ran"
    assert (preview["describe"], len(preview["next"])) == ("at 18:00, on Monday", 2)
    assert status["routines"] == {"active": 1}
    assert "now and then" in wrong["error"]
    assert wrong["hint"]


def test_another_owners_routine_is_neither_named_nor_counted_nor_followed(stocked):
    stocked.record("slot.held", "hers", slot="2026-03-01T09:00:00Z", reason="review")
    status, taken, why = talk(
        stocked, CONTROL, {"action": "status"},
        {"action": "create", "definition": {"id": "hers", "name": "Mine", "triggers": [{"daily": "09:00"}], "timeout": "1m", "action": {"command": ["true"]}}},
        {"action": "why", "id": "hers"})  # fmt: skip

    assert (status["routines"], status["health"], status["held"]) == ({"active": 1}, [], [])
    assert (taken["error"], taken["hint"]) == ("the id hers is taken", 'choose another with "id": "hers-2"')
    assert "there is no routine" in why["error"]


def test_a_reader_changes_nothing(stocked):
    answers = talk(stocked, READING, {"action": "pause", "id": "backup"})

    assert answers == [{"error": "no tool routines_control"}]
    assert not stocked.events("routine.paused")


def test_what_an_agent_creates_and_changes_is_a_draft_until_a_person_approves_it(stocked):
    created, changed = talk(
        stocked, CONTROL,
        {"action": "create", "definition": {"name": "Nice", "triggers": [{"schedule": "every weekday at 9am"}], "action": {"command": ["true"]}}},
        {"action": "update", "id": "nice", "definition": {"timeout": "5m"}})  # fmt: skip

    assert (created["status"], created["words"]) == ("draft", "at 09:00, Monday to Friday")
    assert (changed["status"], changed["definition"]["timeout"]) == ("draft", "5m")
    assert stocked.run("run-now", "nice", "--wait").code == 77
    assert [item["by"] for item in stocked.ok("approvals", "--json").data] == ["an agent, over MCP"]
    stocked.ok("approve", "nice")
    stocked.ok("run-now", "nice", "--wait")


def test_a_pause_is_done_at_once_and_is_never_made_shorter(stocked):
    first, second = talk(stocked, CONTROL, {"action": "pause", "id": "backup", "reason": "noise"},
                         {"action": "pause", "id": "backup", "pause_for": "1s"})  # fmt: skip

    assert first["status"] == "paused"
    assert "paused already" in second["error"]
    assert stocked.ok("show", "backup", "--json").data["status"] == "paused"


def test_what_widens_is_proposed_and_done_once_by_a_person(stocked):
    stocked.ok("pause", "backup")
    resume, again, run = talk(stocked, CONTROL, {"action": "resume", "id": "backup", "reason": "it is over"}, {"action": "resume", "id": "backup"},
                              {"action": "run_now", "id": "backup", "payload": {"day": 1}})  # fmt: skip

    assert resume["proposal"] == again["proposal"]
    assert stocked.ok("show", "backup", "--json").data["status"] == "paused"
    assert not stocked.events("run.claimed")
    assert stocked.ok("proposals", "apply", resume["proposal"]).code == 0
    assert stocked.ok("show", "backup", "--json").data["status"] == "active"
    assert stocked.run("proposals", "apply", resume["proposal"]).code == 3
    stocked.ok("proposals", "apply", "backup")
    assert [event["data"]["request"] for event in stocked.events("run.claimed")]
    assert [event["data"]["proposal"] for event in stocked.events("proposal.applied")] == [resume["proposal"], run["proposal"]]


def test_a_proposal_is_rejected(stocked):
    (asked,) = talk(stocked, CONTROL, {"action": "delete", "id": "backup"})
    stocked.ok("proposals", "reject", asked["proposal"], "--note", "no")

    assert stocked.ok("proposals", "--json").data == []
    assert stocked.ok("show", "backup", "--json").data["status"] == "active"
    assert stocked.events("proposal.rejected")[0]["data"]["note"] == "no"


def test_a_proposal_for_another_revision_is_not_applied(stocked):
    (asked,) = talk(stocked, CONTROL, {"action": "run_now", "id": "backup"})
    stocked.ok("edit", "backup", "--set", "timeout=2m")
    answer = stocked.run("proposals", "apply", asked["proposal"])

    assert answer.code == 75
    assert "was changed since" in answer.err
    assert not stocked.events("run.claimed")


def test_an_agent_may_not_answer_its_own_proposal(stocked):
    talk(stocked, CONTROL, {"action": "delete", "id": "backup"})
    me = f"{sys.executable} -m routinectl -w {stocked.root}"
    stocked.define("sly", f"timeout: 1m\naction: {{command: '{me} proposals apply backup'}}\n")
    stocked.run("run-now", "sly", "--wait")

    assert "is for a person" in stocked.ok("logs", "sly").out
    assert stocked.ok("show", "backup", "--json").data["status"] == "active"


REFUSED = {
    "an interval under 30 s, whatever the workspace allows": (
        {"action": "create", "definition": {"name": "Fast", "triggers": [{"every": "5s"}], "action": {"command": ["true"]}}}, "below the minimum of 30 seconds"),
    "and on update": ({"action": "update", "id": "backup", "definition": {"triggers": [{"every": "5s"}]}}, "below the minimum of 30 seconds"),
    "another's routine is not there": ({"action": "get", "id": "hers"}, "there is no routine 'hers'"),
    "not to be paused either": ({"action": "pause", "id": "hers"}, "there is no routine 'hers'"),
    "not for another": (
        {"action": "create", "definition": {"name": "X", "owner": "eve", "action": {"command": ["true"]}}}, "it is made for ada"),
    "an owner is not changed": ({"action": "update", "id": "backup", "definition": {"owner": "eve"}}, "owner and id stay"),
    "a name that is taken": ({"action": "create", "definition": {"name": "backup", "action": {"command": ["true"]}}}, "ada has a routine named 'backup'"),
    "a definition with faults, all of them": ({"action": "create", "definition": {"name": "X", "triggerz": 1}}, "has 2 faults"),
    "no definition": ({"action": "create", "id": "x"}, "`definition` is an object"),
    "no id": ({"action": "pause"}, "which routine?"),
    "no instant": ({"action": "why", "id": "backup", "at": "yesterday"}, "'yesterday' is no instant"),
    "too much": ({"action": "runs", "limit": 100000}, "limit is 100000"),
}  # fmt: skip


def test_what_is_refused_is_a_value_with_a_hint(stocked):
    answers = talk(stocked, CONTROL, *(call for call, _ in REFUSED.values()))
    for name, (answer, (_, why)) in zip(REFUSED, zip(answers, REFUSED.values(), strict=True), strict=True):
        assert why in json.dumps(answer, ensure_ascii=False), name
        assert answer["error"]
        assert answer["hint"], name
    assert not stocked.events("routine.paused")
    assert {row["id"] for row in stocked.ok("list", "--json").data} == {"backup", "hers"}


def test_resources_and_prompts(stocked):
    async def conversation() -> tuple:
        parameters = StdioServerParameters(command=sys.executable, args=["-m", "routinectl", "mcp"], env=stocked.env, cwd=stocked.root)
        async with Client(parameters, read_timeout_seconds=60) as client:
            text = (await client.read_resource("routinectl://routines/backup")).contents[0].text
            schema = json.loads((await client.read_resource("routinectl://schema/routine")).contents[0].text)
            prompt = (await client.get_prompt("triage", {})).messages[0].content.text
            return text, schema, prompt, client.instructions

    text, schema, prompt, instructions = anyio.run(conversation)
    assert "daily: '02:00'" in text
    assert schema["$schema"].endswith("2020-12/schema")
    assert "why" in prompt
    assert "are in UTC" in instructions
    assert "0 and 7 are Sunday" in instructions


def test_check_says_in_one_line_whether_a_client_gets_through(stocked):
    assert stocked.ok("mcp", "--check").out.startswith("a client gets through: routines_query; 1 routines; MCP ")
    assert "routines_control" in stocked.ok("mcp", "--check", "--allow-control").out
    assert stocked.run("mcp", "--check", cwd=stocked.root.parent).code == 78


def test_an_id_that_is_none_is_refused_and_not_mended(stocked):
    odd = ["UPPER", "../evil", "..", "/tmp/x", "a b", "events", "", "x" * 64]
    definition = {"timeout": "1m", "action": {"command": ["true"]}}
    answers = talk(stocked, CONTROL, *({"action": "create", "definition": {"id": name, **definition}} for name in odd),
                   *({"action": "create", "id": name, "definition": definition} for name in odd if name))  # fmt: skip

    assert [answer for answer in answers if "is not an id" not in answer.get("error", "")] == []
    assert sorted(path.name for path in (stocked.root / "routines").iterdir()) == ["backup", "hers"]
