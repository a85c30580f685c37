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
from routinectl.core.standing import Standing
from routinectl.files.layout import Layout
from routinectl.operations import tokens
from routinectl.operations.session import Session

RANK = {"viewer": 0, "agent": 1, "user": 2, "admin": 3}
EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the role, and whose routines he sees. An admin sees all, and so does a viewer for `*`."""

    role: str
    owner: str

    def sees(self, session: Session, standing: Standing) -> bool:
        """Say whether this routine is there for him at all."""
        return self.sees_all or owner_of(session, standing) == self.owner

    def sees_of(self, owner: str) -> bool:
        """Say whether this owner's routines are there for him."""
        return self.sees_all or owner == self.owner

    @property
    def sees_all(self) -> bool:
        """Whether everybody's routines are there for him."""
        return self.role == "admin" or (self.role == "viewer" and self.owner == EVERYBODY)

    def require(self, least: str) -> None:
        """Raise HttpError unless his role is at least this one."""
        if RANK[self.role] < RANK[least]:
            raise HttpError(403, f"a token of role {self.role} may not do that; {least} may", "routinectl token create --role " + least)


def owner_of(session: Session, standing: Standing) -> str:
    """Return whose routine it is: as its definition says, else the workspace's owner."""
    return str((standing.doc or {}).get("owner", session.settings.owner))


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
