"""P16: a secret that a run is given reaches no file, log, stream, answer or notice, in none of the forms that runs print it in.

Runs print it plain, encoded and torn across writes, fail with it, and are judged by it; then everything that can be seen
from outside is searched. The control prints the same as no secret, and is found everywhere it should be.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from conftest import until

pytestmark = pytest.mark.slow
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
ROUNDS = 1 if SHORT else 20
CANARY = "canary/7f3a+Zq9=ümlaut&x"  # with what URLs, base64 and JSON write in another way

PROGRAM = """
import base64, html, json, os, re, sys, time, urllib.parse
canary = os.environ["CANARY"]
out = sys.stdout.buffer
def say(data):
    out.write(data if isinstance(data, bytes) else data.encode()); out.flush()
say(f"plain {canary} and again{canary}{canary}\\n")
for shift in range(3):
    say(b"base64 " + base64.b64encode(b"a" * shift + canary.encode() + b"tail") + b"\\n")
    say(b"urlsafe " + base64.urlsafe_b64encode(b"a" * shift + canary.encode()) + b"\\n")
say("url " + urllib.parse.quote(canary, safe="") + " " + urllib.parse.quote_plus(canary) + "\\n")
say("hex " + canary.encode().hex() + " " + canary.encode().hex().upper() + "\\n")
say("html " + html.escape(canary) + " " + re.sub("%..", lambda match: match.group().lower(), urllib.parse.quote(canary, safe="")) + "\\n")
say("json " + json.dumps({"token": canary}, ensure_ascii=False) + json.dumps({"token": canary}) + "\\n")
for pause in (0.0, 0.05, 0.5):
    say("torn ")
    for byte in canary.encode():
        say(bytes([byte])); time.sleep(pause / 8)
    say("\\n")
sys.stderr.write(f"error: refused {canary}\\n")
with open(os.environ["ROUTINE_RESULT"], "w") as file:
    file.write(f"failed with {canary}\\n")
sys.exit(int(sys.argv[1]))
"""


def spellings(secret: str) -> dict[str, bytes]:
    plain = secret.encode()
    found = {
        "plain": plain,
        "url": quote(secret, safe="").encode(),
        "hex": binascii.hexlify(plain),
        "json": json.dumps(secret).encode()[1:-1],
    }
    found |= {"HEX": found["hex"].upper(), "html": html.escape(secret).encode()}
    found["url, small"] = re.sub(rb"%..", lambda match: match.group().lower(), found["url"])
    for shift in range(3):
        whole = base64.b64encode(b"a" * shift + plain + b"tail")
        found[f"base64 {shift}"] = whole[4 if shift else 0 : (shift + len(plain)) // 3 * 4]
    return found


class Seen:
    """Everything that is seen from outside, by where."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}

    def add(self, where: str, data: bytes | str) -> None:
        more = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        self.parts[where] = self.parts.get(where, b"") + more

    def files(self, root: Path) -> None:
        for path in root.rglob("*"):
            # Its own secret, and the file that a run itself writes, are not ours to mask (docs/decisions/0002).
            if path.is_file() and path.name != "result" and path.parent != root / "secrets":
                self.add(str(path.relative_to(root)), path.read_bytes())

    def hits(self, secret: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for where, data in self.parts.items():
            for name, form in spellings(secret).items():
                if form in data:
                    found.setdefault(where, set()).add(name)
        return found


def listen(url: str, headers: dict, seen: Seen, ready: threading.Event) -> None:
    """Keep what the stream of events says until the server is gone."""
    try:
        with httpx.stream("GET", f"{url}/routines/events", headers=headers, timeout=60) as stream:
            ready.set()
            for chunk in stream.iter_bytes():
                seen.add("the stream of events", chunk)
    except httpx.HTTPError:
        return


def run_everything(workspace, seen: Seen, *, declared: bool) -> None:
    """Serve runs that print the canary in every way, and look at them in every way."""
    root = workspace.root
    (root / "secrets").mkdir(mode=0o700, exist_ok=True)
    (root / "secrets/canary").write_text(CANARY)
    (root / "print.py").write_text(PROGRAM)
    given = "secrets: {CANARY: {file: workspace:secrets/canary}}" if declared else f"env: {{CANARY: {json.dumps(CANARY)}}}"
    judge = "expect: {output_not: /refused/}"
    tell = json.dumps([sys.executable, "-c", "import sys; open('told', 'ab').write(sys.stdin.buffer.read())"])
    workspace.configure(f"notify: {{targets: {{ops: {{command: {tell}}}}}, remind: {{failures: 1}}}}")
    for name, code, more in (("good", 0, ""), ("bad", 3, "retry: {attempts: 2, delay: 1s}\n"), ("judged", 0, judge + "\n")):
        command = json.dumps([sys.executable, str(root / "print.py"), str(code)])
        workspace.define(name, f"timeout: 1m\n{more}action: {{command: {command}, {given}}}\n")
    workspace.define(
        "next", "timeout: 1m\ntriggers: [{after: {routine: bad, outcome: [failed]}}]\naction: {command: 'cat $ROUTINE_PAYLOAD'}\n"
    )
    with workspace.serving("--http", "127.0.0.1:0", "--metrics-file", str(root / "metrics.prom"), "--log-level", "debug") as serving:
        port = serving.wait_for("HTTP on http://127.0.0.1:").partition("HTTP on http://127.0.0.1:")[2].split()[0]
        url, headers = (
            f"http://127.0.0.1:{port}",
            {"Authorization": f"Bearer {workspace.ok('token', 'create', '--role', 'admin').out.strip()}"},
        )
        ready = threading.Event()
        threading.Thread(target=listen, args=(url, headers, seen, ready), daemon=True).start()
        assert ready.wait(30)
        for _ in range(ROUNDS):
            for name in ("good", "bad", "judged"):
                answer = workspace.run("run-now", name, "--wait", "--follow")
                seen.add(f"run-now {name}", answer.out + answer.err)
        until(lambda: workspace.events("run.ended", "next"))
        until(lambda: workspace.events("notice.sent"))
        for path in ("/routines", "/routines/bad", "/routines/bad/history", "/status", "/metrics", "/approvals"):
            seen.add(f"GET {path}", httpx.get(url + path, headers=headers).content)
        run = workspace.ok("history", "bad", "--json").data[-1]["run"]
        seen.add("GET log", httpx.get(f"{url}/routines/bad/runs/{run}/log", headers=headers).content)
        time.sleep(0.3)
    seen.add("what serve said", serving.text)
    for words in (
        ("logs", "bad"),
        ("history",),
        ("history", "--json"),
        ("events",),
        ("status",),
        ("show", "bad"),
        ("why", "bad", "--json"),
        ("env", "bad"),
    ):
        answer = workspace.run(*words)
        seen.add(" ".join(words), answer.out + answer.err)
    bundle = subprocess.run(
        [sys.executable, "-m", "routinectl", "export", "good"], cwd=root, env=workspace.env, capture_output=True, check=False
    )
    seen.add("export", bundle.stdout)
    seen.files(root)


def test_a_secret_is_seen_nowhere(workspace):
    seen = Seen()
    run_everything(workspace, seen, declared=True)
    size = sum(len(data) for data in seen.parts.values())
    print(f"{len(seen.parts)} places, {size} bytes searched for {len(spellings(CANARY))} forms")

    assert seen.hits(CANARY) == {}
    assert any(b"***" in data for data in seen.parts.values())


def test_what_is_no_secret_is_found_where_it_should_be(workspace):
    seen = Seen()
    run_everything(workspace, seen, declared=False)
    found = seen.hits(CANARY)

    output = set().union(*(names for where, names in found.items() if where.endswith("/out")))
    assert output >= {"plain", "url", "hex", "base64 0", "base64 1", "base64 2"}
    for place in ("told", "the stream of events", "GET log", "GET /routines/bad/history", "history", "logs bad"):
        assert "plain" in found.get(place, set()), place
