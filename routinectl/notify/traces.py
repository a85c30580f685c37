"""Handing spans to a collector, by OTLP over HTTP; where it is, the variables of OpenTelemetry say (OTEL_EXPORTER_OTLP_ENDPOINT...)."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from routinectl.core.trace import Span
from routinectl.version import VERSION


class Collector:
    """A collector that takes spans of one workspace."""

    def __init__(self, workspace: str) -> None:
        self._exporter = OTLPSpanExporter()
        self._resource = Resource.create({"service.name": "routinectl", "service.version": VERSION, "service.namespace": workspace})

    def take(self, spans: Sequence[Span]) -> bool:
        """Hand over spans; say whether they were taken."""
        return self._exporter.export([self._readable(span) for span in spans]) is SpanExportResult.SUCCESS

    def _readable(self, span: Span) -> ReadableSpan:
        context = SpanContext(span.trace, span.id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        status = Status(StatusCode.ERROR, span.failed) if span.failed else Status(StatusCode.OK)
        events = [Event(name, timestamp=at) for name, at in span.marks]
        return ReadableSpan(span.name, context, resource=self._resource, attributes=dict(span.facts), events=events, status=status,
                            start_time=span.begin, end_time=span.end)  # fmt: skip
