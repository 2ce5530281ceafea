"""Keeps the records in one SQLite file: a table for each shelf, a column for each field."""

import base64
import json
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

from pantry.models import (
    FieldsT,
    Item,
    ItemFields,
    Page,
    RecordT,
    ShoppingFields,
    ShoppingItem,
)
from pantry.sqlite_file import SqliteFile
from pantry.store import Query, Shelf, Store, bad_cursor, checked_id, not_found, remaining

LOW_STOCK = "quantity <= coalesce(min_quantity, CASE WHEN staple THEN 0 END)"


class SqliteShelf(Shelf[RecordT, FieldsT]):
    """One table. Its columns are the fields of the record's model."""

    def __init__(self, file: SqliteFile, table: str, record_type: type[RecordT]) -> None:
        self._file = file
        self._table = table
        self._record_type = record_type

    async def find(
        self, query: Query, *, limit: int = 50, cursor: str | None = None
    ) -> Page[RecordT]:
        keys = ["casefold(name)", "id"]
        if query.expires_by:
            keys.insert(0, "expires")
        conditions, values = _conditions(query)
        if cursor:
            # Keyset: the page begins behind the last key seen, so that rows which came or went in
            # between shift nothing.
            conditions.append(f"({', '.join(keys)}) > ({', '.join('?' for _ in keys)})")
            values += _read_cursor(cursor, len(keys))
        statement = (
            f"SELECT *, {', '.join(keys)} FROM {self._table}"  # noqa: S608 - all names are ours
            f" WHERE {' AND '.join(conditions) or '1'} ORDER BY {', '.join(keys)} LIMIT ?"
        )
        rows = await self._file.read(
            lambda connection: connection.execute(statement, [*values, limit + 1]).fetchall()
        )
        more = len(rows) > limit
        return Page(
            items=[self._record(row) for row in rows[:limit]],
            next_cursor=_make_cursor(tuple(rows[limit - 1])[-len(keys) :]) if more else None,
        )

    async def get(self, record_id: str) -> RecordT:
        return await self._file.read(lambda connection: self._load(connection, record_id))

    async def add(self, new: FieldsT) -> RecordT:
        record = self._record_type(id=str(uuid4()), **new.model_dump())
        row = _storable(record.model_dump())
        statement = (
            f"INSERT INTO {self._table} ({', '.join(row)})"  # noqa: S608 - all names are ours
            f" VALUES ({', '.join('?' for _ in row)})"
        )
        await self._file.write(lambda connection: connection.execute(statement, [*row.values()]))
        return record

    async def change(self, record_id: str, changes: FieldsT) -> RecordT:
        fields = changes.model_dump(exclude_unset=True)
        return await self._file.write(
            lambda connection: self._update(
                connection, self._load(connection, record_id).model_copy(update=fields)
            )
        )

    async def take(self, record_id: str, amount: float) -> RecordT:
        def work(connection: sqlite3.Connection) -> RecordT:
            record = self._load(connection, record_id)
            left = remaining(record, amount)
            return self._update(connection, record.model_copy(update={"quantity": left}))

        return await self._file.write(work)

    async def remove(self, record_id: str) -> RecordT:
        def work(connection: sqlite3.Connection) -> RecordT:
            record = self._load(connection, record_id)
            statement = f"DELETE FROM {self._table} WHERE id = ?"  # noqa: S608 - the name is ours
            connection.execute(statement, [record.id])
            return record

        return await self._file.write(work)

    def _load(self, connection: sqlite3.Connection, record_id: str) -> RecordT:
        statement = f"SELECT * FROM {self._table} WHERE id = ?"  # noqa: S608 - the name is ours
        row = connection.execute(statement, [checked_id(record_id)]).fetchone()
        if row is None:
            raise not_found(record_id)
        return self._record(row)

    def _update(self, connection: sqlite3.Connection, record: RecordT) -> RecordT:
        row = _storable(record.model_dump())
        statement = (
            f"UPDATE {self._table} SET {', '.join(f'{name} = ?' for name in row)}"  # noqa: S608
            " WHERE id = ?"
        )
        connection.execute(statement, [*row.values(), record.id])
        return record

    def _record(self, row: sqlite3.Row) -> RecordT:
        return self._record_type.model_validate(
            {name: row[name] for name in self._record_type.model_fields}
        )


class SqliteStore(Store):
    """Both shelves in one file."""

    removal = "deleted for good"

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        self._inventory = SqliteShelf[Item, ItemFields](self._file, "inventory", Item)
        self._shopping = SqliteShelf[ShoppingItem, ShoppingFields](
            self._file, "shopping", ShoppingItem
        )

    @property
    def inventory(self) -> Shelf[Item, ItemFields]:
        return self._inventory

    @property
    def shopping(self) -> Shelf[ShoppingItem, ShoppingFields]:
        return self._shopping

    async def check(self) -> None:
        """Create the file if it is not there; raise `MisconfiguredError` if it cannot be used."""
        await self._file.check()

    async def aclose(self) -> None:
        """Nothing stays open between calls."""


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    """Say in SQL what the query asks for: conditions, and the values for their question marks."""
    wanted: list[tuple[str, list[Any]]] = []
    if query.category:
        wanted.append(("casefold(category) = ?", [query.category.casefold()]))
    if query.location:
        wanted.append(("casefold(location) = ?", [query.location.casefold()]))
    if query.text:
        wanted.append(
            ("instr(casefold(name || char(10) || notes), ?) > 0", [query.text.casefold()])
        )
    if query.expires_by:
        wanted.append(("expires <= ? AND quantity > 0", [query.expires_by.isoformat()]))
    if query.low_stock:
        wanted.append((LOW_STOCK, []))
    if query.purchased is not None:
        wanted.append(("purchased = ?", [query.purchased]))
    return [sql for sql, _ in wanted], [value for _, values in wanted for value in values]


def _storable(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in fields.items()
    }


def _make_cursor(keys: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()


def _read_cursor(cursor: str, length: int) -> list[str]:
    """The keys of the last row seen. A cursor is from outside, so nothing about it is certain."""
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        "".join(keys).encode()
    except (ValueError, TypeError, RecursionError):
        raise bad_cursor() from None
    if not isinstance(keys, list) or len(keys) != length:
        raise bad_cursor()
    return keys
