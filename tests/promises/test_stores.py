"""The promises of every store, whatever keeps the records. Run under Trio, and in short under asyncio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
import trio
from pydantic import SecretStr, ValidationError

from pantry import PantrySettings, Query, Store, open_store
from pantry.errors import NotFoundError, RefusedError
from pantry.models import ItemFields, NewItem, NewShoppingItem, ShoppingFields
from pantry.store import find_all
from tests.harness.notion_stand_in import INVENTORY, SECRET, SHOPPING, notion_stand_in

DAY = date(2026, 11, 24)
UNKNOWN = "6f1c1f3e-0000-4000-8000-000000000000"


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Store]:
    settings = PantrySettings.model_construct(sqlite_path=folder / "food.sqlite3")
    if kind == "sqlite":
        async with open_store(settings) as store:
            yield store
        return
    with notion_stand_in() as notion:
        notion.page_limit = 3
        settings = PantrySettings.model_construct(
            notion_secret=SecretStr(SECRET),
            notion_base_url=notion.url,
            notion_inventory_db_id=notion.add_database(INVENTORY),
            notion_shopping_db_id=notion.add_database(SHOPPING),
        )
        async with open_store(settings) as store:
            yield store


@pytest.fixture(params=["sqlite", "notion"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(kind, tmp_path) as opened_store:
        yield opened_store


async def names(store: Store, query: Query) -> list[str]:
    """The names found, over all pages."""
    found: list[str] = []
    cursor = None
    while True:
        page = await store.inventory.find(query, limit=2, cursor=cursor)
        found += [item.name for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_what_was_added_is_read_back_in_full(store: Store) -> None:
    new = NewItem(
        name="  Oat milk ",
        quantity=2.5,
        unit="l",
        category="Dairy & Eggs",
        location="Refrigerator",
        expires=DAY,
        staple=True,
        min_quantity=1,
        notes="Ä" * 4321,
    )
    added = await store.inventory.add(new)
    assert added.model_dump(exclude={"id"}) == new.model_dump() | {"name": "Oat milk"}
    assert await store.inventory.get(added.id) == added


async def test_an_item_needs_no_more_than_a_name_and_a_quantity(store: Store) -> None:
    added = await store.inventory.add(NewItem(name="Salt", quantity=0))
    assert added.quantity == 0
    assert added.expires is None
    assert added.min_quantity is None
    assert not added.staple
    assert await store.inventory.get(added.id.upper()) == added


async def test_a_name_of_spaces_or_an_endless_quantity_is_refused() -> None:
    with pytest.raises(ValidationError):
        NewItem(name="  ", quantity=1)
    with pytest.raises(ValidationError):
        NewItem(name="Salt", quantity=float("inf"))


@pytest.mark.parametrize("record_id", [UNKNOWN, "", "../users/me", "milk", UNKNOWN + "0"])
async def test_an_unknown_id_is_not_found_whatever_is_asked(store: Store, record_id: str) -> None:
    shelf = store.inventory
    with pytest.raises(NotFoundError, match="No item with id"):
        await shelf.get(record_id)
    with pytest.raises(NotFoundError, match="No item with id"):
        await shelf.change(record_id, ItemFields(name="Milk"))
    with pytest.raises(NotFoundError, match="No item with id"):
        await shelf.take(record_id, 1)
    with pytest.raises(NotFoundError, match="No item with id"):
        await shelf.remove(record_id)


async def test_only_the_fields_given_change(store: Store) -> None:
    added = await store.inventory.add(
        NewItem(name="Rice", quantity=3, unit="kg", location="Pantry", expires=DAY)
    )
    changed = await store.inventory.change(
        added.id, ItemFields(quantity=2, location="", expires=None, min_quantity=0.5)
    )
    assert (changed.name, changed.quantity, changed.unit) == ("Rice", 2, "kg")
    assert (changed.location, changed.expires, changed.min_quantity) == ("", None, 0.5)
    assert await store.inventory.get(added.id) == changed


async def test_taking_lowers_the_quantity_down_to_nothing_and_no_further(store: Store) -> None:
    item = await store.inventory.add(NewItem(name="Butter", quantity=0.3, unit="kg"))
    for left in (0.2, 0.1, 0):
        assert (await store.inventory.take(item.id, 0.1)).quantity == left
    with pytest.raises(RefusedError, match="only 0 kg left"):
        await store.inventory.take(item.id, 0.1)
    assert (await store.inventory.get(item.id)).quantity == 0


async def test_many_consumes_at_once_never_lose_an_update(store: Store) -> None:
    item = await store.inventory.add(NewItem(name="Eggs", quantity=10))
    refused = []

    async def take() -> None:
        try:
            await store.inventory.take(item.id, 1)
        except RefusedError:
            refused.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(take)
    assert (await store.inventory.get(item.id)).quantity == 0
    assert len(refused) == 2


async def test_a_removed_item_is_gone_and_the_answer_says_what_it_was(store: Store) -> None:
    item = await store.inventory.add(NewItem(name="Old bread", quantity=1))
    assert await store.inventory.remove(item.id) == item
    assert await names(store, Query()) == []
    with pytest.raises(NotFoundError):
        await store.inventory.get(item.id)
    with pytest.raises(NotFoundError):
        await store.inventory.remove(item.id)


async def test_lists_are_by_name_whatever_the_letter_case_and_pages_miss_nothing(
    store: Store,
) -> None:
    for name in ("pears", "Apples", "Figs", "bread", "Zucchini", "Figs", "eggs"):
        await store.inventory.add(NewItem(name=name, quantity=1))
    expected = ["Apples", "bread", "eggs", "Figs", "Figs", "pears", "Zucchini"]
    assert await names(store, Query()) == expected
    whole = await find_all(store.inventory, most=1000)
    assert [item.name for item in whole.items] == expected
    assert len({item.id for item in whole.items}) == 7
    assert (await find_all(store.inventory, most=0)).items == []


async def test_filters_do_not_heed_the_letter_case(store: Store) -> None:
    for name, category, location, notes in (
        ("Milk", "Dairy", "Fridge", ""),
        ("Peas", "Frozen", "Freezer", "from ÉMILE's garden"),
        ("Ice", "frozen", "freezer", ""),
        ("Brie", "Dairy", "Cellar", ""),
    ):
        await store.inventory.add(
            NewItem(name=name, quantity=1, category=category, location=location, notes=notes)
        )
    assert await names(store, Query(category="DAIRY")) == ["Brie", "Milk"]
    assert await names(store, Query(category="FROZEN", location="Freezer")) == ["Ice", "Peas"]
    assert await names(store, Query(location="fridge", category="frozen")) == []
    assert await names(store, Query(category="No such")) == []
    assert await names(store, Query(text="émile")) == ["Peas"]
    assert await names(store, Query(text="MIL")) == ["Milk", "Peas"]


async def test_what_has_expired_comes_first_and_what_is_used_up_not_at_all(store: Store) -> None:
    for name, days, quantity in (
        ("Later", 8, 1),
        ("Today", 0, 1),
        ("Over", -3, 1),
        ("Soon", 7, 1),
        ("Used up", 1, 0),
    ):
        expires = DAY + timedelta(days=days)
        await store.inventory.add(NewItem(name=name, quantity=quantity, expires=expires))
    await store.inventory.add(NewItem(name="Keeps", quantity=1))
    week = Query(expires_by=DAY + timedelta(days=7))
    assert await names(store, week) == ["Over", "Today", "Soon"]


async def test_low_is_what_is_at_its_minimum_and_a_staple_that_has_run_out(store: Store) -> None:
    for name, quantity, minimum, staple in (
        ("At minimum", 2.0, 2.0, False),
        ("Above", 3.0, 2.0, True),
        ("Staple there", 1.0, None, True),
        ("Staple gone", 0.0, None, True),
        ("Gone", 0.0, None, False),
        ("Below", 1.0, 2.0, True),
    ):
        await store.inventory.add(
            NewItem(name=name, quantity=quantity, min_quantity=minimum, staple=staple)
        )
    assert await names(store, Query(low_stock=True)) == ["At minimum", "Below", "Staple gone"]


@pytest.mark.parametrize(
    "cursor", ["nonsense", "é", "WzEsIDJd", "eyJhIjogMX0=", "IlwiIg==", UNKNOWN]
)
async def test_a_cursor_that_is_none_is_refused_with_advice(store: Store, cursor: str) -> None:
    with pytest.raises(RefusedError, match="Call again without a cursor"):
        await store.inventory.find(Query(), cursor=cursor)


async def test_an_empty_cursor_means_the_first_page(store: Store) -> None:
    await store.inventory.add(NewItem(name="Milk", quantity=1))
    assert len((await store.inventory.find(Query(), cursor="")).items) == 1


async def test_the_shopping_list_hides_what_was_bought_until_it_is_asked_for(store: Store) -> None:
    bread = await store.shopping.add(NewShoppingItem(name="Bread"))
    await store.shopping.add(NewShoppingItem(name="Tea", quantity=2, unit="box", notes="green"))
    marked = await store.shopping.change(bread.id, ShoppingFields(purchased=True))
    assert marked.purchased
    open_ = await store.shopping.find(Query(purchased=False))
    assert [(line.name, line.quantity, line.unit) for line in open_.items] == [("Tea", 2, "box")]
    assert [line.name for line in (await store.shopping.find(Query())).items] == ["Bread", "Tea"]
    back = await store.shopping.change(bread.id, ShoppingFields(purchased=False))
    assert back == bread


async def test_an_item_of_one_shelf_is_not_found_on_the_other(store: Store) -> None:
    item = await store.inventory.add(NewItem(name="Milk", quantity=1))
    with pytest.raises(NotFoundError):
        await store.shopping.get(item.id)


def test_the_stores_run_under_asyncio_as_well(kind: str, tmp_path: Path) -> None:
    async def smoke() -> float:
        async with opened(kind, tmp_path) as store:
            item = await store.inventory.add(NewItem(name="Eggs", quantity=10))
            await asyncio.gather(*(store.inventory.take(item.id, 1) for _ in range(6)))
            return (await store.inventory.find(Query())).items[0].quantity

    assert asyncio.run(smoke()) == 4
