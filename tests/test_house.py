"""The house: import arrows point one way, and the top level holds what it should."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from functools import cache

from tests.harness.program import ROOT

OURS = {"run", "gate", "mcp_app", "gatehouse", "pantry"}
ARROWS = {
    "run": {"gate", "mcp_app", "gatehouse"},
    "gate": {"gatehouse"},
    "gatehouse": {"gate", "gatehouse"},  # only assembly: the floors say so
    "mcp_app": {"pantry"},
    "pantry": {"pantry"},
}
MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = {"gate.py": 350, "run.py": 200}
MAX_OTHER_FILE_LINES = 300


@cache
def all_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = [name for name in listed.stdout.split() if (ROOT / name).exists()]
    return [name for name in found if not name.startswith("server/")]  # somebody's own


def python_files() -> list[str]:
    return [name for name in all_files() if not name.startswith("tests/")]


def files_of_tests() -> list[str]:
    return [name for name in all_files() if name.startswith("tests/")]


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text())


def test_there_is_no_other_python_name_at_the_top_level() -> None:
    assert {name.partition("/")[0].removesuffix(".py") for name in python_files()} == OURS


def test_imports_follow_the_arrows() -> None:
    for name in python_files():
        place = name.partition("/")[0].removesuffix(".py")
        for node in ast.walk(tree_of(name)):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or place]
            for module in modules:
                top = module.partition(".")[0]
                assert top not in OURS - ARROWS[place], f"{name} imports {module}"


FLOORS = {
    "run": 9,
    "assembly": 8,
    "gate": 7,
    "commands": 7,
    "doctor": 7,
    "settings": 6,
    "hosting": 6,
    "pages": 6,
    "apps": 5,
    "policy": 4,
    "tokens": 4,
    "signin": 4,
    "downstream": 4,
    "identity": 3,
    "upstream": 3,
    "process": 3,
    "http": 2,
    "records": 2,
    "scheduling": 1,
    "advice": 1,
    "version": 1,
    "errors": 1,
    "pinned": 1,
    "keepalive": 1,
}
DOORS = {
    "cryptography": {"signin"},
    "h11": {"doctor", "downstream", "upstream"},
    "httpcore": {"upstream"},
    "hypercorn": {"downstream"},
    "jinja2": {"pages"},
    "joserfc": {"identity", "signin"},
    "redis": {"policy"},
    "segno": {"pages"},
    "throttled": {"policy"},
    "tomlkit": {"tokens"},
    "pydantic": {"settings"},
    "prometheus_client": {"records"},
    **{name: {"hosting"} for name in ("fastmcp", "mcp", "starlette", "uvicorn")},
    **{name: {"hosting", "pinned"} for name in ("trio_asyncio", "anyio")},
}
"""The rooms that may load a library, for those that have few. Any room may name its types."""


def room_of(module: str) -> str:
    """The room of a module by its dotted name: `gatehouse.http.fields` is in "http"."""
    first, *others = module.split(".")
    return others[0] if first == "gatehouse" and others else first


@cache
def modules() -> dict[str, ast.Module]:
    """The gate's own modules by dotted name."""
    return {
        name.removesuffix(".py").replace("/", "."): tree_of(name)
        for name in python_files()
        if not name.endswith("__init__.py") and name.startswith(("gatehouse/", "gate.py", "run.py"))
    }


def imported_by(tree: ast.AST, *, types: bool) -> set[str]:
    """Dotted names that a module imports, wherever in it; with `types`, for its types, too."""
    names = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif types or not isinstance(node, ast.If) or ast.unparse(node.test) != "TYPE_CHECKING":
            names |= imported_by(node, types=types)
    return names


def test_modules_import_their_own_room_and_lower_floors() -> None:
    wrong = set()
    for module, tree in modules().items():
        own = room_of(module)
        for other in map(room_of, imported_by(tree, types=True)):
            if other != own and FLOORS.get(other, 0) >= FLOORS[own]:
                wrong.add((module.removeprefix("gatehouse."), other))
    assert wrong == set()


def test_libraries_have_one_door() -> None:
    for module, tree in modules().items():
        for name in imported_by(tree, types=False):
            doors = DOORS.get(name.partition(".")[0], {room_of(module)})
            assert room_of(module) in doors, f"{module} imports {name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    ours = modules()
    graph = {
        module: {
            other
            for name in imported_by(tree, types=False)
            for other in (name, name.rpartition(".")[0])
            if other in ours
        }
        for module, tree in ours.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names them


def test_no_import_of_a_module_changes_another_module() -> None:
    script = [sys.executable, "tests/harness/import_trial.py"]
    changed = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert changed.stdout + changed.stderr == ""


def test_the_table_of_rooms_has_each_room_once() -> None:
    table = ast.get_docstring(ast.parse((ROOT / "gatehouse/__init__.py").read_text())) or ""
    rows = re.findall(r"^(\d)  (\w+)(?:\.py|/)  +\S", table, flags=re.MULTILINE)
    assert {name: int(floor) for floor, name in rows} == FLOORS
    assert len(rows) == len(FLOORS) == len({room_of(module) for module in modules()})
    jobs = re.findall(r"^(\d)  (\w+(?:\.py|/))  +(\S.*)$", table, flags=re.MULTILINE)
    page = (ROOT / "docs/design.md").read_text()
    for floor, name, job in jobs:
        path = name if name in {"run.py", "gate.py"} else f"gatehouse/{name}"
        assert f"| {floor} | `{path}` | {job} |" in page, "docs/design.md has another table"


def test_no_function_is_longer_than_a_page() -> None:
    for name in python_files():
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, f"{name}: {node.name} has {length} lines"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in {"_", "_replace"}


def own_private_names() -> set[str]:
    """Private names that our files give to what they define."""
    found = set()
    for name in python_files():
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return {name for name in found if is_private(name)}


def names_asked_of_others(node: ast.AST) -> list[str]:
    """Names that an expression or an import reads of another object than `self` and `cls`."""
    if isinstance(node, ast.Attribute):
        own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        return [] if own else [node.attr]
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):  # setattr and such
        texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
        return [text.rpartition(".")[2] for text in texts if isinstance(text, str)]
    return []


def test_no_test_reads_a_private_name_of_ours() -> None:
    private = own_private_names()
    for name in files_of_tests():
        for node in ast.walk(tree_of(name)):
            read = private.intersection(names_asked_of_others(node))
            assert not read, f"{name} reads {read}"


def test_no_test_imports_another() -> None:
    for name in files_of_tests():
        others = {each for each in imported_by(tree_of(name), types=True) if ".test_" in each}
        assert not others, f"{name} imports {others}"


def test_conftest_holds_fixtures_and_hooks_only() -> None:
    for name in [name for name in files_of_tests() if name.endswith("conftest.py")]:
        for node in tree_of(name).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                decorators = [ast.unparse(each) for each in node.decorator_list]
                fixture = any(each.startswith("pytest.fixture") for each in decorators)
                assert fixture or node.name.startswith("pytest_"), f"{name}: {node.name}"


def test_no_file_is_longer_than_its_budget() -> None:
    for name in python_files():
        lines = len((ROOT / name).read_text().splitlines())
        budget = MAX_FILE_LINES.get(name, MAX_OTHER_FILE_LINES)
        assert lines <= budget, f"{name} has {lines} lines"


def test_each_folder_of_tests_is_a_room_or_a_kind() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    files = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert folders <= {
        *FLOORS,
        "pantry",
        "promises",
        "clients",
        "containers",
        "browser",
        "load",
        "harness",
    }
    assert files <= {*FLOORS, "house", "docs"}


def test_the_table_of_promises_names_each_file_of_tests() -> None:
    table = (ROOT / "tests/README.md").read_text()
    named = {f"tests/{name}" for name in re.findall(r"`([\w/]*test_\w+\.py)`", table)}
    there = {name for name in files_of_tests() if "/test_" in name and "/clients/" not in name}
    assert named == there


AWKWARD = re.compile(r"(?:^|[.!?:] |# )(?:What|Whose|Who|So|Nor)\b[^.?]*(?:\.|$)", re.MULTILINE)
"""A sentence that begins so, and is no question, makes its reader turn it around."""


def test_no_sentence_of_docstrings_and_comments_begins_awkwardly() -> None:
    for name in all_files():
        if name.startswith(("pantry/", "mcp_app.py")):  # their words reach the clients
            continue
        strings = [
            node.value.value
            for node in ast.walk(tree_of(name))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ]
        texts = [" ".join(str(string).split()) for string in strings]
        texts += re.findall(r"(?m)(?:^|  )# .*", (ROOT / name).read_text())
        found = [match[0] for text in texts for match in AWKWARD.finditer(text.strip())]
        assert not found, f"{name}: {found}"
