"""The house: import arrows point one way, and the top level holds what it should."""

from __future__ import annotations

import ast
import re
import subprocess

from tests.program import ROOT

OURS = {"run", "gate", "mcp_app", "gatehouse", "pantry"}
ARROWS = {
    "run": {"gate", "mcp_app", "gatehouse"},
    "gate": {"gatehouse"},
    "gatehouse": {"gatehouse"},
    "mcp_app": {"pantry"},
    "pantry": {"pantry"},
}
LONGEST_FUNCTION = 50


def python_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.split() if not name.startswith("tests/")]


def test_there_is_no_other_python_name_at_the_top_level() -> None:
    assert {name.partition("/")[0].removesuffix(".py") for name in python_files()} == OURS


def test_imports_follow_the_arrows() -> None:
    for name in python_files():
        place = name.partition("/")[0].removesuffix(".py")
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or place]
            for module in modules:
                top = module.partition(".")[0]
                assert top not in OURS - ARROWS[place], f"{name} imports {module}"


def test_the_map_of_gatehouse_has_every_module_once() -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / "gatehouse/__init__.py").read_text())) or ""
    _, _, the_map = docstring.partition("\n\n")
    rows = re.sub("^[^ :][^:]*:|\\(\\w+\\)", "", the_map, flags=re.MULTILINE)
    modules = {path.stem for path in (ROOT / "gatehouse").glob("[a-z]*.py")}
    assert sorted(re.findall(r"\w+", rows)) == sorted(modules)


def test_no_function_is_longer_than_a_page() -> None:
    for name in python_files():
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= LONGEST_FUNCTION, f"{name}: {node.name} has {length} lines"
