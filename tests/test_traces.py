"""Traces: a real collector on loopback is handed each run, and nothing waits for one that is not there."""

from __future__ import annotations

import gzip
import http.server
import threading
from datetime import datetime

import pytest
from conftest import until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from routinectl.core.event import Event
from routinectl.core.trace import span_of


class Collector:
    """Takes OTLP over HTTP; while `down`, it answers 503."""

    def __init__(self) -> None:
        self.spans: list = []
        self.names: set[str] = set()
        self.down = False
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not collector.down:
                    collector.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(503 if collector.down else 200)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.names |= {item.value.string_value for item in resource.resource.attributes if item.key == "service.name"}
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    @property
    def env(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}"}


@pytest.fixture
def collector():
    found = Collector()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_runs_that_follow_each_other_are_one_trace(workspace, collector):
    workspace.define("backup", "timeout: 1m\naction: {command: 'echo done'}\n")
    workspace.define("report", "timeout: 1m\ntriggers: [{after: {routine: backup}}]\naction: {command: 'exit 3'}\n")
    with workspace.serving("--traces", env=collector.env):
        workspace.ok("run-now", "backup", "--wait")
        until(lambda: len(collector.spans) >= 2)

    spans = {span.name: span for span in collector.spans}
    assert spans["backup"].trace_id == spans["report"].trace_id
    assert spans["backup"].span_id != spans["report"].span_id
    assert (spans["backup"].status.code, spans["report"].status.code) == (1, 2)
    facts = {item.key: item.value.string_value or item.value.int_value for item in spans["report"].attributes}
    assert (facts["routinectl.outcome"], facts["routinectl.exit_code"], facts["routinectl.trigger"]) == ("failed", 3, "after backup")
    assert [event.name for event in spans["backup"].events] == ["due", "claimed", "started"]
    ended = next(event["data"] for event in workspace.events("run.ended", "backup"))
    assert abs(spans["backup"].end_time_unix_nano / 1e9 - datetime.fromisoformat(ended["at"]).timestamp()) < 0.001
    assert collector.names == {"routinectl"}


def test_a_collector_that_is_not_there_keeps_no_run_waiting(workspace, collector):
    collector.down = True
    workspace.define("tick", "triggers: [{every: 1s}]\ntimeout: 1m\naction: {command: ['true']}\n")
    with workspace.serving("--traces", env={**collector.env, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}):
        until(lambda: len(workspace.events("run.ended")) >= 3)

    assert {event["data"]["reason"] for event in workspace.events("run.claimed")} == {"on_time"}
    assert collector.spans == []


END = {"run": "r", "attempt": 1, "outcome": "succeeded", "at": "2026-11-21T12:00:01Z", "claimed_at": "2026-11-21T12:00:00Z"}
SPANS = {
    "an end": (Event("run.ended", "x", END), ("x", "", 1_000_000_000)),
    "a failure says what it said": (Event("run.ended", "x", {**END, "outcome": "failed", "message": "no disk"}), ("x", "no disk", 1_000_000_000)),
    "a failure without a word": (Event("run.retrying", "x", {**END, "outcome": "timed_out"}), ("x", "timed_out", 1_000_000_000)),
    "an end before its claim, by a clock that was set": (Event("run.ended", "x", {**END, "at": "2026-11-21T11:00:00Z"}), ("x", "", 0)),
    "no end": (Event("run.claimed", "x", END), None),
}  # fmt: skip


@pytest.mark.parametrize("name", SPANS)
def test_the_span_of_an_event(name):
    event, expected = SPANS[name]
    span = span_of(event)
    assert (span and (span.name, span.failed, span.end - span.begin)) == expected


def test_attempts_of_a_run_are_in_one_trace():
    first, second = span_of(Event("run.retrying", "x", END)), span_of(Event("run.ended", "x", {**END, "attempt": 2}))
    assert first.trace == second.trace
    assert first.id != second.id
