"""Who may do what over HTTP: tokens and roles, and from where a browser may ask.

A request over the unix socket comes from this very user (its file is closed to others) and is an admin's. Everything
else shows a token; without one there is nothing but `/healthz` and the description of the API.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from routinectl import clock
from routinectl.api.answer import HttpError
from routinectl.errors import RoutinectlError
from routinectl.files.layout import Layout
from routinectl.operations import access, tokens
from routinectl.operations.access import EVERYBODY

RawHeaders = Sequence[tuple[bytes, bytes]]  # as they came, names in lower case
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})
_AUTHORITY = re.compile(rb"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?")
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]{0,30}")
_PORTS = {b"http": 80, b"https": 443}
_MOST_PORT = 65535
ASK_SECONDS = 1.0
RANK = {"viewer": 0, "agent": 1, "user": 2, "admin": 3}


class Right:
    """What a caller may go on hearing: asked again as long as it lasts, because a token ends, and a routine is given away."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self._holds, self._asked, self._over = holds, clock.awake(), False

    async def lasts(self) -> bool:
        """Say whether it still holds; asked at most once in `ASK_SECONDS`. Where nobody can tell, it does not; once over, it stays so."""
        if not self._over and clock.awake() >= self._asked + ASK_SECONDS:
            try:
                self._over = not await asyncio.to_thread(self._holds)
            except (HttpError, RoutinectlError, OSError):
                self._over = True
            self._asked = clock.awake()
        return not self._over


class Authority(NamedTuple):
    """The part of an address that says whom one speaks to: a name in lower case or an address, and the port that is given."""

    host: str
    port: int | None


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


def check_origin(headers: RawHeaders, names: Collection[str]) -> None:
    """Raise HttpError for a name that is not ours (DNS rebinding), or a page of somewhere else that makes a browser ask.

    400 for what is no name or no origin, 403 for those of others. Any port of a name will do, for a tunnel or a proxy has
    its own; but a page of another port of this machine is another program's, unlike one of another port of `names`.
    """
    hosts = [value for key, value in headers if key == b"host"]
    if len(hosts) != 1:
        raise HttpError(400, f"a request has one Host header, and this has {len(hosts)}", "Host: localhost")
    here = _authority(hosts[0]) if hosts[0] else Authority("", None)
    if here is None:
        raise HttpError(400, "the Host header is no name or address, with or without a port", "Host: localhost:8766")
    if here.host not in _HERE and here.host not in names:
        raise HttpError(403, f"this server is not called '{here.host}'", "http: {hosts: [name]} in routinectl.yaml")
    for value in [value for key, value in headers if key == b"origin"]:
        _check_page(value, here, names)


def _check_page(origin: bytes, here: Authority, names: Collection[str]) -> None:
    scheme, separator, rest = origin.partition(b"://")
    page = _authority(rest)
    if origin != b"null" and not (separator and _SCHEME.fullmatch(scheme) and page is not None):
        raise HttpError(400, "the Origin header is no origin", "Origin: http://localhost:8766")
    default = _PORTS.get(scheme)
    ours = page is not None and (page.host in names or (page.host, page.port or default) == (here.host, here.port or default))
    if default is None or not ours:
        raise HttpError(403, "requests from other sites are not taken", "http: {hosts: [name]} in routinectl.yaml")


def _authority(text: bytes) -> Authority | None:
    """Return the name and port of an address, its one reading; None for what is none: with a user, blanks, letters of others."""
    found = _AUTHORITY.fullmatch(text)
    if found is None or int(found[2] or 0) > _MOST_PORT:
        return None
    host = found[1].decode().lower()
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            return None
    return Authority(host, int(found[2]) if found[2] else None)
