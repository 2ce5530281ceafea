"""Routes of a hosted server outside its endpoint: a line of log names those that nobody can reach through the gate."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gatehouse.http.paths import is_reserved
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.paths import ExposedPaths

logger = logger_of("gate")

MAX_SHOWN = 10
"""How many routes the line names."""

_PARAMETER = re.compile(r"\{[^}]*\}")


def tell_hidden(routes: Iterable[Any], endpoint: str, exposed: ExposedPaths) -> None:
    """Log the routes that the gate answers with 404."""
    hidden = [path for path in paths_of(routes) if is_hidden(path, endpoint, exposed)]
    if hidden:
        shown = ", ".join(hidden[:MAX_SHOWN]) + (", ..." if len(hidden) > MAX_SHOWN else "")
        logger.info(
            "the server has routes outside its endpoint, and the gate answers 404 for them: %s; EXPOSE_PATHS names "
            "those that are to pass",
            shown,
        )


def paths_of(routes: Iterable[Any]) -> list[str]:
    """The paths of Starlette's routes, each once."""
    paths = (getattr(route, "path", "") for route in routes)
    return list(dict.fromkeys(path for path in paths if isinstance(path, str) and path))


def is_hidden(path: str, endpoint: str, exposed: ExposedPaths) -> bool:
    """True if no request for the path gets through the gate, although it could."""
    asked = _PARAMETER.sub("x", path).encode("utf-8", "replace")
    own = path.rstrip("/") == endpoint.rstrip("/") or is_reserved(asked)
    return not own and exposed.find(asked) is None
