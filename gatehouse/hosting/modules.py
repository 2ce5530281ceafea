"""The modules of hosted servers: where they are found, what hides them, and what may have been meant."""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse import advice
from gatehouse.hosting.faults import HostedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

FOLDER = Path(__file__).parent.parent.parent / "server"
"""The folder for servers, beside `run.py`."""

IN_FASTMCP = {"mcp.server.fastmcp": "from fastmcp import FastMCP"}
"""Modules that the MCP SDK had before its second release, and what stands for them here."""


def let_servers_be_found() -> None:
    """Add the folder to `sys.path`, at its end, so that nothing there hides a library or a part of the gate."""
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))


def in_folder() -> Iterator[tuple[str, Path]]:
    """The names of the modules and packages in the folder, and their files."""
    with suppress(OSError):
        for path in sorted(FOLDER.iterdir()):
            file = path / "__init__.py" if path.is_dir() else path
            if path.stem.isidentifier() and file.suffix == ".py" and file.is_file():
                yield path.stem, file


def refuse_hidden(module_name: str) -> None:
    """Raise HostedServerError if the folder has this module, and Python would import another of that name."""
    top = module_name.partition(".")[0]
    file = dict(in_folder()).get(top)
    if file is None:
        return
    place: str | None = None
    with suppress(ImportError, ValueError):  # a module that is loaded, and does not say from where
        spec = importlib.util.find_spec(top)
        place = spec.origin if spec else None
    if not is_same(file, place):
        raise HostedServerError(
            f"MCP_APP: {file} is hidden by another module {top} ({place or 'built into Python'}), so "
            f"{module_name} would not be your server; give the file another name",
            started=False,
        )


def hidden() -> list[str]:
    """The names of modules in the folder in whose place another module was imported."""
    names = []
    for name, file in in_folder():
        module = sys.modules.get(name)
        if module is not None and not is_same(file, getattr(module, "__file__", None)):
            names.append(name)
    return names


def is_same(file: Path, place: str | None) -> bool:
    """True if a module that comes from `place` is this file, by whatever path."""
    with suppress(OSError):
        return place is not None and file.samefile(place)
    return False


def tell_hidden(logger: Logger) -> None:
    """Log the modules in the folder that are hidden: the server may have got others than it wanted."""
    for name in hidden():
        logger.warning("%s", sentence_on_hidden(name))


def hidden_too() -> str:
    """The same, as the end of a sentence."""
    return "".join(f"; {sentence_on_hidden(name)}" for name in hidden())


def sentence_on_hidden(name: str) -> str:
    """The sentence for a module that is hidden."""
    place = getattr(sys.modules[name], "__file__", None) or "built in"
    return f"{name} in {FOLDER} is hidden by another module of that name ({place}); give it another name"


def not_there(module_name: str, name: str) -> str:
    """The sentence for a module that cannot be found, with the one that may have been meant."""
    told = f"MCP_APP: there is no module {module_name} to import {module_name}:{name} from"
    for path in FOLDER.glob("*.py"):
        if path.stem != module_name == as_name(path.stem):
            return f"{told}; {path} cannot be imported by its name: rename it {module_name}.py"
    found = []
    for each, file in in_folder():
        inner = file.parent.glob("[!_]*.py") if file.stem == "__init__" else ()
        found += [each, *(f"{each}.{path.stem}" for path in inner)]
    close = difflib.get_close_matches(module_name, found, n=1)
    meant = close or (found if len(found) == 1 else [])
    if meant:
        return f"{told}; did you mean MCP_APP={meant[0]}:{name}?"
    return f"{told}; put {module_name.partition('.')[0]}.py into {FOLDER}, or install the package that has it"


def as_name(stem: str) -> str:
    """The name of a module that is next to a file's name, such as `my_server` for `my-server`."""
    return re.sub(r"\W", "_", stem)


def advice_for(module_name: str) -> str:
    """The advice for a library that a server lacks, as the end of a sentence."""
    if module_name in IN_FASTMCP:
        return f"; write {IN_FASTMCP[module_name]}"
    requirements = FOLDER / "requirements.txt"
    if not requirements.is_file():
        return f"; install the package that has {module_name} beside the gate's own, and list it in {requirements}"
    return (
        f"; the package that has {module_name} belongs into {requirements}; "
        f"this installs what stands there: {advice.install_from(requirements)}"
    )
