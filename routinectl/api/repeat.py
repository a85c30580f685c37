"""Requests under an `Idempotency-Key`: answered once, and repeated from then on, over restarts, for a day."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from routinectl import clock
from routinectl.api.answer import Answer, HttpError
from routinectl.files import atomic
from routinectl.files.layout import Layout

_KEPT_SECONDS = 86_400
_MOST = 255


class Repeats:
    """Answers by key, a file each. A request that dies between its effect and this file is done again."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.private / "repeats"
        self._swept = 0.0

    def find(self, key: str, name: str, body: bytes) -> Answer | None:
        """Return the answer that was given under this key. Raises HttpError when it was given to another request."""
        if len(key) > _MOST:
            raise HttpError(400, f"an Idempotency-Key has at most {_MOST} characters")
        try:
            known = json.loads(self._path(key, name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        if known["body"] != hashlib.sha256(body).hexdigest():
            raise HttpError(422, "this Idempotency-Key was used for another request", "a new key for a new request")
        return Answer(known["data"], known["status"], known["headers"])

    def keep(self, key: str, name: str, body: bytes, answer: Answer) -> None:
        """Remember an answer, durably."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._sweep()
        known = {"body": hashlib.sha256(body).hexdigest(), "data": answer.data, "status": answer.status, "headers": answer.headers}
        atomic.write(self._path(key, name), json.dumps(known).encode(), mode=0o600)

    def _path(self, key: str, name: str) -> Path:
        return self._folder / hashlib.sha256(f"{name}\n{key}".encode()).hexdigest()

    def _sweep(self) -> None:
        now = clock.now().timestamp()
        if now - self._swept < _KEPT_SECONDS / 24:
            return
        self._swept = now
        for entry in os.scandir(self._folder):
            if now - entry.stat().st_mtime > _KEPT_SECONDS:
                os.unlink(entry.path)
