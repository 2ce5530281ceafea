"""Foreign texts as pages show them; that they are no markup is the templates' part."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text that somebody else chose, in one line that moves no cursor and turns no direction around."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
