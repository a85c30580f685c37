"""The front door: find the command, import only what it needs, turn every error into a sentence and an exit code."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from routinectl.version import VERSION

_DEBUG = "ROUTINECTL_DEBUG"  # set: the traceback of a fault of ours is shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for something a user did."""
    _open_standard_descriptors()
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = _end_of(words)
    try:
        sys.stdout.flush()
    except OSError as error:
        _forget_output()
        return code if isinstance(error, BrokenPipeError) else code or _say(error)
    return code


def _end_of(words: list[str]) -> int:
    """Run one command and return how it ended: the outermost place, which nothing passes."""
    try:
        if words in (["--version"], ["version"]):
            print(f"routinectl {VERSION}")
            return 0
        return _run(list(words))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has had enough: no error
        _forget_output()
        return 0
    except Exception as error:  # noqa: BLE001 - what nobody foresaw is told as one, and never as a traceback
        return _say(error, words)


def _open_standard_descriptors() -> None:
    """Give whoever was started with a closed 0, 1 or 2 an empty one: else the next file opened would be written into.

    What a terminal or a locale cannot show is written as its number: names are data, and no answer ends at one letter.
    """
    streams = ("stdin", "r"), ("stdout", "w"), ("stderr", "w")
    for fd, (name, mode) in enumerate(streams):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - it lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    from routinectl.cli import output

    output.forget(sys.stdout)


def _run(words: list[str]) -> int:
    name, rest = _split(words)
    if name is None:
        from routinectl.cli.help import overview

        print(overview())
        return 0
    return _dispatch(name, rest)


def _say(error: Exception, words: Sequence[str] = ()) -> int:
    """Say what ended a command, and return its exit code."""
    import shlex
    import traceback

    from routinectl.cli import output
    from routinectl.errors import RoutinectlError, UsageError

    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        error = RoutinectlError(f"{where}{error.strerror or error}", "routinectl doctor")
    elif isinstance(error, UnicodeError):
        error = UsageError(f"text that is not UTF-8: {error}", "export LC_ALL=C.UTF-8")
    elif not isinstance(error, RoutinectlError):
        if os.environ.get(_DEBUG):
            traceback.print_exception(error)
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} (in {os.path.basename(place.filename)}:{place.lineno})"
        hint = f"{_DEBUG}=1 {shlex.join(['routinectl', *words])}    # shows where; please report it"
        error = RoutinectlError(f"this is a fault of routinectl: {what}", hint)
    output.error(error)
    return error.exit_code


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """Take the global options out, wherever they stand, and return the command and its words."""
    from routinectl.cli import context
    from routinectl.errors import UsageError

    rest: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            rest += [word, *words]
            break
        if word in ("-w", "--workspace"):
            if not words:
                raise UsageError(f"{word} wants a folder", f"routinectl {word} . list")
            context.current.workspace = words.pop(0)
        elif word.startswith("--workspace="):
            context.current.workspace = word.partition("=")[2]
        else:
            rest.append(word)
    if not rest or rest[0] in ("-h", "--help", "help"):
        return (rest[1], ["--help"]) if len(rest) > 1 and rest[0] == "help" else (None, [])
    return rest[0], rest[1:]


def _dispatch(name: str, rest: list[str]) -> int:
    from routinectl.cli.registry import BY_NAME
    from routinectl.core.problem import did_you_mean
    from routinectl.errors import UsageError

    if name == "__complete":
        from routinectl.cli.complete import candidates

        print("\n".join(candidates(rest)))
        return 0
    if name not in BY_NAME:
        what = "option" if name.startswith("-") else "command"
        raise UsageError(f"there is no {what} '{name}'", did_you_mean(name, BY_NAME) or "routinectl --help")
    return invoke(name, ["--help" if word == "-h" else word for word in rest])


def invoke(name: str, rest: list[str]) -> int:
    """Run a command's function with its words. Raises UsageError for words it does not take.

    Without words, or with --json alone, there is nothing to parse: the function's own defaults are the command's, and
    the parser (typer, with all that it imports) is not loaded.
    """
    function = getattr(module_of(name), "command", None)
    if function is not None and _needs_no_parser(function, rest):
        return int(function(**({"as_json": True} if rest else {})) or 0)
    import typer

    from routinectl.errors import UsageError

    rest = _with_values(rest, getattr(module_of(name), "OPTIONAL", {}))
    try:
        result = command_of(name).main(rest, prog_name=f"routinectl {name}", standalone_mode=False)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort:
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        message = str(error.format_message()).strip().rstrip(".")
        missing = hasattr(error, "param_type") or not rest  # a parameter, or a subcommand
        raise UsageError(message[:1].lower() + message[1:], first_example(name) if missing else f"routinectl {name} --help") from None
    return result if isinstance(result, int) else 0


def _with_values(words: list[str], optional: Mapping[str, str]) -> list[str]:
    """Give options that may stand without a value the one that they mean then."""
    found: list[str] = []
    for word, following in itertools.pairwise([*words, "-"]):
        found += [word, optional[word]] if word in optional and following.startswith("-") else [word]
    return found


def _needs_no_parser(function: Any, rest: list[str]) -> bool:
    code = function.__code__
    complete = len(function.__defaults__ or ()) == code.co_argcount
    return complete and (not rest or (rest == ["--json"] and "as_json" in code.co_varnames[: code.co_argcount]))


def module_of(name: str) -> Any:
    """Return the module of a command."""
    import importlib

    from routinectl.cli.registry import BY_NAME

    return importlib.import_module(f"routinectl.cli.commands.{BY_NAME[name].module}")


def first_example(name: str) -> str:
    """Return the first example of a command's help: what to paste where something is missing."""
    return str(module_of(name).EXAMPLES).strip().splitlines()[0]


def command_of(name: str) -> Any:
    """Return a command as click would run it; only its own module is imported."""
    import typer

    from routinectl.cli.help import text_of

    module = module_of(name)
    module.typer = typer  # their annotations name it; see `invoke` for why they do not import it themselves
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=False)
    subcommands = getattr(module, "SUBCOMMANDS", None)
    if subcommands is None:
        app.command(name, help=text_of(module.command, module.EXAMPLES))(module.command)
        return typer.main.get_command(app)
    app.callback(help=text_of(module, module.EXAMPLES))(lambda: None)
    for function in subcommands:
        app.command(function.__name__.rstrip("_"), help=text_of(function, ""))(function)
    return typer.main.get_command(app)
