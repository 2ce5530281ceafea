"""Knows which property of a Notion table holds which of our fields. No I/O happens here.

The table belongs to its owner: property names are matched whatever their letter case, spaces and
hyphens, most properties may be missing, and texts may be a select, a multi-select or a rich text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pantry.errors import MisconfiguredError, RefusedError
from pantry.models import Item, Record
from pantry.notion_values import CHOICES, Property, decode, encode
from pantry.store import Query, is_low

TEXTS = ("select", "multi_select", "rich_text")


@dataclass(frozen=True)
class Wanted:
    """What a field's property may be called and which types it may have; the first is the advice."""

    names: tuple[str, ...]
    types: tuple[str, ...]


WANTED = {
    "name": Wanted(("Name",), ("title",)),
    "quantity": Wanted(("Quantity",), ("number",)),
    "unit": Wanted(("Unit",), TEXTS),
    "category": Wanted(("Category",), TEXTS),
    "location": Wanted(("Location",), TEXTS),
    "expires": Wanted(("Expiry", "Expires", "Expiry Date", "Expiration"), ("date",)),
    "staple": Wanted(("Staple",), ("checkbox",)),
    "min_quantity": Wanted(("Min Quantity",), ("number",)),
    "purchased": Wanted(("Purchased",), ("checkbox",)),
    "notes": Wanted(("Notes",), ("rich_text",)),
}


@dataclass(frozen=True)
class Schema:
    """Which property holds which field. Fields without a property are absent from `properties`."""

    record_type: type[Record]
    properties: dict[str, Property] = field(default_factory=dict)

    def lacks(self, values: Mapping[str, Any]) -> list[str]:
        """The fields for whose value there is no property, or no option yet.

        If there are any, the table may have been changed since its schema was read.
        """
        return [name for name, value in values.items() if not self._covers(name, value)]

    def _covers(self, name: str, value: Any) -> bool:
        holder = self.properties.get(name)
        if holder is None:
            return self._is_default(name, value)
        return not value or holder.type not in CHOICES or bool(holder.spellings(value))

    def _is_default(self, name: str, value: Any) -> bool:
        return bool(value == self.record_type.model_fields[name].default)

    def read_page(self, page: Mapping[str, Any]) -> dict[str, Any]:
        """Take our fields out of a Notion page; what is empty or missing is left out.

        Found by the properties' ids, which survive renaming.
        """
        by_id = {value.get("id"): value for value in page["properties"].values()}
        fields = {"id": page["id"]}
        for name, holder in self.properties.items():
            value = by_id.get(holder.id, {})
            decoded = decode(value.get(holder.type), holder.type)
            if decoded is not None:
                fields[name] = decoded
        return fields

    def write(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make the `properties` of a create or update request.

        Raises:
            RefusedError: a value other than the default is meant for a property the table does not have.
        """
        properties = {}
        for name, value in fields.items():
            holder = self.properties.get(name)
            if holder is not None:
                properties[holder.name] = {holder.type: encode(holder, value)}
            elif not self._is_default(name, value):
                raise RefusedError(f"{missing(name)} Or leave {name} out.")
        return properties

    def filter(self, query: Query) -> dict[str, Any] | None:
        """Say in Notion's terms what the query asks for; `{}` for everything, None for nothing.

        Nothing can be found if the table lacks a property or an option that is asked for. Notion
        cannot compare two properties, nor texts whatever their case: the answer may hold too much,
        see `confirms`.
        """
        clauses = list(self._clauses(query))
        if None in clauses:
            return None
        if len(clauses) > 1:
            return {"and": clauses}
        return clauses[0] if clauses else {}

    def confirms(self, query: Query, record: Record) -> bool:
        """Whether a record that Notion found meets also what Notion cannot check."""
        if query.low_stock and isinstance(record, Item) and not is_low(record):
            return False
        return all(
            str(getattr(record, name)).casefold() == getattr(query, name).casefold()
            for name in ("category", "location")
            if getattr(query, name) and self.properties[name].type == "rich_text"
        )

    def _clauses(self, query: Query) -> Iterator[dict[str, Any] | None]:
        if query.category:
            yield self._equals("category", query.category)
        if query.location:
            yield self._equals("location", query.location)
        if query.text:
            yield self._either(
                self._clause("name", "contains", query.text),
                self._clause("notes", "contains", query.text),
            )
        if query.expires_by:
            yield self._clause("expires", "on_or_before", query.expires_by.isoformat())
            yield self._clause("quantity", "greater_than", 0)
        if query.low_stock:
            yield self._either(
                self._clause("min_quantity", "is_not_empty", True),
                self._clause("staple", "equals", True),
            )
        # Where nothing can be marked as purchased, nothing is.
        if query.purchased or (query.purchased is False and "purchased" in self.properties):
            yield self._clause("purchased", "equals", query.purchased)

    def _clause(self, name: str, operator: str, value: Any) -> dict[str, Any] | None:
        holder = self.properties.get(name)
        if holder is None:
            return None
        return {"property": holder.name, holder.type: {operator: value}}

    def _equals(self, name: str, text: str) -> dict[str, Any] | None:
        # The filters of Notion heed the letter case: ask for each spelling there is.
        holder = self.properties.get(name)
        if holder is None or holder.type == "rich_text":
            return self._clause(name, "contains", text)
        operator = "equals" if holder.type == "select" else "contains"
        return self._either(
            *(self._clause(name, operator, option) for option in holder.spellings(text))
        )

    def _either(self, *clauses: dict[str, Any] | None) -> dict[str, Any] | None:
        there = [clause for clause in clauses if clause]
        if len(there) > 1:
            return {"or": there}
        return there[0] if there else None


def needs(query: Query) -> dict[str, Any]:
    """The fields a query cannot do without, each with a value it has to be able to hold."""
    wanted = {
        "category": query.category or None,
        "location": query.location or None,
        "expires": query.expires_by,
        "min_quantity": 0 if query.low_stock else None,
        "purchased": query.purchased,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def missing(name: str) -> str:
    """What the owner has to do to make a field possible."""
    wanted = WANTED[name]
    return (
        f"The Notion table has no place for {name}: add a property named '{wanted.names[0]}'"
        f" of type {wanted.types[0]} to it."
    )


def read_schema(
    properties: Mapping[str, Mapping[str, Any]], record_type: type[Record], required: set[str]
) -> Schema:
    """Find our fields among the properties of a data source.

    Raises:
        MisconfiguredError: a required field has no property of a type we can use.
    """
    found: dict[str, Property] = {}
    for name in record_type.model_fields.keys() & WANTED.keys():
        holder = _find(WANTED[name], properties)
        if holder is not None:
            found[name] = holder
        elif name in required:
            raise MisconfiguredError(missing(name))
    return Schema(record_type, found)


def _find(wanted: Wanted, properties: Mapping[str, Mapping[str, Any]]) -> Property | None:
    names = [_key(name) for name in wanted.names]
    fitting = {
        # A table has exactly one title, so its name does not matter.
        names[0] if value["type"] == "title" else _key(name): (name, value)
        for name, value in properties.items()
        if value["type"] in wanted.types
    }
    for key in names:
        if key in fitting:
            name, value = fitting[key]
            options = value[value["type"]].get("options", ())
            return Property(
                value["id"], name, value["type"], tuple(option["name"] for option in options)
            )
    return None


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())
