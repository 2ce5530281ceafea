"""FoodWise's data: what is in the kitchen and what is to be bought, in SQLite or in Notion."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pantry.errors import PantryError
from pantry.notion_api import NotionApi
from pantry.notion_store import NotionStore
from pantry.settings import PantrySettings, PantrySettingsError, read_settings
from pantry.sqlite_store import SqliteStore
from pantry.store import Query, Shelf, Store

__all__ = [
    "PantryError",
    "PantrySettings",
    "PantrySettingsError",
    "Query",
    "Shelf",
    "Store",
    "open_store",
    "read_settings",
]


@asynccontextmanager
async def open_store(settings: PantrySettings) -> AsyncIterator[Store]:
    """Open the store the settings ask for, and close it at the end.

    A SQLite file is checked at once, since a wrong one will not get better. Notion is asked only when
    the first record is wanted, so that its being away does not keep the program from starting.

    Raises:
        PantrySettingsError: the SQLite file cannot be used.
    """
    store: Store
    if settings.notion_secret and settings.notion_inventory_db_id:
        api = NotionApi(settings.notion_secret, settings.notion_base_url)
        store = NotionStore(api, settings.notion_inventory_db_id, settings.notion_shopping_db_id)
    else:
        store = SqliteStore(settings.sqlite_path)
        try:
            await store.check()
        except PantryError as error:
            raise PantrySettingsError([f"SQLITE_PATH ({settings.sqlite_path}): {error}"]) from error
    try:
        yield store
    finally:
        await store.aclose()
