"""Writes the man pages from what the program knows of itself: commands and options, schemas, reasons, exit codes.

`make docs` writes them; `make check` and the tests run this with --check, which names every page that is stale.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from pathlib import Path

from routinectl import errors
from routinectl.cli.help import EXAMPLES
from routinectl.cli.main import command_of
from routinectl.cli.registry import COMMANDS, GLOBAL_OPTIONS
from routinectl.core import lint, verdict
from routinectl.files import schemas
from routinectl.version import RELEASED, VERSION

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = (
    ("ROUTINECTL_WORKSPACE", "The workspace, unless -w names one."),
    ("ROUTINECTL_ENABLED", "false: serve fires nothing on this machine; slots are recorded as skipped, commands work."),
    ("ROUTINECTL_MAX_CONCURRENT", "Overrides limits.max_concurrent_runs."),
    (
        "ROUTINECTL_CONFINEMENT",
        "`none`: refuse every run that is not at level full, as where the kernel does not allow to confine it.",
    ),
    ("ROUTINECTL_SCAN_INTERVAL", "How often serve looks at all definitions, 60s by default; changes are noticed at once anyway."),
    ("ROUTINECTL_LOG_LEVEL", "error, info or debug."),
    ("ROUTINECTL_DEBUG", "Set: a fault of routinectl itself shows where it is, as a traceback."),
    ("ROUTINECTL_LOG_FORMAT", "text or json."),
    ("EDITOR, VISUAL", "The editor of edit and add --edit."),
    ("NO_COLOR", "No colours."),
)
RUN_ENVIRONMENT = (
    ("ROUTINE_ID", "The routine."),
    ("ROUTINE_RUN_ID", "The run."),
    ("ROUTINE_SLOT", "The nominal instant, in UTC: the key under which an effect in the outside world is done once."),
    ("ROUTINE_ATTEMPT", "1; 2 and later for a retry."),
    (
        "ROUTINE_TRIGGER",
        "schedule, manual, or the kind of a trigger that is no time: after, message, file, webhook, or dispatch over HTTP.",
    ),
    ("ROUTINE_PAYLOAD", "A file with the input as JSON; /dev/null when there is none."),
    ("ROUTINE_WORKSPACE", "The workspace."),
    ("ROUTINE_MEMORY", "A folder that stays between runs."),
    ("ROUTINE_RESULT", "A file: its first line is the summary; empty, the run has nothing to report and is quiet."),
    ("ROUTINE_DEADLINE", "When the run is stopped at the latest."),
)
SEE_ALSO = ("routinectl", 1), ("routine.yaml", 5), ("routinectl-time", 7), ("routinectl-exit-codes", 7)


def escape(text: str) -> str:
    """Return text for troff: backslashes, dashes, and lines that would be taken for requests."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def head(name: str, section: int, line: str) -> list[str]:
    return [
        f'.TH {name.upper()} {section} "{RELEASED}" "routinectl {VERSION}" "routinectl manual"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(line)}",
    ]


def see_also(own: str) -> list[str]:
    others = [f".BR {escape(name)} ({section})" for name, section in SEE_ALSO if name != own]
    return [".SH SEE ALSO", *(line + " ," for line in others[:-1]), others[-1]]


def items(pairs: object) -> list[str]:
    lines: list[str] = []
    for name, text in pairs:  # type: ignore[attr-defined]  # pairs of texts
        lines += [".TP", f".B {escape(name)}", escape(text)]
    return lines


def block(text: str) -> list[str]:
    return [".PP", ".nf", ".RS 4", *(escape(line) for line in text.strip().splitlines()), ".RE", ".fi"]


def routinectl_1() -> list[str]:
    lines = head("routinectl", 1, "a scheduler of routines that answers for every slot")
    lines += [".SH SYNOPSIS", ".B routinectl", ".RI [ \\-w\\ DIR ]", ".I COMMAND", ".RI [ ARGUMENTS ]", ".SH DESCRIPTION"]
    lines += [
        escape("routinectl fires routines: recurring work, defined in ROUTINE.yaml files in a workspace that is kept in git."),
        escape("Every slot gets exactly one verdict on record (ran, skipped or missed) with its reason."),
        ".SH OPTIONS",
        *items(GLOBAL_OPTIONS),
        ".SH COMMANDS",
    ]
    for command in COMMANDS:
        lines += [f'.SS "{escape(command.name)}"', escape(command.help), *command_lines(command.name)]
    lines += [".SH ENVIRONMENT", *items(ENVIRONMENT), ".SH EXIT STATUS", "See", ".BR routinectl\\-exit\\-codes (7)."]
    lines += [".SH FILES", *items(FILES), ".SH EXAMPLES", *block(EXAMPLES), *see_also("routinectl")]
    return lines


FILES = (
    ("routinectl.yaml", "The settings of the workspace."),
    ("routines/ID/ROUTINE.yaml", "A definition."),
    ("routines/ID/history.jsonl", "The ledger: one line for each verdict."),
    ("routines/ID/state.json", "Where the routine stands, for tools; never read back."),
    (".routinectl/journal/", "The truth: every event, one JSON line each."),
    (".routinectl/runs/ID/RUN/out", "What a run printed."),
)


def command_lines(name: str) -> list[str]:
    command = command_of(name)
    lines: list[str] = []
    subcommands = getattr(command, "commands", None)
    if subcommands:
        for sub, inner in subcommands.items():
            lines += [".PP", f".B {escape(name)} {escape(sub)}", ".br", escape(flat(inner.help)), *option_lines(inner)]
    else:
        lines += [".PP", escape(flat(command.help)), *option_lines(command)]
    examples = (command.help or "").partition("Examples:\n")[2]
    if examples:
        lines += block(inspect.cleandoc(examples))
    return lines


def flat(text: str | None) -> str:
    return " ".join((text or "").partition("\b\nExamples:")[0].split())


def option_lines(command: object) -> list[str]:
    pairs = []
    for parameter in command.params:  # type: ignore[attr-defined]  # click's
        if parameter.name == "help":
            continue
        is_option = parameter.opts[0].startswith("-")
        names = ", ".join(parameter.opts + parameter.secondary_opts) if is_option else parameter.metavar or (parameter.name or "").upper()
        pairs.append((names, parameter.help or ""))
    return items(pairs)


def routine_yaml_5() -> list[str]:
    schema = schemas.load("routine")
    lines = head("routine.yaml", 5, "the definition of a routine")
    lines += [".SH DESCRIPTION", escape(schema["description"])]
    lines += [escape("YAML is read by the 1.2 core rules: 10:30, on and yes are text. Duplicate keys, aliases and files over 64 KiB are refused, and "
                     "so is every unknown key. Keys that this version does not keep yet are refused too, never ignored: see CHANGELOG."), ".SH KEYS"]  # fmt: skip
    lines += keys(schema, "")
    lines += [".SH ENVIRONMENT OF A RUN", escape("A run gets a small stated environment (PATH, HOME, USER, LOGNAME, SHELL, LANG), what env and "
                                                 "secrets say, and:"), *items(RUN_ENVIRONMENT)]  # fmt: skip
    lines += [".SH EXAMPLES", *block('triggers:\n  - cron: "0 9 * * MON-FRI"\ntimeout: 10m\naction:\n  command: [./review.sh, --brief]')]
    return lines + see_also("routine.yaml")


def keys(schema: dict, path: str) -> list[str]:
    lines: list[str] = []
    for name, value in schema.get("properties", {}).items():
        key = f"{path}.{name}" if path else name
        example = value.get("examples", [value.get("const")])[0]
        text = f"{value['description']} Example: {plain(example)}."
        if "default" in value:
            text += f" Default: {plain(value['default'])}."
        lines += [".TP", f".B {escape(key)}", escape(text)]
        below = value.get("items", {}) if value.get("items", {}).get("properties") else value
        lines += keys(below, key + ("[]" if below is not value else ""))
    return lines


def plain(value: object) -> str:
    from routinectl.core.schema import _flow

    return _flow(value)


def exit_codes_7() -> list[str]:
    lines = head("routinectl-exit-codes", 7, "exit codes of routinectl, and the reasons of verdicts")
    lines += [".SH EXIT CODES"]
    codes = {0: "It worked.", 130: "Interrupted (Ctrl-C)."}
    for kind in (errors.RoutinectlError, *subclasses(errors.RoutinectlError)):
        codes.setdefault(kind.exit_code, (inspect.getdoc(kind) or "").splitlines()[0])
    codes[1] += " Also: a check found something (lint, doctor, service status)."
    codes[75] += " A second serve, a routine that is running, a cooldown."
    lines += items((str(code), codes[code]) for code in sorted(codes))
    lines += [
        ".PP",
        escape(
            "run-now --wait passes the code of the job through, unless --exit-code own asks for 0 or 1; with --json the two are told apart."
        ),
    ]
    lines += [".SH VERDICTS", escape("Every slot gets exactly one final verdict: ran, skipped (a rule refused it in time) or missed (its time passed). "
                                     "Held is open: the slot waits.")]  # fmt: skip
    for name, reasons in (("ran", verdict.RAN), ("skipped", verdict.SKIPPED), ("missed", verdict.MISSED), ("held", verdict.HELD)):
        lines += [f'.SS "{name}"', *items((reason, sentence(text)) for reason, text in reasons.items())]
    lines += [".SH OUTCOMES", *items(OUTCOMES), ".SH LINT CODES", *items((code, sentence(text)) for code, text in lint.CODES.items())]
    return lines + see_also("routinectl-exit-codes")


OUTCOMES = (
    ("succeeded", "It ended with exit code 0."),
    ("quiet", "The same, and its result file is there and empty: nothing to report."),
    ("failed", "It ended with another exit code, or by a signal."),
    ("timed_out", "It took longer than timeout, and was stopped: TERM, then KILL after kill_grace."),
    ("cancelled", "Somebody stopped it."),
    ("interrupted", "It was started, and nobody saw its end: the machine went down, or its keeper was killed."),
    ("not_started", "It was claimed and could not be started; the message says why."),
)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def subclasses(kind: type) -> list:
    return [item for sub in kind.__subclasses__() for item in (sub, *subclasses(sub))]


def time_7() -> list[str]:
    lines = head("routinectl-time", 7, "when routines fire")
    for title, text in sections((ROOT / "docs/time.md").read_text()):
        lines += [f'.SH "{title.upper()}"']
        for paragraph in text.split("\n\n"):
            body = paragraph.strip()
            if body.startswith("    "):
                lines += block(inspect.cleandoc(body))
            elif body.startswith("* "):
                for item in re.split(r"\n?^\* ", body, flags=re.MULTILINE)[1:]:
                    lines += [".IP \\(bu 2", escape(markup(" ".join(item.split())))]
            elif body:
                lines += [".PP", escape(markup(" ".join(body.split())))]
    return lines + see_also("routinectl-time")


def sections(text: str) -> list[tuple[str, str]]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], (part.strip("\n") for part in parts[1::2]), strict=True))


def markup(text: str) -> str:
    return text.replace("`", "").replace("**", "")


def tidy(lines: list[str]) -> str:
    """Return a page with its text wrapped, and no paragraph mark right after a heading, as mandoc -Tlint likes it."""
    done: list[str] = []
    verbatim = False
    for line in lines:
        verbatim = line == ".nf" or (verbatim and line != ".fi")
        if line == ".PP" and done[-1].startswith((".SH", ".SS")):
            continue
        if verbatim or line.startswith(".") or len(line) < 80:
            done.append(line)
            continue
        wrapped = textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False)
        done += [re.sub(r"^([.'])", r"\\&\1", part) for part in wrapped]
    return "\n".join(done) + "\n"


PAGES = {
    "man/man1/routinectl.1": routinectl_1,
    "man/man5/routine.yaml.5": routine_yaml_5,
    "man/man7/routinectl-time.7": time_7,
    "man/man7/routinectl-exit-codes.7": exit_codes_7,
}


def main() -> int:
    stale = []
    for name, make in PAGES.items():
        text = tidy(make())
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {name}")
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
