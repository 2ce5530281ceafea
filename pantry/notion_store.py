"""Keeps the records in tables of the owner's Notion workspace.

Notion has no compare-and-set. `take` therefore reads, computes and writes under a lock of this
process, so that calls through one FoodWise never lose an update. A second FoodWise, or a person in
Notion, that writes the same row within the same fraction of a second still can.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from pantry.errors import ConflictError, MisconfiguredError, NotFoundError
from pantry.models import (
    FieldsT,
    Item,
    ItemFields,
    Page,
    RecordT,
    ShoppingFields,
    ShoppingItem,
)
from pantry.notion_api import InvalidRequestError, NotionApi
from pantry.notion_schema import Schema, missing, needs
from pantry.notion_table import NotionTable
from pantry.store import Query, Shelf, Store, bad_cursor, checked_id, not_found, remaining

T = TypeVar("T")

# Requests for one page of ours, while Notion finds only what `Schema.confirms` turns down.
MAX_REQUESTS = 10


class NotionShelf(Shelf[RecordT, FieldsT]):
    """The records of one table."""

    def __init__(self, api: NotionApi, table: NotionTable, record_type: type[RecordT]) -> None:
        self._api = api
        self._table = table
        self._record_type = record_type
        self._taking = anyio.Lock()

    async def find(
        self, query: Query, *, limit: int = 50, cursor: str | None = None
    ) -> Page[RecordT]:
        source_id, schema = await self._table.open(needs(query))
        lacking = [name for name in schema.lacks(needs(query)) if name not in schema.properties]
        page = Page[RecordT](items=[], warning=" ".join(map(missing, lacking)) or None)
        condition = schema.filter(query)
        if condition is None:
            return page
        order = ["expires", "name"] if query.expires_by else ["name"]
        request = {
            "filter": condition,
            "sorts": [
                {"property": schema.properties[name].name, "direction": "ascending"}
                for name in order
            ],
            "page_size": limit,
        }
        page.next_cursor = cursor
        for _ in range(MAX_REQUESTS):
            answer = await self._query(source_id, request, page.next_cursor)
            records = [self._record(schema, found) for found in answer["results"]]
            page.items = [record for record in records if schema.confirms(query, record)]
            page.next_cursor = answer["next_cursor"] if answer["has_more"] else None
            if (answer.get("request_status") or {}).get("type") == "incomplete":
                page.warning = (
                    "Notion has more than it can list. Narrow the search to see the rest."
                )
            if page.items or page.next_cursor is None:
                break
        return page

    async def get(self, record_id: str) -> RecordT:
        _, schema = await self._table.open({})
        return self._record(schema, await self._page(record_id))

    async def add(self, new: FieldsT) -> RecordT:
        fields = new.model_dump()
        source_id, schema = await self._table.open(fields)
        properties = schema.write(fields)
        try:
            page = await self._writing(lambda: self._api.create(source_id, properties))
        except NotFoundError:
            raise self._table.lost() from None
        return self._record(schema, page)

    async def change(self, record_id: str, changes: FieldsT) -> RecordT:
        fields = changes.model_dump(exclude_unset=True)
        _, schema = await self._table.open(fields)
        properties = schema.write(fields)

        async def update() -> dict[str, Any]:
            page = await self._page(record_id)
            return await self._api.update(page["id"], properties)

        return self._record(schema, await self._writing(update))

    async def take(self, record_id: str, amount: float) -> RecordT:
        _, schema = await self._table.open({})

        async def lower() -> dict[str, Any]:
            record = self._record(schema, await self._page(record_id))
            properties = schema.write({"quantity": remaining(record, amount)})
            return await self._api.update(record.id, properties)

        async with self._taking:
            return self._record(schema, await self._writing(lower))

    async def remove(self, record_id: str) -> RecordT:
        _, schema = await self._table.open({})

        async def trash() -> dict[str, Any]:
            page = await self._page(record_id)
            await self._api.trash(page["id"])
            return page

        return self._record(schema, await self._writing(trash))

    async def _writing(self, write: Callable[[], Awaitable[T]]) -> T:
        """Run a write, with the reads it rests on; once more if somebody else got in between."""
        try:
            try:
                return await write()
            except ConflictError:
                return await write()
        except InvalidRequestError:
            self._table.forget_schema()  # it may have been changed since it was read
            raise

    async def _query(
        self, source_id: str, request: dict[str, Any], cursor: str | None
    ) -> dict[str, Any]:
        try:
            return await self._api.query(source_id, **request, start_cursor=cursor)
        except NotFoundError:
            raise self._table.lost() from None
        except InvalidRequestError as error:
            if cursor and "cursor" in str(error):
                raise bad_cursor() from error
            self._table.forget_schema()
            raise

    async def _page(self, record_id: str) -> dict[str, Any]:
        """Read a page of this table. The connection may see other pages too; they are none of ours."""
        page_id = checked_id(record_id)
        source_id, _ = await self._table.open({})
        try:
            page = await self._api.page(page_id)
        except NotFoundError:
            raise not_found(record_id) from None
        parent = page["parent"].get("data_source_id") or ""
        if page.get("in_trash") or parent.replace("-", "") != source_id.replace("-", ""):
            raise not_found(record_id)
        return page

    def _record(self, schema: Schema, page: dict[str, Any]) -> RecordT:
        return self._record_type.model_validate(schema.read_page(page))


class NotionStore(Store):
    """Both shelves, each in a table.

    Args:
        api: closed together with the store.
        inventory_id, shopping_id: ids of databases or data sources; the second may be missing.
    """

    removal = "moved to Notion's trash, where it can be restored"

    def __init__(self, api: NotionApi, inventory_id: str, shopping_id: str | None) -> None:
        self._api = api
        inventory = NotionTable(
            api,
            setting="NOTION_INVENTORY_DB_ID",
            database_id=inventory_id,
            record_type=Item,
            required={"quantity"},
        )
        self._inventory = NotionShelf[Item, ItemFields](api, inventory, Item)
        self._shopping: NotionShelf[ShoppingItem, ShoppingFields] | None = None
        if shopping_id:
            shopping = NotionTable(
                api,
                setting="NOTION_SHOPPING_DB_ID",
                database_id=shopping_id,
                record_type=ShoppingItem,
                required=set(),
            )
            self._shopping = NotionShelf(api, shopping, ShoppingItem)

    @property
    def inventory(self) -> Shelf[Item, ItemFields]:
        return self._inventory

    @property
    def shopping(self) -> Shelf[ShoppingItem, ShoppingFields]:
        if self._shopping is None:
            raise MisconfiguredError(
                "There is no shopping list. Set NOTION_SHOPPING_DB_ID to the id of a Notion database"
                " for it."
            )
        return self._shopping

    async def aclose(self) -> None:
        await self._api.aclose()
