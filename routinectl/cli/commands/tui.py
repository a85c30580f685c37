"""routinectl tui"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context
from routinectl.errors import DefinitionError, UsageError
from routinectl.files import config

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl tui
routinectl -w ~/routines tui
ROUTINECTL_TOKEN=... routinectl tui --url http://127.0.0.1:8766
routinectl tui --url https://routines.example --token-file ~/.config/routinectl/token
"""


def command(
    url: Annotated[str, typer.Option(metavar="URL", help="A server (serve --http) instead of the workspace here.")] = "",
    token_file: Annotated[str, typer.Option(metavar="FILE", help="A file with the token for --url; else ROUTINECTL_TOKEN.")] = "",
    light: Annotated[bool, typer.Option("--light", help="Dark on light; else light on dark. Ctrl+P has more themes.")] = False,
) -> int:
    """Look at the routines and act on them, in the terminal (extra `tui`).

    One table of all, live: when each fires, how its last runs ended, what waits for a person. `?` shows the keys. It works
    without a serve too, and says so. Over --url what you may do is what the role of your token allows.
    """
    if importlib.util.find_spec("textual") is None:
        raise DefinitionError("this needs the package textual, which is not installed", "pip install 'routinectl[tui]'")
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError("this needs a terminal", "routinectl list --json")
    from routinectl.tui.app import THEMES, Tui
    from routinectl.tui.source import Local, Remote, Source

    source: Source
    if url:
        source = Remote(url, _token(token_file))
    else:
        layout = context.layout()
        config.load(layout)
        source = Local(layout, context.me())
    app = Tui(source)
    app.first_theme = THEMES[int(light)].name
    app.run()
    return app.return_code or 0


def _token(file: str) -> str:
    if file:
        try:
            with open(os.path.expanduser(file)) as found:
                return found.read().strip()
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}", "--token-file FILE") from None
    token = os.environ.get("ROUTINECTL_TOKEN", "").strip()
    if not token:
        raise UsageError("a server wants a token", "ROUTINECTL_TOKEN=$(routinectl token create --role user) routinectl tui --url ...")
    return token
