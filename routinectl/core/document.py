"""YAML as definitions use it: plain data and the place of every fault, by the YAML 1.2 core rules.

What differs from PyYAML's own loaders: `10:30`, `on` and `yes` stay text (YAML 1.1 makes 630 and True of them), a key
twice is a fault, and so are anchors, aliases, tags, a second document, more than 64 KiB and more than 50 levels. The
text is read from libyaml's events with a stack of our own, so depth costs no recursion. Places are collected only when
somebody asks for them: a good file never pays for its error messages.
"""

from __future__ import annotations

import math
import re
from typing import Any

from routinectl.core.problem import Path, Problem
from routinectl.errors import DefinitionError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 50

_NUMBER_START = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_OTHER_BASE = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
Marks = dict[Path, tuple[int, int]]
Spans = dict[Path, tuple[int, int, int]]


def read(raw: bytes, file: str = "") -> Any:
    """Return the plain data of one YAML (or JSON) document.

    Raises DefinitionError with the place of the first fault that makes the text unreadable; faults of what it says
    are found later, all together.
    """
    from routinectl.core.composer import compose

    return compose(_decode(raw, file), file)


def places(raw: bytes) -> Marks:
    """Return the (line, column), from 1, of every key and item; of a good document only (see `read`)."""
    marks: Marks = {}
    from routinectl.core.composer import compose

    compose(_decode(raw, ""), "", marks)
    return marks


def spans(raw: bytes) -> Spans:
    """Return where every plain or quoted scalar value stands: first and last character, and the line of its key, from 0."""
    from routinectl.core.composer import compose

    found: Spans = {}
    compose(_decode(raw, ""), "", {}, found)
    return found


def locate(problem: Problem, marks: Marks, file: str) -> Problem:
    """Return the problem with file, line and column: of its path, or of the nearest path above that has a place."""
    path = problem.path
    while path and path not in marks:
        path = path[:-1]
    line, column = marks.get(path, (1, 1))
    return Problem(problem.message, problem.path, problem.hint, file, line, column)


def scalar(text: str) -> Any:
    """Return what a plain (unquoted) scalar means: null, a boolean, a number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_START:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            found = float(text)
            return found if math.isfinite(found) else text
    return text


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise error(f"the file has {len(raw)} bytes; a definition has at most {MAX_BYTES // 1024} KiB", file, 1, 1,
                     "keep long texts in files of their own beside it")  # fmt: skip
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise error("the file is UTF-16; definitions are UTF-8", file, 1, 1, f"iconv -f UTF-16 -t UTF-8 {file}")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise error("the file begins with a byte order mark; definitions are plain UTF-8", file, 1, 1,
                     f"sed -i '1s/^\\xEF\\xBB\\xBF//' {file}")  # fmt: skip
    try:
        return raw.decode()
    except UnicodeDecodeError as fault:
        before = raw[: fault.start]
        column = fault.start - (before.rfind(b"\n") + 1) + 1
        raise error(f"byte 0x{raw[fault.start]:02x} is not UTF-8", file, before.count(b"\n") + 1, column,
                     "save the file as UTF-8") from None  # fmt: skip


def error(message: str, file: str, line: int, column: int, hint: str) -> DefinitionError:
    """Return the error of one fault at a place of a text."""
    problem = Problem(message, (), hint, file, line, column)
    return DefinitionError(str(problem) if not file else f"{message} ({problem.where})", hint, [problem])
