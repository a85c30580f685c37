"""The web page: a handful of files that came with the program, served with headers that let nothing else in."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from routinectl.api.answer import HttpError

_FOLDER = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# No script, style, picture or address but our own; no inline script, no markup made of text, no frame around us, no form sent anywhere.
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
           "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")  # fmt: skip
HEADERS = {
    "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-cache",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page."""

    data: bytes
    kind: str
    etag: str


@functools.cache
def files() -> dict[str, File]:
    """Return the files of the page by their names."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            data = path.read_bytes()
            found[path.name] = File(data, _TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:20]}"')
    return found


async def serve(request: Request) -> Response:
    """Return a file of the page, or that the browser's copy is still good."""
    name = request.path_params.get("name", "index.html")
    found = files().get(name)
    if found is None:
        raise HttpError(404, f"the page has no '{name}'", "GET /")
    headers = {**HEADERS, "ETag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.data, headers=headers, media_type=found.kind)
