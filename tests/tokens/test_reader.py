"""Named tokens: what a tokens file may say, and that whatever is wrong with it is told with its line."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse import advice
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import EVERYTHING, Grants
from gatehouse.identity.people import Person
from gatehouse.identity.rate import OFF, parse_rate
from gatehouse.identity.scopes import Scope
from gatehouse.tokens.contents import Contents
from gatehouse.tokens.file import MAX_BYTES, TokensError
from gatehouse.tokens.reader import CLEAR, FOREIGN_CLEAR, load_tokens, parse_contents
from gatehouse.tokens.token import HEADER_ONLY, Token, check_name
from gatehouse.tokens.value import VALUE_PATTERN, TokenValue, digest_of, make_value
from tests.harness.token_files import Written, token_files

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = digest_of("a value")
OTHER = digest_of("another value")
D, E = (f"sha256:{digest.hex()}" for digest in (DIGEST, OTHER))
VALUES = f'[[tokens.alice.values]]\ndigest = "{D}"\n'


def parse_tokens(text: str) -> tuple[Token, ...]:
    return parse_contents(text).tokens


def faults(text: str) -> list[str]:
    try:
        parse_tokens(text)
    except TokensError as error:
        return error.faults
    return []


def test_a_token_has_what_the_file_says() -> None:
    (alice,) = parse_tokens(f"""\
# comments are welcome
[tokens.alice]
note = "Alice's laptop"
tools = ["list_*", "get_item"]
resources = []
rate = "60/min, burst 20"
lanes = ["query", "header"]

[[tokens.alice.values]]
digest = "{D}"
created = 2026-11-24T12:00:00Z
not_before = 2026-11-24T14:00:00+02:00
expires = 2027-11-24T12:00:00Z
""")
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert alice == Token(
        name="alice",
        values=(TokenValue(DIGEST, noon, noon, datetime(2027, 11, 24, 12, tzinfo=UTC)),),
        grants=Grants(tools=("list_*", "get_item"), resources=()),
        rate=parse_rate("60/min, burst 20"),
        lanes=LANES,
        note="Alice's laptop",
    )


def test_a_token_with_a_digest_only_may_do_everything_but_come_in_a_url() -> None:
    (alice,) = parse_tokens(VALUES)
    assert alice == Token("alice", (TokenValue(DIGEST),), EVERYTHING, None, HEADER_ONLY, "")


def test_scopes_and_people_have_what_the_file_says_and_no_token_is_needed_then() -> None:
    contents = parse_contents("""\
[[people]]
match = "bob@example.com"
note = "until his contract ends"
tools = ["get_*"]
rate = "60/min"
expires = 2026-12-24

[scopes."mcp:write"]
tools = ["*"]
prompts = []

[scopes.admin]

[[people]]
match = "*@example.com"
""")
    end = datetime(2026, 12, 25, tzinfo=UTC)
    note = "until his contract ends"
    assert contents == Contents(
        scopes=(
            Scope("mcp:write", Grants(tools=("*",), prompts=())),
            Scope("admin", EVERYTHING),
        ),
        people=(
            Person("bob@example.com", Grants(tools=("get_*",)), parse_rate("60/min"), end, note),
            Person("*@example.com"),
        ),
    )


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "[tokens]\n", "tokens = {}"])
def test_an_empty_file_has_no_tokens(text: str) -> None:
    assert parse_tokens(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        VALUES,
        VALUES.replace("\n", "\r\n"),
        VALUES.upper()
        .replace("TOKENS.ALICE.VALUES", "tokens.alice.values")
        .replace("DIGEST", "digest")
        .replace("SHA256", "sha256"),
        f"[[ tokens . \"alice\" . values ]]\ndigest = '{D}'",
        f'[tokens]\nalice = {{values = [{{digest = "{D}"}}]}}',
        f'tokens.alice.values = [\n  # the first\n  {{digest = "{D}"}},\n]',
        f'tokens = {{alice = {{values = [{{digest = "{D}"}}]}}}}',
        f'[tokens.alice]\nnote = ""\nvalues = [{{"digest" = """{D}"""}}]',
    ],
)
def test_every_spelling_of_toml_is_understood(text: str) -> None:
    (alice,) = parse_tokens(text)
    assert alice.values == (TokenValue(DIGEST),)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        # what TOML itself does not allow
        ("[tokens.alice\n", 1, "is not valid TOML (Expected ']'"),
        (f"{VALUES}\nnote = yes\n", 4, "is not valid TOML (Invalid value)"),
        (f'{VALUES}note = "', 3, "is not valid TOML (Unterminated string)"),
        ("[tokens.alice]\n[tokens.bob]\n[tokens.alice]\n", 3, "this table or key is in the file twice"),
        ('[tokens.alice]\nnote = "a"\nnote = "b"\n', 3, "this table or key is in the file twice"),
        ("tokens = {a = {}, a = {}}\n", 1, "this table or key is in the file twice"),
        ("\ufeff[tokens.alice]\n", 1, "begins with a byte order mark"),
        # what is not known here
        ("\n[token.alice]\n", 2, "token: is not known here; this place may have: tokens, scopes, people"),
        ("\n[[person]]\n", 2, "person: is not known here; this place may have: tokens, scopes, people"),
        ('\n[scope."mcp"]\n', 2, "scope: is not known here; this place may have: tokens, scopes, people"),
        (f"{VALUES}[tokens.alice]\ntool = []\n", 4, "tool: is not known here"),
        (
            f"[tokens.alice]\nexpires = 2026-12-24\n{VALUES}",
            2,
            "expires: belongs to a value; put it below [[tokens.NAME.values]]",
        ),
        (f'{VALUES}rate = "off"\n', 3, "rate: belongs to the token; put it below [tokens.NAME]"),
        (f"{VALUES}revoked = true\n", 3, "revoked: is not known here; this place may have: digest"),
        (f'tokens.alice = {{values = [\n{{digest = "{D}", x = 1}}]}}', 2, "x: is not known here"),
        # names
        (f'[[tokens.default.values]]\ndigest = "{D}"', 1, "default is reserved: the gate uses this name for MCP_AUTH_TOKEN"),
        (f'[[tokens."a b".values]]\ndigest = "{D}"', 1, "a name has 1 to 64 of"),
        ("tokens = 1\n", 1, "tokens: must be tables"),
        ("[[tokens]]\n", 1, "tokens: must be tables"),
        ('[tokens]\n\nnote = "x"', 3, "must be a table: [tokens.NAME]"),
        # values
        ("\n[tokens.alice]\n", 2, "values: there are none"),
        ("[tokens.alice]\nvalues = []\n", 2, "values: there are none"),
        ("[tokens.alice.values]\n", 1, "values: must be tables, with two pairs of brackets"),
        (f'[tokens.alice]\nnote = ""\nvalues = ["{D}"]\n', 3, "values: must be tables"),
        ("\n[[tokens.alice.values]]\n", 2, "digest: must be the digest of a value"),
        (f'[[tokens.alice.values]]\ndigest = "{D[:-1]}"', 2, "digest: must be the digest"),
        (f'[[tokens.alice.values]]\ndigest = "{D[7:]}"', 2, "digest: must be the digest"),
        (f'[[tokens.alice.values]]\ndigest = "{D} "', 2, "digest: must be the digest"),
        (f'[[tokens.alice.values]]\ndigest = "{D.replace("256", "512")}"', 2, "digest: must be"),
        ("[[tokens.alice.values]]\ndigest = 5", 2, "digest: must be the digest"),
        (f'{VALUES}\n[[tokens.bob.values]]\ndigest = "{D}"', 5, "digest: is in line 2 already"),
        (f'{VALUES}\n[[tokens.alice.values]]\ndigest = "{D}"', 5, "digest: is in line 2"),
        (
            f'{VALUES}[[tokens.bob.values]]\ndigest = "sha256:{D[7:].upper()}"',
            4,
            "digest: is in line 2 already",
        ),
        (
            f'tokens.alice.values = [{{digest = "{D}"}}, {{digest = "{D}"}}]',
            1,
            "digest: is in line 1 already",
        ),
        # times
        (f"{VALUES}expires = 2027-11-24T12:00:00\n", 3, "expires: must be a date and time with an"),
        (f"{VALUES}created = 2027-11-24T12:00:00\n", 3, "created: must be a date and time with an"),
        (f"{VALUES}expires = 9999-12-31\n", 3, "expires: is too far away"),
        (f"{VALUES}not_before = 2027-11-25\nexpires = 2027-11-24\n", 4, "expires: must be later than"),
        (f"{VALUES}not_before = 12:00:00\n", 3, "not_before: must be a date and time with an"),
        (f'{VALUES}expires = "2027-11-24T12:00:00Z"\n', 3, "expires: must be a date and time"),
        (f"{VALUES}expires = 2027-02-31T12:00:00Z\n", 3, "is not valid TOML (Invalid date"),
        (f"{VALUES}expires = 0001-01-01T00:00:00+10:00\n", 3, "expires: is too far away"),
        (
            f"{VALUES}not_before = 2027-11-24T12:00:00Z\nexpires = 2027-11-24T12:00:00Z",
            4,
            "expires: must be later than not_before",
        ),
        # what it may do
        (f'{VALUES}[tokens.alice]\ntools = "list_*"', 4, "tools: must be a list of globs"),
        (f'{VALUES}[tokens.alice]\nprompts = [\n"a",\n1]', 4, "prompts: must be a list of globs"),
        (f'{VALUES}[tokens.alice]\nresources = [""]', 4, "resources: a glob is empty"),
        (f'{VALUES}[tokens.alice]\ntools = ["a "]', 4, "tools: a glob is empty, or begins or ends with"),
        (f'{VALUES}[tokens.alice]\nlanes = "query"', 4, 'lanes: must be a list of "header"'),
        (f"{VALUES}[tokens.alice]\nlanes = []", 4, 'lanes: must be a list of "header"'),
        (f'{VALUES}[tokens.alice]\nlanes = ["header", "url"]', 4, "lanes: must be a list of"),
        (f'{VALUES}[tokens.alice]\nlanes = ["header", {{}}]', 4, "lanes: must be a list of"),
        (f"{VALUES}[tokens.alice]\nnote = 1", 4, "note: must be a text in quotes"),
        (f"{VALUES}[tokens.alice]\nnote = -1.5e3\n", 4, "note: must be a text in quotes"),
        (f"{VALUES}[tokens.alice]\nrate = 60", 4, "rate: must be a text in quotes"),
        (f'{VALUES}[tokens.alice]\nrate = "fast"', 4, "rate: must be a rate such as 60/min"),
        (f'{VALUES}[tokens.alice]\nrate = ""', 4, "rate: must be a rate such as 60/min"),
        # scopes
        ("[scopes]\n", 1, "scopes: there are none"),
        ("scopes = []\n", 1, "scopes: must be tables, one for each name"),
        ("[[scopes]]\n", 1, "scopes: must be tables, one for each name"),
        ('\n[scopes]\ntools = ["a"]\n', 3, 'must be a table: [scopes."NAME"]'),
        ("\n[scopes.mcp:write]\n", 2, "is not valid TOML: the name of a scope stands in quotes"),
        ("\n[scopes.mcp.write]\n", 2, "write: the name of a scope stands in quotes"),
        ('[scopes."a b"]\n', 1, "the name of a scope has 1 to 100 visible ASCII characters"),
        ("[scopes.'a\"b']\n", 1, "the name of a scope has 1 to 100 visible ASCII characters"),
        ('[scopes.""]\n', 1, "the name of a scope has 1 to 100 visible ASCII characters"),
        ('[scopes."a"]\ntool = []\n', 2, "tool: is not known here; this place may have: tools, resources, prompts"),
        ('[scopes."a"]\nrate = "off"\n', 2, "rate: is not known here"),
        ('[scopes."a"]\ntools = "all"\n', 2, "tools: must be a list of globs"),
        # people
        ('[people]\nmatch = "alice"\n', 1, "people: must be tables, with two pairs of brackets: [[people]]"),
        ("[people.alice]\n", 1, "people: must be tables, with two pairs of brackets: [[people]]"),
        ('people = ["alice"]\n', 1, "people: must be tables, with two pairs of brackets: [[people]]"),
        ("people = []\n", 1, "people: there are none"),
        ("\n[[people]]\n", 2, "match: must be a user name, an e-mail address"),
        ("[[people]]\nmatch = 1\n", 2, "match: must be a text in quotes"),
        ('[[people]]\nmatch = "al*"\n', 2, "match: must be a user name, an e-mail address"),
        ('[[people]]\nmatch = "*@*.example.com"\n', 2, "match: must be a user name, an e-mail address"),
        ('[[people]]\nmatch = "user:alice"\n', 2, "match: before a colon there must be sub, org or client"),
        ('[[people]]\nmatch = "a"\nname = "b"\n', 3, "name: is not known here; this place may have: match, note"),
        ('[[people]]\nmatch = "a"\nlanes = ["header"]\n', 3, "lanes: is not known here"),
        ('[[people]]\nmatch = "a"\ntools = ["a "]\n', 3, "tools: a glob is empty"),
        ('[[people]]\nmatch = "a"\nrate = 60\n', 3, "rate: must be a text in quotes"),
        ('[[people]]\nmatch = "a"\nexpires = "2027-01-01"\n', 3, "expires: must be a date and time"),
        ('[[people]]\nmatch = "a"\nnote = 1\n', 3, "note: must be a text in quotes"),
        *(
            (f'[[people]]\nmatch = "{first}"\n[[people]]\nmatch = "{second}"\n', 4, "match: is never asked, since line 2")
            for first, second in [("a", "a"), ("*", "a"), ("*", "*"), ("a@b.c", "A@B.c"), ("*@B.c", "a@b.C"), ("*", "org:a")]
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_words_with_its_line(text: str, line: int, words: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"tokens.toml, line {line}: {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{VALUES}created = {'9' * 5000}", "a number is too long"),
        (f"x = {'[' * 20_000}", "lists are nested too deeply"),
    ],
)
def test_what_python_itself_does_not_read_is_a_fault_too(text: str, words: str) -> None:
    assert faults(text) == [f"tokens.toml: {words}"]


def test_all_faults_are_told_together_in_the_order_of_the_lines() -> None:
    text = f"""\
[tokens.alice]
tools = "all"
rate = "fast"

[[tokens.alice.values]]
digest = "{D}"
expires = "2027-11-24"

[tokens.bob]
lanes = ["url"]
colour = "red"
"""
    told = [fault.split(":")[:2] for fault in faults(text)]
    assert told == [
        ["tokens.toml, line 2", " tools"],
        ["tokens.toml, line 3", " rate"],
        ["tokens.toml, line 7", " expires"],
        ["tokens.toml, line 9", " values"],
        ["tokens.toml, line 10", " lanes"],
        ["tokens.toml, line 11", " colour"],
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'{VALUES}value = "hunter2-hunter2"', 3),
        (f'{VALUES}value = "mcpgate_{"hunter2" * 6}"', 3),
        (f"{VALUES}# mcpgate_{'hunter2' * 6}", 3),
        (f'{VALUES}[tokens.bob]\nnote = "mcpgate_{"hunter2" * 6}"', 4),
        (f"[[tokens.mcpgate_{'hunter2' * 6}.values]]", 1),
        (f'[[tokens.alice.values]]\ndigest = "mcpgate_{"hunter2" * 6}"', 2),
        (f'[[tokens.alice.values]]\n"mcpgate_{"hunter2" * 6}" = 1', 2),
        (f"mcpgate_{'hunter2' * 6} = hunter2", 1),
        (f'{VALUES}value = 1\nvalue = "mcpgate_{"hunter2" * 6}"', 4),
    ],
)
def test_a_value_in_clear_is_a_fault_and_is_not_repeated(text: str, line: int) -> None:
    told = faults(text)
    assert f"tokens.toml, line {line}: {CLEAR}" in told
    assert "hunter2" not in "".join(told)


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.hunter2hunter2"


@pytest.mark.parametrize(
    "text", [JWT, JWT.rpartition(".")[0], f"hf_{'hunter2' * 5}", f"hf_oauth_{JWT}"]
)
def test_an_access_token_of_somebody_else_in_clear_is_a_fault_too(text: str) -> None:
    for line in (
        f"# {text}",
        f'[[people]]\nmatch = "{text}"',
        f'[scopes."{text}"]',
        f'{text} = "{text}"',
    ):
        told = faults(f"{VALUES}{line}")
        assert f"tokens.toml, line {3 + line.count(chr(10))}: {FOREIGN_CLEAR}" in told
        assert not [word for word in ("hunter2", "eyJ", "hf_") if word in "".join(told)]


@pytest.mark.parametrize(
    "text",
    [
        '[[tokens.alice.values]]\ndigest = "hunter2"',
        '[[tokens.alice.values]]\nhunter2-hunter2-hunter2-hunter2 = "hunter2"',
        '[tokens.alice]\nrate = "hunter2"\nlanes = ["hunter2"]\ntools = "hunter2"\nvalues = "hunter2"',
        '[tokens.alice]\n"hunter2 " = 1\n"hunter2 " = 1',
        '[tokens."hunter2 "]\n[tokens."hunter2 "]',
        'tokens = {"hunter2 " = 1, "hunter2 " = 2}',
        "[tokens.alice]\nsecret = hunter2",
        '[scopes."hunter2 "]\nhunter2-hunter2-hunter2-hunter2 = 1',
        "[scopes.hunter2:hunter2]",
        '[[people]]\nmatch = "hunter2:hunter2"\nrate = "hunter2"\n"hunter2 " = 1',
        '[[people]]\nmatch = "hunter2"\n[[people]]\nmatch = "hunter2"',
    ],
)
def test_no_fault_repeats_what_may_be_a_secret(text: str) -> None:
    assert faults(text)
    assert "hunter2" not in "".join(faults(text))


@pytest.mark.parametrize("name", ["a", "A-1_b", "7", "x" * 64, "Default"])
def test_names_are_plain(name: str) -> None:
    check_name(name)
    assert parse_tokens(VALUES.replace("alice", name))[0].name == name


@pytest.mark.parametrize(
    "name", ["", "_a", "-a", "a b", "a.b", "é", "x" * 65, "a\n", "a:b", "default"]
)
def test_other_names_are_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(ValueError, match="name") as refusal:
        check_name(name)
    assert name in {"", "default"} or repr(name) not in str(refusal.value)


def test_a_file_is_read_and_named_as_it_was_called(tmp_path: Path) -> None:
    path = tmp_path / "who.toml"
    path.write_text(VALUES)
    assert [token.name for token in load_tokens(path)] == ["alice"]
    path.write_text(VALUES + "x = 1")
    with pytest.raises(TokensError, match=f"^{re.escape(str(path))}, line 3: x: is not known"):
        load_tokens(path)


def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(TokensError) as error:
            load_tokens(path)
        (fault,) = error.value.faults
        return fault.replace(str(path), "PATH")

    path = tmp_path / "tokens.toml"
    assert told(path) == (
        f"TOKENS_FILE: there is no such file as PATH; this makes it: {advice.add_token()}"
    )
    assert told(tmp_path / "no/tokens.toml") == (
        f"TOKENS_FILE: there is no folder {tmp_path}/no for tokens.toml; make it, or name another file"
    )
    assert told(tmp_path) == "TOKENS_FILE: PATH is not a regular file"
    path.write_bytes(b"# one\n# two\n# \xff\n")
    assert told(path) == "PATH, line 3: is not UTF-8"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert told(path) == f"PATH: is larger than {MAX_BYTES} bytes"
    path.unlink()
    os.mkfifo(path)
    assert told(path) == "TOKENS_FILE: PATH is not a regular file"
    path.unlink()
    path.symlink_to(path)
    assert told(path).startswith("TOKENS_FILE: PATH cannot be read (Too many levels")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.touch(mode=0)
    with pytest.raises(TokensError, match=r"cannot be read \(Permission denied\)"):
        load_tokens(path)


def test_a_large_file_is_read_in_a_moment() -> None:
    text = "\n".join(
        f'[[tokens.n{number}.values]]\ndigest = "sha256:{number:064x}"' for number in range(3000)
    )
    assert len(parse_tokens(text)) == 3000


def test_a_value_is_good_from_not_before_on_and_until_it_expires() -> None:
    begins = datetime(2026, 11, 24, 12, tzinfo=UTC)
    ends = begins + timedelta(hours=1)
    both = TokenValue(DIGEST, not_before=begins, expires=ends)
    start, end = begins.timestamp(), ends.timestamp()
    assert [both.valid_at(now) for now in (start - 0.001, start, end - 0.001, end)] == [
        False,
        True,
        True,
        False,
    ]
    assert TokenValue(DIGEST).valid_at(0.0)
    assert TokenValue(DIGEST).valid_at(1e12)


def test_a_date_without_a_time_is_that_day_in_utc_and_a_rate_may_be_off() -> None:
    days = "".join(f"{key} = 2026-12-24\n" for key in ("created", "not_before", "expires"))
    (token,) = parse_tokens(f'[tokens.alice]\nrate = "off"\n{VALUES}{days}')
    (only,) = token.values
    day = datetime(2026, 12, 24, tzinfo=UTC)
    assert (only.created, only.not_before, only.expires) == (day, day, day + timedelta(days=1))
    assert token.rate == OFF


def test_a_value_is_called_by_the_first_digits_of_its_digest_and_shows_no_more() -> None:
    value = TokenValue(DIGEST)
    assert value.id == DIGEST.hex()[:8]
    assert repr(DIGEST) not in repr(value)
    assert DIGEST.hex() not in repr(value)


def test_made_values_are_different_fit_everywhere_and_can_be_told_in_any_text() -> None:
    values = {make_value() for _ in range(50)}
    assert len(values) == 50
    for value in values:
        assert re.fullmatch(r"mcpgate_[A-Za-z0-9_-]{43}", value)
        assert VALUE_PATTERN.sub("", f"GET /mcp?key={value}&a=1") == "GET /mcp?key=&a=1"
        assert digest_of(value) == digest_of(value.encode())


# Any file: tokens, the text that says them, and the token of each line.


@given(token_files(), st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_file_says_is_read_however_it_is_written(written: Written, newline: str) -> None:
    assert parse_contents(written.text.replace("\n", newline)) == written.contents


@given(token_files(), st.data())
def test_the_line_of_a_fault_is_right_wherever_it_stands(
    written: Written, data: st.DataObject
) -> None:
    places = [at for at, (owner, row) in enumerate(written.lines) if owner and "digest =" in row]
    if places:
        at = data.draw(st.sampled_from(places))
        owner, row = written.lines[at]
        written.lines[at] = (owner, row.replace("digest =", "digest = 1 #", 1))
        if "{" in row:
            written.lines[at] = (owner, row.replace("digest =", "digest = 1, d ="))
        assert all(f"line {at + 1}:" in fault for fault in faults(written.text))
        assert faults(written.text)
