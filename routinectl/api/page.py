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
_FOR_EVER = "private, max-age=31536000, immutable"
_INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page."""

    data: bytes
    kind: str
    etag: str


@functools.cache
def files() -> dict[str, File]:
    """Return the files of the page by their names."""
    found = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
    found[_INDEX] = found[_INDEX].replace(b"/page/", b"/page/%s/" % version().encode())
    return {name: File(data, _TYPES[Path(name).suffix], f'"{hashlib.sha256(data).hexdigest()[:20]}"') for name, data in found.items()}


@functools.cache
def version() -> str:
    """Return what changes with every byte of the page: it is in the addresses of its files, so that a browser need not ask again."""
    total = hashlib.sha256()
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            total.update(f"{path.name}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


async def serve(request: Request) -> Response:
    """Return a file of the page, or that the browser's copy is still good.

    A window that is older than this program asks for another version, and is given what there is.
    """
    name = request.path_params.get("name", _INDEX)
    found = files().get(name)
    if found is None:
        raise HttpError(404, f"the page has no '{name}'", "GET /")
    headers = {**HEADERS, "ETag": found.etag}
    if request.path_params.get("version") == version():
        headers["Cache-Control"] = _FOR_EVER
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.data, headers=headers, media_type=found.kind)
