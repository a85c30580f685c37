"""Pinging a service that expects to hear from us, and tells people when it does not."""

from __future__ import annotations

import contextlib
import http.client
from urllib.parse import urlsplit

from routinectl.errors import RoutinectlError, UsageError

_SECONDS = 10.0


class UnreachableError(RoutinectlError):
    """The service did not take the ping."""

    exit_code = 1


def ping(url: str, text: str) -> int:
    """Send a text to a URL and return the status it answered. Raises UsageError, and UnreachableError for anything but success."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("the URL of a heartbeat begins with http:// or https://", "routinectl heartbeat https://hc.example.org/ping/...")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": "routinectl", "Content-Type": "text/plain; charset=utf-8"}
    try:
        with contextlib.closing(kind(parts.hostname, parts.port, timeout=_SECONDS)) as connection:
            connection.request("POST", target, text.encode(), headers)
            status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(f"{parts.hostname} cannot be reached: {error}", f"curl -sS {parts.scheme}://{parts.hostname}") from None
    if not 200 <= status < 300:
        raise UnreachableError(f"{parts.hostname} answered {status}", "is the URL right, and its check not paused?")
    return status
