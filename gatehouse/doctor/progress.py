"""The progress on a terminal's stderr; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.doctor.examine import Progress


@contextmanager
def shown(subject: str) -> Iterator[Progress]:
    """Show which checks run, until the block ends."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # late: most starts need it not
    from rich.markup import escape

    running: list[str] = []
    console = Console(stderr=True)
    with console.status(escape(subject)) as status:

        def tell(name: str, done: bool) -> None:
            (running.remove if done else running.append)(name)
            status.update(escape(f"{subject}: {', '.join(running)}"))

        yield tell
