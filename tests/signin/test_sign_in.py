"""Signing in: from the link to the provider and back, for the browser that began it, and for nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from gatehouse.http.asked import Asked
from gatehouse.signin.callback import MAX_CODE_LENGTH, MAX_PARAMETERS, read_answer
from gatehouse.signin.cookies import Jar
from gatehouse.signin.provider import MAX_SECONDS, WORDS, Provider
from gatehouse.signin.sealing import Sealer
from gatehouse.signin.sign_in import (
    CALLBACK as CALLBACK_PATH,
)
from gatehouse.signin.sign_in import (
    HOME,
    LOGIN_SECONDS,
    MAX_AT_ONCE,
    MAX_AT_ONCE_OF_ONE,
    MAX_PATH_LENGTH,
    MAX_WAIT_SECONDS,
    REASONS,
    Begun,
    Finished,
    SignIn,
    SignInFailedError,
    own_path,
)
from tests.harness.identity.paper_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    METADATA,
    NOON,
    ORIGIN,
    TOKEN,
    PaperProvider,
    unix_time,
)
from tests.harness.identity.questions import down
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.http.request import Request

JAR = Jar(secure=True)
SECRET = b"a secret of the tests, long enough"
SEALER = Sealer(SECRET, "login", clock=unix_time)
END_LOGIN, END_SESSION = JAR.delete("login"), JAR.delete("session")


def sign_in_at(paper: PaperProvider) -> SignIn:
    provider = Provider(paper.ask, ISSUER, CLIENT_ID, CLIENT_SECRET, clock=unix_time)
    return SignIn(provider, SEALER, JAR, origin=ORIGIN, clock=unix_time)


def kept(begun: Begun) -> bytes:
    """The cookie that a browser keeps of it."""
    return begun.cookie[1].partition(b";")[0]


def back(query: bytes, *cookies: bytes) -> Request:
    """The request of a browser that comes back."""
    fields = [(b"Cookie", b"; ".join(cookies))] if cookies else []
    return request_of(fields, method="GET", target=CALLBACK_PATH.encode() + b"?" + query)


async def failure(sign_in: SignIn, request: Request) -> SignInFailedError:
    with pytest.raises(SignInFailedError) as caught:
        await sign_in.finish(request)
    error = caught.value
    assert error.words == {**WORDS, **REASONS}[error.reason]
    return error


async def test_a_person_signs_in_and_comes_back_to_where_they_were(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin("/dashboard/tokens?name=laptop")
    name, attributes = begun.cookie[1].split(b"=", 1)[0], begun.cookie[1].split(b"; ")[1:]
    assert name == b"__Host-gate-login"
    assert attributes == [b"Max-Age=600", b"Path=/", b"Secure", b"HttpOnly", b"SameSite=Lax"]
    query = paper.sends_back(begun.location)
    assert paper.seen["redirect_uri"] == "https://gate.example/dashboard/callback"
    finished = await sign_in.finish(back(query, kept(begun)))
    assert isinstance(finished, Finished)
    assert (finished.subject.sub, finished.to) == ("alice-0001", "/dashboard/tokens?name=laptop")
    assert finished.cookies == (END_LOGIN,)


async def test_nothing_that_ends_a_sign_in_can_be_read_from_the_cookie_or_the_url(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    first, second = [await sign_in_at(paper).begin(HOME) for _ in range(2)]
    content = SEALER.open(kept(first).partition(b"=")[2].decode())
    assert content is not None
    query = dict(parse_qsl(urlsplit(first.location).query))
    assert (content["state"], content["nonce"]) == (query["state"], query["nonce"])
    assert content["verifier"] not in first.location
    assert len(content["verifier"]) >= 43  # RFC 7636 section 4.1
    other = dict(parse_qsl(urlsplit(second.location).query))
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name]) >= 43
        assert query[name] != other[name]


async def test_of_two_tabs_the_later_one_counts(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    first, second = await sign_in.begin(HOME), await sign_in.begin("/dashboard/check")
    early, late = paper.sends_back(first.location), paper.sends_back(second.location)
    failed = await failure(sign_in, back(early, kept(second)))
    assert (failed.reason, failed.cookies) == ("state", ())  # the later one goes on
    assert (await sign_in.finish(back(late, kept(second)))).to == "/dashboard/check"


async def test_an_answer_that_another_browser_got_signs_nobody_in(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    mallory, victim = await sign_in.begin(HOME), await sign_in.begin(HOME)
    query = paper.sends_back(mallory.location)
    assert (await failure(sign_in, back(query, kept(victim)))).reason == "state"
    failed = await failure(sign_in, back(query))
    assert (failed.reason, failed.cookies) == ("no-login", ())
    assert paper.asked(TOKEN) == 0


async def test_a_cookie_that_is_none_of_ours(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin(HOME)
    query, cookie = paper.sends_back(begun.location), kept(begun)
    content = SEALER.open(cookie.partition(b"=")[2].decode())
    assert content is not None

    def named(sealed: str) -> bytes:
        return b"__Host-gate-login=" + sealed.encode()

    until = NOON + 300
    for wrong in (
        [cookie, cookie],
        [cookie[:-1]],
        [cookie.replace(b"__Host-", b"")],
        [cookie.replace(b"login", b"session")],
        [named(Sealer(SECRET, "session", clock=unix_time).seal(content, until))],
        [named(Sealer(b"another" * 5, "login", clock=unix_time).seal(content, until))],
        [named(SEALER.seal({**content, "more": 1}, until))],
    ):
        assert (await failure(sign_in, back(query, *wrong))).reason == "no-login"
    assert paper.asked(TOKEN) == 0
    assert (await sign_in.finish(back(query, b"a=b", cookie))).to == HOME


async def test_a_sign_in_takes_ten_minutes_at_most(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    first = await sign_in.begin(HOME)
    query = paper.sends_back(first.location)
    await trio.sleep(LOGIN_SECONDS)
    assert (await failure(sign_in, back(query, kept(first)))).reason == "no-login"
    second = await sign_in.begin(HOME)
    query = paper.sends_back(second.location)
    await trio.sleep(LOGIN_SECONDS - 1)
    assert await sign_in.finish(back(query, kept(second)))


async def test_a_sign_in_ends_once(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin(HOME)
    again = back(paper.sends_back(begun.location), kept(begun))
    await sign_in.finish(again)
    failed = await failure(sign_in, again)
    assert (failed.reason, failed.cookies) == ("used", (END_LOGIN,))  # the session stays
    assert paper.asked(TOKEN) == 1


async def test_a_sign_in_that_failed_cannot_be_tried_again_and_ends_the_session_before_it(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider(instead={TOKEN: down})
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin(HOME)
    request = back(paper.sends_back(begun.location), kept(begun))
    failed = await failure(sign_in, request)
    assert (failed.reason, failed.cookies) == ("provider-away", (END_LOGIN, END_SESSION))
    del paper.instead[TOKEN]
    assert (await failure(sign_in, request)).reason == "used"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"code": None}, "callback"),
        ({"code": ""}, "callback"),
        ({"code": "é"}, "callback"),
        ({"code": "a\r\nb"}, "callback"),
        ({"code": "c" * (MAX_CODE_LENGTH + 1)}, "callback"),
        ({"state": None}, "callback"),
        ({"state": ""}, "callback"),
        ({"error": "access_denied"}, "callback"),  # and a code
        ({"state": "another"}, "state"),
        ({"state": "\u212a"}, "state"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": ""}, "issuer"),
        ({"code": "another"}, "code-refused"),
        ({"code": None, "error": "access_denied"}, "denied"),
        ({"code": None, "error": "login_required"}, "denied"),
        ({"code": None, "error": "server_error"}, "provider-away"),
        ({"code": None, "error": "temporarily_unavailable"}, "provider-away"),
        ({"code": None, "error": "invalid_scope"}, "provider-error"),
        ({"code": None, "error": "<script>alert(1)</script>"}, "provider-error"),
        ({"code": None, "error": ""}, "provider-error"),
    ],
)
async def test_answers_that_sign_nobody_in(
    changes: dict[str, Any],
    reason: str,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = {"error_description": "<b>come to evil.example</b>", **changes}
    paper = PaperProvider(changes={"answer": told})
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin(HOME)
    failed = await failure(sign_in, back(paper.sends_back(begun.location), kept(begun)))
    assert failed.reason == reason
    assert bool(failed.cookies) is (reason not in {"callback", "state"})
    for word in ("evil.example", "script", "<"):
        assert word not in failed.words + caplog.text
    assert paper.asked(TOKEN) == (reason == "code-refused")


@pytest.mark.parametrize("name", ["code", "state", "iss", "session_state"])
async def test_nothing_may_stand_there_twice(name: str, autojump_clock: MockClock) -> None:
    paper = PaperProvider(changes={"answer": {"iss": ISSUER, "session_state": "x"}})
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin(HOME)
    query = paper.sends_back(begun.location)
    twice = query + b"&" + urlencode({name: dict(parse_qsl(query.decode()))[name]}).encode()
    assert (await failure(sign_in, back(twice, kept(begun)))).reason == "callback"
    assert (await sign_in.finish(back(query, kept(begun)))).to == HOME


async def test_a_provider_that_says_who_answers_must_do_so(autojump_clock: MockClock) -> None:
    tells = {"authorization_response_iss_parameter_supported": True}
    for answer, reason in (({}, "issuer"), ({"error": "access_denied", "code": None}, "issuer")):
        paper = PaperProvider(changes={"metadata": tells, "answer": answer})
        sign_in = sign_in_at(paper)
        begun = await sign_in.begin(HOME)
        request = back(paper.sends_back(begun.location), kept(begun))
        assert (await failure(sign_in, request)).reason == reason
    paper = PaperProvider(changes={"metadata": tells, "answer": {"iss": ISSUER}})
    sign_in = sign_in_at(paper)
    begun = await sign_in.begin(HOME)
    assert await sign_in.finish(back(paper.sends_back(begun.location), kept(begun)))


async def test_a_provider_that_is_away_or_lies_begins_nothing(autojump_clock: MockClock) -> None:
    for instead, reason in (
        (down, "provider-away"),
        (Asked(404, [], {}), "provider-metadata"),
        (Asked(200, [], {"issuer": "https://evil.example"}), "provider-metadata"),
    ):
        sign_in = sign_in_at(PaperProvider(instead={METADATA: instead}))
        with pytest.raises(SignInFailedError) as caught:
            await sign_in.begin(HOME)
        assert (caught.value.reason, caught.value.cookies) == (reason, ())


async def test_a_crowd_leaves_the_provider_alone_and_everybody_gets_an_answer(
    autojump_clock: MockClock,
) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    requests = []
    for number in range(120):
        begun = await sign_in.begin(HOME)
        request = back(paper.sends_back(begun.location), kept(begun))
        requests.append(request._replace(client=f"192.0.2.{number // 20}"))
    paper.ask.seconds = 30.0
    reasons = []

    async def finish(request: Request) -> None:
        reasons.append((await failure(sign_in, request)).reason)

    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(finish, request)
    assert paper.ask.most_under_way == MAX_AT_ONCE
    assert trio.current_time() <= MAX_WAIT_SECONDS + MAX_SECONDS + 1
    assert reasons.count("provider-away") == MAX_AT_ONCE
    assert reasons.count("busy") == 120 - MAX_AT_ONCE


async def test_one_address_leaves_room_for_others(autojump_clock: MockClock) -> None:
    paper = PaperProvider()
    sign_in = sign_in_at(paper)
    requests = []
    for _ in range(20):
        begun = await sign_in.begin(HOME)
        requests.append(back(paper.sends_back(begun.location), kept(begun)))
    paper.ask.seconds = 30.0
    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(failure, sign_in, request)
    assert paper.ask.most_under_way == MAX_AT_ONCE_OF_ONE


names = st.sampled_from(["code", "state", "iss", "error", "error_description", "x"])
queries = st.one_of(
    st.binary(max_size=60),
    st.lists(st.tuples(names, st.text(max_size=20)), max_size=6).map(
        lambda pairs: urlencode(pairs, errors="replace").encode()
    ),
)


@given(queries)
@example(b"state=a&code=b")
@example(b"state=%FF&code=b")
@example(b"state=a&code=b&" + b"&".join(b"x%d=" % number for number in range(MAX_PARAMETERS)))
@example(b"state=a;code=b")
def test_an_answer_is_read_in_one_way_or_not_at_all(query: bytes) -> None:
    answer = read_answer(query)
    if answer is None:
        return
    pairs = parse_qsl(query.decode(), keep_blank_values=True)
    assert len({name for name, _ in pairs}) == len(pairs) <= MAX_PARAMETERS
    assert answer.state == dict(pairs)["state"] != ""
    assert bool(answer.code) is not bool(answer.error)
    assert answer.code == dict(pairs).get("code", "")
    assert answer.code.isprintable()
    assert answer.error.isascii()
    assert answer.code not in repr(answer) or len(answer.code) < 5


@given(queries)
def test_no_answer_signs_anybody_in_but_the_one_of_this_browsers_own_sign_in(query: bytes) -> None:
    async def main() -> None:
        paper = PaperProvider()
        sign_in = sign_in_at(paper)
        begun = await sign_in.begin(HOME)
        for cookies in ((), (kept(begun),)):
            assert (await failure(sign_in, back(query, *cookies))).cookies == ()
        assert paper.asked(TOKEN) == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


OWN = (
    HOME,
    "/dashboard/tokens",
    "/dashboard/tokens.toml",
    "/dashboard/a/b-c_d~e/f",
    "/dashboard?name=a&outcome=refused&text=a%20b+c%C3%A9",
    "/dashboard/people?",
    "/authorize/resume",
)
FOREIGN = (
    *("", "/", "dashboard", "//dashboard", "/dashboards", "/mcp", "/DASHBOARD", "/dashboard/"),
    *(
        "/dashboard//evil.example",
        "/dashboard/../mcp",
        "/dashboard/./x",
        "/dashboard/..",
        "/dashboard/.x",
    ),
    *(
        "//evil.example/dashboard",
        "https://evil.example/dashboard",
        "https:/dashboard",
        "javascript:1",
    ),
    *("/\\evil.example", "\\dashboard", "/dashboard\\evil", "/dashboard/%2e%2e", "/dashboard/%2Fa"),
    *("/dashboard?to=%2F%2Fevil.example", "/dashboard?a=%5c", "/dashboard?a=/", "/dashboard?a=\\"),
    *(
        "/dashboard?a=%0d%0aSet-Cookie:b",
        "/dashboard\r\nSet-Cookie: a=b",
        "/dashboard\n",
        " /dashboard",
    ),
    *("/dashboard\t", "/dashboard#a", "/dashboard?a#b", "/dashboard;a", "/dashboard@evil.example"),
    *("/dashboard?a=%", "/dashboard?a=%7f", "/dashboard?a=%0", "/dashboard/é", "/dashboard?é"),
    *("/authorize", "/authorize/decide", "/authorize/resume/", "/authorize/resume?a", "/token"),
    *("/authorize/resume\n", "//authorize/resume", "/dashboard/../authorize/resume"),
    *("/dashboard/sign-in", "/dashboard/sign-in?to=/dashboard", "/dashboard/callback?code=a"),
    *(
        "/dashboard/assets/x.css",
        "/dashboard/" + "a" * MAX_PATH_LENGTH,
    ),
)


@pytest.mark.parametrize("path", OWN)
def test_a_page_of_the_dashboard_or_the_place_where_a_request_waits_is_a_way_back(
    path: str,
) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize("path", FOREIGN)
def test_nothing_else_is_a_way_back(path: str) -> None:
    assert own_path(path) == HOME


@given(st.text(max_size=60) | st.text("/.\\%?&=#@:a2F5C0d", max_size=30))
def test_a_way_back_stays_in_the_dashboard(text: str) -> None:
    for given_path in (
        text,
        f"{HOME}{text}",
        f"{HOME}/{text}",
        f"{HOME}?{text}",
        f"{HOME}/{quote(text)}",
    ):
        path = own_path(given_path)
        parts = urlsplit(path)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("", "", "")
        assert parts.path == HOME or parts.path.startswith(f"{HOME}/")
        assert not {"//", "\\", "/.", "%"} & {
            piece for piece in ("//", "\\", "/.", "%") if piece in parts.path
        }
        assert path.isascii()
        assert path.isprintable()
        assert " " not in path
        assert "/" not in parts.query
