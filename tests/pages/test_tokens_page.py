"""The page of tokens: a value is shown once and held nowhere else, and nothing is done that was not asked for."""

from __future__ import annotations

import fcntl
import re
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
from markupsafe import escape

from gatehouse.identity.rate import parse_rate
from gatehouse.pages.dashboard import token_file, token_page
from gatehouse.pages.dashboard.new_value import code_of
from gatehouse.pages.dashboard.tokens import Tokens
from gatehouse.tokens import issue
from gatehouse.tokens.contents import NOTHING, Contents
from gatehouse.tokens.editor import HEADER
from gatehouse.tokens.file import TokensError
from gatehouse.tokens.last_use import write_last_use
from gatehouse.tokens.reader import load_contents, load_tokens, parse_contents
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import VALUE_PATTERN, TokenValue, digest_of
from tests.harness.dashboard import Browser
from tests.harness.only_ci import only_in_ci
from tests.harness.token_files import BOTH

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.dashboard import Answer

PAGE = "/dashboard/tokens"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SECRET = f"mcpgate_{'hunter2' * 6}"
FOREIGN = f"hf_{'a' * 30}"


class Desk:
    """The page over one file, and a browser of an admin before it."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.path = path
        self.in_force = NOTHING
        self.used: dict[bytes, float] = {}
        self.asked_to_reload = 0
        parts: dict[str, Any] = {
            "parse": parse_contents,
            "in_force": lambda: self.in_force,
            "changed": self.changed,
            "uses": lambda: self.used,
            "state_db": None,
            "shared": b"",
            "endpoint": "https://gate.example/mcp",
            "url_keys": True,
            "server": lambda: "Food Wise",
            "in_space": False,
        }
        tokens = Tokens(path, **{**parts, **given})
        self.browser = Browser(tokens.views, tokens.actions)

    def changed(self) -> None:
        self.asked_to_reload += 1

    async def get(self, target: str = PAGE) -> Answer:
        return await self.browser.get(target)

    async def post(self, action: str, **fields: str) -> Answer:
        return await self.browser.post(f"{PAGE}/{action}", fields)

    async def rotate(self, name: str, **fields: str) -> Answer:
        newest = next(token for token in load_tokens(self.path) if token.name == name).values[-1].id
        return await self.post(
            "rotate", **{"name": name, "newest": newest, "overlap": "7d", **fields}
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


@pytest.fixture
def desk(path: Path) -> Desk:
    return Desk(path)


def value_in(answer: Answer) -> str:
    """The one value that a page shows."""
    (value,) = set(VALUE_PATTERN.findall(answer.text))
    return str(value)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records]


# A new value


async def test_a_value_is_in_one_answer_and_nowhere_else(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made = await desk.post("make", name="alice", note="her laptop", expires="30d")
    assert made.status == 200
    assert made.one(b"Cache-Control") == b"no-store"
    value = value_in(made)
    (alice,) = load_tokens(desk.path)
    assert (alice.note, alice.values[0].digest) == ("her laptop", digest_of(value))
    assert desk.asked_to_reload == 1
    turned = await desk.rotate("alice")
    new = value_in(turned)
    assert new != value
    again = await desk.get()
    for kept in (
        again.text,
        desk.path.read_text(),
        caplog.text,
        str(made.reply.headers),
        *re.findall(r"<title>.*?</title>|<h1>.*?</h1>", made.text + turned.text),
    ):
        assert value not in kept
        assert new not in kept
    assert lines(caplog) == [
        "person:alice made the token alice",
        "person:alice rotated the token alice",
    ]


async def test_a_value_comes_with_texts_to_paste_and_a_code_that_holds_it_alone(
    desk: Desk,
) -> None:
    made = await desk.post("make", name="alice", tools="list_*")
    value = value_in(made)
    assert f'data-copy="{value}"' in made.text
    assert f"--oauth2Bearer&#34;,\n        &#34;{value}" in made.text
    assert "?key=" not in made.text
    assert str(code_of(value)) in made.text
    assert " style=" not in made.text
    assert "It may use no resources or prompts" in made.words
    shown = await desk.post("make", name="tablet", query="yes")
    assert f"https://gate.example/mcp?key={value_in(shown)}" in shown.text
    assert str(code_of(value_in(shown))) in shown.text, "no address in the code, even then"


async def test_a_form_that_is_sent_again_makes_nothing_twice(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    form = {"name": "alice", "note": "mine"}
    await desk.post("make", **form)
    before = desk.path.read_text()
    again = await desk.post("make", **form)
    assert again.status == 409
    assert "Name: alice: exists already" in again.words
    assert "nothing was made a second time" in again.words
    told = "person:alice could not make the token alice: alice: exists already"
    assert lines(caplog)[-1] == told
    newest = load_tokens(desk.path)[0].values[-1].id
    assert desk.path.read_text() == before
    turn = {"name": "alice", "overlap": "7d", "newest": newest}
    assert (await desk.post("rotate", **turn)).status == 200
    after = desk.path.read_text()
    for form in (turn, {"name": "alice", "overlap": "7d"}):
        again = await desk.post("rotate", **form)
        assert again.status == 409
        assert "alice: has got another value meanwhile, so nothing was changed" in again.words
        assert not VALUE_PATTERN.search(again.text)
    assert desk.path.read_text() == after


async def test_the_form_says_what_the_command_line_says(desk: Desk) -> None:
    await desk.post(
        "make",
        name="ci",
        note="robots <b>",
        tools="list_*, get_item",
        prompts="hi",
        rate="60/min, burst 20",
        expires="2030-12-24",
        not_before="2030-12-01",
        query="yes",
    )
    (made,) = load_tokens(desk.path)
    wanted = Token(
        "ci",
        (
            TokenValue(
                made.values[0].digest,
                made.values[0].created,
                datetime(2030, 12, 1, tzinfo=UTC),
                datetime(2030, 12, 25, tzinfo=UTC),
            ),
        ),
        made.grants,
        parse_rate("60/min, burst 20"),
        frozenset({"header", "query"}),
        "robots <b>",
    )
    assert made == wanted
    assert (made.grants.tools, made.grants.resources) == (("list_*", "get_item"), None)
    page = await desk.get()
    assert "robots &lt;b&gt;" in page.text
    assert "tools list_*, get_item; prompts hi" in page.words
    assert "begins in" in page.words


# Faults


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("name", "", "a name has 1 to 64 of A-Z"),
        ("name", "default", "default is reserved"),
        ("name", 'a"><script>', "a name has 1 to 64 of A-Z"),
        ("note", "two\nlines", "may hold printable characters only"),
        ("tools", "a\x00b", "may hold printable characters only"),
        ("rate", "often", "must be a rate such as 60/min"),
        ("expires", "tomorrow", "must be a span from now, such as 12h"),
        ("expires", "2020-01-01", "lies in the past, or before the beginning"),
        ("not_before", "later", "must be a span from now, such as 12h"),
    ],
)
async def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    desk: Desk, caplog: pytest.LogCaptureFixture, field: str, text: str, words: str
) -> None:
    form = {"name": "alice", "note": "a note", "tools": "list_*", field: text}
    answer = await desk.post("make", **form)
    assert answer.status == 422
    (told,) = re.findall(rf'<p class="error" id="{field}-error">(.*?)</p>', answer.text)
    assert told.startswith(words)
    for name, typed in form.items():
        assert f'id="{name}" name="{name}" type="text" value="{escape(typed)}"' in answer.text
    assert not desk.path.exists()
    (line,) = lines(caplog)
    assert line.startswith("person:alice could not make ")
    assert "\n" not in line


@pytest.mark.parametrize("field", ["name", "note", "tools", "rate", "expires"])
@pytest.mark.parametrize("secret", [SECRET, FOREIGN], ids=["value", "access token"])
async def test_a_secret_in_the_wrong_field_is_not_repeated(
    desk: Desk, caplog: pytest.LogCaptureFixture, field: str, secret: str
) -> None:
    for text in (secret, f"{secret} 1"):
        answer = await desk.post("make", **{"name": "alice", "note": "kept", field: text})
        assert answer.status == 422
        assert secret not in answer.text + caplog.text
    assert field == "note" or 'value="kept"' in answer.text
    for action in ("rotate", "revoke"):
        answer = await desk.post(action, name=secret, value=secret, overlap=secret, newest=secret)
        assert secret not in answer.text + caplog.text
        assert answer.status in {409, 422}


async def test_a_token_may_come_in_the_url_only_where_any_may(path: Path) -> None:
    desk = Desk(path, url_keys=False)
    assert 'name="query"' not in (await desk.get()).text
    answer = await desk.post("make", name="tablet", query="yes")
    assert answer.status == 422
    assert "ALLOW_QUERY_KEY is false, so no token may come in a URL" in answer.words
    assert not desk.path.exists()


async def test_a_wrong_overlap_opens_the_form_of_its_token(desk: Desk) -> None:
    desk.path.write_text(BOTH)
    for overlap, words in (("", "write a number and a unit"), ("1y", "write a number and a unit")):
        answer = await desk.rotate("bob", overlap=overlap, expires="2030-01-01")
        assert answer.status == 422
        assert f"Old values stay good for: {words}" in answer.words
        assert 'value="2030-01-01"' in answer.text
        (opened,) = re.findall(r'<details class="more" open>\s*<summary>(.*?)<', answer.text)
        assert opened == "Rotate bob"
    assert (await desk.rotate("bob", expires="2020-01-01")).status == 422
    assert desk.path.read_text() == BOTH


# Rotate and revoke


async def test_rotating_leaves_the_old_value_its_time(desk: Desk) -> None:
    desk.path.write_text(BOTH)
    shown = await desk.rotate("bob", overlap="2d", expires="30d")
    assert "The old value cccccccc expires in 2 days." in shown.words
    bob = load_tokens(desk.path)[1]
    assert bob.values[-1].digest == digest_of(value_in(shown))
    ends = [value.expires for value in bob.values]
    assert [end and round((end - NOW) / DAY) for end in ends] == [2, 30]


async def test_a_value_or_a_name_is_revoked_behind_a_question(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    desk.path.write_text(BOTH)
    page = await desk.get()
    assert page.words.count("Really revoke this value?") == 2
    assert "Really revoke alice?" in page.words
    answer = await desk.post("revoke", name="alice", value="a" * 8)
    assert (answer.status, answer.one(b"Location")) == (303, PAGE.encode())
    assert "alice: the value aaaaaaaa is revoked" in (await desk.get()).words
    assert [value.id for value in load_tokens(desk.path)[0].values] == ["b" * 8]
    for fields, words in (
        ({"value": "b" * 8}, "alice: has only this value"),
        ({"value": "d" * 8}, "alice: has no such value; it has: bbbbbbbb"),
        ({"name": "carol"}, "carol: there is no such name"),
        ({"name": "default"}, "default: there is no such name"),
    ):
        answer = await desk.post("revoke", **{"name": "alice", **fields})
        assert answer.status == 409
        assert words in answer.words
        assert "run.py" not in answer.words.split("The file")[0], "no commands on a page"
    await desk.post("revoke", name="alice")
    assert [token.name for token in load_tokens(desk.path)] == ["bob"]
    assert "# Bob is away in May." in desk.path.read_text()
    said = lines(caplog)
    assert said[0] == "person:alice revoked the value aaaaaaaa of alice"
    assert said[1].startswith("person:alice could not revoke the value bbbbbbbb of alice: alice:")
    assert said[-1] == "person:alice revoked the token alice"


# The list


async def test_the_newer_of_both_last_uses_is_told_and_old_values_can_go(
    path: Path, tmp_path: Path
) -> None:
    old = TokenValue(digest_of("old"), created=NOW - 60 * DAY)
    new = TokenValue(digest_of("new"), created=NOW - 30 * DAY)
    issue.add(path, Token("alice", (old, new)))
    state_db = tmp_path / "state.sqlite3"
    ago = {old: 40, new: 20}
    write_last_use(state_db, {v.digest: (NOW - days * DAY).timestamp() for v, days in ago.items()})
    desk = Desk(path, state_db=state_db, shared=digest_of("shared"))
    desk.used = {new.digest: (NOW - 2 * DAY).timestamp(), digest_of("shared"): NOW.timestamp() - 60}
    page = await desk.get()
    assert f"The old value {old.id} unused for 40 days, safe to drop." in page.words
    assert "2 days ago" in page.words
    assert "20 days ago" not in page.words
    default = page.words.partition("MCP_AUTH_TOKEN, one value for all")[2]
    assert re.search(r"Last use \d+ (seconds|minutes) ago", default)
    desk.used = {}
    page = await desk.get()
    assert "Last use unknown" in page.words.partition("MCP_AUTH_TOKEN, one value for all")[2]
    assert digest_of("shared").hex()[:8] not in page.text


async def test_notes_names_and_people_are_text_and_never_markup(desk: Desk) -> None:
    desk.path.write_text(
        BOTH.replace("her laptop", "<script>alert(1)</script>\\u202e'\\\"")
        + '[[people]]\nmatch = "*@example.com"\nnote = "<img src=x>"\ntools = ["<i>*"]\nrate = "60/min"\n'
        "expires = 2020-01-01\n"
        '[scopes."a<b>"]\ntools = ["get_*"]\n'
    )
    page = await desk.get()
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    for shown in (
        "<script>alert(1)</script>\\u202e'\"",
        "*@example.com",
        "tools <i>*",
        "<img src=x>",
    ):
        assert shown in page.words.replace("&lt;", "<")
    assert "scope a<b> tools get_*" in page.words
    assert re.search(r"60/min, expired \d+ days ago", page.words)


async def test_of_many_tokens_some_are_shown_and_the_others_are_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_page, "MAX_SHOWN", 2)
    for number, name in enumerate(("alice", "bob", "Bobby")):
        issue.add(desk.path, Token(name, (TokenValue(digest_of(f"{number}")),)))
    page = await desk.get()
    assert "2 of 3 tokens are shown; find others by their names." in page.words
    assert "Revoke Bobby" not in page.words
    for query, names in (("bob", ["bob", "Bobby"]), ("%00%ff<b>", []), ("&find=x" * 20, None)):
        page = await desk.get(f"{PAGE}?find={query}")
        shown = re.findall(r"<summary>Revoke (\w+)<", page.text)
        assert page.status == 200
        assert names is None or shown == names
    answer = await desk.rotate("Bobby", overlap="x")
    assert "Rotate Bobby" in answer.words


# The file


async def test_without_a_file_a_button_or_the_first_token_makes_it(desk: Desk) -> None:
    page = await desk.get()
    assert "which is still to be made" in page.words
    assert "Make the file now" in page.words
    assert "Download" not in page.words
    answer = await desk.get(f"{PAGE}.toml")
    assert answer.status == 303
    answer = await desk.post("make-file")
    assert answer.status == 303
    assert desk.path.read_text() == HEADER
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    assert desk.asked_to_reload == 1
    page = await desk.get()
    assert f"{desk.path}: is there now." in page.words
    assert "Make the file now" not in page.words


async def test_a_file_that_cannot_be_changed_is_shown_with_the_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.path.write_text(BOTH)
    reason = f"{desk.path}: cannot be changed (Read-only file system: {desk.path.parent})"

    def refuse(_: Path) -> None:
        raise TokensError(reason)

    monkeypatch.setattr(token_file, "expect_to_change", refuse)
    page = await desk.get()
    assert reason in page.words
    assert "her laptop" in page.words
    assert page.text.count('method="post"') == 2, "nothing but signing out"
    desk.path.with_name("tokens.toml.lock").mkdir()  # and if somebody sends a form in spite of that
    answer = await desk.post("revoke", name="alice")
    assert answer.status == 409
    assert "cannot be changed (Is a directory" in answer.words
    assert "could not revoke the token alice" in caplog.text
    assert desk.path.read_text() == BOTH


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BOTH.replace("[tokens.bob]\n", "[tokens.bob]\nrate = 7\n"), "line 19: rate: must be"),
        (BOTH + f"# {SECRET}\n", "line 24: holds the value of a token in clear"),
        ("", "is empty; to end all tokens, revoke each"),
        (None, "there is no such file as"),
    ],
)
async def test_a_faulty_file_is_told_with_its_lines_and_left_alone(
    desk: Desk, text: str | None, fault: str
) -> None:
    desk.in_force = Contents((Token("dora", (TokenValue(digest_of("dora")),)),))
    if text is not None:
        desk.path.write_text(text)
    page = await desk.get()
    assert fault in page.words
    assert "dora" in page.words
    assert "her laptop" not in page.words
    assert page.text.count('method="post"') == 2, "nothing but signing out"
    for action in ("make-file", "make", "revoke"):
        answer = await desk.post(action, name="dora")
        assert (answer.status, fault in answer.words) == (409, True)
    assert SECRET not in page.text + answer.text
    assert (desk.path.read_text() if desk.path.exists() else None) == text
    assert (await desk.get(f"{PAGE}.toml")).status == 303 or text == ""


async def test_the_file_can_be_taken_away_as_it_stands(desk: Desk) -> None:
    await desk.post("make", name="alice")
    answer = await desk.get(f"{PAGE}.toml")
    assert answer.text == desk.path.read_text()
    assert answer.one(b"Content-Disposition") == b'attachment; filename="tokens.toml"'
    assert answer.one(b"Cache-Control") == b"no-store"
    assert answer.one(b"X-Content-Type-Options") == b"nosniff"
    assert not VALUE_PATTERN.search(answer.text)
    again = desk.path.with_name("again.toml")
    again.write_text(answer.text)
    assert load_contents(again) == load_contents(desk.path)


async def test_in_a_space_the_page_says_before_a_change_and_after_it_that_it_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(path, in_space=True)
    page = await desk.get()
    assert "Tokens made here are gone at the next restart of the Space." in page.words
    assert "mount one at /data" in page.words
    answer = await desk.post("make", name="alice")
    assert "The token is gone at the next restart of the Space" in answer.words
    await desk.post("revoke", name="alice")
    assert "A tokens.toml that you have downloaded before still has it" in (await desk.get()).words
    monkeypatch.setattr("os.path.ismount", lambda folder: folder == path.parent)
    desk = Desk(path, in_space=True)
    page, answer = await desk.get(), await desk.post("make", name="alice")
    assert "outlasts a restart" in page.words
    assert "gone" not in page.words + answer.words


async def test_a_file_of_the_spaces_own_is_shown_with_the_way_to_change_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.path.write_text(BOTH)

    def refuse(_: Path) -> None:
        raise TokensError("let UID 1000 write to the folder")

    monkeypatch.setattr(token_file, "expect_to_change", refuse)
    page = await Desk(desk.path, in_space=True).get()
    assert "her laptop" in page.words
    assert "They are in one of the Space's own files." in page.words
    assert "delete the lines of the token, from [tokens.NAME] to the next name" in page.words
    assert "Download tokens.toml" in page.words
    assert "UID 1000" not in page.words
    assert "gone" not in page.words
    assert page.text.count('method="post"') == 2, "nothing but signing out"


async def test_a_second_file_that_would_bring_revoked_tokens_back_is_told(path: Path) -> None:
    page = await Desk(path, in_space=True, aside=path.with_name("other.toml")).get()
    assert "other.toml is not in force, but its tokens are good again" in page.words


async def test_who_waits_for_a_disk_is_told_and_the_log_says_what_came_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    desk.path.write_text(BOTH)
    monkeypatch.setattr(token_file, "MAX_SECONDS", 0.1)
    with desk.path.with_name("tokens.toml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another program changes the file, and does not end
        answer = await desk.post("revoke", name="bob")
        assert answer.status == 503
        assert "reading or changing this file takes longer than 0.1 seconds" in answer.words
        assert "Nobody knows yet whether this was done" in answer.words
        assert (await desk.get()).status == 200
    monkeypatch.setattr(token_file, "MAX_SECONDS", 5.0)
    with trio.fail_after(5):
        while "her laptop" not in (await desk.get()).words:
            await trio.sleep(0.01)
    assert [token.name for token in load_tokens(desk.path)] == ["alice"]
    assert lines(caplog)[-1] == "person:alice revoked the token bob"


# Bounds


def values_of(count: int) -> str:
    return "".join(
        f"[[tokens.alice.values]]\ndigest = 'sha256:{number:064x}'\n" for number in range(count)
    )


@only_in_ci
async def test_a_large_file_makes_no_large_page(desk: Desk) -> None:
    people = "".join(f"[[people]]\nmatch = 'user-{number}'\n" for number in range(300))
    note = "x" * 50_000
    desk.path.write_text(f"[tokens.alice]\nnote = '{note}'\n{values_of(300)}{people}")
    answer = await desk.get()
    assert "290 older values of alice are not shown" in answer.words
    assert "These are the first 100 of 300." in answer.words
    assert "(49000 more characters)" in answer.words
    assert len(answer.text) < 60_000
    newest = re.findall(r'name="newest" value="(\w+)"', answer.text)
    assert newest == [load_tokens(desk.path)[0].values[-1].id]


async def test_a_token_with_many_values_is_over_only_if_all_of_them_are(desk: Desk) -> None:
    past = "\nexpires = 2020-01-01T00:00:00Z\n"
    old = values_of(30).replace("\n[[", f"{past}[[").removesuffix("\n") + past
    good = "[[tokens.alice.values]]\ndigest = 'sha256:" + "f" * 64 + "'\n"
    desk.path.write_text(old)
    assert "alice has expired" in (await desk.get()).words
    desk.path.write_text(good + old)
    assert "alice has expired" not in (await desk.get()).words


async def test_of_many_faults_the_first_are_shown(desk: Desk) -> None:
    desk.path.write_text("".join(f"[tokens.n{number}]\nodd = 1\n" for number in range(500)))
    words = (await desk.get()).words
    assert re.search(r"and \d{3,} more", words)
    assert "n499" not in words
