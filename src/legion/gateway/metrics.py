"""What is counted, and how Prometheus gets it. The label sets are bounded: model, variant, version, status code."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from legion.gateway import supervision
from legion.gateway.memory_budget import MemoryBudget

# Seconds; the last bucket is everything above.
_LATENCIES = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """Counts by upper bound, plain integers so that counting costs next to nothing."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts under their upper bounds, as Prometheus has them."""
        running, out = 0, []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            running += count
            out.append((bound, float(running)))
        return out


class Meter:
    """The counts of one model. Written on the hot path, read when /metrics is asked for."""

    __slots__ = ("batches", "hangs", "latency", "restarts", "rows", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.latency = Histogram(_LATENCIES)
        self.batches = Histogram(_SIZES)
        self.rows = 0
        self.restarts = 0
        self.hangs = 0

    def answer(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latency.add(seconds)

    def batch(self, size: int) -> None:
        """Count one batch of so many requests."""
        self.batches.add(size)


class ConnectionMeter:
    """The counts of the HTTP port's connections: open now, and those that the gateway itself ended, by the reason."""

    __slots__ = ("ended", "open")

    def __init__(self) -> None:
        self.open = 0
        self.ended: dict[str, int] = {}

    def count(self, reason: str) -> None:
        """Count one that is ended."""
        self.ended[reason] = self.ended.get(reason, 0) + 1


class Reading(msgspec.Struct, frozen=True):
    """One release's meter with what else is known of it now; `swaps` counts its variant's by outcome."""

    model: str
    variant: str
    version: str
    meter: Meter
    waiting: int = 0
    workers: int = 0
    swaps: dict[str, int] = {}


class _Collector(Collector):
    def __init__(
        self, readings: Callable[[], Iterable[Reading]], budget: MemoryBudget, connections: ConnectionMeter
    ) -> None:
        self._readings = readings
        self._budget = budget
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        yield from self._of_the_process()
        labels = ["model", "variant", "version"]
        requests = CounterMetricFamily("legion_requests", "Answered requests.", labels=[*labels, "status"])
        latency = HistogramMetricFamily(
            "legion_request_seconds", "From the body's arrival to its answer.", labels=labels
        )
        batches = HistogramMetricFamily("legion_batch_requests", "Requests in one batch.", labels=labels)
        rows = CounterMetricFamily("legion_rows", "Predicted rows.", labels=labels)
        restarts = CounterMetricFamily(
            "legion_worker_restarts", "Workers that ended and were started again.", labels=labels
        )
        hangs = CounterMetricFamily("legion_worker_hangs", "Workers replaced because they hung.", labels=labels)
        waiting = GaugeMetricFamily("legion_queue_requests", "Requests that wait for a worker.", labels=labels)
        workers = GaugeMetricFamily("legion_workers", "Workers that are ready.", labels=labels)
        swaps = CounterMetricFamily(
            "legion_swaps", "Versions that were switched to or refused.", labels=["model", "variant", "outcome"]
        )
        for reading in self._readings():
            who, meter = [reading.model, reading.variant, reading.version], reading.meter
            for outcome, count in reading.swaps.items():
                swaps.add_metric([reading.model, reading.variant, outcome], count)
            for status, count in sorted(meter.statuses.items()):
                requests.add_metric([*who, str(status)], count)
            latency.add_metric(who, meter.latency.buckets(), meter.latency.total)
            batches.add_metric(who, meter.batches.buckets(), meter.batches.total)
            rows.add_metric(who, meter.rows)
            restarts.add_metric(who, meter.restarts)
            hangs.add_metric(who, meter.hangs)
            waiting.add_metric(who, reading.waiting)
            workers.add_metric(who, reading.workers)
        yield from (requests, latency, batches, rows, restarts, hangs, waiting, workers, swaps)

    def _of_the_process(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            "legion_task_failures", "Long-lived tasks that ended unasked and were started again.", labels=["task"]
        )
        for task, count in sorted(supervision.failures.items()):
            failures.add_metric([task], count)
        ended = CounterMetricFamily(
            "legion_connections_ended", "HTTP connections that the gateway refused or gave up.", labels=["reason"]
        )
        for reason, count in sorted(self._connections.ended.items()):
            ended.add_metric([reason], count)
        yield GaugeMetricFamily("legion_connections", "HTTP connections that are open.", self._connections.open)
        held, limit = self._budget.held, self._budget.limit
        yield GaugeMetricFamily("legion_held_bytes", "Bytes of requests and answers that are held now.", held)
        yield GaugeMetricFamily("legion_held_bytes_limit", "Above it, requests are refused with 503.", limit)
        yield from (ended, failures)


class Metrics:
    """Renders /metrics from the readings that the function gives, the memory budget and the connections' counts."""

    def __init__(
        self,
        readings: Callable[[], Iterable[Reading]],
        budget: MemoryBudget,
        connections: ConnectionMeter | None = None,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(readings, budget, connections or ConnectionMeter()))

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)
