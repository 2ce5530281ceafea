"""Advice for errors of a server's own module while it is imported, and for settings that FastMCP reads itself."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatehouse import advice
from gatehouse.hosting import modules
from gatehouse.hosting.faults import in_a_line
from gatehouse.http.mcp import printable

if TYPE_CHECKING:
    from collections.abc import Callable


def advice_on(error: BaseException) -> str:
    """Advice on an error at import, as the end of a sentence; empty if nobody can tell."""
    match error:
        case ModuleNotFoundError(name=str(name)):
            return modules.advice_for(name)
        case ImportError() if "relative import" in str(error):
            return "; modules in server/ import each other as they stand: import my_tools, without a dot"
        case KeyError(args=[str(name)]) if is_of_environment(error):
            return (
                f"; the server wants {printable(name)} in the environment (.env is the gate's own)"
            )
        case FileNotFoundError(filename=str(name)) if not Path(name).is_absolute():
            return (
                f"; such a path begins at the folder of the start ({Path.cwd()}): "
                "Path(__file__).parent is that of the module"
            )
        case SystemExit():
            return '; put what ends the program under: if __name__ == "__main__":'
    return ""


def is_of_environment(error: KeyError) -> bool:
    """True if the key is missing in `os.environ`."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_code is type(os.environ).__getitem__.__code__


def of_fastmcp(error: Exception) -> list[str]:
    """A line for each setting of FastMCP's own that it does not take, without the value, which may be a secret; or one for
    a package that cannot be imported."""
    errors: Callable[..., list[dict[str, Any]]] | None = getattr(
        error, "errors", None
    )  # Pydantic's
    if errors is None:
        told = (
            f"FastMCP cannot be imported: {in_a_line(error)}; if server/requirements.txt has brought another release of a "
            "package that the gate pins, take it out there, and make .venv anew, in the folder of run.py: "
            f"{advice.INSTALL_ANEW}"
        )
        return [told]
    return [
        f"FASTMCP_{'_'.join(map(str, each['loc'])).upper()}: FastMCP does not take this setting: {each['msg']}"
        for each in errors(include_input=False, include_url=False)
    ]
