"""Finds the data source behind an id from the settings, and remembers its schema."""

from typing import Any

import anyio

from pantry.errors import MisconfiguredError, NotFoundError
from pantry.models import Record
from pantry.notion_api import NotionApi
from pantry.notion_schema import Schema, read_schema


class NotionTable:
    """One table of the owner's workspace, looked up when it is first used.

    Args:
        setting: the setting that holds `database_id`, for the words of errors.
        database_id: a database with one data source, or a data source.
        record_type: the records it holds.
        required: the fields, beside the name, without which the table is of no use.
    """

    def __init__(
        self,
        api: NotionApi,
        *,
        setting: str,
        database_id: str,
        record_type: type[Record],
        required: set[str],
    ) -> None:
        self._api = api
        self._setting = setting
        self._database_id = database_id
        self._record_type = record_type
        self._required = required | {"name"}
        self._source_id: str | None = None
        self._schema: Schema | None = None
        self._opening = anyio.Lock()

    async def open(self, values: dict[str, Any]) -> tuple[str, Schema]:
        """The data source's id and its schema, read anew if it seems to have no place for `values`.

        Raises:
            MisconfiguredError: the id leads nowhere, to several data sources, or to an unusable table.
        """
        async with self._opening:
            if self._source_id is None:
                self._source_id = await self._resolve()
            if self._schema is None or self._schema.lacks(values):
                self._schema = await self._read_schema(self._source_id)
            return self._source_id, self._schema

    def forget_schema(self) -> None:
        """Have the schema read anew next time."""
        self._schema = None

    def lost(self) -> MisconfiguredError:
        """Forget everything, and make the error for a table Notion does not show us (any more)."""
        self._source_id = self._schema = None
        return MisconfiguredError(
            f"Notion has no database with the id in {self._setting}, or has not shared it. Check the"
            " id, and in Notion share the database with the connection (its menu, Connections)."
        )

    async def _resolve(self) -> str:
        """The id of the one data source that `database_id` stands for."""
        try:
            database = await self._api.database(self._database_id)
        except NotFoundError:
            return self._database_id  # it may be the id of a data source
        sources = database.get("data_sources") or []
        if not sources:
            raise self.lost()
        if len(sources) > 1:
            choice = ", ".join(f"{source['id']} ({source['name']})" for source in sources)
            raise MisconfiguredError(
                f"The database has several data sources. Set {self._setting} to the id of one:"
                f" {choice}."
            )
        return str(sources[0]["id"])

    async def _read_schema(self, source_id: str) -> Schema:
        try:
            source = await self._api.data_source(source_id)
        except NotFoundError:
            raise self.lost() from None
        return read_schema(source["properties"], self._record_type, self._required)
