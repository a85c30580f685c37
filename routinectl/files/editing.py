"""Changing a definition without losing what a person wrote: comments, quotes, order and indentation stay.

A scalar that is there is replaced in place, character for character, and a new one is appended; for anything larger
ruamel.yaml writes what is changed, and every other line stays as it was. That only the asked key changed is verified after the change, on the plain data of
both texts, and a change that cannot be proven is refused. filelock keeps two editing commands apart (it costs too much to be used
on the fire path, and no more than that).
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from routinectl.core import document
from routinectl.core.problem import path_text
from routinectl.errors import BusyError, DefinitionError, RoutinectlError, UsageError
from routinectl.files import atomic, lines
from routinectl.files.layout import Layout

REMOVE: Any = object()
Path_ = tuple[str | int, ...]
_PATIENCE = 10


@contextlib.contextmanager
def lock(layout: Layout) -> Iterator[None]:
    """Keep other editing commands out while a definition is read, changed and written. Raises BusyError."""
    from filelock import FileLock, Timeout

    held = FileLock(layout.lock("definitions"), timeout=_PATIENCE, mode=0o600)
    try:
        held.acquire()
    except Timeout:
        raise BusyError("another command is editing definitions", "try again") from None
    try:
        yield
    finally:
        held.release()


def change(raw: bytes, changes: Mapping[Path_, Any]) -> bytes:
    """Return a text in which exactly these paths have these values (REMOVE takes a key out).

    Raises UsageError when a path leads through something that is no mapping or list, RoutinectlError when nothing but
    a rewrite of the file could do it.
    """
    wanted = changed(document.read(raw), changes)
    for made in _ways(raw, changes):
        if made is not None and _says(made, wanted):
            return made
    names = ", ".join(path_text(path) for path in changes)
    raise RoutinectlError(f"{names} cannot be changed here without touching something else", "change it in the file, with an editor")


def changed(doc: Any, changes: Mapping[Path_, Any]) -> Any:
    """Return plain data in which exactly these paths have these values. Raises UsageError."""
    wanted = copy.deepcopy(doc)
    for path, value in changes.items():
        _put(wanted, path, value)
    return wanted


def _ways(raw: bytes, changes: Mapping[Path_, Any]) -> Iterator[bytes | None]:
    """Yield the ways to write a change, the one that touches least first."""
    from ruamel.yaml.error import YAMLError

    for way in (_spliced, _in_place, _rewritten):
        with contextlib.suppress(YAMLError, UsageError):
            yield way(raw, changes)


def _says(raw: bytes, wanted: Any) -> bool:
    try:
        return bool(document.read(raw) == wanted)
    except DefinitionError:
        return False


def _spliced(raw: bytes, changes: Mapping[Path_, Any]) -> bytes | None:
    """Return the text with scalars replaced in place, or appended at the top level; None where that cannot say it."""
    text = raw.decode()
    for path, value in changes.items():
        spans = document.spans(text.encode())
        span = spans.get(path)
        if value is REMOVE or isinstance(value, (dict, list)) or (isinstance(value, str) and "\n" in value):
            return None
        if span is not None:
            text = text[: span[0]] + _scalar_text(value) + text[span[1] :]
        elif len(path) == 1 and not text.lstrip().startswith("{"):
            joint = "" if not text or text.endswith("\n") else "\n"
            text += f"{joint}{path[0]}: {_scalar_text(value)}\n"
        else:
            return None
    return text.encode()


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _needs_quotes(value) else value
    return json.dumps(value)


def _in_place(raw: bytes, changes: Mapping[Path_, Any]) -> bytes | None:
    """Return the text in which only the lines of what is changed are written anew."""
    for path, value in changes.items():
        spliced = _spliced(raw, {path: value})
        if spliced is not None and _says(spliced, changed(document.read(raw), {path: value})):
            raw = spliced
            continue
        known = lines.spots(raw)
        rows = lines.split(raw)
        at = next((path[:size] for size in range(len(path), 0, -1) if path[:size] in known), ())
        beside = [spot for key, spot in known.items() if key[:-1] == path[:-1]]
        if path == at and value is REMOVE:
            del rows[known[at].above : known[at].end]
        elif path[:-1] == at and beside and value is not REMOVE:
            last = max(spot.end for spot in beside)
            rows[last:last] = _indented(_dumped({path[-1]: value}), beside[0].indent)
        elif at:
            spot = known[at]
            part = _rewritten("".join(rows[spot.key : spot.end]).encode(), {path[len(at) - 1 :]: value})
            rows[spot.key : spot.end] = _indented(part.decode(), spot.indent)
        else:
            return None
        raw = "".join(row if row.endswith(("\n", "\r")) else row + "\n" for row in rows).encode()
    return raw


def _indented(text: str, columns: int) -> list[str]:
    return [" " * columns + row if row.strip() else row for row in text.splitlines(keepends=True)]


def _rewritten(raw: bytes, changes: Mapping[Path_, Any]) -> bytes:
    """Return the text as ruamel.yaml writes it after the change: comments and quotes stay, spacing may not."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    text = raw.decode()
    _indentation(yaml, text)
    tree = yaml.load(text)
    for path, value in changes.items():
        _put(tree, path, _styled(value))
    buffer = io.StringIO()
    yaml.dump(tree, buffer)
    return buffer.getvalue().encode()


def dump(doc: Mapping[str, Any], *, head: str = "", notes: Mapping[str, str] | None = None) -> bytes:
    """Return a new definition as YAML; `notes` are comments put above keys, `head` the first line."""
    data = (head + _dumped(doc, notes or {})).encode()
    if document.read(data) != doc:
        raise RoutinectlError("a value cannot be written as YAML", "check the values for unusual characters")
    return data


def _dumped(doc: Mapping[Any, Any], notes: Mapping[str, str] | None = None) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = CommentedMap({key: _styled(value) for key, value in doc.items()})
    for key, note in (notes or {}).items():
        if key in tree:
            tree.yaml_set_comment_before_after_key(key, before=note)
    buffer = io.StringIO()
    yaml.dump(tree, buffer)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write a definition, durably; a new folder is made for it."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        atomic.sync_folder(path.parent.parent)
    atomic.write(path, data)


def _indentation(yaml: Any, text: str) -> None:
    """Make the writer indent as the text does: lists under their key, or two columns in; mappings as far as the first one."""
    mapping, offset = 0, -1
    for line, following in itertools.pairwise(text.splitlines()):
        further = len(following) - len(following.lstrip()) - (len(line) - len(line.lstrip()))
        if line.partition(" #")[0].rstrip().endswith(":"):
            if following.lstrip().startswith("- "):
                offset = further if offset < 0 and further in (0, 2, 4) else offset
            elif further > 0 and following.strip() and not following.lstrip().startswith("#"):
                mapping = mapping or further
    offset = 2 if offset < 0 else offset
    yaml.indent(mapping=mapping or 2, sequence=offset + 2, offset=offset)


def _put(root: Any, path: Path_, value: Any) -> None:
    tree: Any = root
    for index, part in enumerate(path[:-1]):
        if isinstance(tree, list):
            if not isinstance(part, int) or not 0 <= part < len(tree):
                raise UsageError(f"there is no {path_text(path[: index + 1])}", "routinectl show ID --json")
        elif not isinstance(tree, dict):
            raise UsageError(f"{path_text(path[:index])} is no mapping", "routinectl schema")
        elif part not in tree:
            if value is REMOVE:
                return
            tree[part] = {}
        tree = tree[part]
    last: Any = path[-1]
    if isinstance(tree, list) and isinstance(last, int) and last == len(tree) and value is not REMOVE:
        tree.append(value)
        return
    if not isinstance(tree, (dict, list)) or (isinstance(tree, list) and not (isinstance(last, int) and 0 <= last < len(tree))):
        raise UsageError(f"there is no place for {path_text(path)}", "routinectl schema")
    if value is REMOVE:
        if isinstance(tree, list) or last in tree:
            del tree[last]
    else:
        tree[last] = value


def _styled(value: Any) -> Any:
    """Return a value that ruamel writes so that YAML 1.1 and 1.2 readers agree: doubtful text is quoted."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, dict):
        return CommentedMap({key: _styled(item) for key, item in value.items()})
    if isinstance(value, list):
        items = CommentedSeq([_styled(item) for item in value])
        if all(not isinstance(item, (dict, list)) for item in value):
            items.fa.set_flow_style()
        return items
    if isinstance(value, str) and "\n" not in value and _needs_quotes(value):
        return DoubleQuotedScalarString(value)
    return value


_OLD_WORDS = frozenset({"on", "off", "yes", "no", "y", "n", "true", "false", "null", "~"})
_LIKE_A_NUMBER = re.compile(r"[-+.0-9][-+.:_0-9eTZ ]*")


def _needs_quotes(text: str) -> bool:
    """Say whether a YAML reader, of 1.1 or 1.2, could take a plain text for something else."""
    if not text or text != text.strip() or text[0] in "&*!@`%|>\"'{}[],#?:~" or text.lower() in _OLD_WORDS:
        return True
    return ": " in text or " #" in text or text.endswith(":") or text.startswith("- ") or any(letter in text for letter in ",[]{}*") or (
        _LIKE_A_NUMBER.fullmatch(text) is not None or not text.isprintable())  # fmt: skip
