"""Who may call a webhook: the three ways a delivery is signed, checked in constant time on bytes.

`routinectl`: HMAC-SHA256 over `<timestamp>.<body>`, the timestamp in Unix seconds and no more than five minutes off.
`github`: `X-Hub-Signature-256`, HMAC-SHA256 over the body; the delivery id beside it is not signed, so a delivery is known
by its body. `header`: the secret itself; whoever hears it once can repeat it (DESIGN 7).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

TOLERANCE = 300  # seconds
TIMESTAMP, SIGNATURE, SECRET = "routinectl-timestamp", "routinectl-signature", "routinectl-secret"
_GITHUB = "x-hub-signature-256"
_VERSION = "v1="


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the value of the signature header of the scheme `routinectl`."""
    return _VERSION + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def fault(scheme: str, secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Return why a delivery is not believed, in words; empty when it is. Names of headers are lower case."""
    if scheme == "header":
        return "" if _same(headers.get(SECRET, ""), secret) else f"{SECRET} is not the secret"
    if scheme == "github":
        wanted = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return "" if _same(headers.get(_GITHUB, ""), wanted.encode()) else f"{_GITHUB} does not fit the body"
    text = headers.get(TIMESTAMP, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        return f"{TIMESTAMP} is missing, or no number of seconds since 1970"
    if not _same(headers.get(SIGNATURE, ""), sign(secret, int(text), body).encode()):
        return f"{SIGNATURE} does not fit the timestamp and the body"
    return "" if abs(now - int(text)) <= TOLERANCE else f"{TIMESTAMP} is more than {TOLERANCE // 60} minutes off"


def key(scheme: str, secret: bytes, headers: Mapping[str, str], body: bytes) -> str:
    """Return by what a delivery is known, so that the same one is not heard twice; empty where that cannot be told.

    Only what is signed counts: the timestamp and body, or the body alone. A `header` delivery is known by the id that
    its sender gives it, if it does.
    """
    if scheme == "header":
        given = headers.get("idempotency-key", "")
        return hashlib.sha256(given.encode()).hexdigest() if given else ""
    stamp = headers[TIMESTAMP].encode() if scheme == "routinectl" else b""
    return hmac.new(secret, b"known by:" + stamp + b"." + body, hashlib.sha256).hexdigest()


def _same(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted)
