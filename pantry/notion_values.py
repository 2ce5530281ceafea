"""Translates single values between Notion's properties and ours. No I/O happens here."""

from dataclasses import dataclass
from typing import Any

# Notion allows 2,000 characters in a text object, without saying how it counts those outside the
# basic plane. Half of it is within the limit either way.
TEXT_PIECE = 1000
CHOICES = ("select", "multi_select")


@dataclass(frozen=True)
class Property:
    """A property of the table which holds one of our fields."""

    id: str
    name: str
    type: str
    options: tuple[str, ...] = ()

    def spellings(self, text: str) -> list[str]:
        """The options that say `text` in some letter case."""
        return [option for option in self.options if option.casefold() == text.casefold()]


def decode(value: Any, kind: str) -> Any:
    """The plain value of a property, None if it is empty."""
    if not value and kind != "number":
        return None
    match kind:
        case "title" | "rich_text":
            return "".join(piece["plain_text"] for piece in value)
        case "select":
            return value["name"]
        case "multi_select":
            return ", ".join(option["name"] for option in value)
        case "date":
            return value["start"][:10]  # a time of day may follow
        case _:
            return value


def encode(holder: Property, value: Any) -> Any:
    """What Notion wants to be sent for a plain value; an empty one clears the property."""
    match holder.type:
        case "title" | "rich_text":
            pieces = [value[at : at + TEXT_PIECE] for at in range(0, len(value), TEXT_PIECE)]
            return [{"type": "text", "text": {"content": piece}} for piece in pieces]
        case "select":
            return _option(holder, value) if value else None
        case "multi_select":
            parts = [part.strip() for part in value.split(",")]
            return [_option(holder, part) for part in parts if part]
        case "date":
            return value and {"start": value.isoformat()}
        case _:
            return value


def _option(holder: Property, text: str) -> dict[str, str]:
    # A second option that differs in letter case only would help nobody.
    return {"name": next(iter(holder.spellings(text)), text)}
