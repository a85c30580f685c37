"""Where the terminal app gets everything from: the table of endpoints, asked in this process, or over HTTP with a token.

Both answer alike, because both are the same endpoints (`api/endpoints.py`); the app cannot tell them apart.
"""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from routinectl import clock
from routinectl.api import answer
from routinectl.api.access import Caller
from routinectl.api.answer import HttpError
from routinectl.api.call import Call
from routinectl.api.endpoints import ENDPOINTS, Endpoint
from routinectl.errors import RoutinectlError, UsageError
from routinectl.files import run_logs
from routinectl.files.layout import Layout
from routinectl.operations import runs
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session

Data = dict[str, Any]
_LOOK_AGAIN = 5.0  # seconds after which changed definitions are taken in where no serve lives
_LOG_BYTES = 1 << 18
_SECONDS = 20.0  # in which a server must answer


class Fault(Exception):
    """What could not be done, in words; `problems` are the faults of a definition. Status 0: nobody answers."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"the server answered {status}"))
        self.status = status
        self.hint = str(problem.get("hint", ""))
        self.problems: list[Data] = list(problem.get("errors", ()))


class Source(Protocol):
    """Somebody to ask. Its methods block, and may be called in any thread."""

    where: str
    local: bool

    def request(self, method: str, path: str, body: Data | None = None, query: Mapping[str, str] | None = None,
                headers: Mapping[str, str] | None = None) -> Any:  # fmt: skip
        """Return the data of an answer. Raises Fault."""
        ...

    def output(self, name: str, run: str, offset: int) -> bytes:
        """Return what a run printed after so many bytes, a part of it. Raises Fault."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def _find(method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
    wanted = path.strip("/").split("/")
    for endpoint in ENDPOINTS:
        pattern = endpoint.path.strip("/").split("/")
        if endpoint.method == method and len(pattern) == len(wanted):
            pairs = list(zip(pattern, wanted, strict=True))
            if all(part == word or part.startswith("{") for part, word in pairs):
                return endpoint, {part[1:-1]: word for part, word in pairs if part.startswith("{")}
    raise LookupError(f"{method} {path}")


class Local:
    """The workspace itself, with the rights of whoever sits here. Where no serve lives, it minds the runs it starts."""

    local = True

    def __init__(self, layout: Layout, owner: str) -> None:
        self.where = str(layout.root)
        self._layout, self._caller = layout, Caller("admin", owner)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._overview: Overview | None = None
        self._looked = 0.0

    def request(self, method: str, path: str, body: Data | None = None, query: Mapping[str, str] | None = None,
                headers: Mapping[str, str] | None = None) -> Any:  # fmt: skip
        """Return the data of an answer. Raises Fault."""
        endpoint, parts = _find(method, path)
        lowered = {key.lower(): value for key, value in (headers or {}).items()}
        with self._lock:
            try:
                session = self._current()
                found = endpoint.act(session, Call(self._caller, parts, query or {}, body or {}, lowered, self._overview)).data
                session.world.cool()
                return found
            except HttpError as error:
                raise Fault(error.status, answer.problem(error.status, error.detail, error.hint)) from None
            except RoutinectlError as error:
                raise Fault(*answer.of_error(error)) from None
            except OSError as error:
                self._drop()
                raise Fault(
                    503, {"detail": f"the workspace cannot be read or written: {error.strerror}", "hint": "routinectl doctor"}
                ) from None

    def output(self, name: str, run: str, offset: int) -> bytes:
        """Return what a run printed after so many bytes, a part of it. Raises Fault."""
        with self._lock:
            try:
                return run_logs.follow(runs.output_of(self._current(), name, run), offset)[:_LOG_BYTES]
            except RoutinectlError as error:
                raise Fault(*answer.of_error(error)) from None

    def _current(self) -> Session:
        session = self._session
        if session is not None:
            lived = session.serve_lives
            session.refresh()
            if session.serve_lives == lived:
                self._stand_in(session)
                return session
            self._drop()  # who takes definitions in, and who minds runs, has changed
        session = self._session = Session(self._layout)
        self._overview = Overview(session)
        session.engine.listeners.append(self._overview.heard)
        self._looked = clock.awake()
        return session

    def _stand_in(self, session: Session) -> None:
        """Do what serve would, where none lives: take in definitions, and the ends of runs."""
        if session.serve_lives:
            return
        if clock.awake() > self._looked + _LOOK_AGAIN:
            session.stand_in()
            self._looked = clock.awake()
        if session.world.running or session.world.waiting:
            runs.attend(session, timedelta(milliseconds=10))

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def close(self) -> None:
        """End the session."""
        with self._lock:
            self._drop()


class Remote:
    """A server (`routinectl serve --http`), with a token."""

    local = False

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"'{url}' is no address", "routinectl tui --url http://127.0.0.1:8766")
        self.where = url.rstrip("/")
        self._token = token
        # No proxy, and no redirect to another host: the token is for this server only.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def request(self, method: str, path: str, body: Data | None = None, query: Mapping[str, str] | None = None,
                headers: Mapping[str, str] | None = None) -> Any:  # fmt: skip
        """Return the data of an answer. Raises Fault."""
        data = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None else {}
        text = self._send(method, path + (f"?{urlencode(query)}" if query else ""), data, {**kind, **(headers or {})})
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise Fault(502, {"detail": f"{self.where} does not speak as routinectl does", "hint": "routinectl serve --http"}) from None

    def output(self, name: str, run: str, offset: int) -> bytes:
        """Return what a run printed after so many bytes, a part of it. Raises Fault."""
        path = f"/routines/{quote(name)}/runs/{quote(run)}/log"
        try:
            return self._send("GET", path, None, {"Range": f"bytes={offset}-{offset + _LOG_BYTES - 1}"})
        except Fault as fault:
            if fault.status == 416:
                return b""  # nothing new
            raise

    def _send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> bytes:
        asked = urllib.request.Request(  # noqa: S310, the scheme is checked above
            self.where + path, data=data, method=method, headers={**headers, "Authorization": f"Bearer {self._token}"}
        )
        try:
            with self._opener.open(asked, timeout=_SECONDS) as found:
                return bytes(found.read())
        except urllib.error.HTTPError as error:
            raise Fault(error.code, _problem(error.read())) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Fault(0, {"detail": f"{self.where} does not answer: {reason}", "hint": "routinectl serve --http"}) from None

    def close(self) -> None:
        """Do nothing: each request is one by itself."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _problem(raw: bytes) -> Data:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
