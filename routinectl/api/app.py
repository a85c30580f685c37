"""The application: reads requests, lets endpoints answer them one after another, and turns every error into a problem."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from routinectl import clock
from routinectl.api import answer, openapi, page
from routinectl.api.access import Caller, Right, caller_of, check_origin
from routinectl.api.answer import Answer, HttpError
from routinectl.api.call import Call
from routinectl.api.endpoints import ENDPOINTS, Endpoint
from routinectl.api.hub import Hub
from routinectl.api.repeat import Repeats
from routinectl.core import foreign
from routinectl.core import message as messages
from routinectl.core.event import Event
from routinectl.errors import RoutinectlError, UsageError
from routinectl.files import regular
from routinectl.operations import feed, hooks, metrics, runs
from routinectl.operations.access import EVERYBODY
from routinectl.operations.emit import Emitter
from routinectl.operations.hooks import Delivery
from routinectl.version import VERSION

MOST_BYTES = 1 << 20
_BODY_SECONDS = 30.0  # in which a body must have come
_HOOKS_A_MINUTE = 120  # deliveries to one webhook, over which its senders are told to wait
_LOG_CHUNK = 1 << 16
Handler = Callable[[Request], Awaitable[Response]]


class App:
    """The endpoints over one hub. `local` says that requests come over a unix socket of this user's own."""

    def __init__(self, hub: Hub, names: Collection[str], *, local: bool = False) -> None:
        self.hub, self.names, self.local = hub, frozenset(name.lower() for name in names), local
        self.repeats = Repeats(hub.layout)
        self.heard: dict[str, list[float]] = {}

    def starlette(self) -> Starlette:
        """Return the application for a server."""
        routes = [
            Route("/", self._guarded(page.serve)),
            Route("/page/{version}/{name}", self._guarded(page.serve)),
            Route("/routines/events", self._guarded(self.events)),
            *(Route(item.path, self._guarded(self._endpoint(item)), methods=[item.method]) for item in ENDPOINTS),
            Route("/routines/{id}/runs/{run}/log", self._guarded(self.log)),
            Route("/hooks/routine/{name}", self._guarded(self.hook), methods=["POST"]),
            Route("/channels/{channel}/messages", self._guarded(self.message), methods=["POST"]),
            Route("/metrics", self._guarded(self.metrics)),
            Route("/calendar.ics", self._guarded(self.calendar)),
            Route("/healthz", self._guarded(self.health)),
            Route("/openapi.json", self._guarded(self.description)),
        ]
        handlers: dict[Any, Any] = {HTTPException: _no_route, Exception: _broken}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._life, middleware=[Middleware(self._door)])

    def _door(self, inner: ASGIApp) -> ASGIApp:
        """Return the application behind the check of names: nothing else is looked at of a request that is not for us."""

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            answerer = inner
            if scope["type"] == "http" and not self.local:
                try:
                    check_origin(scope["headers"], self.names)
                except HttpError as error:
                    answerer = _problem(error.status, answer.problem(error.status, error.detail, error.hint))
            await answerer(scope, receive, send)

        return door

    @contextlib.asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.hub.pump()), asyncio.create_task(asyncio.to_thread(self.hub.warm))]
        yield
        for task in tasks:
            task.cancel()
        self.hub.close()

    # -- around every request

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except HttpError as error:
                return _problem(error.status, answer.problem(error.status, error.detail, error.hint), error.headers)
            except RoutinectlError as error:
                status, found = answer.of_error(error)
                return _problem(status, found)
            except OSError as error:
                found = answer.problem(503, f"the workspace cannot be read or written: {error.strerror}", "routinectl doctor")
                return _problem(503, found, {"Retry-After": "5"})

        return guarded

    def _caller(self, request: Request) -> Caller:
        return caller_of(self.hub.layout, request.headers, local=self.local, now=clock.now())

    def _endpoint(self, endpoint: Endpoint) -> Handler:
        async def handle(request: Request) -> Response:
            caller = await run_in_threadpool(self._caller, request)
            caller.require(endpoint.role)
            raw = await _body(request) if endpoint.method in ("POST", "PATCH", "PUT") else b""
            call = Call(caller, request.path_params, dict(request.query_params), _object(raw, request), dict(request.headers))
            return await run_in_threadpool(self._act, endpoint, call, raw)

        return handle

    def _act(self, endpoint: Endpoint, call: Call, raw: bytes) -> Response:
        """Answer one request; under an `Idempotency-Key`, the same one is answered once, and then repeated."""
        key = call.headers.get("idempotency-key") if endpoint.method == "POST" else None
        name = f"{endpoint.method} {endpoint.path} {json.dumps(dict(call.parts), sort_keys=True)} {call.caller}"
        with self.hub.turn() as session:
            known = self.repeats.find(key, name, raw) if key else None
            if known is not None:
                return JSONResponse(known.data, known.status, {**known.headers, "Idempotent-Replay": "true"})
            call.caller.looks_through(session)
            session.agent = f"the agent of {call.caller.owner}" if call.caller.role == "agent" else ""
            found = endpoint.act(session, dataclasses.replace(call, overview=self.hub.overview))
            if key:
                self.repeats.keep(key, name, raw, found)
        return _json(found)

    # -- requests that are not JSON in, JSON out

    async def health(self, request: Request) -> Response:
        """Say that this server answers."""
        return JSONResponse({"status": "ok", "version": VERSION})

    async def metrics(self, request: Request) -> Response:
        """Return the metrics, for Prometheus; a token of role viewer for all of them."""
        caller = await run_in_threadpool(self._caller, request)
        if not caller.sees_all:
            raise HttpError(403, "metrics are about everybody's routines", "routinectl token create --role viewer --owner '*'")

        def collect() -> bytes:
            with self.hub.turn() as session:
                return metrics.text(session)

        return Response(await run_in_threadpool(collect), media_type=metrics.CONTENT_TYPE)

    async def calendar(self, request: Request) -> Response:
        """Return the next fires for a calendar; programs that show one cannot send a header, so the token may be in the address."""
        headers = dict(request.headers)
        if request.query_params.get("token"):
            headers["authorization"] = f"Bearer {request.query_params['token']}"
        caller = await run_in_threadpool(lambda: caller_of(self.hub.layout, headers, local=self.local, now=clock.now()))
        days = Call(caller, query=request.query_params).number("days", 30, feed.MOST_DAYS)

        def collect() -> bytes:
            with self.hub.turn() as session:
                return feed.calendar(session, caller.seen(session), days)

        return Response(await run_in_threadpool(collect), media_type="text/calendar; charset=utf-8", headers={"Cache-Control": "no-store"})

    async def description(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(openapi.document())

    async def hook(self, request: Request) -> Response:
        """Take a delivery; it is on record before the answer."""
        name, body = request.path_params["name"], await _body(request)
        exposed = not self.local and not (_is_loopback(request) or request.scope["scheme"] == "https")
        delivery = Delivery(request.headers.raw, body, exposed)

        def take() -> dict[str, Any]:
            with self.hub.turn() as session:
                taken = hooks.deliver(session, name, delivery, self._count)
            return {"routine": taken.routine, "run": taken.run or None, "status": "known already" if taken.again else "requested"}

        return JSONResponse(await run_in_threadpool(take), 202)

    def _count(self, name: str) -> None:
        """Count a delivery that is believed. Raises HttpError where there are too many of them."""
        now = clock.awake()
        recent = [at for at in self.heard.get(name, ()) if at > now - 60]
        if len(recent) >= _HOOKS_A_MINUTE:
            wait = str(int(recent[0] + 60 - now) + 1)
            raise HttpError(429, f"{name} hears at most {_HOOKS_A_MINUTE} deliveries a minute", Retry_After=wait)
        self.heard[name] = [*recent, now]

    async def message(self, request: Request) -> Response:
        """Give a message to whoever listens on a channel."""
        caller = await run_in_threadpool(self._caller, request)
        caller.require("user")
        raw = await _body(request)
        data = _object(raw, request) if request.headers.get("content-type", "").startswith("application/json") else {}
        text = messages.text_in(data) if data else raw.decode(errors="replace")

        def give() -> list[dict[str, str | None]]:
            with self.hub.turn() as session:
                if caller.owner != EVERYBODY:
                    caller.looks_through(session)
                (asked,) = Emitter(session, request.path_params["channel"]).emit([(text, data)])
            return [item.to_plain() for item in asked]

        return JSONResponse({"asked": await run_in_threadpool(give)}, 202)

    async def events(self, request: Request) -> Response:
        """Stream events, from where the listener was cut off."""
        caller = await run_in_threadpool(self._caller, request)
        text = request.headers.get("last-event-id") or request.query_params.get("after")
        after = foreign.whole(text or "")
        if text is not None and after is None:
            raise UsageError(f"'{text[:40]}' is no position in the journal", "the id of the last event heard")
        routine, kind = request.query_params.get("routine"), request.query_params.get("type", "")
        sees = self.hub.sees

        def wants(event: Event) -> bool:
            if (routine is not None and event.subject != routine) or not event.type.startswith(kind):
                return False
            return sees(caller, event.subject)

        chunks = self.hub.stream(wants, after, Right(lambda: self._caller(request) == caller))
        return StreamingResponse(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def log(self, request: Request) -> Response:
        """Return what a run printed: all, a range of its bytes, or (`follow`) as it comes until the run ends."""
        caller = await run_in_threadpool(self._caller, request)
        name, run = request.path_params["id"], request.path_params["run"]

        def find() -> str:
            with self.hub.turn() as session:
                Call(caller, {"id": name}).id_in(session)
                return str(runs.output_of(session, name, run))

        path = await run_in_threadpool(find)
        kind = "text/plain; charset=utf-8"
        if request.query_params.get("follow") in ("1", "true"):
            right = Right(lambda: self._caller(request) == caller and self._sees(caller, name))
            return StreamingResponse(self._follow(path, name, run, right), media_type=kind, headers={"Cache-Control": "no-store"})
        first, last, size = await run_in_threadpool(_range, path, request.headers.get("range", ""))
        headers = {"Accept-Ranges": "bytes"}
        if request.headers.get("range"):
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        data = await run_in_threadpool(_read, path, first, last - first + 1)
        return Response(data, 206 if request.headers.get("range") else 200, headers, kind)

    async def _follow(self, path: str, name: str, run: str, right: Right) -> AsyncIterator[bytes]:
        offset = 0
        while True:
            ended = await run_in_threadpool(self._has_ended, name, run)
            while (data := await run_in_threadpool(_read, path, offset, _LOG_CHUNK)) and await right.lasts():
                offset += len(data)
                yield data
            if ended or not await right.lasts():
                return
            await asyncio.sleep(0.2)

    def _sees(self, caller: Caller, name: str) -> bool:
        with self.hub.turn():
            return self.hub.sees(caller, name)

    def _has_ended(self, name: str, run: str) -> bool:
        with self.hub.turn() as session:
            return run not in session.standing(name).runs


def _range(path: str, text: str) -> tuple[int, int, int]:
    """Return the first and last byte that are asked for, and the size. Raises HttpError for a range that is none."""
    size = os.path.getsize(path)
    unit, _, wanted = text.partition("=")
    low, dash, high = wanted.partition("-")
    if not text:
        return 0, size - 1, size
    begin, end = foreign.whole(low), foreign.whole(high)
    fits = unit == "bytes" and dash and (begin is not None or not low) and (end is not None or not high)
    if not fits or (begin is None and end is None):
        raise UsageError(f"'{text[:40]}' is no range", "Range: bytes=0-1023")
    if begin is None:
        first, last = max(size - (end or 0), 0), size - 1
    else:
        first, last = begin, size - 1 if end is None else min(end, size - 1)
    if first > last:
        raise HttpError(416, f"the output has {size} bytes", Content_Range=f"bytes */{size}")
    return first, last, size


def _read(path: str, offset: int, size: int) -> bytes:
    return regular.part(path, offset, max(size, 0))


async def _body(request: Request) -> bytes:
    """Return the body. Raises HttpError for one that is too large, or too slow."""
    if (foreign.whole(request.headers.get("content-length", "")) or 0) > MOST_BYTES:
        raise HttpError(413, f"a body has at most {MOST_BYTES >> 20} MiB")
    found = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > MOST_BYTES:
                    raise HttpError(413, f"a body has at most {MOST_BYTES >> 20} MiB")
    except TimeoutError:
        raise HttpError(408, f"the body did not come within {int(_BODY_SECONDS)} s") from None
    except ClientDisconnect:
        raise HttpError(400, "the body ended too early") from None
    return bytes(found)


def _object(raw: bytes, request: Request) -> dict[str, Any]:
    if not raw.strip():
        return {}
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise HttpError(415, f"the body is {kind}; it must be JSON", "Content-Type: application/json")
    try:
        found = foreign.parse(raw)
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {error}", "Content-Type: application/json") from None
    if not isinstance(found, dict):
        raise UsageError("the body is a JSON object", "{}")
    return found


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _json(found: Answer) -> Response:
    if found.status == 204:
        return Response(status_code=204, headers=found.headers)
    return JSONResponse(found.data, found.status, found.headers)


def _problem(status: int, found: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(found, status, headers, media_type=answer.PROBLEM)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, answer.problem(error.status_code, answer.TITLES.get(error.status_code, error.detail)),
                    dict(error.headers or {}))  # fmt: skip


async def _broken(request: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    return _problem(500, answer.problem(500, f"{type(error).__name__}: this is a fault of routinectl; its log has more"))
