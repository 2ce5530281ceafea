"""Suggested commands as they are written, and the words for a Python that cannot run the program."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

from gatehouse import advice
from gatehouse.version import VERSION
from tests.harness.program import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OLD = (3, 8)


def test_the_version_is_that_of_the_project() -> None:
    assert PROJECT["version"] == VERSION


def test_the_packages_are_those_that_the_project_asks_for() -> None:
    names = {re.split("[=<>]", line)[0] for line in PROJECT["dependencies"]}
    odd = {"python-dotenv": "dotenv", "throttled-py": "throttled"}
    assert {odd.get(name, name.replace("-", "_")) for name in names} == {*advice.PACKAGES}
    assert PROJECT["requires-python"] == f">={advice.PYTHONS[-1]},<3.14"
    assert (
        f".venv/bin/{advice.INSTALL} && .venv/bin/python run.py" in (ROOT / "README.md").read_text()
    )


@pytest.mark.parametrize(
    "path",
    ["run.py", "gatehouse/__init__.py", "gatehouse/advice.py"],
    ids=lambda path: Path(path).stem,
)
def test_an_old_python_reads_far_enough_to_say_that_it_is_too_old(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(), feature_version=OLD)
    if path != "run.py":
        loaded = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in [node.names[0].name]
        }
        assert {name.partition(".")[0] for name in loaded} <= sys.stdlib_module_names
    else:
        before = tree.body[: [isinstance(node, ast.If) for node in tree.body].index(True)]
        assert ast.unparse(before[1:]).splitlines() == [  # type: ignore[arg-type]
            "from __future__ import annotations",
            "import sys",
            "from gatehouse import advice",
        ]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ((3, 14, 0), "The gate needs Python 3.11 to 3.13; this is 3.14. "),
        ((3, 8, 18), "The gate needs Python 3.11 to 3.13; this is 3.8. "),
    ],
)
def test_a_python_too_new_or_too_old_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: tuple[int, ...], words: str
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(advice, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert advice.unfit() == (
        f"{words}Install Python 3.13, and make one of its own: cd {tmp_path} && python3.13 -m venv .venv && "
        f".venv/bin/{advice.INSTALL} && .venv/bin/python run.py"
    )
    (tmp_path / "python3.12").touch(0o700)
    assert f"Make one of its own: cd {tmp_path} && python3.12 -m venv .venv" in advice.unfit()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    start = f"{tmp_path}/.venv/bin/python {tmp_path}/run.py"
    assert advice.unfit() == f"{words}Start with the one in .venv: {start}"
    monkeypatch.setattr(advice, "HERE", tmp_path)
    assert advice.unfit().endswith(": .venv/bin/python run.py")
    monkeypatch.setattr(sys, "prefix", f"{tmp_path}/.venv")
    assert "python3.12 -m venv --clear .venv" in advice.unfit()


def test_a_python_without_the_packages_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert advice.unfit() == ""
    monkeypatch.setattr(advice, "PACKAGES", ("trio", "not_there"))
    for folder in ("ROOT", "HERE"):  # one without a .venv
        monkeypatch.setattr(advice, folder, tmp_path)
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/a b/python")
    has = f"This Python ({tmp_path}/a b/python) has no not_there. "
    monkeypatch.setattr(sys, "prefix", str(tmp_path))  # a virtual environment
    own = f"'a b/python' -m {advice.INSTALL}"
    if importlib.util.find_spec("pip"):
        assert advice.unfit() == f"{has}Install the packages: {own}"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert advice.unfit().startswith(f"{has}Make one of its own: 'a b/python' -m venv")


def test_a_folder_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    words = advice.unfit()
    monkeypatch.chdir(tmp_path)
    assert words.startswith("The folder of the start is gone")
    assert words.endswith(f": cd {advice.ROOT}")


def test_the_interpreter_is_named_as_briefly_as_the_shell_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TOKENS_FILE", raising=False)
    monkeypatch.setattr(advice, "HERE", ROOT)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv/bin/python"))
    assert advice.add_token() == ".venv/bin/python run.py tokens add NAME"
    monkeypatch.setattr(advice, "HERE", tmp_path)
    assert advice.list_tokens() == f"{ROOT}/.venv/bin/python {ROOT}/run.py tokens list"
    monkeypatch.setattr(advice, "HERE", ROOT)
    (tmp_path / "python").touch(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert advice.rotate_token("alice") == "python run.py tokens rotate alice"
    monkeypatch.setenv("TOKENS_FILE", "/data/my tokens.toml")
    assert (
        advice.revoke_token("a")
        == "TOKENS_FILE='/data/my tokens.toml' python run.py tokens revoke a"
    )
    assert advice.run_py() == "python run.py"


def test_no_message_suggests_a_command_of_its_own() -> None:
    for path in [ROOT / "run.py", ROOT / "gate.py", *(ROOT / "gatehouse").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ]
        if path.name != "advice.py":
            found = [
                text for text in texts if re.search(r"run\.py \w+ \w|python3? -|pip install", text)
            ]
            assert found == [], path


COMMANDS = {
    name: function
    for name, function in inspect.getmembers(advice, inspect.isfunction)
    if not name.startswith("_") and name not in {"python", "unfit", "run_py"}
}
"""All functions whose results messages suggest."""


def test_every_suggested_command_is_run_by_a_test() -> None:
    told = (ROOT / "tests/promises/test_token_commands.py").read_text()
    assert [name for name in COMMANDS if f"advice.{name}(" not in told] == []
