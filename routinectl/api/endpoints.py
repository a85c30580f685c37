"""What may be asked over HTTP: a table of endpoints. The OpenAPI document is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from routinectl.api import reading, writing
from routinectl.api.call import Act, Data
from routinectl.operations import proposals


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and path, what it does, the role it takes at least, and what its body and query may hold."""

    method: str
    path: str
    act: Act
    role: str
    summary: str
    success: int = 200
    body: Data | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    creates: bool = False  # it may answer 201 too


_PAYLOAD: Data = {"type": "object", "description": "Input of the run; it is merged over action.payload."}
_FOR: Data = {"type": "string", "description": "A duration.", "examples": ["2h"]}
_NOTE: Data = {"type": "object", "properties": {"note": {"type": "string"}, "for": _FOR}}
_ASKED: Data = {"type": "object", "properties": {"payload": _PAYLOAD, "force": {"type": "boolean"}}}
_DEFINITION: Data = {"$ref": "#/components/schemas/Routine"}
_PAGE = {"limit": "How many at most.", "cursor": "`next` of the page before."}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/me", reading.me, "viewer", "Say who asks."),
    Endpoint("GET", "/routines", reading.list_routines, "viewer", "List the routines.", query={
        **_PAGE, "since": "`position` of an answer before: only what has changed since.", "enabled": "true or false.", "status": "active, paused, ...", "owner": "Whose.", "tag": "With this tag.",
        "text": "In id, name or description."}, errors=(400,)),
    Endpoint("POST", "/routines", writing.create, "agent", "Add a routine.", 201, body=_DEFINITION, errors=(400, 409, 422)),
    Endpoint("POST", "/routines/propose", writing.propose_routine, "agent", "Have a model draft a routine for a sentence.", 201, body={
        "type": "object", "required": ["text"], "properties": {"text": {"type": "string"}, "model": {"type": "string"}}},
        errors=(400, 409, 422)),
    Endpoint("GET", "/routines/{id}", reading.get, "viewer", "Show a routine.", errors=(404, 422)),
    Endpoint("PATCH", "/routines/{id}", writing.patch, "agent", "Change a routine (JSON merge patch).", body={"type": "object"},
             errors=(400, 404, 409, 412, 422)),
    Endpoint("DELETE", "/routines/{id}", writing.delete, "user", "Remove a routine.", 204, errors=(404, 409, 412, 422)),
    Endpoint("GET", "/routines/{id}/definition", reading.get_definition, "viewer", "Show its file.", errors=(404, 422)),
    Endpoint("PUT", "/routines/{id}/definition", writing.put_definition, "agent", "Write its file.", body={
        "type": "object", "required": ["text"], "properties": {"text": {"type": "string", "description": "YAML."}}},
        errors=(400, 404, 409, 412, 422), creates=True),
    Endpoint("POST", "/check", reading.check, "viewer", "Check a definition before it is written.", body={
        "type": "object", "properties": {"id": {"type": "string"}, "text": {"type": "string", "description": "YAML."},
                                         "definition": {"type": "object"},
                                         "patch": {"type": "object", "description": "A JSON merge patch of the routine `id`."},
                                         "form": {"type": "object", "description": "New values of fields of the form of `text`."}}},
             errors=(400, 404, 422)),
    Endpoint("GET", "/routines/{id}/why", reading.why, "viewer", "Say why it ran or did not.",
             query={"at": "The instant of a slot.", "run": "A run."}, errors=(400, 404, 409, 422)),
    Endpoint("PATCH", "/routines/{id}/toggle", writing.toggle, "user", "Enable or disable a routine.",
             body={"type": "object", "properties": {"enabled": {"type": "boolean"}}}, errors=(400, 404, 409, 422)),
    Endpoint("POST", "/routines/{id}/run_now", writing.run_now, "user", "Run a routine now.", 202, body=_ASKED, errors=(400, 404, 409, 422)),
    Endpoint("POST", "/routines/{id}/dispatch", writing.dispatch, "user", "Ask for a run as a trigger would.", 202, body=_ASKED,
             errors=(400, 404, 409, 422)),
    Endpoint("POST", "/routines/{id}/pause", writing.pause, "user", "Pause a routine.", body={"type": "object", "properties": {
        "for": _FOR, "until": {"type": "string", "description": "An instant, ISO 8601."}, "reason": {"type": "string"}}},
        errors=(400, 404, 422)),
    Endpoint("POST", "/routines/{id}/resume", writing.resume, "user", "Resume a routine.", errors=(400, 404, 422)),
    Endpoint("POST", "/routines/{id}/cancel", writing.cancel, "user", "Stop its runs.", 202,
             body={"type": "object", "properties": {"run": {"type": "string"}}}, errors=(400, 404, 409)),
    Endpoint("POST", "/routines/{id}/approve", writing.approve, "user", "Approve its content as it is now.", body=_NOTE, errors=(400, 404)),
    Endpoint("POST", "/routines/{id}/deny", writing.deny, "user", "Deny what it asks for.", body=_NOTE, errors=(400, 404)),
    Endpoint("GET", "/routines/{id}/history", reading.get_history, "viewer", "Show its ledger.",
             query={"limit": "The last so many.", "since": "An instant.", "outcome": "An outcome, or skipped, missed."}, errors=(400, 404)),
    Endpoint("GET", "/routines/{id}/runs/{run}", reading.get_run, "viewer", "Show a run.", errors=(404,)),
    Endpoint("POST", "/schedule_preview", reading.schedule_preview, "viewer", "Say what a schedule means and when it fires.", body={
        "type": "object", "required": ["schedule"], "properties": {
            "schedule": {"description": "Any text that `add` takes, or a trigger."}, "timezone": {"type": "string"},
            "after": {"type": "string"}, "count": {"type": "integer"}}}, errors=(400, 422)),
    Endpoint("GET", "/approvals", reading.get_approvals, "viewer", "List what waits for a person."),
    Endpoint("GET", "/reviews", reading.get_reviews, "viewer", "List slots and requests that a person must look at."),
    Endpoint("POST", "/routines/{id}/review", writing.answer_review, "user", "Have what waits for review run, or dismiss it.", body={
        "type": "object", "required": ["run"], "properties": {
            "run": {"type": "boolean", "description": "The newest slot and every request, or none."},
            "slot": {"type": "string", "description": "One slot, by its instant."}}}, errors=(400, 404)),
    Endpoint("POST", "/routines/{id}/proposals", writing.propose, "agent", "Propose to resume, delete or run it.", 201, body={
        "type": "object", "required": ["what"], "properties": {
            "what": {"enum": list(proposals.KINDS)}, "reason": {"type": "string"}, "payload": _PAYLOAD}}, errors=(400, 404)),
    Endpoint("GET", "/proposals", reading.get_proposals, "viewer", "List what agents propose."),
    Endpoint("GET", "/proposals/{proposal}", reading.get_proposal, "viewer", "Show one, with its patch.", errors=(404,)),
    Endpoint("POST", "/proposals/{proposal}/apply", writing.apply_proposal, "user", "Do what was proposed.", errors=(400, 404, 409, 422)),
    Endpoint("POST", "/proposals/{proposal}/reject", writing.reject_proposal, "user", "Refuse it.",
             body={"type": "object", "properties": {"note": {"type": "string"}}}, errors=(400, 404)),
    Endpoint("GET", "/timeline", reading.get_timeline, "viewer", "Show past and future of many routines.", query={
        "from": "An instant.", "to": "An instant.", "cells": "How many the axis has.", "ids": "Of these routines, with commas."},
        errors=(400,)),
    Endpoint("GET", "/budgets", reading.get_budgets, "viewer", "Show the budgets of the day."),
    Endpoint("GET", "/agents", reading.get_agents, "viewer", "List the saved agents."),
    Endpoint("GET", "/templates", reading.get_templates, "viewer", "List the presets."),
    Endpoint("GET", "/status", reading.get_status, "viewer", "Show the state of the workspace."),
)  # fmt: skip
