"""routinectl mcp"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.errors import DefinitionError
from routinectl.files import config

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl mcp --check
routinectl -w ~/routines mcp
routinectl mcp --allow-control --owner alice
"""


def command(
    allow_control: Annotated[
        bool, typer.Option("--allow-control", help="Let the agent pause, draft and propose; else it only reads.")
    ] = False,
    owner: Annotated[str, typer.Option(help="Whose routines it sees; else the workspace's owner.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Say in one line whether a client gets through, and end.")] = False,
) -> None:
    """Serve an agent over standard input and output (extra `mcp`). Its client starts this; people use --check.

    The agent reads the routines of one owner. With --allow-control it may pause one at once; what it creates or changes is
    a draft (routinectl approve), and resuming, deleting and running are proposals (routinectl proposals).
    """
    if importlib.util.find_spec("mcp") is None:
        raise DefinitionError("this needs the package mcp, which is not installed", "pip install 'routinectl[mcp]'")
    layout = context.layout()
    config.load(layout)
    from routinectl.mcp import server
    from routinectl.mcp.desk import Desk

    if check:
        import anyio

        words = [*(["--allow-control"] if allow_control else []), *(["--owner", owner] if owner else [])]
        output.write(anyio.run(server.check, layout, words))
        return
    server.build(Desk(layout, owner, control=allow_control)).run("stdio")
