"""The tools of an agent, as one process inside the confinement: a request a line on standard input, an answer a line on standard output.

Whatever the model asks for happens here and nowhere else, so that what the confinement closes is closed for all of it: no
network means none for `web.fetch` too, and what is read-only is so for `files.write`. Standard library only; run by its
path (`python -I -S toolbox.py`), and it imports nothing of routinectl: the rest of the package is not there to see.
"""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

_READ_BYTES, _FETCH_BYTES, _RUN_BYTES = 64 * 1024, 256 * 1024, 32 * 1024
_MOST_ENTRIES, _MOST_LINES, _MOST_FILES = 500, 200, 20_000
_SECONDS = 60


class Fault(Exception):
    """A tool could not do what was asked; the text goes to the model."""


def read(path: str, offset: int = 0) -> str:
    """Return the lines of a text file from `offset` on, at most 64 KiB."""
    with open(path, "rb") as file:
        for _ in range(offset):
            if not file.readline():
                break
        data = file.read(_READ_BYTES + 1)
    if b"\0" in data[:1024]:
        raise Fault("it is no text")
    more = "\n[there is more: read on with offset]" if len(data) > _READ_BYTES else ""
    return data[:_READ_BYTES].decode(errors="replace") + more


def list_folder(path: str) -> str:
    """Return the names in a folder; folders end with a slash."""
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    lines = [entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries[:_MOST_ENTRIES]]
    return "\n".join([*lines, *(["[there are more]"] if len(entries) > _MOST_ENTRIES else [])])


def search(text: str, path: str) -> str:
    """Return the lines that hold a text, with file and number."""
    if not text:
        raise Fault("the text to look for is empty")
    found: list[str] = []
    seen = 0
    tops = [(os.path.dirname(path), [], [os.path.basename(path)])] if os.path.isfile(path) else os.walk(path)
    for top, folders, files in tops:
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            seen += 1
            if seen > _MOST_FILES or len(found) >= _MOST_LINES:
                return "\n".join([*found, "[there may be more]"])
            with contextlib.suppress(OSError), open(os.path.join(top, name), errors="replace") as file:
                found += [
                    f"{os.path.join(top, name)}:{number}: {line.rstrip()[:500]}" for number, line in enumerate(file, 1) if text in line
                ][:50]
    return "\n".join(found[:_MOST_LINES]) or "nothing found"


def write(path: str, text: str) -> str:
    """Write a text file as a whole."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return f"wrote {len(text.encode())} bytes to {path}"


def run(command: str, seconds: int = _SECONDS) -> str:
    """Run a command line, and return its exit code and the end of its output."""
    with subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            return f"stopped after {seconds} s\n{_end_of(said)}"
    return f"exit code {process.returncode}\n{_end_of(said)}"


def _end_of(said: bytes) -> str:
    text = said[-_RUN_BYTES:].decode(errors="replace")
    return f"[the first {len(said) - _RUN_BYTES} bytes are left out]\n{text}" if len(said) > _RUN_BYTES else text


def fetch(url: str) -> str:
    """Get a page."""
    return _http("GET", url, None, {})


def send(method: str, url: str, body: str = "", headers: dict[str, str] | None = None) -> str:
    """Send something over HTTP."""
    return _http(method, url, body.encode(), headers or {})


def _http(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> str:
    if not url.startswith(("http://", "https://")):
        raise Fault("only http:// and https:// are spoken here")
    request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310  # looked at just above
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            data = answer.read(_FETCH_BYTES + 1)
            return f"{answer.status} {answer.reason}\n{data[:_FETCH_BYTES].decode(errors='replace')}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}\n{error.read(_FETCH_BYTES).decode(errors='replace')}"


_TOOLS = {
    "files.read": read, "files.list": list_folder, "files.search": search, "files.write": write, "shell.run": run, "web.fetch": fetch,
    "web.send": send,
}  # fmt: skip


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks, and say what came of it."""
    try:
        return {"ok": True, "text": _TOOLS[request["tool"]](**request["arguments"])}  # type: ignore[operator]
    except KeyError:
        return {"ok": False, "text": f"there is no tool {request['tool']}"}
    except (Fault, TypeError, ValueError) as error:
        return {"ok": False, "text": str(error)}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return {"ok": False, "text": f"{where}{error.strerror or getattr(error, 'reason', None) or error}"}


def main() -> None:
    """Answer until there is nothing more to read. What tools print goes to standard error, never between the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
