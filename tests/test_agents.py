"""Agent routines against a model server: what their tools may do, what is denied, proposed, recorded; and whose word is narrower."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading

import pytest
from conftest import ROOT, until
from model_server import ModelServer
from needs import needs

from routinectl.core.agent import narrow

pytest.importorskip("pydantic_ai", reason="the extra agents is not installed")
pytestmark = needs("confinement")
KEY = "sk-canary-0123456789"


@pytest.fixture
def model(workspace):
    """Start a model that gives these answers, and have the workspace know it as `default`."""
    started = []

    def start(*answers):
        server = ModelServer(*answers)
        started.append(server)
        (workspace.root / "secrets").mkdir(mode=0o700, exist_ok=True)
        (workspace.root / "secrets/key").write_text(KEY)
        workspace.configure(
            f"models: {{default: {{provider: openai, model: tiny, base_url: '{server.url}', api_key: {{file: secrets/key}}}}}}"
        )
        return server

    yield start
    for server in started:
        server.close()


def agent(workspace, head, instructions="You tidy documents."):
    path = workspace.root / "agents/gardener/AGENT.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\n{head}---\n{instructions}\n")


def job(workspace, *, more="", keys="", env=None, task="Tidy."):
    workspace.define("g", f"timeout: 1m\n{more}action: {{agent: {{task: {json.dumps(task)}{keys}}}}}\n")
    done = workspace.run("run-now", "g", "--wait", env=env)
    ends = workspace.events("run.ended", "g")
    return done, ends[-1]["data"] if ends else {}


def turns(workspace):
    path = max(workspace.root.glob(".routinectl/runs/g/*/turns.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(server, number):
    """Return what the tools had said in a request."""
    return [message["content"] for message in server.requests[number]["messages"] if message["role"] == "tool"]


def test_a_job_takes_turns_with_tools_until_there_is_a_result(workspace, model):
    (workspace.root / "routines/g").mkdir(parents=True)
    (workspace.root / "routines/g/notes.md").write_text("one\nneedle here\n")
    server = model({"tools": [("files_list", {"path": "."}), ("files_search", {"text": "needle", "path": "."})]},
                   {"text": "let me see", "tools": [("files_read", {"path": "notes.md"})]}, {"text": "It is in line 2."})  # fmt: skip
    done, end = job(workspace)
    assert done.code == 0, (done.err, workspace.run("logs", "g").out)
    assert (end["outcome"], end["message"], end["iterations"], end["confinement"]) == ("succeeded", "It is in line 2.", 3, "namespaces")
    assert told(server, 1) == ["ROUTINE.yaml\nmemory/\nnotes.md", "./notes.md:2: needle here"]
    assert told(server, 2)[2] == "one\nneedle here\n"
    assert sorted(tool["function"]["name"] for tool in server.requests[0]["tools"]) == ["files_list", "files_read", "files_search"]
    assert [turn["kind"] for turn in turns(workspace)] == [
        "request",
        "reply",
        "tool",
        "tool",
        "request",
        "reply",
        "tool",
        "request",
        "reply",
    ]
    said = workspace.ok("logs", "g").out
    assert "[files.read" in said
    assert "let me see" in said
    assert KEY not in json.dumps(server.requests) + said + json.dumps(turns(workspace))


def test_a_read_only_agent_that_tries_to_write_cannot(workspace, model):
    """What it was not given is denied before it is tried; what it was given, the confinement keeps."""
    agent(workspace, "tools: [files.read, files.write, shell.run]\n")
    server = model(
        {"tools": [("files_write", {"path": "x.md", "text": "x"}), ("shell_run", {"command": "echo x > y.md; cat ../../secrets/key; cat /proc/*/environ"}),
                   ("web_fetch", {"url": "http://127.0.0.1:1/"}), ("mail_send", {"to": "me"})]},
        {"text": "I could not."},
    )  # fmt: skip
    done, _ = job(workspace, keys=", use: gardener")
    assert done.code == 0
    answers = told(server, 1)
    assert "Read-only file system" in answers[0]
    assert "cannot create y.md" in answers[1]
    assert "exit code" in answers[1]
    assert KEY not in json.dumps(server.requests)
    assert answers[2] == "denied: the tool web.fetch is not among those this run may use"
    assert answers[3] == "denied: there is no tool 'mail.send'"
    assert [turn["outcome"] for turn in turns(workspace) if turn["kind"] == "tool"] == ["failed", "done", "denied", "denied"]
    assert sorted(path.name for path in (workspace.root / "routines/g").iterdir() if path.suffix == ".md") == []


def test_a_gardener_proposes_and_a_person_applies(workspace, model):
    (workspace.root / "docs").mkdir()
    (workspace.root / "docs/a.md").write_text("teh\n")
    agent(workspace, "tools: [files.read, files.write]\npermissions: {level: propose_edits}\n")
    model({"tools": [("files_write", {"path": str(workspace.root / "docs/a.md"), "text": "the\n"})]}, {"text": "Mended a word."})
    done, _ = job(workspace, keys=", use: gardener")
    assert done.code == 0, done.err
    assert (workspace.root / "docs/a.md").read_text() == "teh\n"
    (item,) = workspace.ok("proposals", "list", "--json").data
    assert (item["what"], item["files"], item["reason"]) == ("edits", [{"path": "docs/a.md", "added": 1, "removed": 1}], "Mended a word.")
    workspace.ok("proposals", "apply", item["proposal"])
    assert (workspace.root / "docs/a.md").read_text() == "the\n"


@pytest.fixture
def outside():
    """Start something outside that remembers what it was sent."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"])).decode()))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


def test_an_outbound_call_is_suggested_approved_and_done_once(workspace, model, outside):
    url, got = outside
    agent(workspace, "tools: [web.send]\n")
    server = model(
        {"tools": [("web_send", {"method": "POST", "url": f"{url}/mail", "body": "hello"})]}, {"text": "It is on its way to you."}
    )
    job(workspace, keys=", use: gardener")
    assert got == []
    assert "kept as a proposal" in told(server, 1)[0]
    (item,) = workspace.ok("proposals", "list", "--json").data
    assert (item["what"], item["tool"], item["arguments"]["body"]) == ("call", "web.send", "hello")
    assert "hello" in workspace.ok("proposals", "show", item["proposal"]).out
    assert "external" in workspace.ok("show", "g").out
    done = workspace.ok("proposals", "apply", item["proposal"])
    assert "200 OK" in done.err
    assert got == [("/mail", "hello")]
    assert workspace.run("proposals", "apply", item["proposal"]).code == 3
    assert got == [("/mail", "hello")]


def test_an_outbound_call_is_done_where_a_person_allows_it_and_denied_where_none_may_be(workspace, model, outside):
    url, got = outside
    agent(workspace, "tools: [web.send]\npermissions: {external: allow, network: true}\n")
    call = {"tools": [("web_send", {"method": "POST", "url": f"{url}/mail", "body": "hello"})]}
    server = model(call, {"text": "sent"})
    job(workspace, keys=", use: gardener")
    assert got == [("/mail", "hello")]
    server = model(call, {"text": "not sent"})
    job(workspace, keys=", use: gardener", more="permissions: {external: none}\n")
    assert len(got) == 1
    assert "external: none" in told(server, 1)[0]


def test_a_job_ends_at_its_turns_and_at_its_budget(workspace, model):
    endless = {"tools": [("files_list", {"path": "."})], "usage": (300, 50)}
    server = model(endless)
    done, end = job(workspace, keys=", max_iterations: 3")
    assert (done.code, end["outcome"], end["detail"], len(server.requests)) == (1, "over_budget", "max_iterations", 3)
    server = model(endless)
    _, end = job(workspace, keys=", max_iterations: 50, max_tokens: 100", more="budget: {tokens: 2500}\n")
    assert (end["outcome"], end["detail"]) == ("over_budget", "budget.tokens")
    assert end["tokens"] <= 2500 + 100
    assert 1 < len(server.requests) < 10


def test_a_job_out_of_time_is_stopped_with_its_tools(workspace, model):
    agent(workspace, "tools: [shell.run]\n")
    model({"tools": [("shell_run", {"command": "sleep 300"})]}, {"text": "slept"})
    workspace.define("g", "timeout: 4s\nkill_grace: 1s\naction: {agent: {use: gardener, task: Sleep.}}\n")
    workspace.run("run-now", "g", "--wait")
    (end,) = workspace.events("run.ended", "g")
    assert end["data"]["outcome"] == "timed_out"


@pytest.mark.parametrize(
    ("answer", "expect", "outcome", "detail"),
    [
        ("All is well.", "output: /well/", "succeeded", None), ("All is well.", "output: /never there/", "failed", "expectation"),
        ("pipeline error", "output_not: /error/", "failed", "expectation"), ("Which one?", "output: /one/", "failed", "asks_back"),
    ],
)  # fmt: skip
def test_what_an_agent_says_is_judged(workspace, model, answer, expect, outcome, detail):
    model({"tools": [("files_list", {"path": "."})]}, {"text": answer})
    _, end = job(workspace, more=f"expect: {{{expect}}}\n")

    assert (end["outcome"], end.get("detail"), end["iterations"]) == (outcome, detail, 2)


def test_a_question_at_the_end_is_a_failure(workspace, model):
    model({"text": "Which document do you mean?"})
    done, end = job(workspace)
    assert (done.code, end["outcome"], end["detail"]) == (1, "failed", "asks_back")


NARROWED = {
    # what the agent is granted, what the routine asks for: in force
    "nothing said": ({}, {}, {"level": "read_only", "external": "suggest", "network": False}),
    "the schedule asks for more": ({}, {"level": "full", "network": True, "external": "allow", "write": ["out/"]},
                                   {"level": "read_only", "external": "suggest", "network": False}),
    "the schedule asks for less": ({"level": "propose_edits", "network": True, "external": "allow", "write": ["out/"]},
                                   {"level": "read_only", "network": False, "external": "none", "write": []},
                                   {"level": "read_only", "external": "none", "network": False}),
    "paths within": ({"write": ["out/"], "read": ["workspace:docs/"]}, {"write": ["out/a", "other/"], "read": ["workspace:docs/x", "workspace:."]},
                     {"level": "read_only", "external": "suggest", "network": False, "write": ["out/a"], "read": ["workspace:docs/x"]}),
    "paths that only look within": ({"read": ["workspace:docs"]}, {"read": ["workspace:docs-secret", "workspace:docs/../secret"]},
                                    {"level": "read_only", "external": "suggest", "network": False}),
}  # fmt: skip


@pytest.mark.parametrize("case", NARROWED)
def test_the_narrower_word_is_in_force(case):
    granted, asked, wanted = NARROWED[case]
    assert narrow(granted, asked) == wanted


FAULTS = {
    "no agent": (None, "there is no agent 'gardener'"),
    "no head": ("You are.\n", "it has no head"),
    "no instructions": ("---\nmodel: default\n---\n", "it has no instructions"),
    "an unknown key": ("---\nmodle: default\n---\nYou are.\n", "agents/gardener/AGENT.md:2:1"),
    "an unknown tool": ("---\ntools: [files.raed]\n---\nYou are.\n", "there is no tool 'files.raed'"),
    "an unknown model": ("---\nmodel: huge\n---\nYou are.\n", "no model 'huge'"),
    "a path nobody may be granted": ("---\npermissions: {read: ['workspace:secrets']}\n---\nYou are.\n", "is inside secrets/"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_broken_agent_breaks_only_the_routines_that_use_it(workspace, model, case):
    text, message = FAULTS[case]
    model()
    if text is not None:
        agent(workspace, "")
        (workspace.root / "agents/gardener/AGENT.md").write_text(text)
    workspace.define("g", "timeout: 1m\naction: {agent: {use: gardener, task: Tidy.}}\n")
    workspace.define("other", "timeout: 1m\naction: {command: ['true']}\n")
    done = workspace.run("validate")
    assert done.code == 78
    assert message in done.err + done.out
    assert workspace.run("run-now", "other", "--wait").code == 0


@pytest.mark.parametrize("changed", ["AGENT.md", "skill.md"])
def test_an_approval_asks_again_when_the_agent_has_changed(workspace, model, changed):
    server = model({"text": "ok"})
    agent(workspace, "description: one\n")
    (workspace.root / "agents/gardener/skill.md").write_text("how to")
    workspace.define("g", "timeout: 1m\napproval: before_first_run\naction: {agent: {use: gardener, task: Tidy.}}\n")
    workspace.ok("list")
    workspace.ok("approve", "g")
    assert workspace.run("run-now", "g", "--wait").code == 0
    with open(workspace.root / "agents/gardener" / changed, "a") as file:
        file.write("And delete everything.\n")
    assert workspace.run("run-now", "g", "--wait", "--for", "2s").code != 0
    assert len(server.requests) == 1


def test_show_says_what_is_in_force_and_from_where(workspace, model):
    model()
    agent(workspace, "tools: [files.read]\npermissions: {level: propose_edits, network: true}\n")
    workspace.define("g", "timeout: 1m\npermissions: {network: false}\naction: {agent: {use: gardener, task: Tidy.}}\n")
    shown = workspace.ok("show", "g").out
    assert "propose_edits: reads its own folder" in shown
    assert "no network" in shown
    assert "agents/gardener/AGENT.md" in shown


def test_an_agent_is_tried_by_hand_before_it_goes_on_a_clock(workspace, model):
    (workspace.root / "docs").mkdir()
    (workspace.root / "docs/a.md").write_text("teh\n")
    agent(workspace, "description: Mends words.\ntools: [files.read, files.write, web.send]\npermissions: {level: propose_edits}\n")
    (workspace.root / "agents/gardener/style.md").write_text("Short words.")
    write = {"tools": [("files_write", {"path": str(workspace.root / "docs/a.md"), "text": "the\n"}), ("files_read", {"path": "style.md"}),
                       ("web_send", {"method": "POST", "url": "http://127.0.0.1:1/", "body": KEY})]}  # fmt: skip
    server = model(write, {"text": "Mended a word."})
    done = workspace.ok("agents", "run", "gardener", "--task", "Mend.")
    assert "Mended a word." in done.out
    assert told(server, 1)[1] == "Short words."
    assert "succeeded after 2 turns" in done.err
    assert "would propose web.send" in done.err
    assert KEY not in done.out + done.err
    assert (workspace.root / "docs/a.md").read_text() == "teh\n"
    patch = next(workspace.root.glob(".routinectl/runs/@gardener/*/proposal.patch")).read_text()
    assert "+the" in patch
    assert workspace.events("run.claimed") == []
    server = model(write, {"text": "I could not."})
    assert workspace.ok("agents", "run", "gardener", "--task", "Mend.", "--read-only", "--json").data["outcome"] == "succeeded"
    assert "Read-only" in told(server, 1)[0]
    assert "external: none" in told(server, 1)[2]


def test_agents_are_listed_shown_and_checked(workspace, model):
    model()
    agent(workspace, "description: Mends words.\n")
    (workspace.root / "agents/broken").mkdir()
    (workspace.root / "agents/broken/AGENT.md").write_text("---\nmodle: x\n---\nYou are.\n")
    workspace.define("g", "timeout: 1m\naction: {agent: {use: gardener, task: Tidy.}}\n")
    listed = workspace.ok("agents").out
    assert "gardener" in listed
    assert "Mends words." in listed
    assert "You tidy documents." in workspace.ok("agents", "show", "gardener").out
    checked = workspace.run("agents", "validate")
    assert checked.code == 78
    assert "agents/broken/AGENT.md:2:1" in checked.err
    for words, code in (
        (("agents", "show", "nobody"), 3),
        (("agents", "run", "gardener"), 2),
        (("agents", "dance"), 2),
        (("agents", "show"), 2),
    ):
        assert workspace.run(*words).code == code


def test_the_secrets_of_a_run_reach_its_tools_and_nobody_else(workspace, model):
    """P16: not the model, not the record, not the log."""
    agent(workspace, "tools: [shell.run]\n")
    server = model(
        {"tools": [("shell_run", {"command": "echo plain $T; echo $T | base64; test ${#T} = 14 && echo it is there"})]},
        {"text": "done"},
    )
    (workspace.root / "secrets/t").write_text("hunter2-canary")
    workspace.define("g", "timeout: 1m\naction: {agent: {use: gardener, task: Look.}, secrets: {T: {file: 'workspace:secrets/t'}}}\n")
    assert workspace.run("run-now", "g", "--wait").code == 0
    assert "it is there" in told(server, 1)[0]
    seen = json.dumps(server.requests) + workspace.ok("logs", "g").out + json.dumps(turns(workspace)) + json.dumps(workspace.events())
    for path in workspace.root.glob(".routinectl/runs/g/*/*"):
        seen += path.read_text(errors="replace") if path.is_file() else ""
    for spelling in ("hunter2-canary", "aHVudGVyMi1jYW5hcnk"):
        assert spelling not in seen


def drafting(number, **definition):
    return (
        "routines_draft",
        {"id": f"made-{number}", "definition": {"name": f"Made {number}", "action": {"command": ["true"]}, **definition}},
    )


def test_a_run_makes_routines_only_as_drafts_no_wider_than_itself(workspace, model):
    agent(workspace, "tools: [routines.draft]\npermissions: {level: read_only, external: none}\n")
    server = model(
        {"tools": [drafting(1, triggers=[{"schedule": "every monday at 9am"}], permissions={"level": "full", "network": True}), drafting(2)]},
        {"tools": [drafting(3, triggers=[{"schedule": "every 1 second"}]), ("routines_draft", {"id": 3})]},
        {"tools": [drafting(4), drafting(5)]}, {"text": "made some"})  # fmt: skip
    done, end = job(workspace, keys=", use: gardener")
    assert done.code == 0, workspace.run("logs", "g").out
    assert "is a draft now" in told(server, 1)[0]
    assert "30 seconds" in told(server, 2)[2]
    assert "id is text" in told(server, 2)[3]
    assert "is a draft now" in told(server, 3)[4]
    assert "has made 3 routines already" in told(server, 3)[5]
    rows = {row["id"]: row for row in workspace.ok("list", "--json").data}
    assert {name: row["status"] for name, row in rows.items() if name != "g"} == {"made-1": "draft", "made-2": "draft", "made-4": "draft"}
    shown = workspace.ok("show", "made-1", "--json").data["definition"]
    assert (shown["permissions"]["level"], shown["permissions"]["network"], shown["permissions"]["external"]) == (
        "read_only",
        False,
        "none",
    )
    assert shown["end"] > "2026"
    assert workspace.run("run-now", "made-1", "--wait", "--for", "2s").code == 77
    tree = workspace.ok("lineage", "--json").data
    assert [(row["id"], row["depth"], row["run"]) for row in tree] == [
        ("g", 0, ""),
        *((f"made-{number}", 1, end["run"]) for number in (1, 2, 4)),
    ]
    workspace.ok("approve", "made-1")
    workspace.ok("pause", "--descendants-of", end["run"])
    assert {row["id"] for row in workspace.ok("list", "--json").data if row["status"] == "paused"} >= {"made-1"}
    assert workspace.run("pause", "--descendants-of", "nobody").code == 3
    assert workspace.run("pause").code == 2


def test_generations_end(workspace, model):
    """A routine that a run made may make one, and that one none."""
    model()
    make = f"PYTHONPATH={ROOT} {sys.executable} -m routinectl -w {workspace.root} add ID --id ID --manual --shell 'echo made'"
    workspace.define("first", f"timeout: 1m\naction: {{command: {json.dumps(make.replace('ID', 'second'))}}}\n")
    workspace.run("run-now", "first", "--wait")
    for name, makes in (("second", "third"), ("third", "fourth")):
        workspace.ok("edit", name, "--set", f"action.command={json.dumps(make.replace('ID', makes))}")
        workspace.ok("approve", name)
        workspace.run("run-now", name, "--wait")
    assert {row["id"]: row["depth"] for row in workspace.ok("lineage", "--json").data} == {"first": 0, "second": 1, "third": 2}
    assert "its runs make no routines" in workspace.run("logs", "third").out


def test_a_trial_makes_no_routines(workspace, model):
    agent(workspace, "tools: [routines.draft]\n")
    server = model({"tools": [drafting(1)]}, {"text": "no"})
    workspace.ok("agents", "run", "gardener", "--task", "Make one.")
    assert "a trial makes no routines" in told(server, 1)[0]
    assert workspace.ok("list", "--json").data == []


def test_an_installed_agent_runs_under_the_same_confinement(workspace):
    workspace.define(
        "helper", "timeout: 1m\npermissions: {network: false}\naction: {agent: {cli: [./agent.sh, -p], task: 'Read notes/a, then stop.'}}\n"
    )
    script = workspace.root / "routines/helper/agent.sh"
    script.write_text('#!/bin/sh\necho "$1: $2"; echo x > ROUTINE.yaml || echo kept; ls /root 2>&1 | head -1\n')
    script.chmod(0o755)
    assert workspace.run("run-now", "helper", "--wait").code == 0
    said = workspace.ok("logs", "helper").out
    assert "-p: Read notes/a, then stop." in said
    assert "kept" in said
    (end,) = workspace.events("run.ended", "helper")
    assert end["data"]["confinement"] == "namespaces"


CLI_FAULTS = {
    "a model": ("permissions: {network: false}\naction: {agent: {cli: [x], task: T, model: default}}\n", "cli is a program of its own"),
    "tokens": ("permissions: {network: false}\nbudget: {tokens: 5}\naction: {agent: {cli: [x], task: T}}\n", "cannot be counted"),
    "the network without a word": ("permissions: {network: true}\naction: {agent: {cli: [x], task: T}}\n", "external: allow, if that is meant"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLI_FAULTS)
def test_what_cannot_be_kept_for_an_installed_agent_is_refused(workspace, case):
    text, message = CLI_FAULTS[case]
    workspace.define("helper", f"timeout: 1m\n{text}")
    done = workspace.run("validate")
    assert done.code == 78
    assert message in done.err


SERVER = """
import socket, sys
from pathlib import Path
from mcp.server import MCPServer
server = MCPServer("mail")

@server.tool()
def search(text: str) -> str:
    "Find mail."
    return f"one mail about {text}; secret readable: {Path(ROOT, 'secrets/key').exists()}"

@server.tool()
def send(to: str) -> str:
    "Send mail."
    Path(MEMORY, "sent").open("a").write(to + "\\n")
    return f"sent to {to}"

@server.tool()
def hidden() -> str:
    return "hidden"

server.run()
"""


def mail(workspace, more=""):
    pytest.importorskip("mcp")
    agent(
        workspace,
        f"tools: [mail.search, mail.send]\nmcp: {{mail: {{command: [{sys.executable}, ./server.py], read: [search], effect: [send]}}}}\n{more}",
    )
    memory = workspace.root / "routines/g/memory"
    text = f"ROOT = {str(workspace.root)!r}\nMEMORY = {str(memory)!r}\n" + SERVER
    (workspace.root / "agents/gardener/server.py").write_text(text)
    return memory / "sent"


def test_tools_of_an_mcp_server_run_confined_and_their_effects_are_suggested(workspace, model):
    server = model({"tools": [("mail_search", {"text": "help"}), ("mail_send", {"to": "a@b.c"}), ("mail_hidden", {})]}, {"text": "drafted"})
    sent = mail(workspace)
    done, _ = job(workspace, keys=", use: gardener")
    assert done.code == 0, workspace.run("logs", "g").out
    assert sorted(tool["function"]["name"] for tool in server.requests[0]["tools"]) == ["mail_search", "mail_send"]
    assert "Find mail." in json.dumps(server.requests[0]["tools"])
    answers = told(server, 1)
    assert answers[0] == "one mail about help; secret readable: False"
    assert "kept as a proposal" in answers[1]
    assert "there is no tool 'mail.hidden'" in answers[2]
    assert not sent.exists()
    (item,) = workspace.ok("proposals", "list", "--json").data
    assert "sent to a@b.c" in workspace.ok("proposals", "apply", item["proposal"]).err
    assert sent.read_text() == "a@b.c\n"


def test_effects_of_an_mcp_server_are_done_where_they_may_be(workspace, model):
    model({"tools": [("mail_send", {"to": "a@b.c"})]}, {"text": "sent"})
    sent = mail(workspace, "permissions: {external: allow}\n")
    job(workspace, keys=", use: gardener")
    assert sent.read_text() == "a@b.c\n"
    job(workspace, keys=", use: gardener", more="permissions: {tools: [mail.search]}\n")
    assert sent.read_text() == "a@b.c\n"


MCP_FAULTS = {
    "a tool that it has not": ("read: [serch]", "has no tool serch"),
    "a server that is not there": ("command: [./gone]", "no such program"),
    "a server that dies": ("command: [/bin/false]", "does not answer"),
}  # fmt: skip


@pytest.mark.parametrize("case", MCP_FAULTS)
def test_an_mcp_server_that_cannot_be_used_is_named(workspace, model, case):
    change, message = MCP_FAULTS[case]
    server = model({"text": "x"})
    mail(workspace)
    path = workspace.root / "agents/gardener/AGENT.md"
    key, _, value = change.partition(": ")
    old = f"command: [{sys.executable}, ./server.py]" if key == "command" else "read: [search]"
    path.write_text(path.read_text().replace(old, f"{key}: {value}").replace("tools: [mail.search, mail.send]\n", ""))
    _, end = job(workspace, keys=", use: gardener")
    assert end["outcome"] in ("failed", "not_started")
    assert message in end["message"]
    assert server.requests == []


def test_an_mcp_server_is_reached_over_http_too(workspace, model):
    pytest.importorskip("mcp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = SERVER.replace("server.run()", f"server.run('streamable-http', port={port})")
    process = subprocess.Popen([sys.executable, "-c", f"ROOT = MEMORY = {str(workspace.root)!r}\n{code}"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        model({"tools": [("mail_search", {"text": "help"})]}, {"text": "found"})
        agent(
            workspace,
            f"mcp: {{mail: {{url: 'http://127.0.0.1:{port}/mcp', read: [search]}}}}\npermissions: {{network: true, external: none}}\n",
        )
        done, end = job(workspace, keys=", use: gardener")
        assert (done.code, end["message"]) == (0, "found"), workspace.run("logs", "g").out
        assert [turn["outcome"] for turn in turns(workspace) if turn["kind"] == "tool"] == ["done"]
    finally:
        process.kill()
        process.wait()
