"""Metrics: what has happened is counted, and nobody can make the page large, wrong or telling."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gatehouse.records.metrics import MAX_NAME_LENGTH, MAX_NAMES, OTHER, Metrics
from gatehouse.records.redact import Redactor
from gatehouse.version import VERSION
from tests.harness.program import ROOT, TOKEN
from tests.harness.records import ANSWERED, LEFT, REFUSED, STRANGER, VALUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.records.record import Record


def metrics_with(redact: Callable[[str], str] | None = None, **more: Any) -> Metrics:
    return Metrics(
        in_flight=lambda: 1, open_streams=lambda: 2, connections=lambda: 3, redact=redact, **more
    )


def samples(metrics: Metrics) -> dict[str, float]:
    """The page, as Prometheus' own parser reads it; labels in alphabetical order."""
    content_type, body = metrics.page()
    assert content_type == b"text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name.startswith("mcp_gate_")
    }


def observed(*records: Record) -> dict[str, float]:
    metrics = metrics_with()
    for record in records:
        metrics(record)
    return samples(metrics)


def value(found: dict[str, float], name: str, **labels: str) -> float | None:
    return found.get(f"mcp_gate_{name}{sorted(labels.items())}")


def calls(found: dict[str, float], *, result: str = "ok", **labels: str) -> float | None:
    return value(found, "calls_total", result=result, **labels)


def labelled(found: dict[str, float], name: str) -> list[str]:
    return [key for key in found if key.startswith(f"mcp_gate_{name}[")]


def test_requests_are_counted_by_token_lane_route_status_and_outcome() -> None:
    not_ready = STRANGER._replace(route="ready", status=503)
    found = observed(ANSWERED, ANSWERED, LEFT, REFUSED, not_ready)
    of_alice = partial(value, found, "requests_total", token="alice", lane="header", route="mcp")
    of_strangers = partial(value, found, "requests_total", token="", lane="")
    assert of_alice(status="2xx", outcome="done") == 2
    assert of_alice(status="4xx", outcome="client left") == 1
    assert of_strangers(route="mcp", status="4xx", outcome="refused") == 1
    assert of_strangers(route="ready", status="5xx", outcome="done") == 1
    assert value(found, "bytes_received_total") == 1050
    assert value(found, "bytes_sent_total") == 1200


def test_refusals_and_failures_are_counted_by_their_reason() -> None:
    rate = REFUSED._replace(name="alice", status=429, reason="rate")
    found = observed(REFUSED, REFUSED, rate, ANSWERED)
    assert value(found, "refusals_total", reason="token") == 2
    assert value(found, "refusals_total", reason="rate") == 1
    assert len(labelled(found, "refusals_total")) == 2


def test_calls_are_counted_by_token_and_tool() -> None:
    found = observed(ANSWERED, ANSWERED, ANSWERED._replace(name="bob", tool="add"))
    assert calls(found, token="alice", tool="list_inventory") == 2
    assert calls(found, token="bob", tool="add") == 1


def test_durations_are_told_by_method_in_buckets() -> None:
    found = observed(
        ANSWERED._replace(seconds=0.001),
        ANSWERED._replace(seconds=0.003),
        ANSWERED._replace(seconds=1000.0, first_byte_seconds=None),
        ANSWERED._replace(method="GET"),
        ANSWERED._replace(method="PATCH"),
    )
    duration = "request_duration_seconds"
    for end, count in (("0.001", 1), ("0.0025", 1), ("0.005", 2), ("300.0", 2), ("+Inf", 3)):
        assert value(found, duration + "_bucket", method="POST", le=end) == count
    assert value(found, duration + "_count", method="POST") == 3
    assert value(found, duration + "_sum", method="POST") == pytest.approx(1000.004)
    assert value(found, duration + "_count", method="GET") == 1
    assert value(found, duration + "_count", method=OTHER) == 1
    assert value(found, "first_byte_seconds_count", method="POST") == 2


def test_refusals_say_nothing_of_how_fast_mcp_is() -> None:
    found = observed(REFUSED, STRANGER, REFUSED._replace(name="alice", reason="rate"))
    assert not labelled(found, "request_duration_seconds_count")
    assert not labelled(found, "first_byte_seconds_count")


def test_what_there_is_now_is_asked_when_the_page_is() -> None:
    numbers = [1, 2, 3]
    metrics = Metrics(
        in_flight=lambda: numbers[0],
        open_streams=lambda: numbers[1],
        connections=lambda: numbers[2],
    )
    for numbers[:] in ([1, 2, 3], [4, 5, 6]):
        found = samples(metrics)
        assert value(found, "requests_in_flight") == numbers[0]
        assert value(found, "open_streams") == numbers[1]
        assert value(found, "connections") == numbers[2]


def test_the_page_tells_the_release_and_whether_the_server_behind_can_be_asked() -> None:
    metrics = metrics_with()
    labels = {"version": VERSION, "python": platform.python_version()}
    assert value(samples(metrics), "build_info", **labels) == 1
    for up in (False, True):
        metrics.upstream_up = up
        assert value(samples(metrics), "upstream_up") == up


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
def test_the_page_tells_of_the_process_too() -> None:
    assert b"process_resident_memory_bytes " in metrics_with().page()[1]


def test_two_gates_in_a_process_count_for_themselves() -> None:
    one, two = metrics_with(), metrics_with()
    one(ANSWERED)
    assert labelled(samples(one), "calls_total")
    assert not labelled(samples(two), "calls_total")


@pytest.mark.parametrize(
    "record",
    [
        ANSWERED._replace(status=404),
        LEFT,
        STRANGER._replace(tool="invented"),
        ANSWERED._replace(outcome="refused", status=403),
    ],
    ids=["not answered well", "not answered", "not let in", "refused"],
)
def test_a_tool_counts_only_in_a_call_that_was_let_in_and_answered(record: Record) -> None:
    assert not labelled(observed(record), "calls_total")


def test_a_tool_has_its_name_only_once_a_call_of_it_has_succeeded() -> None:
    metrics = metrics_with()
    failed = ANSWERED._replace(result="error")
    for number in range(300):
        metrics(failed._replace(tool=f"invented {number}"))
    metrics(failed)
    metrics(ANSWERED._replace(status=202))
    metrics(ANSWERED)
    metrics(failed)
    found = samples(metrics)
    of_alice = partial(calls, found, token="alice")
    assert of_alice(tool=OTHER, result="error") == 301
    assert of_alice(tool=OTHER, result="ok") == 1
    assert of_alice(tool="list_inventory", result="ok") == 1
    assert of_alice(tool="list_inventory", result="error") == 1
    assert len(labelled(found, "calls_total")) == 4


def test_a_call_that_header_fields_and_body_name_differently_counts_for_no_tool() -> None:
    found = observed(ANSWERED, ANSWERED._replace(differs=True))
    assert calls(found, token="alice", tool="list_inventory") == 1
    assert calls(found, token="alice", tool=OTHER) == 1
    assert calls(observed(ANSWERED._replace(differs=True)), token="alice", tool=OTHER) == 1


@pytest.mark.parametrize("result", ["", "long"])
def test_an_end_that_nobody_can_tell_counts_as_unknown(result: str) -> None:
    found = observed(ANSWERED, ANSWERED._replace(result=result))
    labels = {"token": "alice", "tool": "list_inventory"}
    assert calls(found, **labels, result="unknown") == 1


def test_only_tools_count_as_calls() -> None:
    others = [ANSWERED._replace(rpc_method=method) for method in ("prompts/get", "batch", "")]
    assert not labelled(observed(*others), "calls_total")


def test_only_so_many_names_are_told_and_no_token_takes_the_labels_of_anothers_tools() -> None:
    metrics = metrics_with()
    for number in range(MAX_NAMES + 50):
        metrics(ANSWERED._replace(name=f"name{number}"))
        metrics(ANSWERED._replace(name="name0", tool=f"tool{number}"))
    metrics(ANSWERED._replace(name="name1", tool="tool"))
    found = samples(metrics)
    assert calls(found, token="name0", tool="tool0") == 1
    assert calls(found, token="name0", tool=OTHER) == 51
    assert calls(found, token=OTHER, tool="list_inventory") == 50
    assert calls(found, token="name1", tool="tool") == 1
    assert len(labelled(found, "requests_total")) == MAX_NAMES + 1


@pytest.mark.parametrize(
    "odd", ["a\nb", "a\0", "\ud800", "\x1b[2J", "x" * MAX_NAME_LENGTH, VALUE, f"u:{TOKEN}"]
)
def test_an_odd_name_or_a_secret_is_not_told(odd: str) -> None:
    metrics = metrics_with(Redactor([TOKEN]))
    metrics(ANSWERED._replace(tool=odd))
    assert calls(samples(metrics), token="alice", tool=OTHER) == 1


@given(st.text(max_size=12), st.text(min_size=1, max_size=12))
def test_no_name_breaks_the_page(name: str, tool: str) -> None:
    metrics = metrics_with()
    metrics(ANSWERED._replace(name=name, tool=tool))
    metrics(ANSWERED)
    body = metrics.page()[1].decode()
    assert sum(line.startswith("mcp_gate_requests_total{") for line in body.split("\n")) <= 2
    found = samples(metrics)
    assert sum(found[key] for key in labelled(found, "requests_total")) == 2


@pytest.mark.parametrize("tool", ['quo"te', "back\\slash", 'x",token="bob', "a}b", "größe", "\\n"])
def test_a_printable_name_stays_what_it_is(tool: str) -> None:
    assert calls(observed(ANSWERED._replace(tool=tool)), token="alice", tool=tool)


def test_the_client_library_is_imported_only_for_whoever_has_metrics() -> None:
    code = "import sys, gatehouse.records.metrics; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_people_push_out_no_token_and_tokens_no_people() -> None:
    metrics = metrics_with()
    for number in range(MAX_NAMES + 50):
        metrics(ANSWERED._replace(name=f"oauth:{number}@example.com"))
    for name in ("alice", "front:bob"):
        metrics(ANSWERED._replace(name=name))
        assert calls(samples(metrics), token=name, tool="list_inventory") == 1
    assert calls(samples(metrics), token=OTHER, tool="list_inventory") == 50


def test_whoever_is_not_let_in_takes_no_label_from_people() -> None:
    metrics = metrics_with()
    refused = REFUSED._replace(status=403, reason="people")
    for number in range(MAX_NAMES + 1):
        metrics(refused._replace(name=f"front:stranger{number}"))
    for record in (ANSWERED, refused):
        metrics(record._replace(name="front:bob"))
    found = samples(metrics)
    of_refused = partial(value, found, "requests_total", lane="", route="mcp", status="4xx")
    assert of_refused(token=OTHER, outcome="refused") == MAX_NAMES + 1
    assert of_refused(token="front:bob", outcome="refused") == 1
    assert calls(found, token="front:bob", tool="list_inventory") == 1


def test_the_ages_of_keys_and_kinds_are_told_only_if_somebody_else_signs() -> None:
    age = [math.inf]
    metrics = metrics_with(key_ages={"oauth": lambda: age[0], "front": lambda: 7.0})
    for record in (ANSWERED, ANSWERED._replace(name="oauth:alice", status=403), REFUSED):
        metrics(record)
    found = samples(metrics)
    for kind, status in (("token", "2xx"), ("oauth", "4xx"), ("", "4xx")):
        assert value(found, "requests_by_kind_total", kind=kind, status=status) == 1
    assert value(found, "auth_keys_age_seconds", keys="front") == 7
    assert len(labelled(found, "auth_keys_age_seconds")) == 1  # there are no others yet
    age[0] = 61.5
    assert value(samples(metrics), "auth_keys_age_seconds", keys="oauth") == 61.5
    without = observed(ANSWERED)
    assert [name for name in without if "auth_keys" in name or "by_kind" in name] == []
