"""The help of every command, as one snapshot: no option changes unseen. `ROUTINECTL_SNAPSHOT=write` writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

from conftest import Workspace, clean_environment

from routinectl.cli.registry import COMMANDS

SNAPSHOT = Path(__file__).parent / "help.txt"


def test_the_help_of_every_command_is_as_it_was(tmp_path):
    command = Workspace(tmp_path, clean_environment(tmp_path))
    pages = [command.ok("--help").out]
    for name in [item.name for item in COMMANDS]:
        pages.append(f"$ routinectl {name} --help\n{command.ok(name, '--help').out}")
    for name in (
        "import crontab",
        "import bundle",
        "import ironclaw",
        "service install",
        "service print",
        "service status",
        "service uninstall",
    ):
        pages.append(f"$ routinectl {name} --help\n{command.ok(*name.split(), '--help').out}")
    text = "\n".join(pages)
    if os.environ.get("ROUTINECTL_SNAPSHOT") == "write":
        SNAPSHOT.write_text(text)

    assert text == SNAPSHOT.read_text()


def test_help_is_found_in_every_way_people_ask_for_it(tmp_path):
    command = Workspace(tmp_path, clean_environment(tmp_path))
    overview = command.ok("--help").out

    assert overview == command.ok("-h").out == command.ok().out == command.ok("help").out
    assert command.ok("add", "-h").out == command.ok("help", "add").out == command.ok("add", "--help").out
    assert command.ok("--version").out == command.ok("version").out
