"""`python run.py tokens` as a program, and edits of the tokens file that others disturb."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse import advice
from gatehouse.settings.kinds import MIN_TOKEN_LENGTH
from gatehouse.tokens.issue import revoke
from gatehouse.tokens.reader import load_tokens
from gatehouse.tokens.value import digest_of
from tests.harness.only_ci import only_in_ci
from tests.harness.program import ROOT
from tests.harness.token_files import BOTH

Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


# The file


def script(code: str, path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Python code that finds `path`, `arguments` and all of the token file's functions."""
    start = (
        "import sys, os, signal; from pathlib import Path;"
        "from gatehouse.tokens.issue import *; from gatehouse.tokens.token import *;"
        "path, *arguments = Path(sys.argv[1]), *sys.argv[2:]\n"
    )
    return subprocess.Popen([sys.executable, "-c", start + code, path, *arguments], cwd=ROOT)


def test_two_programs_at_once_lose_nothing(path: Path) -> None:
    code = """
for number in range(20):
    add(path, Token(f"{arguments[0]}{number}", (TokenValue(digest_of(make_value())),)))
"""
    both = [script(code, path, name) for name in ("a", "b")]
    assert [program.wait(20) for program in both] == [0, 0]
    names = {token.name for token in load_tokens(path)}
    assert names == {f"{name}{number}" for name in ("a", "b") for number in range(20)}


@pytest.mark.parametrize("call", ["os.fdopen", "os.fchmod", "os.fsync", "Path.replace"])
def test_a_program_that_is_killed_leaves_the_whole_old_file(path: Path, call: str) -> None:
    path.write_text(BOTH)
    code = f"""
{call} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
revoke(path, "alice")
"""
    assert script(code, path).wait(20) == -signal.SIGKILL
    assert path.read_text() == BOTH
    revoke(path, "bob")  # what the killed one has left behind is not in the way
    assert not path.with_name("tokens.toml.new").exists()


def test_a_program_that_is_killed_later_leaves_the_whole_new_file(path: Path) -> None:
    path.write_text(BOTH)
    code = """
def replace(*paths, replace=Path.replace):
    replace(*paths)
    os.kill(os.getpid(), signal.SIGKILL)
Path.replace = replace
revoke(path, "alice")
"""
    assert script(code, path).wait(20) == -signal.SIGKILL
    assert [token.name for token in load_tokens(path)] == ["bob"]


# As a program


def program(
    folder: Path, *arguments: str, behind: str = "", stdout: int = subprocess.PIPE
) -> Ended:
    """`python run.py tokens ...`, with a shell's redirection behind it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {behind}', "sh", sys.executable, ROOT / "run.py", *arguments],
        cwd=folder,
        env={**kept, "TOKENS_FILE": "tokens.toml"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_whole_program_makes_a_token_and_tells_where(tmp_path: Path) -> None:
    made = program(tmp_path, "tokens", "add", "alice")
    assert made.returncode == 0
    assert made.stderr.startswith(f"alice: is in {tmp_path / 'tokens.toml'} now.\n")
    (alice,) = load_tokens(tmp_path / "tokens.toml")
    assert alice.values[0].digest == digest_of(made.stdout.strip())


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        (">/dev/full", "the value could not be shown, and is lost; this makes another one:"),
        (">&-", "stdout: is closed"),
    ],
)
def test_a_value_that_cannot_be_shown_is_told_without_a_traceback(
    tmp_path: Path, behind: str, words: str
) -> None:
    ended = program(tmp_path, "tokens", "add", "alice", behind=behind)
    assert ended.returncode == 1
    assert words in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["tokens", "list"], ["--help"]])
def test_nobody_reading_on_is_no_traceback(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "tokens.toml").write_text(BOTH)
    reading, writing = os.pipe()
    os.close(reading)
    ended = program(tmp_path, *arguments, stdout=writing)
    os.close(writing)
    assert ended.stderr == ""


# Suggested commands, pasted as they stand.


def pasted(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The result of the command in the shell of the start."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=advice.HERE,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@only_in_ci
def test_every_command_that_a_message_suggests_works_when_it_is_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my tokens.toml"
    monkeypatch.setenv("TOKENS_FILE", str(file))
    outputs = {}
    needed = tmp_path / "requirements.txt"
    needed.touch()
    for command in (
        advice.install_from(needed),
        advice.make_secret(),
        advice.show_authorities(),
        advice.add_token(),
        advice.add_token("alice"),
        advice.rotate_token("alice"),
        advice.list_tokens(),
    ):
        done = pasted(command)
        assert done.returncode == 0, command + done.stderr
        outputs[command] = done.stdout
    assert len(outputs[advice.make_secret()].strip()) >= MIN_TOKEN_LENGTH
    assert Path(outputs[advice.show_authorities()].strip()).is_file()
    *_, old, _ = next(token for token in load_tokens(file) if token.name == "alice").values
    for command in (advice.revoke_value("alice", old.id), advice.revoke_token("alice")):
        assert pasted(command).returncode == 0, command
    assert [token.name for token in load_tokens(file)] == ["NAME"]


@only_in_ci
def test_the_examples_of_the_help_work_when_they_are_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENS_FILE", raising=False)
    whole = pasted(f"{advice.run_py()} --help").stdout
    tokens = pasted(f"{advice.run_py()} tokens --help").stdout
    told = re.findall(r"^  (\S.*run\.py .*)$", f"{whole}\n{tokens}", re.MULTILINE)
    examples = [line for line in told if "usage" not in line]
    assert len(examples) == 7
    kinds = {*[line.partition(" tokens ")[2].split()[0] for line in examples]}
    assert kinds == {"add", "list", "rotate", "revoke", "--help"}
    environment = {"TOKENS_FILE": str(tmp_path / "tokens.toml")}
    for example in dict.fromkeys(examples):
        done = pasted(example, **environment)
        known = "alice: exists already" in done.stderr and "tokens add alice" in example
        assert done.returncode == 0 or known, example + done.stderr


def test_without_packages_the_program_says_what_to_do(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-S", str(ROOT / "run.py"), "tokens", "list"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(
        r"This Python \(.*\) has no cryptography, dotenv, fastmcp\. .*run\.py", line
    ) or (line.endswith(advice.INSTALL))
