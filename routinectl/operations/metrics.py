"""Metrics in the Prometheus text format: what was counted, and how things stand. Base units, and no label without an end.

The families are documented here, in their own help texts. prometheus-client (extra `http`) writes the format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from routinectl.core import projection
from routinectl.core.meter import Histogram
from routinectl.errors import DefinitionError
from routinectl.files import signs
from routinectl.operations import look
from routinectl.operations.session import View
from routinectl.version import VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTERS = (
    ("runs", "Runs that have ended, by outcome.", ("outcome",)),
    ("slots", "Slots that were answered, by verdict and reason.", ("verdict", "reason")),
    ("requests", "Runs that were asked for, by what asked.", ("trigger",)),
    ("requests_refused", "Requests that were refused, by verdict and reason.", ("verdict", "reason")),
    ("retries", "Attempts that failed and are tried again.", ()),
    ("sla_breaches", "Promises that were broken.", ()),
    ("notices_sent", "Notices that were delivered, digests as one.", ()),
    ("notices_failed", "Deliveries of notices that failed.", ()),
    ("serve_starts", "Starts of serve.", ()),
    ("clock_jumps", "Times that the clock was set or the machine slept.", ()),
    ("journal_damages", "Damaged stretches found in the journal.", ()),
)


def text(session: View) -> bytes:
    """Return all metrics of a workspace. Raises DefinitionError where prometheus-client is not installed."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise DefinitionError("metrics need prometheus-client, which is not installed", "pip install 'routinectl[http]'") from None

    class Families:
        def collect(self) -> Iterator[Any]:
            yield from _counters(session)
            yield from _gauges(session)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    return bytes(generate_latest(registry))


def _counters(session: View) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    meter, fares = session.world.meter, signs.read(session.world.layout)
    for name, about, labels in _COUNTERS:
        family = CounterMetricFamily(f"routinectl_{name}", about, labels=labels)
        found = {key[1:]: value for key, value in meter.counters.items() if key[0] == name}
        for values, value in found.items() or ([((), 0)] if not labels else []):
            family.add_metric(list(values), value)
        yield family
    for name, about, histogram in (
        ("start_lateness_seconds", "From the due instant of a slot to its claim.", meter.lateness),
        ("run_duration_seconds", "From the start of a run to its end.", meter.durations),
        ("loop_turn_seconds", "Turns of serve's loop, in which it hears nothing else.", fares.turns),
        ("journal_sync_seconds", "Making events durable, by serve.", fares.syncs),
    ):
        observed = HistogramMetricFamily(f"routinectl_{name}", about)
        observed.add_metric([], _buckets(histogram), histogram.total)
        yield observed


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    total, found = 0, []
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def _gauges(session: View) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    world = session.world
    rows = Counter(row["status"] for row in look.rows(session))
    standings = [world.standing(name) for name in world.thawed]
    held = Counter(hold.reason for standing in standings for hold in standing.holds.values())
    held.update(request.hold or "capacity" for standing in standings for request in standing.requests.values())
    overdue = sum("OVERDUE" in projection.badges(standing, world.routine(standing.id)) for standing in standings)
    wake = world.next_wake()
    for name, about, value in (
        ("serve_up", "1 while a serve lives.", float(session.serve_lives)),
        ("runs_running", "Runs that go on.", len(world.running)),
        ("runs_limit", "Places for runs (limits.max_concurrent_runs).", session.settings.max_concurrent_runs),
        ("routines_overdue", "Routines that have broken a promise and not recovered.", overdue),
        ("next_due_timestamp_seconds", "When the next routine wants attention.", wake[0] if wake else 0.0),
        ("journal_events", "Number of the newest event.", world.journal.seq),
    ):
        yield GaugeMetricFamily(f"routinectl_{name}", about, value=value)
    for name, about, label, counts in (
        ("routines", "Routines, by status.", "status", rows),
        ("held", "Slots and requests that wait, by what for.", "reason", held),
    ):
        family = GaugeMetricFamily(f"routinectl_{name}", about, labels=[label])
        for value, count in sorted(counts.items()):
            family.add_metric([value], count)
        yield family
    yield InfoMetricFamily("routinectl", "The version.", value={"version": VERSION})
