r"""A crontab as crontab(5) means it: entries with their environment, and what cannot be said as a routine.

Reading comes first; which ids and files come out of it is decided by the import. Rules: blank lines and lines
that begin with # are comments; NAME=VALUE lines set the environment of the entries below them; `%` in a command is a
newline, the first one begins standard input, and `\%` is a percent sign; system crontabs have a user after the fields.
Blanks and tabs separate, one or several, and nothing else does; a line ends at a newline alone.

Writing is at the end: every line of an exported crontab is made there, and only if each cron that we know reads it alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from routinectl.core import legible
from routinectl.core.schedule import cron
from routinectl.core.schedule.cron import Cron, bits
from routinectl.errors import CannotSayError, ScheduleError

BLANKS = " \t"
_LONGEST = 998  # bytes of a command that Debian's cron takes
_STEP = re.compile(r"\*(?:/[0-9]+)?|([0-9]+)(?:-([0-9]+)(?:/[0-9]+)?)?")  # what a field may be made of in every cron
_SETTING = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([A-Za-z_][A-Za-z0-9_]*))[ \t]*=[ \t]*(.*)""", re.DOTALL)
_ENTRY = re.compile(r"(@[^ \t]+|[^ \t@][^ \t]*(?:[ \t]+[^ \t]+){4})[ \t]+(.*)", re.DOTALL)
_WORD = re.compile(r"([^ \t]+)[ \t]*(.*)", re.DOTALL)
_COLUMNS = frozenset({"m", "h", "min", "minute", "minutes", "hour", "hours", "dom", "mday", "day", "month", "mon", "dow", "wday",
                      "weekday", "user", "who", "command"})  # fmt: skip
_NOT_ENVIRONMENT = frozenset({"SHELL", "MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE", "CONTENT_TYPE",
                              "CONTENT_TRANSFER_ENCODING", "LOGNAME", "USER"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that fires: its cron text, command, standard input, and the settings in force there."""

    line: int
    cron: str
    command: str
    stdin: str | None
    user: str | None
    comment: str
    settings: dict[str, str]


@dataclass(slots=True)
class Crontab:
    """What was read: the entries, and notes (line, text) about what could not be carried over."""

    entries: list[Entry] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)


def parse(text: str, *, system: bool) -> Crontab:
    """Return the entries of a crontab; `system` says that lines have a user column."""
    found = Crontab()
    settings: dict[str, str] = {}
    comment = ""
    for number, whole in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = whole.removesuffix("\r").strip(BLANKS)
        if not line:
            comment = ""
        elif line.startswith("#"):
            comment = _title(line.lstrip("#").strip())
        elif (setting := _setting(line)) is not None:
            settings = {**settings, setting[0]: setting[1]}
        else:
            _entry(found, number, line, comment, settings, system=system)
            comment = ""
    return found


def _title(comment: str) -> str:
    """Return a comment that can name the entry below it: not a drawing, the heads of columns, or a line that was switched off."""
    words = [word.lower() for word in comment.split()]
    switched_off = _ENTRY.fullmatch(comment) and (words[0].startswith("@") or words[0][0].isdigit())
    if not comment[:1].isalnum() or switched_off or _setting(comment) or (len(words) > 4 and _COLUMNS.issuperset(words[:5])):
        return ""
    return comment


def _setting(line: str) -> tuple[str, str] | None:
    match = _SETTING.fullmatch(line)
    if match is None:
        return None
    value = match[4]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return (match[1] or match[2] or match[3]), value


def _entry(found: Crontab, number: int, line: str, comment: str, settings: dict[str, str], *, system: bool) -> None:
    match = _ENTRY.fullmatch(line.removeprefix("-"))  # some crons take a leading - as `do not log`
    if match is None:
        found.notes.append((number, f"not a crontab line: {line}"))
        return
    when, rest, user = re.sub(r"[ \t]+", " ", match[1]), match[2], None
    if system and (named := _WORD.fullmatch(rest)) is not None:
        user, rest = named[1], named[2]
    if when.lower() == "@reboot":
        found.notes.append((number, f"@reboot has no instant; start it from the system: {rest}"))
        return
    try:
        cron.parse(when)
    except ScheduleError as error:
        found.notes.append((number, f"{error.message}: {rest}"))
        return
    command, stdin = _percent(rest)
    if not command:
        found.notes.append((number, "the line has no command"))
        return
    found.entries.append(Entry(number, when, command, stdin, user, comment, dict(settings)))


def _percent(text: str, *, pairs: bool = False) -> tuple[str, str | None]:
    """Return the command and its standard input: unescaped % are newlines, and the first one begins the input.

    With `pairs`, two backslashes are one, as Debian's cron and those of the BSDs have it; cronie keeps both.
    """
    parts = [""]
    for piece in re.findall(r"\\.|[^\\%]+|.", text, re.DOTALL):
        if piece == "%":
            parts.append("")
        else:
            parts[-1] += "%" if piece == "\\%" else "\\" if pairs and piece == "\\\\" else piece
    if len(parts) == 1:
        return parts[0].strip(BLANKS), None
    lines = "\n".join(parts[1:])
    return parts[0].strip(BLANKS), lines if lines.endswith("\n") or not lines else lines + "\n"


def environment(entry: Entry) -> dict[str, str]:
    """Return the variables that an entry's command is given."""
    return {key: value for key, value in entry.settings.items() if key not in _NOT_ENVIRONMENT}


def remarks(entry: Entry, me: str) -> Iterator[str]:
    """Yield what of an entry means something else, or nothing, in a routine."""
    settings = entry.settings
    if "\\\\" in entry.command:
        yield "two backslashes stay two, as cronie reads them; Debian's cron makes one of them"
    if settings.get("MAILTO"):
        yield f"MAILTO={settings['MAILTO']}: nothing is mailed; output is kept, see routinectl logs"
    if settings.get("START_HOURS_RANGE"):
        yield f"START_HOURS_RANGE={settings['START_HOURS_RANGE']}: write the hours into the schedule"
    if entry.user and entry.user != me:
        yield f"it ran as {entry.user}; it will run as {me}"
    if settings.get("RANDOM_DELAY"):
        yield f"RANDOM_DELAY={settings['RANDOM_DELAY']} becomes a jitter: a delay of its own, the same every time"


# -- writing


def comment(text: str) -> str:
    """Return a comment of one line, whatever the text holds."""
    return f"# {legible.line(text)}"


def setting(name: str, value: str) -> str:
    """Return the line of a variable. Raises CannotSayError for a value that would not be one line."""
    return f"{name}={one_line(value)}"


def entry(when: str, command: str) -> str:
    """Return the line that runs a command. Raises CannotSayError where a cron would run another one, or refuse it."""
    written = one_line(command).replace("%", "\\%")
    if any(_percent(written, pairs=pairs) != (command.strip(BLANKS), None) for pairs in (False, True)):
        raise CannotSayError(
            "the command has backslashes that one cron halves and another keeps", "put it into a script: command: [./run.sh]"
        )
    if len(written.encode()) > _LONGEST:
        raise CannotSayError(
            f"the command has {len(written.encode())} bytes, and Debian's cron takes {_LONGEST}",
            "put it into a script: command: [./run.sh]",
        )
    return f"{when} {written}"


def one_line(text: str) -> str:
    """Return a text that is one line for every reader. Raises CannotSayError for any other."""
    if "\n" in text:
        raise CannotSayError("a line of a crontab holds no newline", "put the lines into a script: command: [./run.sh]")
    odd = next((letter for letter in text if letter != "\t" and legible.is_control(letter)), "")
    if odd:
        raise CannotSayError(f"it holds the control character {odd!r}", "put it into a script: command: [./run.sh]")
    return text


def fields(rule: Cron) -> str:
    """Return the five fields of a rule as every cron reads them. Raises CannotSayError for days that none can name."""
    if rule.last_dom or rule.nths or rule.last_dows:
        raise CannotSayError(
            f"cron cannot say '{rule.text}': it knows no last day, and no weekday of a month", "--format systemd, which can"
        )
    masks = (rule.minutes, rule.hours, rule.doms, rule.months, rule.dows)
    return " ".join(_field(text, mask) for text, mask in zip(rule.text.split(), masks, strict=True))


def _field(text: str, mask: int) -> str:
    """Return a field without names, `?`, steps from one value and ranges over the end, which some crons refuse or read otherwise.

    What is plain stays as it is: whether a field begins with a star decides more than the values in it.
    """
    if text == "?":
        return "*"
    items = text.split(",")
    plain = [item for item in items if (match := _STEP.fullmatch(item)) and (match[2] is None or int(match[1]) <= int(match[2]))]
    return text if plain == items else ",".join([*plain, *map(str, bits(mask))])
