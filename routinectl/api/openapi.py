"""The OpenAPI 3.1 document, made of the table of endpoints and the schemas of the files."""

from __future__ import annotations

import functools
import re
from typing import Any

from routinectl.api.answer import PROBLEM, TITLES
from routinectl.api.endpoints import ENDPOINTS, Endpoint
from routinectl.files import schemas
from routinectl.version import VERSION

Data = dict[str, Any]
_PARTS = {
    "proposal": "An open proposal, by its id.",
    "id": "A routine's id.",
    "run": "A run's id.",
    "name": "A webhook's path, or the routine's id.",
    "channel": "A channel.",
}
_ALWAYS = (400, 401, 403, 503)


@functools.cache
def document() -> Data:
    """Return the whole document."""
    paths: Data = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    paths |= _others()
    return {
        "openapi": "3.1.0",
        "info": {"title": "routinectl", "version": VERSION, "description": "Routines, their runs, and why each slot ran or did not."},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Routine": _definition(), "Problem": _PROBLEM, "Event": _plain(schemas.load("event"))},
        },
    }


def _definition() -> Data:
    found = _plain(schemas.load("routine"))
    return {
        **found,
        "properties": {"id": {"type": "string", "description": "The id; without it, it is made of the name."}, **found["properties"]},
    }


def _plain(schema: Data) -> Data:
    return {key: value for key, value in schema.items() if key not in ("$schema", "$id")}


def _operation(endpoint: Endpoint) -> Data:
    found: Data = {
        "operationId": endpoint.act.__name__, "summary": endpoint.summary,
        "description": f"{(endpoint.act.__doc__ or '').strip()} For tokens of role {endpoint.role} and above.",
        "parameters": [*_path_parameters(endpoint.path), *_query(endpoint), *_headers(endpoint)],
        "responses": {str(endpoint.success): _success(endpoint.success), **({"201": _success(201)} if endpoint.creates else {}), **_problems((*_ALWAYS, *endpoint.errors, *_extra(endpoint)))},
    }  # fmt: skip
    if endpoint.body is not None:
        found["requestBody"] = {"required": "required" in endpoint.body or "$ref" in endpoint.body,
                                "content": {"application/json": {"schema": endpoint.body}}}  # fmt: skip
    return found


def _extra(endpoint: Endpoint) -> tuple[int, ...]:
    return (408, 413, 415, 422) if endpoint.method in ("POST", "PATCH", "PUT") else ()


def _path_parameters(path: str) -> list[Data]:
    return [{"name": name, "in": "path", "required": True, "description": _PARTS[name], "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)]  # fmt: skip


def _query(endpoint: Endpoint) -> list[Data]:
    return [_parameter(name, "query", text) for name, text in endpoint.query.items()]


def _headers(endpoint: Endpoint) -> list[Data]:
    found = []
    if endpoint.method == "POST":
        found.append(_parameter("Idempotency-Key", "header", "The same request under the same key is done once, and answered alike."))
    if 412 in endpoint.errors:
        found.append(_parameter("If-Match", "header", "The ETag that was read: 412 if it was changed since."))
    return found


def _parameter(name: str, where: str, text: str) -> Data:
    return {"name": name, "in": where, "required": False, "description": text, "schema": {"type": "string"}}


def _success(status: int) -> Data:
    if status == 204:
        return {"description": "Done."}
    return {
        "description": "Done." if status < 202 else "On record; it is done by serve.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }


def _problems(statuses: tuple[int, ...]) -> Data:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": TITLES.get(status, "Error"), "content": content} for status in sorted(set(statuses))}


_PROBLEM: Data = {
    "type": "object", "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
        "hint": {"type": "string", "description": "Something to paste."},
        "errors": {"type": "array", "items": {"type": "object", "properties": {
            "path": {"type": "string"}, "message": {"type": "string"}, "hint": {"type": "string"},
            "line": {"type": "integer"}, "column": {"type": "integer"}}}},
        "reason": {"type": "string", "description": "The gate that refused, as in the ledger."}, "run": {"type": "string"},
    },
}  # fmt: skip


def _others() -> Data:
    text = {"text/plain": {"schema": {"type": "string"}}}
    body = {"description": "Done.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "/routines/events": {"get": {
            "operationId": "events", "summary": "Stream events (server-sent); the id of each is its position in the journal.",
            "parameters": [_parameter("Last-Event-ID", "header", "Go on after this one."), _parameter("after", "query", "The same."),
                           _parameter("routine", "query", "Only of this routine."), _parameter("type", "query", "Only kinds that begin so.")],
            "responses": {"200": {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                          **_problems(_ALWAYS)}}},
        "/routines/{id}/runs/{run}/log": {"get": {
            "operationId": "log", "summary": "Return what a run printed.",
            "parameters": [*_path_parameters("{id}{run}"), _parameter("follow", "query", "1: as it comes, until the run ends."),
                           _parameter("Range", "header", "A range of bytes.")],
            "responses": {"200": {"description": "The output.", "content": text}, "206": {"description": "A part of it.", "content": text},
                          **_problems((*_ALWAYS, 404, 416))}}},
        "/hooks/routine/{name}": {"post": {
            "operationId": "hook", "summary": "Deliver to a webhook; signed, and needs no token.", "security": [],
            "parameters": _path_parameters("{name}"), "requestBody": {"content": {"*/*": {"schema": {}}}},
            "responses": {"202": body, **_problems((*_ALWAYS, 404, 408, 409, 413, 429))}}},
        "/channels/{channel}/messages": {"post": {
            "operationId": "message", "summary": "Give a message to the routines that listen on a channel. For tokens of role user and above.",
            "parameters": _path_parameters("{channel}"),
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}}},
            "responses": {"202": body, **_problems((*_ALWAYS, 408, 413, 415))}}},
        "/calendar.ics": {"get": {
            "operationId": "calendar", "summary": "Return the next fires as a calendar (RFC 5545).",
            "parameters": [_parameter("days", "query", "How many days, 1 to 90."), _parameter("token", "query", "Where no header can be sent.")],
            "responses": {"200": {"description": "A calendar.", "content": {"text/calendar": {"schema": {"type": "string"}}}},
                          **_problems((*_ALWAYS, 422))}}},
        "/metrics": {"get": {
            "operationId": "metrics", "summary": "Return metrics in the Prometheus text format. For admins, and viewers of everybody's routines.",
            "responses": {"200": {"description": "Metrics.", "content": text}, **_problems((*_ALWAYS, 422))}}},
        "/healthz": {"get": {"operationId": "healthz", "summary": "Say that this server answers.", "security": [],
                             "responses": {"200": body, **_problems((403, 503))}}},
        "/openapi.json": {"get": {"operationId": "openapi", "summary": "Return this document.", "security": [],
                                  "responses": {"200": body, **_problems((403, 503))}}},
    }  # fmt: skip
