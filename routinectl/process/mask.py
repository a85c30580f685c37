"""Secrets never reach a file: a run that has some writes into a pipe, and this reader masks them on the way.

The reader is a child of the keeper that outlives serve and keeper. It replaces every secret, also in its base64 and
URL forms, with `***`; it keeps back as many bytes as the longest form has, so a secret split across writes is found.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import signal
from urllib.parse import quote, quote_plus

_READ_BYTES = 65536
_PATIENCE_MS = 200  # kept-back bytes are let go after this, so that `logs -f` stays live
MASK = b"***"


def forms(secret: str) -> set[bytes]:
    """Return the spellings of a secret that are masked: plain, its lines, base64 (all alignments), hex, URL, JSON, HTML."""
    plain = secret.encode("utf-8", "surrogateescape")
    found = {plain, plain.strip()}
    if b"\n" in plain:
        found |= {line for line in plain.splitlines() if len(line) >= 8}
    urls = {quote(plain, safe="").encode(), quote_plus(plain).encode()}
    found |= urls | {re.sub(rb"%..", lambda match: match.group().lower(), url) for url in urls}
    found |= {plain.hex().encode(), plain.hex().upper().encode()}
    written = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    written |= {text.replace("/", "\\/") for text in written}
    marked = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    written |= {marked, marked.replace('"', "&quot;").replace("'", "&#x27;")}
    found |= {text.encode("utf-8", "surrogateescape") for text in written}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + plain)
        start, end = -(-shift * 8 // 6), len(whole) - (4 if (len(plain) + shift) % 3 else 0)
        # What follows a secret changes its last characters; without anything after it, they are known.
        for core in (whole[start:end], whole[start:], whole[start:].rstrip(b"=")):
            if len(core) >= 6:
                found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in found if len(form) >= 1}


class Masker:
    """Replaces secrets in a stream."""

    def __init__(self, secrets: list[str]) -> None:
        self.forms = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
        self.longest = max(map(len, self.forms), default=1)
        self.pattern = re.compile(b"|".join(map(re.escape, self.forms)) or b"(?!)")
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return what may be written now; the tail in which a secret could still begin is kept back."""
        text = self.rest + data
        settled = len(text) - self.longest + 1  # a longer form could still match from here on
        parts, position = [], 0
        for match in self.pattern.finditer(text):
            if match.start() >= settled:
                break
            parts += [text[position : match.start()], MASK]
            position = match.end()
        cut = max(position, settled, 0)
        parts.append(text[position:cut])
        self.rest = text[cut:]
        return b"".join(parts)

    def calm(self) -> bytes:
        """Return the kept-back part up to where a secret could have begun, when nothing has come for a while."""
        for start in range(len(self.rest)):
            if any(form.startswith(self.rest[start:]) or self.rest.startswith(form, start) for form in self.forms):
                safe, self.rest = self.rest[:start], self.rest[start:]
                return safe
        safe, self.rest = self.rest, b""
        return safe

    def finish(self) -> bytes:
        """Return the last of it."""
        rest, self.rest = self.rest, b""
        return self.pattern.sub(MASK, rest)


def start(out: int, secrets: list[str], lease: int) -> tuple[int, int]:
    """Fork the reader; return the descriptor a run writes to and the reader's pid. Call it single-threaded only.

    It holds the run's own lease (-1: none) and nothing else of the keeper: not the leases of runs beside it, nor the keeper's lock.
    """
    from routinectl.process.confine import close_all_but

    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(reading)
        return writing, pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        close_all_but(reading, out, *([lease] if lease >= 0 else []))
        _copy(reading, out, Masker(secrets))
        status = 0
    finally:
        os._exit(status)


def _copy(reading: int, out: int, masker: Masker) -> None:
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        if masker.rest and not poll.poll(_PATIENCE_MS):
            _write(out, masker.calm())
            poll.poll()
        data = os.read(reading, _READ_BYTES)
        _write(out, masker.feed(data) if data else masker.finish())
        if not data:
            return


def _write(out: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk loses output, never the run
        while data:
            data = data[os.write(out, data) :]
