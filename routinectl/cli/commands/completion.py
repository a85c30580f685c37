"""routinectl completion"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import output
from routinectl.cli.complete import SCRIPTS
from routinectl.core.problem import did_you_mean
from routinectl.errors import UsageError

if TYPE_CHECKING:
    import typer

EXAMPLES = """
source <(routinectl completion bash)
routinectl completion fish > ~/.config/fish/completions/routinectl.fish
echo 'source <(routinectl completion zsh)' >> ~/.zshrc
"""


def command(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion script of a shell: commands, options, and live ids of routines and runs."""
    if shell not in SCRIPTS:
        raise UsageError(f"there is no completion for '{shell}'", did_you_mean(shell, SCRIPTS) or "routinectl completion bash")
    output.write(SCRIPTS[shell].rstrip("\n"))
