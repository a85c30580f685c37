"""P10, P15: the HTTP face under generated requests, and serve's punctuality under floods of requests, messages and listeners.

schemathesis makes requests from the OpenAPI document, good and bad: no answer may be a fault of ours (500), nor one that
the document does not name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from conftest import until

from routinectl import clock
from routinectl.core.event import Event
from routinectl.files import journal
from routinectl.files.layout import Layout

pytestmark = pytest.mark.slow
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
EXAMPLES = "4" if SHORT else "60"
SECONDS = 6 if SHORT else 60
ROUTINES = 1000
ALLOWED = 30.0 if SHORT else 1.0  # seconds: what P15 promises; CI, where other proofs run beside it, only sees that it comes back


def begin(workspace, serving):
    port = serving.wait_for("HTTP on http://127.0.0.1:").partition("HTTP on http://127.0.0.1:")[2].split()[0]
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return httpx.get(f"{url}/healthz").status_code == 200
        except httpx.ConnectError:
            return False

    until(answers)
    return url, {"Authorization": f"Bearer {workspace.ok('token', 'create', '--role', 'admin').out.strip()}"}


def test_generated_requests_find_no_fault_of_ours(workspace, tmp_path):
    workspace.define("hello", "triggers: [{webhook: {path: p}}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
    phases = "examples,fuzzing" if SHORT else "examples,coverage,fuzzing,stateful"
    with workspace.serving("--http", "127.0.0.1:0", "--log-level", "error") as serving:
        url, headers = begin(workspace, serving)
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "-H", f"Authorization: {headers['Authorization']}",
             "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
             "--exclude-path", "/routines/events", "--max-examples", EXAMPLES, "--phases", phases, "--generation-deterministic"],
            cwd=tmp_path, env={**workspace.env, "COLUMNS": "200"}, capture_output=True, text=True, check=False)  # fmt: skip
        assert httpx.get(f"{url}/healthz").status_code == 200
    made = re.search(r"[\d,]+ generated.*", done.stdout)
    print(made.group() if made else done.stdout[-3000:])

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert made


def lateness(workspace, begun):
    """Return how late the claims of slots since an instant were, in seconds, sorted."""
    claims = [event["data"] for event in workspace.events("run.claimed") if event["data"].get("slot") and event["time"] > begun]
    instant = datetime.fromisoformat
    return sorted((instant(claim["at"]) - instant(claim["due"])).total_seconds() for claim in claims)


class Flood:
    """Does something over and over in threads until it is stopped; counts."""

    def __init__(self, act, threads=1):
        self.count, self.over, self.errors = 0, False, []
        self.threads = [threading.Thread(target=self._run, args=(act,)) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, act):
        while not self.over:
            try:
                self.count += act()
            except Exception as error:  # noqa: BLE001 - told at the end
                self.errors.append(error)
                return

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join()
        assert self.errors == []


def serve_beside(workspace, flood_of, *, every="1m"):
    """Serve a thousand routines, ten of them every second and the rest spread over the minute, under a flood; return how late they were claimed."""
    for number in range(ROUTINES):
        often, spread = ("1s", "0s") if number < 10 else (every, "50s")
        workspace.define(
            f"r{number:04d}", f"triggers: [{{every: {often}}}]\njitter: {spread}\ntimeout: 1m\naction: {{command: ['true']}}\n"
        )
    with workspace.serving("--http", "127.0.0.1:0", "--log-level", "error") as serving:
        url, headers = begin(workspace, serving)
        serving.wait_for("ready")
        begun = workspace.events()[-1]["time"]
        flood = flood_of(url, headers)
        time.sleep(SECONDS)
        flood.stop()
    late = lateness(workspace, begun)
    assert len(late) > SECONDS * 5
    worst, p99 = late[-1], late[int(len(late) * 0.99)]
    print(
        f"{flood.count / SECONDS:.0f} a second beside it; {len(late)} claims, p99 {p99 * 1000:.0f} ms, the latest {worst * 1000:.0f} ms late"
    )
    return p99


def test_requests_make_nothing_late(workspace):
    def flood(url, headers):
        client = httpx.Client(base_url=url, headers=headers)

        def act():
            started = time.monotonic()
            assert client.get("/routines/r0001").status_code == 200
            time.sleep(max(0.01 - (time.monotonic() - started), 0))
            return 1

        return Flood(act)

    assert serve_beside(workspace, flood) < ALLOWED


def test_a_thousand_patterns_and_ten_thousand_messages_a_second_make_nothing_late(workspace):
    for number in range(1000):
        workspace.define(f"p{number:04d}", f"triggers: [{{message: {{channel: flood, pattern: '(?i)\\balert{number}\\b.*(disk|cpu)'}}}}]\n"
                         "timeout: 1m\naction: {command: ['true']}\n")  # fmt: skip

    def flood(url, headers):
        process = subprocess.Popen([sys.executable, "-m", "routinectl", "emit", "--stream", "flood"], cwd=workspace.root, env=workspace.env,
                                   stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        lines = b"".join(b"host %d: alert%d and nothing else of interest\n" % (number, number) for number in range(1000))

        def act():
            started = time.monotonic()
            if found.over:
                return 0
            process.stdin.write(lines)
            time.sleep(max(0.1 - (time.monotonic() - started), 0))
            return 1000

        class Stream(Flood):
            def stop(self):
                super().stop()
                process.stdin.close()
                process.wait()

        found = Stream.__new__(Stream)
        Stream.__init__(found, act)
        return found

    assert serve_beside(workspace, flood) < ALLOWED


def test_listeners_make_nothing_late_though_one_is_stuck(workspace):
    heard = [0] * 20

    def flood(url, headers):
        over = threading.Event()

        def listen(number):
            with httpx.stream("GET", f"{url}/routines/events", headers=headers, timeout=60) as answer:
                for chunk in answer.iter_raw():
                    heard[number] += chunk.count(b"\nevent: ")
                    if over.is_set():
                        return
                    if number == 0:
                        over.wait()  # it reads no more

        threads = [threading.Thread(target=listen, args=(number,)) for number in range(len(heard))]
        for thread in threads:
            thread.start()
        client = httpx.Client(base_url=url, headers=headers, timeout=30)

        def act():
            assert client.post("/routines/r0999/pause", json={}).status_code == 200
            assert client.post("/routines/r0999/resume").status_code == 200
            return 2

        class Listening(Flood):
            def stop(self):
                super().stop()
                over.set()
                for thread in threads:
                    thread.join()

        return Listening(act)

    assert serve_beside(workspace, flood) < ALLOWED
    assert min(heard[1:]) > 0
    print(f"{min(heard[1:])} to {max(heard[1:])} events to each of {len(heard) - 1} listeners")


LISTENERS = 50
A_SECOND = 10_000
READER = r"""
import selectors, socket, sys, time
port, count, wanted, token = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
select, heard, tails = selectors.DefaultSelector(), [0] * count, [b""] * count
mark = b"\nevent: probe.sent"
for number in range(count):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(f"GET /routines/events?type=probe HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode())
    assert b"200 OK" in one.recv(65536)
    select.register(one, selectors.EVENT_READ, number)
print("ready", flush=True)
until = time.monotonic() + 120
while min(heard) < wanted and time.monotonic() < until:
    for key, _ in select.select(1):
        data = tails[key.data] + key.fileobj.recv(1 << 20)
        heard[key.data] += data.count(mark)
        tails[key.data] = data[max(data.rfind(mark) + len(mark), len(data) - len(mark) + 1):] if mark in data else data[1 - len(mark):]
print(min(heard), max(heard), time.time())
"""


def test_fifty_listeners_miss_nothing_of_ten_thousand_events_a_second(workspace):
    seconds = 2 if SHORT else 10
    with workspace.serving("--http", "127.0.0.1:0", "--log-level", "error") as serving:
        url, headers = begin(workspace, serving)
        words = [url.rpartition(":")[2], str(LISTENERS), str(A_SECOND * seconds), headers["Authorization"]]
        reader = subprocess.Popen([sys.executable, "-c", READER, *words], stdout=subprocess.PIPE, text=True)
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        begun, sent = time.time(), 0
        written = journal.Journal(Layout(workspace.root))
        while sent < A_SECOND * seconds:
            with written.transaction():
                written.append([Event("probe.sent", "", {"number": sent + number}) for number in range(500)], clock.now())
            written.sync()
            sent += 500
            time.sleep(max(begun + sent / A_SECOND - time.time(), 0))
        took = time.time() - begun
        least, most, last = reader.communicate(timeout=150)[0].split()
        written.close()
    print(
        f"{LISTENERS} listeners, {sent} events written in {took:.1f} s; the last listener had heard all {float(last) - begun - took:.2f} s later"
    )

    assert (int(least), int(most)) == (sent, sent)
