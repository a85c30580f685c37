"""Who may call a webhook: the three ways a delivery is signed, checked in constant time on bytes.

`routinectl`: HMAC-SHA256 over `<timestamp>.<body>`, the timestamp in Unix seconds and no more than five minutes off.
`github`: `X-Hub-Signature-256`, HMAC-SHA256 over the body; the delivery id beside it is not signed, so a delivery is known
by its body. `header`: the secret itself; whoever hears it once can repeat it (DESIGN 7).

Each header has one spelling and comes once, and what is believed is the value that was read from it. A key cannot be had
of a delivery that is not believed, nor two keys of one that was signed once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 300  # seconds
Headers = Sequence[tuple[bytes, bytes]]  # as they came, names in lower case
_TIMESTAMP, _SIGNATURE, _SECRET = "routinectl-timestamp", "routinectl-signature", "routinectl-secret"
_GITHUB, _ID = "x-hub-signature-256", "idempotency-key"
_READ = {"routinectl": (_TIMESTAMP, _SIGNATURE), "github": (_GITHUB,), "header": (_SECRET, _ID)}
_SECONDS = re.compile(rb"0|[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class Believed:
    """A delivery of somebody who knows the secret; `key` is by what it is known, empty where that cannot be told."""

    key: str


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the value of the signature header of the scheme `routinectl`."""
    return "v1=" + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def believe(scheme: str, secret: bytes, headers: Headers, body: bytes, now: float) -> Believed | str:
    """Return what is believed of a delivery, or in words why it is not.

    Only what is signed counts for its key: the timestamp and body, or the body alone. A `header` delivery is known by the
    id that its sender gives it, if it does.
    """
    given = {name: [value for key, value in headers if key == name.encode()] for name in _READ[scheme]}
    for name, values in given.items():
        if len(values) > 1:
            return f"{name} comes {len(values)} times"  # which one counts is not for us to choose
    return _CHECKS[scheme](secret, {name: values[0] if values else b"" for name, values in given.items()}, body, now)


def _signed(secret: bytes, given: dict[str, bytes], body: bytes, now: float) -> Believed | str:
    if not _SECONDS.fullmatch(given[_TIMESTAMP]):
        return f"{_TIMESTAMP} is missing, or no number of seconds since 1970 as `date +%s` writes it"
    stamp = int(given[_TIMESTAMP])
    if not hmac.compare_digest(given[_SIGNATURE], sign(secret, stamp, body).encode()):
        return f"{_SIGNATURE} does not fit the timestamp and the body"
    if abs(now - stamp) > TOLERANCE:
        return f"{_TIMESTAMP} is more than {TOLERANCE // 60} minutes off"
    return Believed(_key(secret, b"%d" % stamp, body))


def _as_github_does(secret: bytes, given: dict[str, bytes], body: bytes, _: float) -> Believed | str:
    wanted = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given[_GITHUB], wanted.encode()):
        return f"{_GITHUB} does not fit the body"
    return Believed(_key(secret, b"", body))


def _shown(secret: bytes, given: dict[str, bytes], _: bytes, __: float) -> Believed | str:
    if not hmac.compare_digest(given[_SECRET], secret):
        return f"{_SECRET} is not the secret"
    return Believed(hashlib.sha256(given[_ID]).hexdigest() if given[_ID] else "")


_CHECKS = {"routinectl": _signed, "github": _as_github_does, "header": _shown}


def _key(secret: bytes, stamp: bytes, body: bytes) -> str:
    return hmac.new(secret, b"known by:" + stamp + b"." + body, hashlib.sha256).hexdigest()
