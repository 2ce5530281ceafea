"""The documents: everything that a user can set, ask, call or be told stands in them, and no link is dead."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from functools import cache
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from httpx import ByteStream
from pydantic import SecretStr

from gatehouse.assembly.house import House
from gatehouse.commands.parser import parser
from gatehouse.http import challenges, refusals
from gatehouse.http.events import COMMENT
from gatehouse.http.forward import HOP_BY_HOP, NOT_FORWARDED
from gatehouse.http.paths import is_for_upstream
from gatehouse.http.reply import Reply
from gatehouse.identity.principal import Principal
from gatehouse.pages import snippets, well_known
from gatehouse.policy import tools
from gatehouse.records.ends import SAYS
from gatehouse.records.metrics import Metrics
from gatehouse.records.record import Record
from gatehouse.settings.environment import Settings, load_settings
from gatehouse.settings.misspelt import INJECTED
from gatehouse.tokens.reader import PERSON_KEYS, SCOPE_KEYS, TOKEN_KEYS, VALUE_KEYS, parse_contents
from gatehouse.tokens.token import RESERVED
from gatehouse.tokens.value import make_value
from mcp_app import mcp
from pantry.settings import PantrySettings
from tests.harness.program import ROOT
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = ROOT / "README.md"
EXAMPLE = ROOT / ".env.example"
PAGES = sorted((ROOT / "docs").glob("*.md"))
PAPERS = [
    README,
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "tests/README.md",
    ROOT / "tests/load/RESULTS.md",
]

SOURCES = sorted(
    path
    for place in ("gate.py", "run.py", "gatehouse", "tests")
    for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    if not {"node_modules", ".venv"} & {*path.relative_to(ROOT).parts}
)

MAX_README_LINES = 130
NOT_SETTINGS = {  # Hugging Face sets them
    *("space_id", "space_host", "space_creator_user_id"),
    *(name.lower() for name in INJECTED),
}
AWKWARD = re.compile(
    r"(?:^[#*> -]*|(?<=[.:;!?|(] )|(?<=\*\* ))(?:What|Whose|Who|So|Nor)\b", re.MULTILINE
)
"""How no sentence begins that a reader is to understand at once."""

by_name = pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def text_of(*papers: Path) -> str:
    return "\n".join(paper.read_text() for paper in papers)


def prose(paper: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(paper), flags=re.MULTILINE | re.DOTALL)


def headings(paper: Path) -> list[str]:
    return re.findall(r"^#{1,6} (.+)$", prose(paper), re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor that GitHub makes of a heading, for links to end in."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def rows(paper: Path) -> list[list[str]]:
    """The cells of every row of its tables."""
    lines = re.findall(r"^\| (.*) \|$", prose(paper), re.MULTILINE)
    return [line.split(" | ") for line in lines]


# The papers themselves


def test_the_first_page_is_short() -> None:
    _, _, page = README.read_text().split("---\n", 2)
    assert len(page.splitlines()) <= MAX_README_LINES


def test_uv_run_installs_no_development_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["default-groups"] == []


def test_every_page_is_linked_from_the_first_one_and_has_its_contents_at_its_head() -> None:
    for page in PAGES:
        assert f"](docs/{page.name})" in text_of(README), f"README.md has no link to {page.name}"
        contents = re.findall(r"^- \[(.+)\]\(#(.+)\)$", prose(page), re.MULTILINE)
        sections = re.findall(r"^## (.+)$", prose(page), re.MULTILINE)
        assert contents == [(name, anchor(name)) for name in sections], page.name


@by_name
def test_every_link_leads_somewhere(paper: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(paper)):
        if re.match(r"https?://", target):
            continue
        path, _, section = target.partition("#")
        other = (paper.parent / path).resolve() if path else paper
        assert other.is_file(), f"{target} is no file"
        if section:
            assert section in map(anchor, headings(other)), f"{target} is no section"


@by_name
def test_no_sentence_begins_awkwardly(paper: Path) -> None:
    found = [line for line in prose(paper).splitlines() if AWKWARD.search(line)]
    assert found == []


def test_every_file_that_prose_names_is_there() -> None:
    for text in [*PAPERS, *SOURCES]:
        for name in re.findall(
            r"`((?:gatehouse|tests|docs|pantry)/[\w/.-]*\w)/?`", text.read_text()
        ):
            there = (ROOT / name).exists() or (text.parent / name).exists()
            assert there, f"{text.relative_to(ROOT)} names {name}"


# Settings


NONE = (None, (), "")
"""The defaults that are written as nothing, or as `none`."""

GATES_OWN = {*Settings.model_fields} - NOT_SETTINGS
ALL_SETTINGS = {name.upper() for name in GATES_OWN | {*PantrySettings.model_fields}}


def assert_defaults(written: dict[str, str]) -> None:
    """Each of these texts is what its setting is by default."""
    usual = Settings(_env_file=None)
    for name, text in written.items():
        if name.lower() in GATES_OWN:
            given = Settings(_env_file=None, **{name.lower(): text})  # type: ignore[arg-type]
            default = getattr(usual, name.lower())
            assert getattr(given, name.lower()) == default, name
            assert (text == "") == (default in NONE), name
        else:
            default = PantrySettings.model_fields[name.lower()].default
            assert text == ("" if default is None else str(default)), name


@cache
def meanings() -> dict[str, str]:
    """The first sentence of each of the gate's own settings, from the string under its field."""
    texts = {}
    for path in (ROOT / "gatehouse/settings").glob("*.py"):
        for group in ast.walk(ast.parse(path.read_text())):
            if isinstance(group, ast.ClassDef):
                for field, below in pairwise(group.body):
                    if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                        name = ast.unparse(field.target).upper()
                        texts[name] = " ".join(ast.literal_eval(below.value).split())
    return {name: re.split(r"\.(?: |$)", text)[0] for name, text in texts.items()}


def plain(cell: str) -> str:
    """A cell without the marks of code and links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "")


LINE_OF_SETTINGS = re.compile(
    r"^ *((?:[A-Z_]+=(?:\"[^\"]*\"|\S+) ?)+)(?:\.venv/bin/python run\.py)?$", re.MULTILINE
)


def test_the_settings_on_the_page_about_identity_can_be_used_as_they_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"AUTH_ISSUER": "https://sso.example.com", "PUBLIC_URL": "https://gate.example.com"}
    lines = LINE_OF_SETTINGS.findall(text_of(ROOT / "docs/identity.md"))
    assert len(lines) == 5
    for line in lines:
        with monkeypatch.context() as environment:
            given = dict(word.split("=", 1) for word in shlex.split(line))
            alone = "AUTH_ISSUER" not in given and "FRONT" not in given
            for name, value in (asked | given if alone else given).items():
                environment.setenv(name, value)
            House(load_settings(), []).identity.verifiers  # noqa: B018 - makes all parts of it


def test_every_setting_has_its_meaning_under_its_field() -> None:
    assert meanings().keys() == {name.upper() for name in GATES_OWN}


def in_tables(paper: Path) -> dict[str, list[str]]:
    """Default and meaning of each setting that a document has in a table."""
    return {
        row[0].strip("`"): ["" if row[1] == "none" else row[1].strip("`"), plain(row[2])]
        for row in rows(paper)
        if re.fullmatch(r"`[A-Z][A-Z_]+`", row[0]) and len(row) == 3
    }


@pytest.mark.parametrize("paper", [README, ROOT / "docs/settings.md"], ids=lambda path: path.name)
def test_the_tables_have_the_settings_as_they_are(paper: Path) -> None:
    shown = in_tables(paper)
    assert shown.keys() == ALL_SETTINGS if paper != README else len(shown) == 8
    assert_defaults({name: default for name, (default, _) in shown.items()})
    for name in shown.keys() & meanings().keys():
        assert shown[name][1].startswith(meanings()[name]), name


def test_the_example_file_has_every_setting_as_it_is() -> None:
    blocks = re.findall(r"((?:^#.*\n)*)^([A-Z_]+)=(.*)$", text_of(EXAMPLE), re.MULTILINE)
    assert {name for _, name, _ in blocks} == ALL_SETTINGS
    assert_defaults({name: default for _, name, default in blocks})
    for comment, name, _ in blocks:
        if name in meanings():
            told = " ".join(line.removeprefix("# ") for line in comment.splitlines())
            assert told.startswith(meanings()[name]), name


# Paths, commands, statuses


def test_every_page_is_in_the_table_of_paths() -> None:
    paths = {
        path.encode()
        for row in rows(ROOT / "docs/wire.md")
        for path in re.findall("`(/[^`]*)`", row[0])
    }
    settings = Settings(
        _env_file=None,
        mcp_app="",
        metrics_token=SecretStr(make_value()),
        sign_in="https://sso.example.com",
        sign_in_client_id="gate",
        sign_in_client_secret=SecretStr(make_value()),
        admins=("sub:alice",),
        public_url="https://gate.example.com",
        state_db=None,
    )
    pages = House(settings, []).pages.paths
    assert b"/token" in pages
    assert pages < paths
    assert any(map(is_for_upstream, paths - pages))


def test_the_wire_page_names_each_field_that_the_gate_adds_or_takes_off() -> None:
    page = text_of(ROOT / "docs/wire.md").lower()
    settings = Settings(_env_file=None, mcp_app="", upstream_keep_alive=0, tokens_file=EXAMPLE)
    alice = Principal("oauth:" + "a" * 32, "oauth:alice", kind="oauth")
    outbound = House(settings, []).upstream_side.outbound
    sent = outbound.forwarded(request_of(), alice, ByteStream(b""))
    added = {name.decode().lower() for name, _ in sent.headers.raw}
    taken_off = {name.decode() for name in NOT_FORWARDED - HOP_BY_HOP}
    assert [name for name in added | taken_off if f"`{name}" not in page] == []


def test_the_wire_page_has_the_comment_of_silent_streams() -> None:
    assert f"`{COMMENT.decode().strip()}`" in text_of(ROOT / "docs/wire.md")


def help_on(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit):
        parser().parse_args([*command, "--help"])
    return capsys.readouterr().out


def test_every_command_and_option_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    described = text_of(*PAGES)
    for command in re.findall(r"^    (\w+) ", help_on(capsys), re.MULTILINE):
        assert f"`python run.py {command}`" in described
        for action in re.findall(r"^    (\w+) ", help_on(capsys, command), re.MULTILINE):
            options = set(re.findall(r"--[a-z-]+", help_on(capsys, command, action))) - {"--help"}
            table = {cell for row in rows(ROOT / f"docs/{command}.md") for cell in row}
            assert any(cell.startswith(f"`{command} {action}") for cell in table)
            for option in options:
                assert any(f"`{option}" in cell for cell in table), f"{command} {action} {option}"
        for option in set(re.findall(r"--[a-z-]+", help_on(capsys, command))) - {"--help"}:
            assert option in described, f"{command} {option}"


def told(reply: Reply) -> str:
    """The sentence that a refusal tells its reader."""
    content = json.loads(reply.body)
    if isinstance(content["error"], dict):
        return str(content["error"]["message"])
    return str(content["error_description"])


def worded() -> Iterator[Reply]:
    """Every refusal that has fixed words."""
    for module in (tools, refusals, well_known, challenges):
        for value in vars(module).values():
            if isinstance(value, Reply) and value.reason:
                yield value
    yield from map(refusals.malformed, (400, 414, 431, 501))
    yield refusals.too_many_failures(1)
    yield challenges.unavailable(1, "keys-unavailable")
    yield challenges.unavailable(1, "keys-unavailable", challenges.FRONT_AWAY)
    yield challenges.unavailable(1, "introspection-unavailable")
    yield challenges.not_through_front("front-missing")
    yield challenges.Challenges().bad_token("expired")
    yield challenges.Challenges().insufficient_scope((), ("mcp",))


def reasons_of_identity() -> Iterator[str]:
    """Every word that tells why an access token or an assertion is no good."""
    for path in (ROOT / "gatehouse/identity").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Bad", "_refused"}:
                yield from (
                    str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)
                )
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_fault"):
                yield from re.findall(r"(?<=return ')[a-z-]+", ast.unparse(node))


def test_the_page_about_identity_knows_each_reason() -> None:
    page = text_of(ROOT / "docs/identity.md")
    reasons = set(reasons_of_identity())
    assert len(reasons) > 12
    assert [reason for reason in reasons if f"`{reason}`" not in page] == []


def test_every_refusal_is_in_the_table_for_trouble() -> None:
    table = [row for row in rows(ROOT / "docs/operations.md") if len(row) == 5]
    missing = [
        (reply.status, reply.reason, told(reply))
        for reply in worded()
        if not any(
            status == str(reply.status)
            and f"`{reply.reason}`" in reasons.split(", ")
            and sentence in told(reply)
            for status, reasons, sentence, _, _ in table
        )
    ]
    assert missing == []


def test_operations_knows_each_reason_for_which_an_app_is_refused() -> None:
    page = text_of(ROOT / "docs/operations.md")
    reasons = {
        ast.literal_eval(each.value)
        for room in ("gatehouse/apps", "gatehouse/pages/apps")
        for path in (ROOT / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for each in node.keywords
        if each.arg == "reason" and isinstance(each.value, ast.Constant)
    }
    assert len(reasons) > 12
    assert [reason for reason in reasons if f"`{reason}`" not in page] == []


def test_the_signs_of_trouble_are_in_the_words_of_the_program() -> None:
    texts = [
        node.value
        for source in SOURCES
        if ROOT / "tests" not in source.parents
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for row in rows(ROOT / "docs/operations.md"):
        sign = re.fullmatch(r"`([^`]{12,})`(?: (?:at the start|in the log))", row[0])
        if len(row) == 3 and sign:
            words = max(sign[1].split("..."), key=len).strip(" (:")
            assert any(words in text for text in texts), f"nothing says {words}"


def test_operations_knows_each_figure_reason_and_member_of_the_log() -> None:
    page = text_of(ROOT / "docs/operations.md")
    zero = Metrics(in_flight=int, open_streams=int, connections=int)
    figures = re.findall(r"^# TYPE (mcp_gate_\S+)", zero.page()[1].decode(), re.MULTILINE)
    members = Record(
        "", "", "", "", "", "", "", "", "", False, "", 200, 0, 0, None, 0.0, "", ""
    ).fields()
    assert [name for name in (*figures, *members, *SAYS) if f"`{name}`" not in page] == []


def test_the_page_of_tokens_knows_what_the_file_may_hold() -> None:
    page = text_of(ROOT / "docs/tokens.md")
    keys = (*TOKEN_KEYS, *VALUE_KEYS, *SCOPE_KEYS, *PERSON_KEYS)
    assert [key for key in keys if not re.search(rf"\b{key}\b", page)] == []
    assert [name for name in RESERVED if f"`{name}`" not in page] == []


def test_the_files_on_the_page_of_tokens_can_be_read() -> None:
    examples = re.findall(r"```toml\n(.*?)```", text_of(ROOT / "docs/tokens.md"), re.DOTALL)
    digest = f"sha256:{'a' * 64}"
    read = [parse_contents(example.replace("sha256:...", digest)) for example in examples]
    assert [bool(part) for part in (read[0].tokens, read[1].people, read[2].scopes)] == [True] * 3


def test_every_status_that_the_gate_makes_is_in_the_documents() -> None:
    statuses = {204, *map(int, HTTPStatus)} & {204, *range(400, 506)}  # 506 and more are WebDAV's
    made = {
        node.value
        for path in [ROOT / "gate.py", *(ROOT / "gatehouse").rglob("*.py")]
        if path.parent.name != "doctor"  # which meets those of others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in statuses
    }
    refused = {
        int(status)
        for row in rows(ROOT / "docs/wire.md")
        for status in row[0].split(", ")
        if status.isdecimal()
    }
    assert made <= refused
    trouble = {int(row[0]) for row in rows(ROOT / "docs/operations.md") if row[0].isdecimal()}
    assert refused - {204} <= trouble


# Snippets


def test_the_snippets_are_the_gates_own() -> None:
    url = "http://URL"  # as if without TLS, which needs an option more
    shown = [
        make(url, "TOKEN", snippets.slug(mcp.name)).replace(url, "URL")
        for make in (
            snippets.supergateway,
            snippets.mcp_remote,
            snippets.claude_code,
            snippets.vs_code,
            snippets.cursor,
            snippets.gemini_cli,
        )
    ]
    shown.append(snippets.inspector(url, "TOKEN").replace(url, "URL"))
    page = blocks(ROOT / "docs/clients.md")
    assert [snippet for snippet in shown if laid_out_anyhow(snippet) not in page] == []
    assert {laid_out_anyhow(shown[0]), laid_out_anyhow(shown[2])} <= blocks(README)


def blocks(paper: Path) -> set[str]:
    """The blocks of code in a document."""
    found = re.findall(r"^```\w+\n(.*?)\n```", text_of(paper), re.MULTILINE | re.DOTALL)
    return {laid_out_anyhow(block) for block in found}


def laid_out_anyhow(block: str) -> str:
    """JSON without its layout; anything else as it is."""
    return json.dumps(json.loads(block)) if block.startswith("{") else block


def test_the_versions_of_clients_stand_in_one_place() -> None:
    package = json.loads((ROOT / "tests/clients/package.json").read_text())
    tested = {f"{name}@{version}" for name, version in package["dependencies"].items()}
    named = re.compile(r"(?:@modelcontextprotocol/)?[a-z-]+@[0-9][0-9.]*[0-9]")
    assert set(named.findall(text_of(*PAPERS))) == tested
    holders = {
        path.name: set(named.findall(path.read_text()))
        for path in (ROOT / "gatehouse").rglob("*.*")
        if path.suffix in {".py", ".html"} and named.search(path.read_text())
    }
    assert holders == {"snippets.py": tested}
