"""What the Tab key offers: commands, options, and live ids of routines and runs."""

from __future__ import annotations

from routinectl.cli.registry import BY_NAME, COMMANDS
from routinectl.errors import RoutinectlError

_SHELLS = ("bash", "zsh", "fish")
_SUBCOMMANDS = {"import": ("crontab", "bundle", "ironclaw"), "service": ("install", "print", "status", "uninstall"), "completion": _SHELLS}


def candidates(words: list[str]) -> list[str]:
    """Return what may stand where the last word is; `words` are those after `routinectl`, the last one unfinished."""
    *before, last = words or [""]
    if before and before[-1] in ("-w", "--workspace"):
        return []
    command = _command(before)
    if command is None:
        return [item.name for item in COMMANDS if item.name.startswith(last)]
    if command not in BY_NAME:
        return []
    if last.startswith("-"):
        return [option for option in _options(command) if option.startswith(last)]
    if command in _SUBCOMMANDS and before[-1] == command:
        return [word for word in _SUBCOMMANDS[command] if word.startswith(last)]
    if BY_NAME[command].takes_routine or before[-1] == "--routine":
        position = len([word for word in before[before.index(command) + 1 :] if not word.startswith("-")])
        if position == 1 and command in ("logs", "cancel"):
            return [run for run in _runs(before[-1]) if run.startswith(last)]
        return [name for name in _ids() if name.startswith(last)]
    return []


def _command(words: list[str]) -> str | None:
    """Return the first word that is neither a global option nor its value."""
    rest = iter(words)
    for word in rest:
        if word in ("-w", "--workspace"):
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


def _options(command: str) -> list[str]:
    from routinectl.cli.main import command_of

    found = ["--help", "--workspace"]
    for parameter in command_of(command).params:
        found += [name for name in parameter.opts if name.startswith("--")]
    return sorted(set(found))


def _ids() -> list[str]:
    """Return the ids that have a folder: one listing, so that the Tab key answers at once."""
    from routinectl.cli import context
    from routinectl.files import definitions

    try:
        return sorted(definitions.scan(context.layout()))
    except (RoutinectlError, OSError):
        return []


def _runs(name: str) -> list[str]:
    from routinectl.cli import context
    from routinectl.files import run_logs

    try:
        return run_logs.kept(context.layout(), name)
    except (RoutinectlError, OSError):
        return []


SCRIPTS = {
    "bash": """\
_routinectl() {
    local IFS=$'\\n'
    COMPREPLY=($(routinectl __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [ ${#COMPREPLY[@]} -eq 0 ]; then compopt -o default; fi
}
complete -F _routinectl routinectl
""",
    "zsh": """\
#compdef routinectl
_routinectl() {
    local -a found
    found=("${(@f)$(routinectl __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
compdef _routinectl routinectl
""",
    "fish": """\
function __routinectl_complete
    set -l words (commandline -opc) (commandline -ct)
    routinectl __complete $words[2..-1] 2>/dev/null
end
complete -c routinectl -f -a '(__routinectl_complete)'
""",
}
