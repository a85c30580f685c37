"""routinectl emit"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from routinectl.cli import context, output
from routinectl.core import foreign
from routinectl.core import message as messages
from routinectl.core.verdict import words
from routinectl.engine.board import MOST_BYTES, Asked
from routinectl.errors import UsageError
from routinectl.operations.emit import Emitter
from routinectl.operations.session import Session

EXAMPLES = """
routinectl emit alerts 'disk of web1 is full'
routinectl emit deploys --json-payload '{"branch": "main", "text": "deployed"}'
tail -F app.log | routinectl emit --stream app
journalctl -f -o json | routinectl emit --stream journal
signal-cli --output=json receive | routinectl emit --stream signal --text envelope.dataMessage.message
"""
_BATCH = 256
_IDLE = 1.0  # seconds after which a stream that is silent looks after the runs it began


def command(
    channel: Annotated[str, typer.Argument(help="The channel; its name is compared without case.")],
    message: Annotated[str | None, typer.Argument(help="The text; - reads it from stdin.")] = None,
    json_payload: Annotated[str | None, typer.Option(help="JSON that comes with it, an object; `match` looks at its keys.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Every line of stdin is a message; JSON objects are read as such.")] = False,
    text: Annotated[
        str, typer.Option(help="Where the JSON has the text: a key, or keys with dots. Else text, message, MESSAGE or body.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which routines would hear it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON; with --stream, a line for each message that is heard.")] = False,
) -> None:
    """Give a message to the routines that listen on a channel. What it asks for is durable when the command ends.

    A message that nobody listens for leaves no trace. A refused run is recorded, and said here.
    """
    if stream:
        if message is not None or json_payload is not None or dry_run:
            raise UsageError("--stream reads the messages from stdin", "tail -F app.log | routinectl emit --stream app")
        with Session(context.layout()) as session:
            _stream(Emitter(session, channel), text, as_json=as_json)
        return
    data = _object(json_payload) if json_payload is not None else {}
    if message is None and json_payload is None:
        raise UsageError("what is the message?", f"routinectl emit {channel} 'the text', or - to read it from stdin")
    said = (
        sys.stdin.read(MOST_BYTES + 1).rstrip("\n") if message == "-" else message if message is not None else messages.text_in(data, text)
    )
    with Session(context.layout()) as session:
        emitter = Emitter(session, channel)
        if dry_run:
            heard = emitter.listeners((said, data))
            output.say(f"Dry run: {', '.join(heard) or 'nobody'} would hear it")
            return
        (answers,) = emitter.emit([(said, data)])
        if as_json:
            output.data("emitted", [asked.to_plain() for asked in answers])
            return
        for asked in answers:
            output.say(_line(asked))
        if not answers:
            output.say(f"Nobody listens for it on {channel}")


def _object(text: str) -> dict[str, Any]:
    try:
        data = foreign.parse(text)
    except ValueError as error:
        raise UsageError(f"--json-payload is not JSON: {error}", """--json-payload '{"branch": "main"}'""") from None
    if not isinstance(data, dict):
        raise UsageError("--json-payload is an object", """--json-payload '{"branch": "main"}'""")
    return data


def _line(asked: Asked) -> str:
    if asked.refused is None:
        return f"{asked.routine}  asked for {asked.request}"
    return f"{asked.routine}  {output.word('skipped', sys.stderr)}: {words('skipped', asked.refused.reason)}"


def _stream(emitter: Emitter, key: str, *, as_json: bool) -> None:
    for lines in _batches():
        if not lines:
            emitter.idle()
            continue
        batch = [messages.read(line.decode(errors="replace"), key) for line in lines]
        for (said, _), answers in zip(batch, emitter.emit(batch), strict=True):
            if answers and as_json:
                output.write(json.dumps({"text": said, "asked": [asked.to_plain() for asked in answers]}, ensure_ascii=False))
            for asked in answers if not as_json else ():
                output.say(_line(asked))


def _batches() -> Iterator[list[bytes]]:
    """Yield the lines of stdin as they come, as many as there are; an empty list when there was none for a while."""
    fd, rest = sys.stdin.fileno(), b""
    while True:
        if not select.select([fd], [], [], _IDLE)[0]:
            yield []
            continue
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            if rest:
                yield [rest]
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MOST_BYTES:
            lines, rest = [*lines, rest[:MOST_BYTES]], b""
        found = [line.rstrip(b"\r") for line in lines if line.strip()]
        for first in range(0, len(found), _BATCH):
            yield found[first : first + _BATCH]
