"""The records of the pantry, and the bounds of what may be written into them.

Two kinds of model stand here on purpose. What is *written* (`ItemFields`, `NewItem`, ...) is checked
strictly. What is *read* (`Item`, `ShoppingItem`) is not: people also edit the Notion tables by hand,
and one odd row must not hide all the others.

Units, categories and locations are free text; letter case never matters when they are compared.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_SHORT = StringConstraints(strip_whitespace=True, max_length=100)

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    Field(description="What it is, for example 'Oat milk'."),
]
Quantity = Annotated[
    float,
    Field(ge=0, le=1e9, allow_inf_nan=False, description="How much, counted in `unit`."),
]
Amount = Annotated[
    float,
    Field(gt=0, le=1e9, allow_inf_nan=False, description="How much to take, counted in `unit`."),
]
Unit = Annotated[
    str,
    _SHORT,
    Field(description="Usual ones: count, g, kg, ml, l, cup, can, box, package, bottle, bunch."),
]
Category = Annotated[
    str,
    _SHORT,
    Field(
        description="Usual ones: Produce, Dairy & Eggs, Meat & Seafood, Bakery, Grains, Canned Goods,"
        " Frozen, Snacks, Beverages, Condiments & Sauces, Baking & Spices, Other."
    ),
]
Location = Annotated[
    str,
    _SHORT,
    Field(
        description="Usual ones: Refrigerator, Freezer, Pantry, Cabinet, Spice Rack, Counter, Cellar."
    ),
]
Expires = Annotated[date, Field(description="The last good day, as YYYY-MM-DD.")]
Staple = Annotated[bool, Field(description="Whether the kitchen should always have it.")]
MinQuantity = Annotated[
    float,
    Field(ge=0, le=1e9, allow_inf_nan=False, description="At or below this it is low in stock."),
]
Notes = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=10_000),
    Field(description="Anything else worth knowing."),
]


ItemId = Annotated[str, Field(description="The item's `id`, as a list shows it.", max_length=100)]
Limit = Annotated[int, Field(ge=1, le=100, description="At most so many items on one page.")]
Cursor = Annotated[
    str | None,
    Field(max_length=5000, description="`next_cursor` of the page before; leave out at first."),
]
Text = Annotated[
    str, Field(max_length=200, description="Occurs in the name or the notes, in any letter case.")
]
Clearable = Literal["unit", "category", "location", "expires", "min_quantity", "notes"]


class Record(BaseModel):
    """What every record has, as it is read from a store."""

    id: str = Field(description="The id to use in other tools; a UUID.")
    name: str = ""
    quantity: float = 0
    unit: str = ""
    category: str = ""
    notes: str = ""


class Item(Record):
    """One thing in the kitchen."""

    location: str = ""
    expires: date | None = Field(default=None, description="The last good day, if known.")
    staple: bool = False
    min_quantity: float | None = None


class ExpiringItem(Item):
    """An item, and how long it will last."""

    days_left: int = Field(description="Days until the last good day; negative once it is over.")
    expired: bool

    @classmethod
    def seen_on(cls, day: date, item: Item) -> "ExpiringItem":
        """What an item that has a last good day looks like on some day."""
        left = ((item.expires or day) - day).days
        return cls(**item.model_dump(), days_left=left, expired=left < 0)


class Removed(BaseModel):
    """What is no longer in the inventory."""

    removed: Item
    message: str


class ShoppingItem(Record):
    """One line of the shopping list."""

    quantity: float = 1
    purchased: bool = False


class Fields(BaseModel):
    """Values to write. A field that was not passed stays as it is; an empty one is cleared."""

    model_config = ConfigDict(extra="forbid")


class ItemFields(Fields):
    """Changes to an `Item`."""

    name: Name = ""
    quantity: Quantity = 0
    unit: Unit = ""
    category: Category = ""
    location: Location = ""
    expires: Expires | None = None
    staple: Staple = False
    min_quantity: MinQuantity | None = None
    notes: Notes = ""


class NewItem(ItemFields):
    """A whole new `Item`."""

    name: Name
    quantity: Quantity


class ShoppingFields(Fields):
    """Changes to a `ShoppingItem`."""

    name: Name = ""
    quantity: Quantity = 1
    unit: Unit = ""
    category: Category = ""
    purchased: bool = False
    notes: Notes = ""


class NewShoppingItem(ShoppingFields):
    """A whole new `ShoppingItem`."""

    name: Name


RecordT = TypeVar("RecordT", bound=Record)
FieldsT = TypeVar("FieldsT", bound=Fields)


@dataclass
class Page(Generic[RecordT]):
    """One page of a list."""

    items: list[RecordT]
    next_cursor: Annotated[
        str | None,
        Field(description="Pass it as `cursor` to get the next page; null on the last page."),
    ] = None
    warning: Annotated[
        str | None, Field(description="Says so if the list may lack something, and why.")
    ] = None
