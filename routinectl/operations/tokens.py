"""Tokens: making, listing and revoking them, and whom one lets in."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta

from routinectl.core.units import from_iso, to_iso
from routinectl.errors import DeniedError, NotFoundError, UsageError
from routinectl.files import editing, tokens
from routinectl.files.layout import Layout
from routinectl.files.tokens import ROLES, Token
from routinectl.operations.approvals import run_above

_PREFIX = "rtn_"


def create(layout: Layout, role: str, owner: str, now: datetime, lasting: timedelta | None = None) -> tuple[Token, str]:
    """Make a token; return it with its secret, which is told this once. Raises UsageError, and DeniedError for an agent."""
    if run_above():
        raise DeniedError(f"a token is for a person to make, and it is {run_above()} that asks", "run it in a terminal of your own")
    if role not in ROLES:
        raise UsageError(
            f"'{role}' is no role; there are {', '.join(ROLES)}", f"routinectl token create --role user --owner {owner or 'alice'}"
        )
    if not owner:
        raise UsageError("whose is it?", "routinectl token create --role user --owner alice")
    secret = _PREFIX + secrets.token_urlsafe(32)
    made = Token(secrets.token_hex(4), role, owner, tokens.hash_of(secret), to_iso(now.replace(microsecond=0)),
                 to_iso((now + lasting).replace(microsecond=0)) if lasting else "")  # fmt: skip
    with editing.lock(layout):
        tokens.write(layout, [*tokens.read(layout), made])
    return made, secret


def every(layout: Layout) -> list[Token]:
    """Return all tokens, the oldest first."""
    return tokens.read(layout)


def revoke(layout: Layout, token_id: str) -> Token:
    """Take a token back, by its id. Raises NotFoundError."""
    with editing.lock(layout):
        all_of_them = tokens.read(layout)
        found = next((token for token in all_of_them if token.id == token_id), None)
        if found is None:
            raise NotFoundError(f"there is no token '{token_id}'", "routinectl token list")
        tokens.write(layout, [token for token in all_of_them if token is not found])
    return found


def find(layout: Layout, secret: str, now: datetime) -> Token | None:
    """Return the token of a secret, None when there is none or its time is over."""
    wanted = tokens.hash_of(secret)
    found = None
    for token in tokens.read(layout):
        if hmac.compare_digest(token.hash, wanted):
            found = token
    return None if found is None or (found.expires and from_iso(found.expires) <= now) else found
