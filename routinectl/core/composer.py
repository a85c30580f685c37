"""From libyaml's events to plain data: the half of `document` that costs an import, used only when there is YAML to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from routinectl.core.document import MAX_DEPTH, Marks, Spans, error, scalar
from routinectl.core.problem import Path, path_text
from routinectl.core.unreadable import NOT_PRINTABLE, Told, tell
from routinectl.errors import DefinitionError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ABSENT: Any = object()


class _Fault(Exception):
    def __init__(self, message: str, mark: Any, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.mark, self.hint = message, mark, hint


def compose(text: str, file: str, marks: Marks | None = None, spans: Spans | None = None) -> Any:
    """Return the plain data of a text; fill `marks` and `spans` where they are wanted. Raises DefinitionError."""
    control = NOT_PRINTABLE.search(text)
    if control:
        raise _unreadable(Told(f"not YAML: the control character U+{ord(control[0]):04X}", "remove it", control.start()), text, file)
    try:
        return _Builder(marks, spans).build(yaml.parse(text, Loader=_LOADER))
    except _Fault as fault:
        raise _placed(fault, file) from None
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None) or getattr(fault, "context_mark", None)
        index, began = (mark.index if mark else 0), getattr(fault, "context_mark", None)
        deep = _too_deep(text[:index])
        if deep:
            raise _placed(deep, file) from None
        words = getattr(fault, "problem", None) or "it cannot be read"
        raise _unreadable(tell(text, index, began and began.index, words), text, file) from None


def _placed(fault: _Fault, file: str) -> DefinitionError:
    return error(fault.message, file, fault.mark.line + 1, fault.mark.column + 1, fault.hint)


def _unreadable(told: Told, text: str, file: str) -> DefinitionError:
    before = re.split("\r\n|[\n\r\x85\u2028\u2029]", text[: told.at])
    return error(told.message, file, len(before), len(before[-1]) + 1, told.hint)


def _too_deep(text: str) -> _Fault | None:
    """Return our own fault, if the part of a text that its reader refused to go on from is nested too deep.

    The reader looks ahead, up to a kilobyte: its own limit on nesting speaks before it tells us of the levels before.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                return _nested(event.start_mark)
    except yaml.YAMLError:
        pass  # it ends in the middle of something, of course
    return None


def _nested(mark: Any) -> _Fault:
    return _Fault(f"nested more than {MAX_DEPTH} levels deep", mark, "flatten it")


class _Builder:
    """Builds plain data from parser events. One frame per open collection: container, pending key, path."""

    def __init__(self, marks: Marks | None, spans: Spans | None) -> None:
        self.marks, self.spans = marks, spans
        self.stack: list[tuple[Any, Path]] = []
        self.key: Any = _ABSENT
        self.keys: list[Any] = []

    def build(self, events: Iterator[Any]) -> Any:
        root: Any = _ABSENT
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                value = self._scalar(event)
                if self.stack:
                    self._put(value, event)
                else:
                    root = value
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                container = self._open({} if kind is yaml.MappingStartEvent else [], event)
                root = container if root is _ABSENT else root
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self.stack.pop()
                self.key = self.keys.pop()
            elif kind is yaml.AliasEvent:
                raise _Fault(f"an alias (*{event.anchor}); definitions have none", event.start_mark, "write the value out")
            elif kind is yaml.DocumentStartEvent and root is not _ABSENT:
                raise _Fault("a second document begins; one file holds one routine", event.start_mark, "remove the ---")
        return None if root is _ABSENT else root

    def _scalar(self, event: Any) -> Any:
        self._refuse_extras(event)
        text: str = event.value
        if self.stack and self.key is _ABSENT and type(self.stack[-1][0]) is dict:
            return text
        return scalar(text) if event.implicit[0] else text

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            raise _Fault(f"an anchor (&{event.anchor}); definitions have none", event.start_mark, "write the value out")
        if event.tag is not None:
            raise _Fault(f"a tag ({event.tag}); definitions have none", event.start_mark, "remove the tag")

    def _open(self, container: Any, event: Any) -> Any:
        self._refuse_extras(event)
        if len(self.stack) >= MAX_DEPTH:
            raise _nested(event.start_mark)
        path: Path = ()
        if self.stack:
            path = self._put(container, event)
        self.keys.append(self.key)
        self.stack.append((container, path))
        self.key = _ABSENT
        return container

    def _put(self, value: Any, event: Any) -> Path:
        """Store a value in the open collection; a scalar that stands where a key is wanted becomes the pending key."""
        container, path = self.stack[-1]
        if type(container) is list:
            here = (*path, len(container))
            container.append(value)
            if self.marks is not None:
                self.marks[here] = (event.start_mark.line + 1, event.start_mark.column + 1)
            return here
        if self.key is _ABSENT:
            if type(value) is not str:
                raise _Fault("a key must be plain text", event.start_mark, "write `key: value`")
            if value in container:
                where = f" in {path_text(path)}" if path else ""
                raise _Fault(f"the key '{value}' stands twice{where}", event.start_mark, "keep one of the two")
            self.key = value
            container[value] = None
            if self.marks is not None:
                self.marks[(*path, value)] = (event.start_mark.line + 1, event.start_mark.column + 1)
            return path
        container[self.key] = value
        here = (*path, self.key)
        kind: Any = type(event)
        if self.spans is not None and self.marks is not None and kind is yaml.ScalarEvent and event.style not in ("|", ">"):
            self.spans[here] = (event.start_mark.index, event.end_mark.index, self.marks[here][0] - 1)
        self.key = _ABSENT
        return here
