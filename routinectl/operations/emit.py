"""Messages: giving one, or a stream of them, to the routines that listen on a channel."""

from __future__ import annotations

import binascii
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from routinectl.core.reaction import CHANNEL
from routinectl.engine.board import MOST_BYTES, Asked, Letter
from routinectl.errors import UsageError
from routinectl.files import watch
from routinectl.operations import runs
from routinectl.operations.session import Session

Pair = tuple[str, Mapping[str, Any]]


class Emitter:
    """Gives messages of one channel to whoever listens. The session is kept: a stream may go on for days."""

    def __init__(self, session: Session, channel: str) -> None:
        if not CHANNEL.fullmatch(channel):
            raise UsageError(f"'{channel}' is no name of a channel: letters, digits, -, _ and .", "routinectl emit signal 'the text'")
        self.session, self.channel = session, channel
        self.board = session.board

    def emit(self, messages: Sequence[Pair]) -> list[list[Asked]]:
        """Return what each message (its text, and the JSON that came with it) asked for; durable when this returns.

        Raises UsageError for a message of more than a mebibyte.
        """
        session = self.session
        session.refresh()
        letters = [Letter(binascii.hexlify(os.urandom(8)).decode(), session.now, self.channel, text, data) for text, data in messages]
        for letter in letters:
            if len(letter.text) > MOST_BYTES:
                raise UsageError(f"a message has at most {MOST_BYTES >> 20} MiB", "keep large things in files, and say where they are")
        answers = self.board.take(letters, session.now, lambda name: session.sees(session.standing(name)))
        wanted = {asked.routine for answer in answers for asked in answer if asked.refused is None}
        if wanted and not session.serve_lives:
            session.engine.settle(sorted(wanted), session.now)
        elif wanted:
            watch.poke(session.layout)
        return answers

    def listeners(self, message: Pair) -> list[str]:
        """Return the routines that a message is for, without giving it to them."""
        return self.board.listeners(Letter("", self.session.now, self.channel, *message))

    def idle(self) -> None:
        """Take in what has become of runs; for a stream that no serve stands behind."""
        if not self.session.serve_lives:
            runs.attend(self.session, timedelta())
