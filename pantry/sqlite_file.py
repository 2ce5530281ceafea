"""One SQLite file: opens it, checks that it is ours, and runs work on it in threads.

Each call opens its own connection in a worker thread, and closes it. That costs a fraction of a
millisecond and buys much: no connection is ever shared between threads, readers do not wait for each
other, and a file that was replaced meanwhile is noticed.

Writing begins with `BEGIN IMMEDIATE`: the write lock is taken before the first read, so that no other
thread or process can change what a decision rests on. The rollback journal is used, not WAL, because
WAL needs shared memory, which a file on a network disk does not have.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from pantry.errors import MisconfiguredError, PantryError, UnavailableError

T = TypeVar("T")

BUSY_SECONDS = 10.0  # how long to wait for another process's write lock
APPLICATION_ID = 0x466F6F64  # "Food", in the file's header: this file is ours
VERSION = 1
SCHEMA = (
    """CREATE TABLE inventory (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, quantity REAL NOT NULL CHECK (quantity >= 0),
        unit TEXT NOT NULL, category TEXT NOT NULL, location TEXT NOT NULL, expires TEXT,
        staple INTEGER NOT NULL, min_quantity REAL, notes TEXT NOT NULL)""",
    """CREATE TABLE shopping (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, quantity REAL NOT NULL CHECK (quantity >= 0),
        unit TEXT NOT NULL, category TEXT NOT NULL, purchased INTEGER NOT NULL,
        notes TEXT NOT NULL)""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


class SqliteFile:
    """The file, and work done on it. Failures come out as errors of `pantry.errors`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Writers of this process queue here, in order, rather than racing for SQLite's lock, whose
        # losers sleep and may starve.
        self._writing = anyio.Lock()

    async def check(self) -> None:
        """Create the file if it is not there; raise `MisconfiguredError` if it cannot be used."""
        # Writing what is there already is the only sure sign that one can write.
        await self.write(lambda connection: connection.execute(SCHEMA[-1]))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a thread on a connection of its own."""
        return await anyio.to_thread.run_sync(self._run, work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction: all of it happens, or nothing."""

        def transaction(connection: sqlite3.Connection) -> T:
            with _transaction(connection):
                return work(connection)

        async with self._writing:
            return await anyio.to_thread.run_sync(self._run, transaction)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(self._connect()) as connection:
                return work(connection)
        except sqlite3.DatabaseError as error:
            raise self._in_words(error) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            # SQLite's own comparisons know the case of ASCII letters only.
            connection.create_function("casefold", 1, str.casefold, deterministic=True)
            if not _is_current(connection):
                with _transaction(connection):
                    _create_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _in_words(self, error: sqlite3.DatabaseError) -> PantryError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return UnavailableError("The inventory file is busy. Try again in 5 seconds.", 5)
        if not self._path.parent.is_dir():
            return MisconfiguredError("The folder of the inventory file does not exist. Create it.")
        if self._path.is_dir():
            return MisconfiguredError(
                "The path of the inventory file is a folder. Name a file in it."
            )
        return MisconfiguredError(
            f"The inventory file cannot be used ({error}). It must be a file of FoodWise, or a new"
            " one, which this program may read and write, in a folder where it may create files."
        )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite itself gives up some, as on a full disk
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_current(connection: sqlite3.Connection) -> bool:
    application = _pragma(connection, "application_id")
    return application == APPLICATION_ID and _pragma(connection, "user_version") == VERSION


def _create_schema(connection: sqlite3.Connection) -> None:
    """Make a new file ours, or refuse one that is not new. Runs under the write lock."""
    if _is_current(connection):
        return  # another process was faster
    if _pragma(connection, "application_id") == APPLICATION_ID:
        raise MisconfiguredError(
            f"The inventory file has version {_pragma(connection, 'user_version')} of the schema;"
            f" this FoodWise knows version {VERSION} only. Update FoodWise, or name another file."
        )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables or _pragma(connection, "application_id"):
        raise MisconfiguredError(
            "The inventory file is a database of some other program. Name another file."
        )
    for statement in SCHEMA:
        connection.execute(statement)
