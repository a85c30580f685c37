"""A prompt routine: one question to a model, its answer as the run's result. No tools, and nothing that the model decides is done."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from routinectl.core import prompt
from routinectl.core.prompt import Message, Part
from routinectl.files import context
from routinectl.models import ask
from routinectl.models.ask import ModelError, Reply

TRIES = 3  # of one question, where trying again may help; each is reserved and counted
RESULT = "result.md"
_PAUSE = 2.0  # seconds before the second, twice that before the third
MEMORY_BYTES, ASKED_BYTES = 32 * 1024, 64 * 1024


class OverBudgetError(Exception):
    """What is left of a budget, `which`, is too little to ask at all."""

    def __init__(self, which: str, left: str) -> None:
        super().__init__(f"{which}: {left}")
        self.which = which


class Purse(Protocol):
    """Where what may be spent is reserved before a call, and settled after it."""

    def reserve(self, sent: int, wanted: int) -> int:
        """Reserve a call and return how many tokens its answer may have. Raises OverBudgetError."""

    def settle(self, sent: int, answered: int) -> None:
        """Say what the call came to."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run's process has: its folder, what it may spend, what takes secrets out, and the record."""

    folder: Path
    purse: Purse
    masked: Callable[[str], str]
    record: Callable[[Mapping[str, Any]], None]
    draft: Callable[[Mapping[str, Any]], tuple[bool, str]]  # have a routine drafted by this run
    deadline: float  # on the monotonic clock


def parts_of(spec: Mapping[str, Any]) -> tuple[str, list[Part], list[str]]:
    """Return what is asked, the data that goes with it, and what was cut or left out, in words. Raises OSError."""
    root = Path(spec["root"])
    asked = spec["text"] or context.read_plain(root, spec["file"], ASKED_BYTES)
    parts, remarks = [], []
    for item in context.gather(root, spec["context"]):
        if item.text:
            parts.append(Part(f"{item.name}{f' ({item.why})' if item.why else ''}", item.text))
        if item.why:
            remarks.append(f"{item.name}: {item.why}")
    try:
        memory = context.read_plain(root, spec["memory"], MEMORY_BYTES)
    except (OSError, UnicodeDecodeError):
        memory = ""
    if memory.strip():
        parts.append(Part("your notes from earlier runs", memory))
    return asked, parts, remarks


def message_of(spec: Mapping[str, Any], payload: Mapping[str, Any] | None) -> tuple[Message, list[str]]:
    """Return what is sent, and remarks about what of it was cut. Raises OSError."""
    asked, parts, remarks = parts_of(spec)
    return prompt.compose(asked, parts, payload, secrets.token_hex(8)), remarks


def run(spec: Mapping[str, Any], key: str, around: Surroundings) -> dict[str, Any]:
    """Ask, keep the answer in the run's folder, and return what is to be recorded of it. Raises OverBudgetError, ModelError, OSError."""
    payload = json.loads(Path(spec["payload"]).read_bytes()) if spec["payload"] else None
    message, remarks = message_of(spec, payload)
    for remark in remarks:
        sys.stderr.write(f"note: {remark}\n")
    named = spec["model"]
    model = ask.connect(named["provider"], named["model"], named["base_url"], key)
    tries = 0

    def once(allowed: int, seconds: float) -> Reply:
        nonlocal tries
        tries += 1
        around.record({"kind": "request", "try": tries, "instructions": message.instructions, "text": message.text, "max_tokens": allowed})
        return ask.ask(model, message, allowed, seconds)

    reply = tried(around, message.tokens, int(spec["max_tokens"]), once)
    around.record({"kind": "reply", "text": reply.text, "sent": reply.sent, "answered": reply.answered, "finish": reply.finish,
                   **({"estimated": True} if reply.estimated else {})})  # fmt: skip
    sys.stdout.write(reply.text.rstrip() + "\n")
    sys.stdout.flush()
    return {"iterations": tries, "model": named["model"], **judged(around.folder, reply.text, reply.finish, spec["quiet_reply"])}


def judged(folder: Path, answer: str, finish: str, quiet_reply: str) -> dict[str, Any]:
    """Keep an answer as the run's result, and return what is to be recorded of it."""
    (folder / RESULT).write_text(answer.strip() + "\n")
    found = prompt.judge(answer, quiet_reply)
    if not found.good:
        return {"result": RESULT, "outcome": "failed", "detail": found.detail, "message": found.message}
    if finish == "length":
        message = "the answer was cut off at its longest (max_tokens, or the budget)"
        return {"result": RESULT, "outcome": "failed", "detail": "cut_off", "message": message}
    first = next(line for line in answer.splitlines() if line.strip()) if not found.quiet else ""
    return {"result": RESULT, "outcome": "quiet" if found.quiet else "succeeded", "message": first.strip()[:500]}


class Used(Protocol):
    """What an answer took."""

    @property
    def sent(self) -> int:
        """Tokens that were sent."""

    @property
    def answered(self) -> int:
        """Tokens of the answer."""


Said = TypeVar("Said", bound=Used)


def tried(around: Surroundings, sent: int, wanted: int, once: Callable[[int, float], Said]) -> Said:
    """Ask until there is an answer, at most `TRIES` times, each reserved and settled. Raises OverBudgetError, ModelError."""
    for number in range(1, TRIES + 1):
        allowed = around.purse.reserve(sent, wanted)
        try:
            reply = once(allowed, max(around.deadline - time.monotonic(), 1.0))
        except ModelError as error:
            around.purse.settle(sent, 0)  # whoever did not answer may still ask for the money
            around.record({"kind": "error", "message": str(error)})
            pause = _PAUSE * number
            if number == TRIES or not error.again or time.monotonic() + pause > around.deadline:
                raise
            sys.stderr.write(f"{error}; trying again in {pause:.0f} s\n")
            time.sleep(pause)
            continue
        around.purse.settle(reply.sent, reply.answered)
        return reply
    raise AssertionError("the last try returns or raises")
