"""The promises of the Notion store beyond those of every store: its errors, its tables, its limits."""

import logging
from collections.abc import AsyncIterator, Iterator
from datetime import date
from uuid import UUID

import pytest
import trio
from pydantic import SecretStr

from pantry import Query, notion_api
from pantry.errors import (
    MisconfiguredError,
    NotFoundError,
    PantryError,
    RefusedError,
    UnavailableError,
)
from pantry.models import Item, ItemFields, NewItem, NewShoppingItem
from pantry.notion_api import NotionApi
from pantry.notion_store import NotionStore
from tests.harness.notion_stand_in import (
    INVENTORY,
    SECRET,
    NotionStandIn,
    notion_stand_in,
    title,
)

MILK = NewItem(name="Milk", quantity=2, unit="l")


@pytest.fixture
def notion(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotionStandIn]:
    monkeypatch.setattr(notion_api, "PAUSE_AFTER_FAULT", 0.01)
    with notion_stand_in() as stand_in:
        yield stand_in


def store_on(
    notion: NotionStandIn,
    inventory_id: str,
    shopping_id: str | None = None,
    *,
    secret: str = SECRET,
    timeout: float = 5,
) -> NotionStore:
    api = NotionApi(SecretStr(secret), notion.url, timeout=timeout)
    return NotionStore(api, inventory_id, shopping_id)


@pytest.fixture
def database_id(notion: NotionStandIn) -> str:
    return notion.add_database(INVENTORY)


@pytest.fixture
def source_id(notion: NotionStandIn, database_id: str) -> str:
    return notion.source_of(database_id)


@pytest.fixture
async def store(notion: NotionStandIn, database_id: str) -> AsyncIterator[NotionStore]:
    opened = store_on(notion, database_id)
    yield opened
    await opened.aclose()


@pytest.fixture
async def milk(store: NotionStore, notion: NotionStandIn) -> Item:
    item = await store.inventory.add(MILK)
    notion.requests.clear()
    return item


# Requests


async def test_nothing_is_asked_before_the_first_record_is_wanted(
    store: NotionStore, notion: NotionStandIn
) -> None:
    assert notion.requests == []
    await store.inventory.find(Query())
    await store.inventory.find(Query())
    assert [(method, path.split("/")[-1]) for method, path, _ in notion.requests] == [
        ("GET", path.split("/")[-1]) for _, path, _ in notion.requests[:2]
    ] + [("POST", "query")] * 2


async def test_conditions_are_sent_to_notion_in_the_spelling_of_its_options(
    store: NotionStore, notion: NotionStandIn
) -> None:
    await store.inventory.add(NewItem(name="Brie", quantity=1, category="Dairy", location="Fridge"))
    await store.inventory.find(Query(category="dairy", location="FRIDGE", text="b"), limit=7)
    assert notion.asked("POST", "/query") == [
        {
            "filter": {
                "and": [
                    {"property": "Category", "select": {"equals": "Dairy"}},
                    {"property": "Location", "select": {"equals": "Fridge"}},
                    {
                        "or": [
                            {"property": "Name", "title": {"contains": "b"}},
                            {"property": "Notes", "rich_text": {"contains": "b"}},
                        ]
                    },
                ]
            },
            "sorts": [{"property": "Name", "direction": "ascending"}],
            "page_size": 7,
            "result_type": "page",
        }
    ]


async def test_a_value_takes_the_spelling_of_an_option_that_is_there(
    store: NotionStore, notion: NotionStandIn, source_id: str
) -> None:
    for category in ("Dairy", "dairy", "DAIRY"):
        item = await store.inventory.add(NewItem(name="Brie", quantity=1, category=category))
        assert item.category == "Dairy"
    options = notion.sources[source_id].properties["Category"]["select"]["options"]
    assert [option["name"] for option in options] == ["Dairy"]


async def test_an_option_nobody_has_finds_nothing_without_asking(
    store: NotionStore, milk: Item, notion: NotionStandIn
) -> None:
    page = await store.inventory.find(Query(category="Toys"))
    assert (page.items, page.warning) == ([], None)
    assert notion.asked("POST", "/query") == []
    assert milk.category == ""


async def test_long_notes_are_cut_into_pieces_notion_accepts(
    store: NotionStore, milk: Item
) -> None:
    notes = "é😀" * 3000
    await store.inventory.change(milk.id, ItemFields(notes=notes))
    assert (await store.inventory.get(milk.id)).notes == notes


async def test_only_changed_properties_are_written(
    store: NotionStore, milk: Item, notion: NotionStandIn
) -> None:
    await store.inventory.change(milk.id, ItemFields(expires=date(2026, 12, 1), unit=""))
    assert notion.asked("PATCH") == [
        {"properties": {"Unit": {"select": None}, "Expiry": {"date": {"start": "2026-12-01"}}}}
    ]


async def test_removing_moves_the_page_to_the_trash(
    store: NotionStore, milk: Item, notion: NotionStandIn
) -> None:
    await store.inventory.remove(milk.id)
    assert notion.asked("PATCH") == [{"in_trash": True}]
    assert "trash" in store.removal


async def test_low_stock_is_sought_on_while_notion_finds_only_what_is_not_low(
    store: NotionStore, notion: NotionStandIn
) -> None:
    for name in "abcdef":
        await store.inventory.add(NewItem(name=name, quantity=9, min_quantity=1))
    await store.inventory.add(NewItem(name="g", quantity=1, min_quantity=1))
    notion.page_limit = 2
    page = await store.inventory.find(Query(low_stock=True))
    assert [item.name for item in page.items] == ["g"]
    assert page.next_cursor is None
    assert len(notion.asked("POST", "/query")) == 4


async def test_the_search_for_low_stock_ends_and_leaves_a_cursor_to_go_on(
    store: NotionStore, notion: NotionStandIn
) -> None:
    for number in range(12):
        quantity = 0 if number == 11 else 9
        await store.inventory.add(NewItem(name=f"{number:02}", quantity=quantity, min_quantity=1))
    notion.page_limit = 1
    first = await store.inventory.find(Query(low_stock=True), limit=1)
    assert first.items == []
    assert len(notion.asked("POST", "/query")) == 10
    page = await store.inventory.find(Query(low_stock=True), cursor=first.next_cursor)
    assert [item.name for item in page.items] == ["11"]


async def test_a_list_notion_cut_short_says_so(
    store: NotionStore, milk: Item, notion: NotionStandIn
) -> None:
    notion.incomplete = True
    page = await store.inventory.find(Query())
    assert page.items == [milk]
    assert "more than it can list" in (page.warning or "")


# Tables


async def test_property_names_and_types_may_be_the_owners_own(notion: NotionStandIn) -> None:
    database_id = notion.add_database(
        {
            "What": "title",
            "QUANTITY": "number",
            "unit": "rich_text",
            "category": "multi_select",
            "LOCATION": "rich_text",
            "expiry date": "date",
            "MinQuantity": "number",
            "Notes": "rich_text",
            "Staple": "checkbox",
            "Photo": "files",
        }
    )
    store = store_on(notion, database_id)
    new = NewItem(
        name="Peas",
        quantity=1,
        unit="bag",
        category="Frozen, Green",
        location="Freezer",
        expires=date(2026, 12, 1),
        min_quantity=1,
        staple=True,
    )
    item = await store.inventory.add(new)
    assert item.model_dump(exclude={"id"}) == new.model_dump()
    assert (await store.inventory.find(Query(category="green"))).items == [item]
    assert (await store.inventory.find(Query(location="FREEZER"))).items == [item]
    assert (await store.inventory.find(Query(location="Free"))).items == []
    assert (await store.inventory.find(Query(low_stock=True))).items == [item]
    await store.aclose()


async def test_a_table_needs_no_more_than_a_title_and_a_quantity(notion: NotionStandIn) -> None:
    store = store_on(notion, notion.add_database({"Name": "title", "Quantity": "number"}))
    item = await store.inventory.add(NewItem(name="Salt", quantity=1))
    assert (await store.inventory.find(Query(text="salt"))).items == [item]
    with pytest.raises(RefusedError, match="add a property named 'Expiry' of type date"):
        await store.inventory.change(item.id, ItemFields(expires=date(2026, 12, 1)))
    page = await store.inventory.find(Query(expires_by=date(2026, 12, 1)))
    assert page.items == []
    assert "'Expiry'" in (page.warning or "")
    await store.aclose()


async def test_a_table_without_a_quantity_is_told_to_its_owner(notion: NotionStandIn) -> None:
    store = store_on(notion, notion.add_database({"Name": "title", "Quantity": "rich_text"}))
    with pytest.raises(MisconfiguredError, match="'Quantity' of type number"):
        await store.inventory.find(Query())
    await store.aclose()


async def test_a_property_added_in_notion_is_noticed_at_once(
    notion: NotionStandIn,
) -> None:
    database_id = notion.add_database({"Name": "title", "Quantity": "number"})
    store = store_on(notion, database_id)
    item = await store.inventory.add(NewItem(name="Salt", quantity=1))
    notion.add_property(notion.source_of(database_id), "Location", "select")
    assert (await store.inventory.change(item.id, ItemFields(location="Shelf"))).location == "Shelf"
    assert (await store.inventory.find(Query(location="shelf"))).items[0].name == "Salt"
    await store.aclose()


async def test_a_property_renamed_in_notion_is_still_read_and_soon_written(
    store: NotionStore, milk: Item, notion: NotionStandIn, source_id: str
) -> None:
    notion.rename_property(source_id, "Quantity", "quantity")
    assert (await store.inventory.get(milk.id)).quantity == 2
    with pytest.raises(RefusedError, match="Could not find property"):
        await store.inventory.take(milk.id, 1)
    assert (await store.inventory.take(milk.id, 1)).quantity == 1


async def test_a_list_works_again_after_a_property_was_renamed(
    store: NotionStore, milk: Item, notion: NotionStandIn, source_id: str
) -> None:
    notion.rename_property(source_id, "Name", "What")
    with pytest.raises(RefusedError, match="Could not find property"):
        await store.inventory.find(Query())
    assert (await store.inventory.find(Query())).items == [milk]


async def test_rows_people_wrote_by_hand_are_read_as_they_are(
    store: NotionStore, notion: NotionStandIn, source_id: str
) -> None:
    notion.add_page(source_id)
    notion.add_page(source_id, Name=title("x" * 500), Quantity={"number": -1})
    notion.add_page(source_id, Name=title("d"), Expiry={"date": {"start": "2026-12-01T10:00:00Z"}})
    dated, long, empty = (await store.inventory.find(Query())).items
    assert (empty.name, empty.quantity) == ("", 0)
    assert (len(long.name), long.quantity) == (500, -1)
    assert dated.expires == date(2026, 12, 1)


async def test_a_database_with_several_data_sources_demands_a_choice(
    notion: NotionStandIn,
) -> None:
    database_id = notion.add_database(INVENTORY, INVENTORY)
    chosen = notion.databases[database_id][1]
    store = store_on(notion, database_id)
    with pytest.raises(MisconfiguredError, match=rf"NOTION_INVENTORY_DB_ID .*{chosen} \(Table 1\)"):
        await store.inventory.find(Query())
    await store.aclose()
    store = store_on(notion, chosen)
    await store.inventory.add(MILK)
    assert next(iter(notion.pages.values()))["parent"]["data_source_id"] == chosen
    await store.aclose()


async def test_a_database_without_a_data_source_is_told(notion: NotionStandIn) -> None:
    store = store_on(notion, notion.add_database())
    with pytest.raises(MisconfiguredError, match="NOTION_INVENTORY_DB_ID"):
        await store.inventory.find(Query())
    await store.aclose()


async def test_pages_outside_the_table_and_in_the_trash_cannot_be_reached(
    store: NotionStore, milk: Item, notion: NotionStandIn
) -> None:
    elsewhere = notion.add_page(
        notion.source_of(notion.add_database(INVENTORY)), Name=title("Diary")
    )
    notion.pages[milk.id]["in_trash"] = True
    for page_id in (elsewhere, milk.id):
        with pytest.raises(NotFoundError):
            await store.inventory.get(page_id)
        with pytest.raises(NotFoundError):
            await store.inventory.change(page_id, ItemFields(name="Mine"))
        with pytest.raises(NotFoundError):
            await store.inventory.take(page_id, 1)
        with pytest.raises(NotFoundError):
            await store.inventory.remove(page_id)
    assert notion.asked("PATCH") == []


async def test_an_id_never_becomes_a_path(store: NotionStore, notion: NotionStandIn) -> None:
    for record_id in ("../users/me", "x/../../y", "?a=b", "%2e%2e"):
        with pytest.raises(NotFoundError):
            await store.inventory.get(record_id)
    for _, path, _ in notion.requests:
        UUID(path.rstrip("/").split("/")[-1])


async def test_without_a_shopping_database_the_error_names_the_setting(store: NotionStore) -> None:
    with pytest.raises(MisconfiguredError, match="Set NOTION_SHOPPING_DB_ID"):
        _ = store.shopping


async def test_a_shopping_table_needs_a_title_only(notion: NotionStandIn) -> None:
    inventory, shopping = notion.add_database(INVENTORY), notion.add_database({"Name": "title"})
    store = store_on(notion, inventory, shopping)
    line = await store.shopping.add(NewShoppingItem(name="Tea"))
    assert (await store.shopping.find(Query(purchased=False))).items == [line]
    with pytest.raises(RefusedError, match="'Purchased' of type checkbox"):
        await store.shopping.add(NewShoppingItem(name="Bread", purchased=True))
    await store.aclose()


# Failures


@pytest.mark.parametrize("status", [429, 529])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_short_pause_notion_asks_for_is_made_once(
    store: NotionStore, milk: Item, notion: NotionStandIn, status: int, method: str
) -> None:
    notion.fail(status, "rate_limited", method=method, retry_after="0")
    assert (await store.inventory.take(milk.id, 1)).quantity == 1
    notion.fail(status, "rate_limited", method=method, retry_after="0")
    notion.fail(status, "rate_limited", method=method, retry_after="0")
    with pytest.raises(UnavailableError, match="Try again in 1 seconds"):
        await store.inventory.take(milk.id, 1)
    assert (await store.inventory.get(milk.id)).quantity == 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("30", 30), (None, 60), ("3", 3), ("soon", 60), ("-1", 60)]
)
async def test_a_long_pause_is_left_to_the_caller_and_told_in_seconds(
    store: NotionStore, milk: Item, notion: NotionStandIn, retry_after: str | None, seconds: int
) -> None:
    notion.fail(429, "rate_limited", retry_after=retry_after)
    with (
        trio.fail_after(1),
        pytest.raises(UnavailableError, match=f"in {seconds} seconds") as caught,
    ):
        await store.inventory.get(milk.id)
    assert caught.value.retry_after == seconds
    assert len(notion.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_fault_of_notion_is_overcome_for_reads_and_told_for_writes(
    store: NotionStore, milk: Item, notion: NotionStandIn, status: int
) -> None:
    page = b"<html>Bad gateway</html>"
    notion.fail(status, method="GET", body=page)
    assert await store.inventory.get(milk.id) == milk
    notion.requests.clear()
    notion.fail(status, method="POST", path="/v1/pages", body=page)
    with pytest.raises(UnavailableError, match="may have been made or not") as caught:
        await store.inventory.add(MILK)
    assert str(status) in str(caught.value)
    assert len(notion.asked("POST", "/v1/pages")) == 1


async def test_a_conflict_is_read_again_and_overcome_once(
    store: NotionStore, milk: Item, notion: NotionStandIn
) -> None:
    def somebody_else_takes_half() -> None:
        notion.pages[milk.id]["properties"]["Quantity"]["number"] = 1.5

    notion.fail(409, "conflict_error", method="PATCH", before=somebody_else_takes_half)
    assert (await store.inventory.take(milk.id, 1)).quantity == 0.5
    for _ in range(2):
        notion.fail(409, "conflict_error", method="PATCH")
    with pytest.raises(UnavailableError, match="at the same moment"):
        await store.inventory.change(milk.id, ItemFields(name="Cream"))
    assert (await store.inventory.get(milk.id)).name == "Milk"


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "validation_error", "Notion refused the request"),
        (401, "unauthorized", "NOTION_SECRET"),
        (403, "restricted_resource", "capabilities"),
        (418, "teapot", "HTTP status 418"),
    ],
)
async def test_a_refusal_is_told_in_words_and_not_repeated(
    store: NotionStore, milk: Item, notion: NotionStandIn, status: int, code: str, words: str
) -> None:
    notion.fail(status, code)
    with pytest.raises(PantryError, match=words):
        await store.inventory.get(milk.id)
    assert len(notion.requests) == 1


async def test_a_wrong_secret_is_told(notion: NotionStandIn, database_id: str) -> None:
    store = store_on(notion, database_id, secret="ntn_wrong")
    with pytest.raises(MisconfiguredError, match="does not accept the secret"):
        await store.inventory.find(Query())
    await store.aclose()


async def test_a_database_that_is_not_shared_says_so_until_it_is(notion: NotionStandIn) -> None:
    database_id = notion.add_database(INVENTORY)
    hidden = notion.databases.pop(database_id)
    store = store_on(notion, database_id)
    with pytest.raises(MisconfiguredError, match=r"NOTION_INVENTORY_DB_ID.*share the database"):
        await store.inventory.find(Query())
    notion.databases[database_id] = hidden
    assert (await store.inventory.find(Query())).items == []
    await store.aclose()


async def test_a_database_that_is_shared_no_longer_says_so_until_it_is_again(
    store: NotionStore, milk: Item, notion: NotionStandIn, source_id: str
) -> None:
    hidden = notion.sources.pop(source_id)
    with pytest.raises(MisconfiguredError, match="share the database"):
        await store.inventory.find(Query())
    notion.sources[source_id] = hidden
    assert (await store.inventory.find(Query())).items == [milk]
    notion.fail(404, "object_not_found", method="POST", path="/pages")
    with pytest.raises(MisconfiguredError, match="share the database"):
        await store.inventory.add(MILK)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"", b"\xff"])
async def test_an_answer_that_makes_no_sense_is_told(
    store: NotionStore, milk: Item, notion: NotionStandIn, body: bytes
) -> None:
    notion.fail(200, body=body)
    with pytest.raises(UnavailableError, match="made no sense"):
        await store.inventory.get(milk.id)


async def test_a_slow_answer_is_not_awaited_for_ever(
    notion: NotionStandIn, database_id: str
) -> None:
    store = store_on(notion, database_id, timeout=0.1)
    notion.fail(200, delay=0.4, body=b"{}")
    with pytest.raises(UnavailableError, match="took too long"):
        await store.inventory.find(Query())
    await store.aclose()


async def test_a_notion_that_is_away_is_told(notion: NotionStandIn, database_id: str) -> None:
    notion.url = "http://127.0.0.1:9"
    store = store_on(notion, database_id)
    with pytest.raises(UnavailableError, match="could not be reached"):
        await store.inventory.find(Query())
    await store.aclose()


async def test_the_secret_is_in_no_log_and_no_error(
    notion: NotionStandIn, database_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = store_on(notion, database_id)
    item = await store.inventory.add(MILK)
    errors = []
    for status, body in ((401, None), (400, None), (500, b"<html>"), (200, b"?"), (404, None)):
        for _ in range(2):
            notion.fail(status, "unauthorized", body=body)
        with pytest.raises(PantryError) as caught:
            await store.inventory.get(item.id)
        errors.append(f"{caught.getrepr(style='short')}")
        notion.failures.clear()
    await store.aclose()
    assert "request fail" in caplog.text
    assert SECRET not in caplog.text + "".join(errors)


def test_no_handler_is_added_to_the_librarys_log(notion: NotionStandIn) -> None:
    async def construct() -> None:
        await store_on(notion, "x").aclose()

    trio.run(construct)
    assert not logging.getLogger("notion_client").handlers
    assert logging.getLogger("pantry.notion_api").level == logging.NOTSET
