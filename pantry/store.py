"""The one interface behind which the records lie, whatever keeps them.

A `Store` has two shelves, the inventory and the shopping list. Both run under asyncio and under Trio,
so implementations wait with anyio only. All methods raise `pantry.errors.PantryError` and nothing else
for what can go wrong outside the program.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date
from typing import Generic
from uuid import UUID

from pantry.errors import NotFoundError, RefusedError
from pantry.models import (
    FieldsT,
    Item,
    ItemFields,
    Page,
    Record,
    RecordT,
    ShoppingFields,
    ShoppingItem,
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which records to list. All conditions must hold; a default one does not count.

    Args:
        category, location: equal to this, whatever the letter case.
        text: occurs in the name or the notes, whatever the letter case.
        expires_by: something is left of it and its last good day is this day or an earlier one.
        low_stock: at or below its minimum, or a staple without a minimum that has run out.
        purchased: the state of a line of the shopping list.
    """

    category: str = ""
    location: str = ""
    text: str = ""
    expires_by: date | None = None
    low_stock: bool = False
    purchased: bool | None = None


class Shelf(ABC, Generic[RecordT, FieldsT]):
    """A set of records of one type."""

    @abstractmethod
    async def find(
        self, query: Query, *, limit: int = 50, cursor: str | None = None
    ) -> Page[RecordT]:
        """List records by name, or by last good day if the query asks for `expires_by`.

        Args:
            limit: at most so many records, 1 to 100. Fewer may come, even if there are more.
            cursor: `next_cursor` of the page before, of the same query.

        Raises:
            RefusedError: the cursor is not one of ours.
        """

    @abstractmethod
    async def get(self, record_id: str) -> RecordT:
        """Read one record, or raise `NotFoundError`."""

    @abstractmethod
    async def add(self, new: FieldsT) -> RecordT:
        """Write a new record and return it with its id."""

    @abstractmethod
    async def change(self, record_id: str, changes: FieldsT) -> RecordT:
        """Write the fields that were set in `changes`, leave the others, return the new state."""

    @abstractmethod
    async def take(self, record_id: str, amount: float) -> RecordT:
        """Lower the quantity by `amount` and return the new state.

        Raises:
            RefusedError: less than `amount` is there; nothing was taken.
        """

    @abstractmethod
    async def remove(self, record_id: str) -> RecordT:
        """Remove a record and return what it was."""


class Store(ABC):
    """Where FoodWise keeps its records."""

    @property
    @abstractmethod
    def inventory(self) -> Shelf[Item, ItemFields]:
        """What is in the kitchen."""

    @property
    @abstractmethod
    def shopping(self) -> Shelf[ShoppingItem, ShoppingFields]:
        """What is to be bought. Raises `MisconfiguredError` if there is no place for it."""

    @property
    @abstractmethod
    def removal(self) -> str:
        """What becomes of a removed record, as the end of a sentence."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of connections. The store cannot be used afterwards."""


async def find_all(shelf: Shelf[RecordT, FieldsT], *, most: int) -> Page[RecordT]:
    """All records by name, on one page; a cursor is left if there are more than `most` or so."""
    whole = Page[RecordT]([])
    while len(whole.items) < most:
        page = await shelf.find(Query(), limit=100, cursor=whole.next_cursor)
        whole = Page(whole.items + page.items, page.next_cursor, whole.warning or page.warning)
        if page.next_cursor is None:
            break
    return whole


def checked_id(record_id: str) -> str:
    """Bring an id from outside into canonical form; `NotFoundError` if it cannot be an id at all."""
    try:
        return str(UUID(record_id))
    except ValueError:
        raise not_found(record_id) from None


def not_found(record_id: str) -> NotFoundError:
    """The same words in every store."""
    return NotFoundError(f"No item with id {record_id}.")


def bad_cursor() -> RefusedError:
    """The same words in every store."""
    return RefusedError("This cursor does not belong to this list. Call again without a cursor.")


def remaining(record: Record, amount: float) -> float:
    """What is left after taking `amount`, or `RefusedError`.

    Rounded to a millionth, so that three times 0.1 taken from 0.3 leaves 0 and not a trace.
    """
    left = round(record.quantity - amount, 6)
    if left < 0:
        there = f"{record.quantity:g} {record.unit}".rstrip()
        raise RefusedError(
            f"Cannot take {amount:g} of '{record.name}': only {there} left. Nothing was taken."
        )
    return left


def is_low(item: Item) -> bool:
    """Whether an item is low in stock: the meaning of `Query.low_stock`."""
    minimum = 0 if item.min_quantity is None and item.staple else item.min_quantity
    return minimum is not None and item.quantity <= minimum
