"""The file of STATE_DB: an SQLite file with a table for each thing that a restart must not make the gate forget."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_umask = os.umask(0o077)  # reading it means setting it
os.umask(_umask)

OPEN_MODE = 0o644 & ~_umask
"""The mode of a file that is made new without a dashboard: anybody whom the umask of the start lets in may read when
tokens were used, since digests are no secret."""

PRIVATE_MODE = 0o600
"""The mode with a dashboard: the file then holds names and addresses of people."""

LOCK_SECONDS = 1
"""How long to wait for another writer: the gate's own write in a few milliseconds."""


@contextmanager
def opened(path: Path, mode: int) -> Iterator[sqlite3.Connection]:
    """The file, open for one transaction, which holds if the block ends without an error. Raises sqlite3.Error.

    It is opened each time, so that a removed one is made anew: with that mode, since a hosted server may have
    set another umask. One that is there keeps its own mode.
    """
    with suppress(OSError):  # it exists, or SQLite will say why it cannot
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database, database:
        yield database


@contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, open for reading; it must be there, since connecting would make it. Raises sqlite3.Error."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as database:
        yield database
