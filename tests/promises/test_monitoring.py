"""The dashboard and the alerts in `docs/monitoring/` fit the figures that a gate really gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from gatehouse.records.metrics import Metrics
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of, make_value
from tests.harness.house import open_house
from tests.harness.program import ROOT
from tests.harness.records import REFUSED
from tests.harness.wire import answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.house import House
    from tests.harness.wire import Head, Peer

ALERTS = ROOT / "docs/monitoring/alerts.yml"
DASHBOARD = ROOT / "docs/monitoring/dashboard.json"
METRICS_TOKEN = "m0nitoring/for+prometheus~only-7b1c"
RESULT = {"content": [], "isError": False}

GOOD, EXPIRED = make_value(), make_value()
TOKENS = [
    Token("alice", (TokenValue(digest_of(GOOD)),)),  # in a header only
    Token("bob", (TokenValue(digest_of(EXPIRED), expires=datetime(2000, 1, 1, tzinfo=UTC)),)),
]

OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that every series gets, and the one of histograms."""

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"),
    reason="promtool is not there (Debian's package prometheus has it)",
)


def alerts() -> list[str]:
    return re.findall(r"^ +expr: (.+)$", ALERTS.read_text(), re.MULTILINE)


def queries() -> list[tuple[str, str]]:
    """The queries of the dashboard, each with its legend."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(each["expr"], each["legendFormat"]) for panel in panels for each in panel["targets"]]


def plain(query: str) -> str:
    """A query of the dashboard as Prometheus gets it."""
    return re.sub(r"\$(?:job|instance)\b", ".*", query.replace("$__rate_interval", "5m"))


def promtool(*args: object, given: bytes = b"") -> str:
    """Its output. Raises CalledProcessError if it finds a fault."""
    command = ["promtool", *map(str, args)]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


async def broken_off(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await peer.reset()


async def no_answer(peer: Peer, head: Head) -> None:
    await peer.body(head)
    await peer.reset()


async def use(house: House) -> None:
    """One request of each kind that the alerts and the dashboard tell apart."""
    called = {"method": "tools/call", "id": 1, "params": {"name": "add"}}
    for result in (RESULT, {**RESULT, "isError": True}):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        house.upstream.script = answer(body, b"Content-Type: application/json")
        await house.request(method=b"POST", body=json.dumps(called).encode())
    for house.upstream.script in (broken_off, no_answer):
        with suppress(EOFError):
            await house.request(method=b"POST", body=b"{}")
    await house.request(b"/mcp?key=" + GOOD.encode(), token=False)
    for credential in (EXPIRED, *3 * ["x" * 40]):
        bearer = b"Authorization: Bearer " + credential.encode()
        await house.request(b"/mcp", bearer, token=False)
    await house.request(b"/ready", token=False)
    peer = await house.connect()
    async with peer.stream:
        await peer.send(b"POST /mcp HTTP/1.1\r\nHost: gate.example\r\n")
        await peer.closed()


async def scraped() -> str:
    """The page of a gate that has seen all that."""
    figures = b"Authorization: Bearer " + METRICS_TOKEN.encode()
    async with open_house(
        metrics_token=METRICS_TOKEN,
        tokens=TOKENS,
        failure_rate="1/hour, burst 3",
        header_seconds=0.2,
    ) as house:
        await use(house)
        with trio.fail_after(10):
            while True:  # a record comes a moment after its answer
                _, page = await house.request(b"/metrics", figures, token=False)
                if page.count(b"mcp_gate_requests_total{") >= 6 and b"ended_total{" in page:
                    return page.decode()
                await trio.sleep(0.05)


def of_other_ways_in() -> str:
    """The page of a gate with an authorization server, beside which all is as above."""
    ages = {"oauth": lambda: 60.0}
    metrics = Metrics(in_flight=int, open_streams=int, connections=int, key_ages=ages)
    for reason in ("bad-signature", "key-unknown", "issuer", "audience", "algorithm"):
        metrics(REFUSED._replace(reason=reason))
    return metrics.page()[1].decode()


def labels_in(page: str) -> dict[str, dict[str, set[str]]]:
    """The labels of each figure, with their values."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = found[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


def used_in(query: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each figure of a query, with its matchers."""
    for name, matchers in re.findall(r"\b((?:mcp_gate|process)_\w+)(?:\{([^}]*)\})?", query):
        yield name, re.findall(r'(\w+)[!=~]+"([^"]*)"', matchers)


async def test_each_figure_and_label_of_dashboard_and_alerts_is_in_a_real_scrape() -> None:
    page = await scraped()
    there = labels_in(page + of_other_ways_in())
    asked: list[tuple[str, Any]] = [*((query, "") for query in alerts()), *queries()]
    assert len(alerts()) == 4
    for query, legend in asked:
        names = [name for name, _ in used_in(plain(query))]
        assert names, query
        assert [name for name in names if name not in there] == []
        grouped = re.findall(r"by \(([^)]*)\)", query)
        by = {label for group in grouped for label in re.split(r", *", group)}
        by |= set(re.findall(r"\{\{(\w+)\}\}", legend))
        assert by <= OF_PROMETHEUS.union(*(there[name] for name in names)), query
        for name, matchers in used_in(plain(query)):
            for label, values in matchers:
                if label not in OF_PROMETHEUS:
                    assert set(values.split("|")) <= there[name][label], (query, label)
    if shutil.which("promtool"):
        promtool("check", "metrics", given=page.encode())


@needs_promtool
def test_each_alert_fires_when_it_should_and_else_is_silent() -> None:
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", ROOT / "tests/harness/alerts_test.yml")


@needs_promtool
def test_prometheus_understands_each_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": plain(query)}
        for number, (query, _) in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
