"""Metrics for Prometheus: an observer that counts, and the page of its counts.

Counting only adds to plain numbers, since it happens for every request; the client library makes the
page on request, and only a program with metrics imports it. Clients can neither grow the page nor put
text on it: a tool has a label once a call of it has succeeded, a person once they have been let in; the first MAX_NAMES
tokens, as many people, and the first MAX_NAMES tools of each, have labels of their own, and all others count as "other". The same goes for a call whose header fields name
another tool than its body: nobody here knows which of the two was called.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from functools import partial
from math import isfinite
from platform import python_version
from types import MappingProxyType
from typing import TYPE_CHECKING

from gatehouse.records.ends import Ends
from gatehouse.records.redact import Redactor
from gatehouse.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from gatehouse.records.record import Record

PREFIX = "mcp_gate_"

MAX_NAMES = 100
"""How many tokens, how many people of each kind, and how many tools of each, have labels of their own."""

MAX_NAME_LENGTH = 128
"""A label is shorter than so many characters: a call's name that is longer has been cut to as many."""

OTHER = "other"

UNKNOWN = "unknown"

RESULTS = {"ok": "ok", "error": "error"}
"""The label of a call's result; of others nobody knows whether they are good."""

METHODS = ("POST", "GET", "DELETE")
"""The methods that MCP uses."""

BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""Upper bounds in seconds: from a refusal in a millisecond to a tool that works for minutes."""


class Metrics:
    """An observer that counts, and the page of its counts.

    The callables tell how many requests are being answered right now, how many of them are event streams, and how
    many connections there are. `ends` has counted the ends without a record, `stalls` tells when the event loop
    stood still. `redact` blanks secrets, and a name that holds one counts as "other"; by default it knows the
    token values that the gate's tool makes. `key_ages` tells for each way in beside static tokens the age of the keys
    of whoever signs, in seconds, infinite if there are none; without such a way the page has nothing of them.
    """

    def __init__(
        self,
        *,
        in_flight: Callable[[], int],
        open_streams: Callable[[], int],
        connections: Callable[[], int],
        ends: Ends | None = None,
        stalls: Callable[[], Mapping[str, float]] = dict,
        redact: Callable[[str], str] | None = None,
        key_ages: Mapping[str, Callable[[], float]] = MappingProxyType({}),
    ) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._gauges = {
            "requests_in_flight": ("Requests that are being answered.", in_flight),
            "open_streams": ("Event streams that stand open.", open_streams),
            "connections": ("Connections that clients hold.", connections),
        }
        self.upstream_up = False
        """Whether the server behind the gate can be asked. The page's reader looks before each page."""
        self._ends = ends or Ends()
        self._stalls = stalls
        redact = redact or Redactor(())
        self._key_ages = key_ages
        self._names = defaultdict[str, _Names](partial(_Names, redact))
        """By kind: no number of people pushes out a token."""
        self._tools = defaultdict[str, _Names](partial(_Names, redact))
        """By token: no token's tools push out another's."""
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._kinds: Counter[tuple[str, ...]] = Counter()
        self._refusals: Counter[tuple[str, ...]] = Counter()
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._received = self._sent = 0
        self._durations: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self._first_bytes: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def __call__(self, record: Record) -> None:
        """Count one request."""
        kind = record.kind
        names = self._names[kind]
        # Of people who are not let in there may be any number, whose names take no label from those who are.
        told = record.lane or kind == "token" or record.name in names
        token = names[record.name] if told else OTHER
        status = f"{record.status // 100}xx"
        self._requests[token, record.lane, record.route, status, record.outcome] += 1
        if self._key_ages:
            self._kinds[kind, status] += 1
        self._received += record.bytes_in
        self._sent += record.bytes_out
        if record.reason:
            self._refusals[record.reason,] += 1
        if not record.name or record.outcome == "refused":
            return  # how fast the gate says no would only hide how fast MCP is
        method = record.method if record.method in METHODS else OTHER
        self._durations[method].add(record.seconds)
        if record.first_byte_seconds is not None:
            self._first_bytes[method].add(record.first_byte_seconds)
        if record.rpc_method == "tools/call" and record.tool and record.status < 400:
            # Before its first success nobody knows that there is such a tool: a client can invent any name.
            tools = self._tools[token]
            proved = record.status == 200 and record.result in {"ok", "long"}
            known = (record.tool in tools or proved) and not record.differs
            label = tools[record.tool] if known else OTHER
            self._calls[token, label, RESULTS.get(record.result, UNKNOWN)] += 1

    def page(self) -> tuple[bytes, bytes]:
        """The content type and the body of the page, in Prometheus' text format."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        return CONTENT_TYPE_PLAIN_0_0_4.encode("ascii"), generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics, for the registry of the client library."""
        from prometheus_client.core import GaugeMetricFamily

        labels = {"version": VERSION, "python": python_version()}
        build = GaugeMetricFamily(PREFIX + "build_info", "The release.", labels=list(labels))
        build.add_metric(list(labels.values()), 1)
        yield build
        help_text = "1 if the server behind the gate can be asked, else 0."
        yield GaugeMetricFamily(PREFIX + "upstream_up", help_text, self.upstream_up)
        for name, (help_text, ask) in self._gauges.items():
            yield GaugeMetricFamily(PREFIX + name, help_text, ask())
        stalls = self._stalls().get("count", 0)
        yield _counter("loop_stalls", "Times at which a tool held everybody up.", (), {(): stalls})
        by = ("token", "lane", "route", "status", "outcome")
        yield _counter("requests", "Requests that are over.", by, self._requests)
        if self._key_ages:
            yield from self._of_other_ways_in()
        help_text = "Requests that were refused or failed, by the reason."
        refusals = self._refusals + _by_reason(self._ends.refusals)
        yield _counter("refusals", help_text, ("reason",), refusals)
        ends = _by_reason(self._ends.connections)
        help_text = "Connections that were ended or turned away, by the reason."
        yield _counter("connections_ended", help_text, ("reason",), ends)
        help_text = "Tool calls that were let in and answered, by token, tool and result."
        yield _counter("calls", help_text, ("token", "tool", "result"), self._calls)
        yield _counter("bytes_received", "Bytes of requests' bodies.", (), {(): self._received})
        yield _counter("bytes_sent", "Bytes of answers' bodies.", (), {(): self._sent})
        help_text = (
            "Seconds from a request's head to the end of its answer, of requests that were let in."
        )
        yield _histogram("request_duration_seconds", help_text, self._durations)
        help_text = (
            "Seconds from a request's head to its answer's head, of requests that were let in."
        )
        yield _histogram("first_byte_seconds", help_text, self._first_bytes)

    def _of_other_ways_in(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        help_text = "Requests that are over, by the kind of whoever is known to have sent them."
        yield _counter("requests_by_kind", help_text, ("kind", "status"), self._kinds)
        help_text = "Seconds since the keys of whoever signs were asked for."
        ages = GaugeMetricFamily(PREFIX + "auth_keys_age_seconds", help_text, labels=("keys",))
        for keys, age in self._key_ages.items():
            if isfinite(age()):
                ages.add_metric((keys,), age())
        yield ages


class _Names(dict[str, str]):
    """The label of each name: the name itself, or OTHER for a name that comes too late or is odd."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__({"": ""})
        self._redact = redact

    def __missing__(self, name: str) -> str:
        told = (
            len(self) <= MAX_NAMES
            and len(name) < MAX_NAME_LENGTH
            and name.isprintable()  # nor half a surrogate pair, which no page could hold
            and self._redact(name) == name
        )
        return self.setdefault(name, name) if told else OTHER


class _Histogram:
    """How many values fell into each bucket, the last one for values beyond all bounds, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> Iterator[tuple[str, float]]:
        """The upper bounds, each with the number of values that are not above it."""
        total = 0
        for end, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            total += count
            yield end, total


def _by_reason(counts: Counter[str]) -> Counter[tuple[str, ...]]:
    return Counter({(reason,): count for reason, count in counts.items()})


def _counter(
    name: str, help_text: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], float]
) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(PREFIX + name, help_text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, help_text: str, histograms: Mapping[str, _Histogram]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(PREFIX + name, help_text, labels=("method",))
    for method, histogram in histograms.items():
        family.add_metric((method,), list(histogram.buckets()), histogram.sum)
    return family
