"""Webhooks: believing a delivery, and asking for the run it is for. Durable when `deliver` returns."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from secrets import token_hex, token_urlsafe
from typing import Any

from routinectl.core import address, foreign, signature
from routinectl.core.event import Event
from routinectl.core.reaction import Webhook
from routinectl.core.routine import Routine
from routinectl.core.signature import Headers
from routinectl.core.verdict import words
from routinectl.engine.dispatch import request_id, requested
from routinectl.errors import DeniedError, NotFoundError, RoutinectlError, UsageError
from routinectl.files import deliveries, secrets, served, watch
from routinectl.operations.session import Session

MOST_BYTES = 1 << 20


class ForgedError(DeniedError):
    """A delivery whose signature does not hold."""


class RefusedError(RoutinectlError):
    """A gate said no for good; `reason` names it, in the words of the ledger."""

    exit_code = 77

    def __init__(self, message: str, reason: str, run: str = "") -> None:
        super().__init__(message, "routinectl why ID")
        self.reason, self.run = reason, run


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came: headers as they came, the raw body, and whether it came over a wire that others may hear."""

    headers: Headers
    body: bytes
    exposed: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery: the run it asked for; `again` if it had been heard before."""

    routine: str
    run: str
    again: bool = False


def find(session: Session, name: str) -> tuple[Routine, Webhook]:
    """Return the routine and trigger of a webhook's name: its `path`, or the routine's id where it has none.

    Of two that claim the same path, the older one has it. Raises NotFoundError.
    """
    found = [
        (str(session.standing(routine.id).created_at), routine.id, routine, item)
        for routine, item in listening(session)
        if name == (item.path or routine.id)
    ]
    if not found:
        raise NotFoundError(f"there is no webhook '{name}'", "triggers: [{webhook: {}}]")
    _, _, routine, item = min(found, key=lambda entry: entry[:2])
    return routine, item


def listening(session: Session) -> Iterator[tuple[Routine, Webhook]]:
    """Yield the webhooks that may be called. A draft has none: it must not take the path of a routine that is in force."""
    for routine_id in sorted(session.world.reactive):
        routine, standing = session.routine(routine_id), session.standing(routine_id)
        if routine is not None and not standing.deleted and standing.draft is None:
            yield from ((routine, item) for item in routine.reactions if isinstance(item, Webhook))


def secret_of(session: Session, routine: Routine, trigger: Webhook) -> bytes:
    """Return the secret of a webhook. Raises DeniedError when it is not set."""
    if trigger.secret[0] == "env":
        found = os.fsencode(os.environ.get(trigger.secret[1], ""))  # as its bytes are, which need be no text
    else:
        found = secrets.read(_secret_path(session, routine.id, trigger))
    if not found:
        raise DeniedError(
            "this webhook has no secret yet", "routinectl webhook ID --rotate, where it is served"
        )  # a stranger is told no id
    return found


def describe(session: Session, name: str, base: str = "") -> dict[str, Any]:
    """Return where the webhook of a routine is, how it is signed, and a command that delivers to it. Raises NotFoundError."""
    routine, trigger = _of(session, name)
    where = address.read(served.heard(session.layout) or session.settings.http_listen or address.DEFAULT)
    url = f"{(base or where.url).rstrip('/')}/hooks/routine/{trigger.path or name}"
    try:
        has_secret = bool(secret_of(session, routine, trigger))
    except DeniedError:
        has_secret = False
    secret = (
        "$" + trigger.secret[1]
        if trigger.secret[0] == "env"
        else f"$(cat {os.path.relpath(_secret_path(session, name, trigger), session.layout.root)})"
    )
    return {
        "routine": name,
        "url": url,
        "signature": trigger.signature,
        "has_secret": has_secret,
        "example": _example(trigger, url, secret, where.path if not base else ""),
    }


def _of(session: Session, name: str) -> tuple[Routine, Webhook]:
    found = next(((routine, item) for routine, item in listening(session) if routine.id == name), None)
    if found is None:
        raise NotFoundError(f"{name} has no webhook that may be called", "triggers: [{webhook: {}}]")
    return found


def _example(trigger: Webhook, url: str, secret: str, socket: str) -> str:
    """Return a shell command that delivers `{"hello": "world"}`, through a unix socket where there is one; it needs curl and openssl, no more."""
    body = """'{"hello": "world"}'"""
    through = f"--unix-socket {shlex.quote(socket)} " if socket else ""
    send = f"curl -sS {through}-H 'Content-Type: application/json' --data-raw \"$BODY\""
    digest = 'openssl dgst -sha256 -hmac "$SECRET" -hex | sed "s/.*= //"'
    lines = [f"SECRET={secret}", f"BODY={body}"]
    if trigger.signature == "header":
        return "; ".join([*lines[1:], f'{send} -H "Routinectl-Secret: {secret}" {url}'])
    if trigger.signature == "github":
        lines.append(f'SUM=$(printf %s "$BODY" | {digest})')
        return "; ".join([*lines, f'{send} -H "X-Hub-Signature-256: sha256=$SUM" {url}'])
    lines += ["NOW=$(date +%s)", f'SUM=$(printf %s "$NOW.$BODY" | {digest})']
    return "; ".join([*lines, f'{send} -H "Routinectl-Timestamp: $NOW" -H "Routinectl-Signature: v1=$SUM" {url}'])


def rotate(session: Session, name: str) -> tuple[str, str]:
    """Write a new secret; return it and its file, told this once. Raises UsageError where the secret is not a file."""
    routine, trigger = _of(session, name)
    if trigger.secret[0] == "env":
        raise UsageError(f"the secret of {routine.id} comes from the environment, as {trigger.secret[1]}", "change it where it is set")
    path, made = _secret_path(session, routine.id, trigger), token_urlsafe(32)
    secrets.write(path, f"{made}\n".encode())
    return made, os.path.relpath(path, session.layout.root)


def _secret_path(session: Session, routine_id: str, trigger: Webhook) -> str:
    return session.layout.resolve(routine_id, trigger.secret[1] or f"workspace:secrets/webhook-{routine_id}")


def deliver(session: Session, name: str, delivery: Delivery, admit: Callable[[str], None]) -> Taken:
    """Take a delivery in: believed, remembered and on record when this returns.

    `admit` is asked about the routine for a delivery that is believed and new, and raises where there are too many: what a
    stranger can send, or send again, is not counted. Raises NotFoundError, DeniedError (no secret, or one that others may
    have heard), ForgedError, UsageError (the body is too large) and RefusedError.
    """
    routine, trigger = find(session, name)
    if len(delivery.body) > MOST_BYTES:
        raise UsageError(f"a delivery has at most {MOST_BYTES >> 20} MiB", "send where the data is, not the data")
    secret = secret_of(session, routine, trigger)
    if trigger.signature == "header" and delivery.exposed:
        raise DeniedError(
            "a secret in a header can be repeated by whoever hears it: it is taken over loopback only", "signature: routinectl"
        )
    found = signature.believe(trigger.signature, secret, delivery.headers, delivery.body, session.now.timestamp())
    if isinstance(found, str):
        raise ForgedError(found, "sign it as this prints, where it is served: routinectl webhook ID")
    if found.key and found.key in deliveries.known(session.layout, routine.id, secret):
        return Taken(routine.id, "", again=True)
    admit(routine.id)
    taken = _ask(session, routine.id, trigger, delivery, found.key or token_hex(16))
    if found.key:
        # After the record: a crash between the two is asked again, and the routine has heard of it already.
        deliveries.remember(session.layout, routine.id, secret, found.key)
    return taken


def _ask(session: Session, name: str, trigger: Webhook, delivery: Delivery, key: str) -> Taken:
    request = request_id(session.now, f"{key}>{name}")
    payload: dict[str, Any] = {"body": _body(delivery)}
    event = next((value for key, value in delivery.headers if key == b"x-github-event"), b"")
    if event:
        payload["event"] = event.decode(errors="replace")
    return ask(session, name, {"request": request, "trigger": trigger.label, "payload": payload})


def ask(session: Session, name: str, data: Mapping[str, Any]) -> Taken:
    """Ask for a run, and wake serve. Raises RefusedError when a gate refuses it for good; that is on record then."""
    answer: list[Any] = []

    def make() -> list[Event]:
        events, refused = requested(session.engine, name, data, session.now)
        answer[:] = [refused]
        return events

    session.engine.record(make, session.now)
    watch.poke(session.layout)
    refused = answer[0]
    if refused is not None:
        raise RefusedError(f"{name} does not run: {words('skipped', refused.reason)}", refused.reason, str(data["request"]))
    return Taken(name, str(data["request"]))


def _body(delivery: Delivery) -> Any:
    text = delivery.body.decode(errors="replace")
    try:
        return foreign.parse(text) if text.strip() else None
    except ValueError:
        return text
