"""The list of all commands: what `routinectl --help`, completion, the man pages and the dispatch read."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command: its name, its line of help, its section, and whether its first word is a routine."""

    name: str
    help: str
    section: str
    takes_routine: bool = False

    @property
    def module(self) -> str:
        """The module under cli/commands."""
        return {"import": "import_", "list": "list_"}.get(self.name, self.name.replace("-", "_"))


DEFINE, RUN, LOOK, MORE = "Define", "Run", "Look", "More"
COMMANDS = (
    Command("init", "Make a workspace.", DEFINE),
    Command("add", "Add a routine.", DEFINE),
    Command("propose", "Have a model draft a routine for a sentence.", DEFINE),
    Command("edit", "Change a routine, in an editor or by options.", DEFINE, True),
    Command("rm", "Remove a routine.", DEFINE, True),
    Command("enable", "Let a routine fire (enabled: true).", DEFINE, True),
    Command("disable", "Keep a routine from firing (enabled: false).", DEFINE, True),
    Command("validate", "Check definitions; for pre-commit and CI.", DEFINE, True),
    Command("lint", "Name what is legal but suspicious.", DEFINE, True),
    Command("test", "Test definitions by their cases.", DEFINE, True),
    Command("templates", "List presets, or show one; add --template makes a routine.", DEFINE),
    Command("agents", "List saved agents; try one by hand.", DEFINE),
    Command("preview", "Say when a schedule fires.", DEFINE, True),
    Command("schema", "Print the schema of definitions, or of one key.", DEFINE),
    Command("import", "Take routines over from a crontab, a bundle or another system.", DEFINE),
    Command("export", "Write a routine for another system.", DEFINE, True),
    Command("serve", "Fire routines: the loop, in the foreground.", RUN),
    Command("run-now", "Run a routine now.", RUN, True),
    Command("test-run", "Try a routine: run it now, and count it for nothing.", RUN, True),
    Command("replay", "Run a past run again, with the input it had.", RUN),
    Command("backfill", "Make up for past slots that did not run.", RUN, True),
    Command("cancel", "Stop a run.", RUN, True),
    Command("emit", "Give a message to the routines that listen on its channel.", RUN),
    Command("pause", "Stop firing a routine, for a while.", RUN, True),
    Command("resume", "Let a paused routine fire again.", RUN, True),
    Command("review", "Show and answer slots that wait for a person.", RUN, True),
    Command("approvals", "List what waits for an approval.", RUN),
    Command("approve", "Approve what a routine would run, as it is now.", RUN, True),
    Command("deny", "Deny what a routine asks for.", RUN, True),
    Command("proposals", "List what agents propose; apply or reject it.", RUN),
    Command("webhook", "Show where a routine's webhook is; rotate its secret.", RUN, True),
    Command("notify", "Show who is told of what; try a target.", RUN),
    Command("heartbeat", "Ping a service that misses us when we are gone.", RUN),
    Command("service", "Install serve as a systemd service.", RUN),
    Command("list", "List the routines.", LOOK),
    Command("show", "Show everything about a routine.", LOOK, True),
    Command("status", "Show what runs, what is next, and what is broken.", LOOK),
    Command("history", "Show the ledger: why each slot ran or did not.", LOOK, True),
    Command("logs", "Show what a run printed.", LOOK, True),
    Command("why", "Say why a slot ran or did not.", LOOK, True),
    Command("plan", "Say what a change of the definitions means.", LOOK),
    Command("simulate", "Play definitions forward: what would run, and what would not.", LOOK, True),
    Command("budget", "Show what is used of the budgets of the day.", LOOK, True),
    Command("audit", "Check that every slot has one verdict and every claim an end.", LOOK, True),
    Command("events", "Show the journal.", LOOK),
    Command("lineage", "Show which routines were made by runs of which.", LOOK),
    Command("env", "Show the environment a routine runs in.", LOOK, True),
    Command("tui", "Look at the routines and act on them, in the terminal.", LOOK),
    Command("mcp", "Serve agents: the Model Context Protocol on stdin and stdout.", MORE),
    Command("token", "Make, list and revoke tokens of the HTTP face.", MORE),
    Command("doctor", "Check the machine and the workspace.", MORE),
    Command("completion", "Print the completion script of a shell.", MORE),
    Command("version", "Print the version.", MORE),
)
BY_NAME = {command.name: command for command in COMMANDS}
GLOBAL_OPTIONS = (
    ("-w, --workspace DIR", "The workspace; else ROUTINECTL_WORKSPACE, else the nearest folder with routinectl.yaml."),
    ("--version", "Print the version."),
    ("-h, --help", "Show this help, or that of a command."),
)
