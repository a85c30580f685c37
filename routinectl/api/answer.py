"""Answers: JSON, and errors as problem details (RFC 9457) with all faults, each with its path, message and hint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from routinectl.errors import (
    BusyError,
    DeadlineError,
    DefinitionError,
    DeniedError,
    ExistsError,
    NotFoundError,
    RoutinectlError,
    UsageError,
)
from routinectl.operations.authoring import problem_row
from routinectl.operations.hooks import ForgedError, RefusedError

PROBLEM = "application/problem+json"
TITLES = {
    400: "The request makes no sense", 401: "Who are you?", 403: "Not allowed", 404: "There is no such thing",
    405: "Not this method", 409: "It cannot be done as things stand", 412: "It was changed meanwhile", 413: "Too large",
    415: "Not this media type", 422: "The definition has faults", 429: "Too many requests", 500: "A fault of routinectl",
    503: "Not now", 504: "It took too long",
}  # fmt: skip
_STATUS: tuple[tuple[type[RoutinectlError], int], ...] = (
    (ForgedError, 401), (RefusedError, 409), (ExistsError, 409), (BusyError, 409), (NotFoundError, 404), (DeniedError, 403),
    (DefinitionError, 422), (DeadlineError, 504), (UsageError, 400), (RoutinectlError, 409),
)  # fmt: skip


class HttpError(Exception):
    """An answer that is no success and no error of an operation."""

    def __init__(self, status: int, detail: str, hint: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint = status, detail, hint
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: JSON data, its status and headers."""

    data: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, detail: str, hint: str = "", errors: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """Return problem details; `errors` are the faults of a definition, or of the request."""
    found: dict[str, Any] = {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    if hint:
        found["hint"] = hint
    if errors:
        found["errors"] = errors
    return found | {key: value for key, value in more.items() if value}


def of_error(error: RoutinectlError) -> tuple[int, dict[str, Any]]:
    """Return status and problem details of an error of an operation."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    problems = getattr(error, "problems", ())
    errors = [problem_row(item) for item in problems]
    extra = {"reason": error.reason, "run": error.run} if isinstance(error, RefusedError) else {}
    return status, problem(status, error.message, error.hint, errors, **extra)
