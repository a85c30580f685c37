"""Who may do what over HTTP: tokens and roles, and from where a browser may ask.

A request over the unix socket comes from this very user (its file is closed to others) and is an admin's. Everything
else shows a token; without one there is nothing but `/healthz` and the description of the API.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from routinectl.api.answer import HttpError
from routinectl.files.layout import Layout
from routinectl.operations import access, tokens
from routinectl.operations.access import EVERYBODY

RANK = {"viewer": 0, "agent": 1, "user": 2, "admin": 3}


@dataclass(frozen=True, slots=True)
class Caller(access.Caller):
    """Who asks over HTTP."""

    def require(self, least: str) -> None:
        """Raise HttpError unless his role is at least this one."""
        if RANK[self.role] < RANK[least]:
            raise HttpError(403, f"a token of role {self.role} may not do that; {least} may", "routinectl token create --role " + least)


def caller_of(layout: Layout, headers: Mapping[str, str], *, local: bool, now: datetime) -> Caller:
    """Return who asks. Raises HttpError 401."""
    if local:
        return Caller("admin", EVERYBODY)
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise HttpError(401, "this needs a token", "Authorization: Bearer TOKEN, from: routinectl token create --role viewer --owner ME",
                        WWW_Authenticate="Bearer")  # fmt: skip
    token = tokens.find(layout, secret.strip(), now)
    if token is None:
        raise HttpError(
            401, "the token is unknown, revoked or over", "routinectl token create", WWW_Authenticate='Bearer error="invalid_token"'
        )
    return Caller(token.role, token.owner)


def check_origin(headers: Mapping[str, str], hosts: Collection[str]) -> None:
    """Raise HttpError for a name that is not ours (DNS rebinding), or a page of somewhere else that makes a browser ask."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    if host not in hosts:
        raise HttpError(403, f"this server is not called '{host}'", "http: {hosts: [name]} in routinectl.yaml")
    origin = headers.get("origin")
    if origin is not None and (urlsplit(origin).hostname or "") not in hosts:
        raise HttpError(403, "requests from other sites are not taken")
