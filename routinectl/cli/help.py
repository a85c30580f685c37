"""Help texts: the overview of all commands, and what a command says about itself."""

from __future__ import annotations

import inspect
import re
from typing import Any

from routinectl.cli.registry import COMMANDS, GLOBAL_OPTIONS

_WIDTH = max(len(command.name) for command in COMMANDS) + 2
EXAMPLES = """\
routinectl init
routinectl add Backup --daily 02:00 -- ./backup.sh
routinectl serve
routinectl status"""


def overview() -> str:
    """Return what `routinectl --help` prints."""
    lines = ["Usage: routinectl [-w DIR] COMMAND [ARGUMENTS]", "",
             "A scheduler of routines that answers for every slot why it ran or why it did not."]  # fmt: skip
    for section in dict.fromkeys(command.section for command in COMMANDS):
        lines += ["", f"{section}:"]
        lines += [f"  {command.name:<{_WIDTH}}{command.help}" for command in COMMANDS if command.section == section]
    lines += ["", "Options:"]
    lines += [f"  {names:<22}{text}" for names, text in GLOBAL_OPTIONS]
    lines += ["", "Examples:"] + [f"  {line}" for line in EXAMPLES.splitlines()]
    lines += ["", "Manual: man routinectl, man 5 routine.yaml, man 7 routinectl-time"]
    return "\n".join(lines)


def text_of(thing: Any, examples: str) -> str:
    """Return the help of a command: its docstring as flowing paragraphs, its examples as they are."""
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(thing) or "")
    if examples:
        text += "\n\n\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
    return text
