"""The page about now: what it shows, to whom it is text, and what is new since the last look."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.pages.dashboard.now import MAX_HERE, MAX_NAMES, Now, Server, Traffic
from gatehouse.pages.dashboard.plot import HEIGHT, WIDTH, bars, plots_of, scale_for, steps
from gatehouse.pages.dashboard.reasons import MEANINGS
from gatehouse.pages.dashboard.rows import (
    MAX_FILTER_LENGTH,
    NOBODY,
    OUTCOMES,
    Filters,
    duration,
    filters_in,
    parameters,
    rows_of,
    size,
)
from gatehouse.pages.dashboard.templates import prepare
from gatehouse.pages.health import State
from gatehouse.records.recent import BOUNDS, MAX_REQUESTS, Minute, Recent
from gatehouse.records.redact import Redactor
from gatehouse.upstream.inventory import UNKNOWN, Found
from tests.harness.dashboard import Browser, Meanwhile, person
from tests.harness.program import ROOT
from tests.harness.records import ANSWERED, LEFT, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.records.record import Record

MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>{{ 7 * 7 }}&amp;"
SECRET = "correct-horse-battery-staple"
FAILED = ANSWERED._replace(status=502, outcome="upstream failed", reason="upstream-down")
ALL = [ANSWERED, ANSWERED._replace(result="error"), REFUSED, FAILED, LEFT]


class Watch:
    """The page, with everything that it tells of."""

    def __init__(self) -> None:
        self.recent = Recent()
        self.state = State("ready", time.time() - 7300)
        self.found = Found("Kitchen", 12)
        self.name = ""
        self.sessions: int | None = 4
        self.hosted = True
        self.redact: Callable[[str], str] = Redactor([SECRET])
        self.browser = self.opened()

    def opened(self) -> Browser:
        async def state() -> State:
            return self.state

        async def found() -> Found:
            return self.found

        part: Any = type("Part", (), {"state": staticmethod(state), "found": staticmethod(found)})()
        now = Now(
            self.recent,
            Server(readiness=part, inventory=part, name=lambda: self.name, hosted=self.hosted),
            Traffic(
                requests=lambda: 3,
                streams=lambda: 2,
                sessions=lambda: self.sessions,
                connections=lambda: 9,
            ),
            self.redact,
        )
        return Browser({b"/dashboard": now.page, b"/dashboard/now.json": now.news})

    def see(self, *records: Record) -> None:
        for record in records:
            self.recent(record)

    async def page(self, **query: str) -> str:
        answer = await self.browser.get(f"/dashboard?{urlencode(query)}")
        assert answer.status == 200
        return answer.text

    async def rows(self, **query: str) -> list[str]:
        """The rows of the page, without tags."""
        body = (await self.page(**query)).partition('id="rows">')[2].partition("</tbody>")[0]
        rows = re.findall(r"(?s)<tr.*?</tr>", body)
        return [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in rows]

    async def news(self, **query: str) -> dict[str, Any]:
        answer = await self.browser.get(f"/dashboard/now.json?{urlencode(query)}")
        assert answer.status == 200
        assert answer.one(b"Content-Type") == b"application/json"
        content: dict[str, Any] = json.loads(answer.text)
        return content

    async def facts(self) -> dict[str, str]:
        return {fact["key"]: fact["text"] for fact in (await self.news())["facts"]}


# The facts


async def test_the_facts_stand_at_the_top_the_same_on_the_page_and_in_the_news() -> None:
    watch = Watch()
    text = await watch.page()
    told = await watch.news()
    for fact in told["facts"]:
        shown = re.search(rf'(?s)<dd id="fact-{fact["key"]}">(.*?)</dd>', text)
        assert shown
        assert fact["text"] in shown[1]
        assert f'<dt id="fact-{fact["key"]}-term">{fact["term"]}</dt>' in text
    assert await watch.facts() == {
        "server": "Kitchen",
        "state": "up",
        "since": "2 hours",
        "tools": "12",
        "requests": "3",
        "streams": "2",
        "sessions": "4",
        "connections": "9",
        "here": "alice",
    }


async def test_no_number_stands_for_what_is_not_known() -> None:
    watch = Watch()
    watch.found, watch.sessions = UNKNOWN, None
    told = await watch.facts()
    assert (told["server"], told["tools"], told["sessions"]) == (
        "unknown",
        "unknown",
        "not counted",
    )
    watch.found = Found("", 0)
    assert (await watch.facts())["tools"] == "0"


@pytest.mark.parametrize(
    ("state", "hosted", "words", "since"),
    [
        (State("ready", 1.0), True, "up", "Up for"),
        (State("ready", 1.0), False, "up", "Reached for"),
        (State("unreachable", 1.0), True, "not reachable", "Not reachable for"),
        (State("starting"), True, "starting", "not yet"),
        (State("starting"), False, "not reached yet", "not yet"),
        (State("stopping"), True, "stopping", "unknown"),
    ],
)
async def test_a_server_that_is_gone_is_told_from_one_that_starts(
    state: State, words: str, since: str, *, hosted: bool
) -> None:
    watch = Watch()
    watch.state, watch.hosted = state, hosted
    watch.browser = watch.opened()
    facts = {fact["key"]: fact for fact in (await watch.news())["facts"]}
    assert facts["state"]["text"] == words
    assert since in (facts["since"]["term"], facts["since"]["text"])
    assert facts["since"]["at"] == ("1970-01-01T00:00:01Z" if state.since else "")


async def test_the_gates_own_name_for_the_server_comes_first() -> None:
    watch = Watch()
    watch.name = "FoodWise"
    assert (await watch.facts())["server"] == "FoodWise"


async def test_those_who_are_at_the_dashboard_are_named_within_a_bound() -> None:
    watch = Watch()
    watch.browser.people.admins |= {f"admin-{number}" for number in range(2 * MAX_HERE)}
    for number in range(3):
        watch.browser.people.who_comes = person(f"admin-{number}")
        await watch.news()
    assert (await watch.facts())["here"] == "admin-0, admin-1, admin-2"
    for number in range(2 * MAX_HERE):
        watch.browser.people.who_comes = person(f"admin-{number}")
        await watch.news()
    assert (await watch.facts())["here"].endswith(f"{MAX_HERE - MAX_NAMES} more")


# The requests


async def test_the_newest_request_stands_first_with_all_that_is_known_of_it() -> None:
    watch = Watch()
    watch.see(*ALL)
    rows = await watch.rows()
    assert len(rows) == len(ALL)
    assert rows[-1].partition("UTC ")[2] == (
        "alice by header, from 203.0.113.7 tools/call list_inventory POST /mcp 200 3.1 ms 210 B in, 300 B out done "
        "5f0c1122aabbccdd"
    )
    assert "nobody known from 203.0.113.7 POST /mcp 401" in rows[2]
    assert "refused token" in rows[2]
    assert "ended with an error" in rows[3]
    assert "upstream failed upstream-down" in rows[1]


@pytest.mark.parametrize("member", ["path", "method", "tool", "rpc_method", "name", "client"])
async def test_what_clients_choose_is_text(member: str) -> None:
    watch = Watch()
    chosen: dict[str, Any] = {member: MARKUP}
    watch.see(ANSWERED._replace(**chosen))
    for text in (await watch.page(), await watch.page(name=MARKUP, text=MARKUP)):
        assert "<img" not in text
        assert "alert(1)</script>" not in text
        assert "{{ 7 * 7 }}" in text  # as it came: no template is made of it
        assert text.count("<script") == 2
        assert "<script>" not in text
    news = await watch.news(hour="1")
    assert "<img" not in news["hour"]
    shown = json.dumps([news["rows"][0][key] for key in ("name", "source", "call", "request")])
    assert json.dumps(MARKUP)[1:-1] in shown  # text for the script, which makes text of it


async def test_what_a_server_calls_itself_is_text() -> None:
    watch = Watch()
    watch.found = Found(MARKUP, 3)
    assert "<img" not in await watch.page()


@pytest.mark.parametrize("member", ["path", "tool", "rpc_method", "name", "request_id"])
async def test_secrets_are_blank_on_the_page_and_in_the_news_and_cannot_be_looked_for(
    member: str,
) -> None:
    watch = Watch()
    token = "mcpgate_" + "k3j2h1g0" * 4
    for secret in (SECRET, quote(SECRET, safe="").replace("-", "%2D"), token):
        chosen: dict[str, Any] = {member: f"/x{secret}"}
        watch.see(ANSWERED._replace(**chosen))
    news = json.dumps(await watch.news())
    page = await watch.page()
    for text in (page, news):
        assert SECRET not in text
        assert "%2Dhorse" not in text
        assert "k3j2" not in text
        assert text.count("[secret]") >= 3
    assert await watch.rows(text="horse") == []
    assert (await watch.news(text="horse"))["rows"] == []


async def test_half_of_a_pair_of_characters_does_no_harm() -> None:
    watch = Watch()
    watch.see(ANSWERED._replace(tool="half \ud83d of it"))
    assert "half" in await watch.page()
    assert "half" in (await watch.news())["rows"][0]["call"]


async def test_no_page_waits_for_the_code_of_its_template(monkeypatch: pytest.MonkeyPatch) -> None:
    await prepare()

    def slow(*_: object, **__: object) -> None:
        pytest.fail("the code is made on the event loop")

    monkeypatch.setattr("jinja2.Environment.compile", slow)
    assert "The last requests" in await Watch().page()


# Filters


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 5),
        ({"name": "alice"}, 4),
        ({"name": NOBODY}, 1),
        ({"name": "bob"}, 0),
        ({"outcome": "done"}, 1),
        ({"outcome": "error"}, 1),
        ({"outcome": "refused"}, 1),
        ({"outcome": "failed"}, 1),
        ({"outcome": "left"}, 1),
        ({"outcome": "ended"}, 0),
        ({"outcome": "no such"}, 5),
        ({"text": "LIST_inventory"}, 4),
        ({"text": "upstream-down"}, 1),
        ({"text": "502"}, 1),
        ({"text": "203.0.113.7"}, 5),
        ({"text": "nothing has this"}, 0),
        ({"name": "alice", "outcome": "failed", "text": "mcp"}, 1),
    ],
)
async def test_filters_work_by_the_url_alone_and_for_the_news_too(
    query: dict[str, str], count: int
) -> None:
    watch = Watch()
    watch.see(*ALL)
    assert len(await watch.rows(**query)) == count
    assert len((await watch.news(**query))["rows"]) == count
    assert f'<span id="shown">{count}</span>' in await watch.page(**query)


def test_each_outcome_has_a_filter() -> None:
    outcomes = {
        *("done", "refused", "upstream failed", "upstream broke off"),
        *("client left", "cut", "revoked"),
    }
    recent = Recent()
    for outcome in sorted(outcomes):
        recent(ANSWERED._replace(outcome=outcome))
    rows = rows_of(recent.after(0), str)
    assert {row.kind for row in rows} | {"", "error"} == set(dict(OUTCOMES))


@settings(max_examples=30)
@given(st.binary() | st.text().map(lambda text: urlencode({"text": text, "name": text}).encode()))
def test_any_query_is_read_within_bounds(query: bytes) -> None:
    filters = filters_in(parameters(query))
    assert isinstance(filters, Filters)
    assert max(map(len, (filters.name, filters.text))) <= MAX_FILTER_LENGTH
    assert filters.outcome in dict(OUTCOMES)


def test_too_many_parameters_are_none() -> None:
    assert parameters(b"&".join(b"text=a" for _ in range(1000))) == {}
    assert parameters(b"text=a&text=b&name=c") == {"text": "a", "name": "c"}


async def test_the_chosen_filters_stand_in_the_form_again() -> None:
    watch = Watch()
    watch.see(ANSWERED)
    text = await watch.page(name="gone", outcome="refused", text='"x')
    assert "<option selected>gone</option>" in text
    assert '<option value="refused" selected>' in text
    assert 'value="&#34;x"' in text


# The news


async def test_news_are_what_is_new_oldest_first() -> None:
    watch = Watch()
    watch.see(*ALL)
    text = await watch.page()
    assert f'data-run="{watch.recent.run}" data-last="5"' in text
    watch.see(FAILED, ANSWERED)
    news = await watch.news(run=watch.recent.run, after="5")
    assert [row["number"] for row in news["rows"]] == [6, 7]
    assert (news["last"], news["kept"], "hour" in news) == (7, 7, False)
    assert (await watch.news(run=watch.recent.run, after="7"))["rows"] == []


@pytest.mark.parametrize("after", ["", "-1", "x", "9" * 99, "\u0664", "1e9", "0"])
async def test_nonsense_gets_an_answer(after: str) -> None:
    watch = Watch()
    watch.see(*ALL)
    assert len((await watch.news(run=watch.recent.run, after=after))["rows"]) in {0, 5}


async def test_after_a_restart_of_the_gate_all_is_new() -> None:
    watch = Watch()
    watch.see(*ALL)
    assert len((await watch.news(run="another", after="4"))["rows"]) == 5


async def test_there_are_never_more_than_are_kept() -> None:
    watch = Watch()
    watch.see(*(ANSWERED for _ in range(3 * MAX_REQUESTS)))
    assert len((await watch.news())["rows"]) == len(await watch.rows()) == MAX_REQUESTS


async def test_news_are_for_those_who_may_open_the_dashboard() -> None:
    watch = Watch()
    watch.see(ANSWERED)
    watch.browser.people.who_comes = None
    for who, status in ((None, 401), (person("bob"), 403)):
        watch.browser.people.who_comes = who
        answer = await watch.browser.get("/dashboard/now.json")
        assert answer.status == status
        assert b"alice" not in answer.reply.body


# The last hour


async def test_refusals_stand_with_their_meaning_and_lead_to_their_requests() -> None:
    watch = Watch()
    watch.see(REFUSED, REFUSED, FAILED, REFUSED._replace(reason="not told of"))
    for text in (await watch.page(), (await watch.news(hour="1"))["hour"]):
        assert MEANINGS["token"] in text
        assert MEANINGS["upstream-down"] in text
        assert 'href="/dashboard?text=token#requests"' in text
        assert "not told of" in text
    assert "Nothing was refused" in await Watch().page()


def test_each_reason_of_the_documents_has_a_meaning() -> None:
    papers = ("operations", "identity", "dashboard")
    pages = [(ROOT / f"docs/{name}.md").read_text() for name in papers]
    trouble = pages[0].partition("## Trouble")[2].partition("Connections that end below HTTP")[0]
    of_requests = re.findall(r"(?m)^\| \d{3} \| ([^|]*) \|", trouble)
    signs = pages[1].partition("| reason | meaning | remedy |")[2].partition("| sign |")[0]
    of_tokens = re.findall(r"(?m)^\| ([^|]*) \|", signs)
    doors = pages[2].partition("## When you are not let in")[2]
    of_people = re.findall(r"(?m)^\| [^|]* \| ([^|]*) \|", doors)
    cells = (*of_requests, *of_tokens, *of_people)
    told = {word for cell in cells for word in re.findall(r"`([\w-]+)`", cell)}
    told |= set(re.findall(r"`(upstream-[a-z]+|draining)`", trouble))
    assert len(told) > 50
    assert told - set(MEANINGS) == set()


async def test_the_plots_are_sound_and_told_in_words() -> None:
    watch = Watch()
    watch.see(*ALL, ANSWERED._replace(seconds=2.0))
    text = await watch.page()
    for svg in re.findall(r"(?s)<svg viewBox.*?</svg>", text):
        tree = ElementTree.fromstring(svg)  # noqa: S314 - our own
        if tree.get("role") == "img":
            named = {each.get("id") for each in tree.iter() if each.tag in {"title", "desc"}}
            assert set(tree.get("aria-labelledby", "").split()) == named
            assert all(each.text for each in tree.iter() if each.tag in {"title", "desc"})
    assert "5 calls, 2 of them ended with an error or failed." in text
    assert "Half of them took at most" in text
    assert 'style="' not in text
    assert '<th scope="row" role="rowheader" data-label="Minute">' in text
    assert "No call in the last hour." in await Watch().page()


counts = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair), max(pair))),
    min_size=60,
    max_size=60,
)
times = st.lists(st.none() | st.floats(0.0001, BOUNDS[-1]), min_size=60, max_size=60)


@settings(max_examples=25)  # each has an hour
@given(counts)
def test_bars_stay_within_their_minute(parts: list[tuple[int, int]]) -> None:
    most = max(high for _, high in parts)
    path = bars(parts, most)
    drawn = [
        tuple(map(float, found))
        for found in re.findall(r"M([\d.]+) ([\d.]+)v-([\d.]+)h([\d.]+)v([\d.]+)z", path)
    ]
    assert len(drawn) == path.count("M") == sum(high > low for low, high in parts)
    for left, foot, up, wide, down in drawn:
        assert left >= 0
        assert left + wide <= WIDTH
        assert up == down
        assert 0 <= foot <= HEIGHT
        assert foot - up >= -2.1  # a bar that would not be seen is a little higher
    assert all(one[0] + one[3] <= next_[0] for one, next_ in pairwise(drawn))


@settings(max_examples=25)
@given(times)
def test_lines_have_a_step_for_each_minute_with_calls_and_gaps_elsewhere(
    values: list[float | None],
) -> None:
    known = [value for value in values if value is not None]
    scale = scale_for(known)
    path = steps(values, scale)
    assert path.count("H") == len(known)
    runs = re.sub(r"0+", " ", "".join("01"[value is not None] for value in values)).split()
    assert path.count("M") == len(runs)
    assert all(0 <= float(y) <= HEIGHT for y in re.findall(r"(?:V|M\d+ )([\d.]+)", path))
    assert (scale is None) == (not known)


@given(st.lists(st.sampled_from(ALL)))
def test_an_hour_of_anything_can_be_plotted(records: list[Record]) -> None:
    recent = Recent()
    for record in records:
        recent(record)
    plots = plots_of(recent.minutes())
    assert plots.calls == sum(record != REFUSED for record in records)
    assert len(plots.table) == bool(plots.calls)
    assert plots_of([Minute(number) for number in range(60)]).bars == ""


# Words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 ms"),
        (0.00314, "3.1 ms"),
        (0.0999, "100 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7260, "2 h 1 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (10**9, "1.0 GB")],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert size(count) == words


async def test_no_call_waits_for_the_rows_of_requests_on_the_page_or_in_the_news() -> None:
    for target in ("/dashboard", "/dashboard/now.json", "/dashboard/now.json?hour=1"):
        watch, meanwhile = Watch(), Meanwhile()
        watch.see(ANSWERED)

        def redact(text: str, meanwhile: Meanwhile = meanwhile) -> str:
            if ANSWERED.path in text:
                meanwhile.wait()
            return text

        watch.redact = redact
        browser = watch.opened()
        await meanwhile.beside(partial(browser.get, target))
