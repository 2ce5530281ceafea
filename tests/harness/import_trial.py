"""Prints each name of another library that importing our modules changes: `python tests/harness/import_trial.py`.

The libraries are loaded first, because the import of one may change another. That is not our doing.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

LIBRARIES = """
    anyio asyncio fastmcp fastmcp.server.http fastmcp.server.server h11 httpcore httpx hypercorn hypercorn.trio logging.config
    mcp mcp.server.mcpserver multiprocessing prometheus_client pydantic_settings redis signal socket starlette throttled
    tomlkit trio trio.testing trio_asyncio uvicorn
""".split()


def names() -> dict[tuple[str, ...], Any]:
    """All that stands in the modules that are loaded, and the functions of their classes."""
    found: dict[tuple[str, ...], Any] = {}
    for name, module in [*sys.modules.items()]:
        if name == "__main__":
            continue
        for key, thing in [*getattr(module, "__dict__", {}).items()]:
            if not key.startswith("__"):
                found[name, key] = thing
            if (
                isinstance(thing, type)
                and str(thing.__module__).split(".")[0] == name.split(".")[0]
            ):
                functions = {each: its for each, its in vars(thing).items() if callable(its)}
                found.update({(name, key, each): its for each, its in functions.items()})
    return found


def main() -> None:
    sys.path[0] = str(ROOT)
    for library in LIBRARIES:
        importlib.import_module(library)
    before = names()
    package = importlib.import_module("gatehouse")
    ours = [module.name for module in pkgutil.walk_packages(package.__path__, "gatehouse.")]
    for module in [*ours, "gate", "run"]:
        importlib.import_module(module)
    after = names()
    for name, thing in before.items():
        if after.get(name) is not thing:
            sys.stdout.write(".".join(name) + "\n")


if __name__ == "__main__":
    main()
