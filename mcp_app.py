"""FoodWise: the MCP server that the gate protects, a kitchen inventory.

It knows its tools and the words for their errors. Where the records lie is the business of `pantry`;
who may call, and at which port, is the business of others.

Importing this module does no I/O. The lifespan reads the settings and opens the store, and may be
entered again after it has ended.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import fastmcp
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_context
from mcp_types import ToolAnnotations
from pydantic import Field
from pydantic_core import to_json

from pantry import PantryError, Query, Store, open_store, read_settings
from pantry import models as m
from pantry.errors import NotFoundError
from pantry.store import find_all

# Serve without sessions. A restart would forget them, and a client whose bridge cannot initialise anew
# (supergateway 4.0.0) would be stranded for good. FastMCP's constructor has no such option.
fastmcp.settings.stateless_http = True

UPSTREAM_RUNTIME = "trio"  # for the gate: nothing here uses asyncio

MAX_ITEMS_IN_RESOURCE = 1000  # items; a kitchen with more is better asked with the tools


@asynccontextmanager
async def lifespan(_: FastMCP) -> AsyncIterator[dict[str, Store]]:
    """Open the store for as long as the server runs; faults in the settings stop the start."""
    async with open_store(read_settings()) as store:
        yield {"store": store}


mcp = FastMCP(
    "FoodWise",
    instructions=(
        "A kitchen inventory and its shopping list. Use list_inventory to see what there is and to"
        " learn the ids the other tools want; list_expiring and list_low_stock to see what needs"
        " attention. After cooking, call consume_item for what was used."
    ),
    lifespan=lifespan,
    mask_error_details=True,
)


def hints(
    *, reads: bool = False, destroys: bool = False, repeatable: bool = False
) -> ToolAnnotations:
    """What a client may tell its user about a tool: it only reads, it overwrites or uses something
    up, calling it twice does no more than calling it once. None reaches beyond this kitchen.
    """
    return ToolAnnotations(
        read_only_hint=reads,
        destructive_hint=destroys,
        idempotent_hint=reads or repeatable,
        open_world_hint=False,
    )


def today() -> date:
    """The current day where this server stands (`TZ`)."""
    return datetime.now(UTC).astimezone().date()


@contextmanager
def kitchen(lister: str = "list_inventory") -> Iterator[Store]:
    """The store the lifespan opened; what it refuses becomes an answer that says what to do next.

    Args:
        lister: the tool that shows the ids in use here.
    """
    try:
        yield get_context().lifespan_context["store"]
    except NotFoundError as error:
        raise ToolError(f"{error} Call {lister} to see the ids.") from error
    except PantryError as error:
        raise ToolError(str(error)) from error


@mcp.tool(annotations=hints(reads=True))
async def list_inventory(
    category: m.Category = "",
    location: m.Location = "",
    query: m.Text = "",
    limit: m.Limit = 50,
    cursor: m.Cursor = None,
) -> m.Page[m.Item]:
    """List what is in the kitchen, by name. All filters given must fit; none lists everything."""
    wanted = Query(category=category, location=location, text=query.strip())
    with kitchen() as store:
        return await store.inventory.find(wanted, limit=limit, cursor=cursor)


@mcp.tool(annotations=hints(reads=True))
async def get_item(item_id: m.ItemId) -> m.Item:
    """Look at one item of the inventory."""
    with kitchen() as store:
        return await store.inventory.get(item_id)


@mcp.tool(annotations=hints())
async def add_item(
    name: m.Name,
    quantity: m.Quantity = 1,
    unit: m.Unit = "",
    category: m.Category = "",
    location: m.Location = "",
    expires: m.Expires | None = None,
    staple: m.Staple = False,
    min_quantity: m.MinQuantity | None = None,
    notes: m.Notes = "",
) -> m.Item:
    """Put a new item into the inventory.

    If the same thing is there already, look it up with list_inventory and use update_item instead.
    """
    new = m.NewItem(
        name=name,
        quantity=quantity,
        unit=unit,
        category=category,
        location=location,
        expires=expires,
        staple=staple,
        min_quantity=min_quantity,
        notes=notes,
    )
    with kitchen() as store:
        return await store.inventory.add(new)


@mcp.tool(annotations=hints(destroys=True, repeatable=True))
async def update_item(
    item_id: m.ItemId,
    name: m.Name | None = None,
    quantity: m.Quantity | None = None,
    unit: m.Unit | None = None,
    category: m.Category | None = None,
    location: m.Location | None = None,
    expires: m.Expires | None = None,
    staple: m.Staple | None = None,
    min_quantity: m.MinQuantity | None = None,
    notes: m.Notes | None = None,
    clear: Annotated[list[m.Clearable] | None, Field(description="Fields to empty.")] = None,
) -> m.Item:
    """Change an item: only the fields given change, those named in `clear` become empty.

    To take something out, use consume_item: it cannot lose what others change at the same moment.
    """
    given = {
        "name": name,
        "quantity": quantity,
        "unit": unit,
        "category": category,
        "location": location,
        "expires": expires,
        "staple": staple,
        "min_quantity": min_quantity,
        "notes": notes,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    emptied = {field: m.ItemFields.model_fields[field].default for field in clear or ()}
    if both := sorted(changes.keys() & emptied.keys()):
        raise ToolError(f"Both a value and `clear` were given for: {', '.join(both)}. Give one.")
    if not changes and not emptied:
        raise ToolError("Nothing to change. Give at least one field, or name one in `clear`.")
    with kitchen() as store:
        return await store.inventory.change(item_id, m.ItemFields.model_validate(changes | emptied))


@mcp.tool(annotations=hints(destroys=True))
async def consume_item(item_id: m.ItemId, amount: m.Amount) -> m.Item:
    """Take an amount of an item out of the kitchen, and see what is left.

    More than is there cannot be taken. An item of which nothing is left stays in the inventory.
    """
    with kitchen() as store:
        return await store.inventory.take(item_id, amount)


@mcp.tool(annotations=hints(destroys=True, repeatable=True))
async def remove_item(item_id: m.ItemId) -> m.Removed:
    """Remove an item from the inventory altogether. For what was eaten, use consume_item."""
    with kitchen() as store:
        item = await store.inventory.remove(item_id)
        return m.Removed(removed=item, message=f"'{item.name}' was {store.removal}.")


@mcp.tool(annotations=hints(reads=True))
async def list_expiring(
    days: Annotated[int, Field(ge=0, le=365, description="How many days to look ahead.")] = 7,
    limit: m.Limit = 50,
    cursor: m.Cursor = None,
) -> m.Page[m.ExpiringItem]:
    """List what has expired or will within some days, the oldest first; nothing that is used up."""
    now = today()
    with kitchen() as store:
        page = await store.inventory.find(
            Query(expires_by=now + timedelta(days=days)), limit=limit, cursor=cursor
        )
    items = [m.ExpiringItem.seen_on(now, item) for item in page.items]
    return m.Page(items, page.next_cursor, page.warning)


@mcp.tool(annotations=hints(reads=True))
async def list_low_stock(limit: m.Limit = 50, cursor: m.Cursor = None) -> m.Page[m.Item]:
    """List what has to be bought: at or below its minimum, or a staple that has run out."""
    with kitchen() as store:
        return await store.inventory.find(Query(low_stock=True), limit=limit, cursor=cursor)


@mcp.tool(annotations=hints(reads=True))
async def list_shopping(
    include_purchased: Annotated[bool, Field(description="Also what was bought already.")] = False,
    query: m.Text = "",
    limit: m.Limit = 50,
    cursor: m.Cursor = None,
) -> m.Page[m.ShoppingItem]:
    """List what is to be bought, by name."""
    wanted = Query(text=query.strip(), purchased=None if include_purchased else False)
    with kitchen("list_shopping") as store:
        return await store.shopping.find(wanted, limit=limit, cursor=cursor)


@mcp.tool(annotations=hints())
async def add_to_shopping(
    name: m.Name,
    quantity: m.Quantity = 1,
    unit: m.Unit = "",
    category: m.Category = "",
    notes: m.Notes = "",
) -> m.ShoppingItem:
    """Put something on the shopping list. See list_shopping first, so as not to list it twice."""
    new = m.NewShoppingItem(name=name, quantity=quantity, unit=unit, category=category, notes=notes)
    with kitchen("list_shopping") as store:
        return await store.shopping.add(new)


@mcp.tool(annotations=hints(repeatable=True))
async def mark_purchased(
    item_id: m.ItemId,
    purchased: Annotated[bool, Field(description="false takes the mark off again.")] = True,
) -> m.ShoppingItem:
    """Mark a line of the shopping list as bought. It does not enter the inventory by itself."""
    with kitchen("list_shopping") as store:
        return await store.shopping.change(item_id, m.ShoppingFields(purchased=purchased))


@mcp.resource("foodwise://inventory", mime_type="application/json")
async def whole_inventory() -> str:
    """All items of the inventory by name, as JSON; `next_cursor` is null unless there are more."""
    with kitchen() as store:
        return to_json(await find_all(store.inventory, most=MAX_ITEMS_IN_RESOURCE)).decode()


@mcp.prompt
def cook_what_expires_first(
    days: Annotated[int, Field(ge=0, le=365)] = 7, servings: Annotated[int, Field(ge=1)] = 2
) -> str:
    """Plan a meal around what will not keep."""
    return (
        f"Call list_expiring with days={days}, and list_inventory for what else there is. Suggest up"
        f" to three dishes for {servings} servings that use what expires first. Leave out what has"
        " expired, and name it so that it can be checked. For each dish say what it uses and how"
        " much, and what would have to be bought. When I have cooked one, call consume_item for"
        " what it took."
    )
