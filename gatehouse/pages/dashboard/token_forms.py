"""The forms of the page of tokens: each field is judged as the command line judges it, and keeps what was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import by_kind
from gatehouse.tokens import typed
from gatehouse.tokens.token import HEADER_ONLY, KINDS, NAME, Token
from gatehouse.tokens.value import FOREIGN_PATTERN, VALUE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from gatehouse.http.mcp import Kind
    from gatehouse.identity.rate import RateOrOff
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.tokens.issue import When

T = TypeVar("T")

OVERLAP = f"{typed.OVERLAP.days}d"
"""The overlap that stands in the form before somebody writes another one."""

LABELS = {
    "name": "Name",
    "note": "Note",
    "tools": "Tools",
    "resources": "Resources",
    "prompts": "Prompts",
    "expires": "Expires",
    "not_before": "Not before",
    "rate": "Rate",
    "query": "In the URL, too",
    "overlap": "Old values stay good for",
}
"""The fields, as the page calls them."""

NO_NAME = "?"
"""In the place of a text that is no name: neither a page nor a line of log repeats it."""

NO_URL = "ALLOW_QUERY_KEY is false, so no token may come in a URL"


class Fields:
    """The texts that somebody typed into some fields, and `errors`: what is wrong with them, by the names of the fields."""

    def __init__(self, form: Form | None, names: Iterable[str]) -> None:
        self._texts = {name: form.text(name) if form else "" for name in names}
        self.errors: dict[str, str] = {}

    @property
    def texts(self) -> dict[str, str]:
        """The texts for the form to be shown again, without any that holds a secret."""
        return {name: "" if _holds_secret(text) else text for name, text in self._texts.items()}

    @property
    def summary(self) -> list[str]:
        """A sentence for each field that is wrong."""
        return [f"{LABELS[name]}: {words}" for name, words in self.errors.items()]

    def read(self, name: str, judge: Callable[[str], T], *, needed: bool = False) -> T | None:
        """The thing that stands in a field; None if that is empty, or wrong."""
        text = self._texts[name]
        if not text and not needed:
            return None
        try:
            return judge(text)
        except ValueError as error:
            self.errors[name] = str(error)
            return None


class MakeForm(Fields):
    """The form for a new token. Without a form that was sent it is the empty one."""

    def __init__(self, form: Form | None = None, *, url_keys: bool = True) -> None:
        super().__init__(form, ("name", "note", *KINDS, "expires", "not_before", "rate"))
        self.query = form is not None and form.text("query") != ""
        self.not_before: When | None = None
        self.expires: When | None = None
        self.token: Token | None = None
        """The wanted token, still without a value; None if something is wrong, or nothing was sent."""
        if form is None:
            return
        name = self.read("name", _name, needed=True)
        note = self.read("note", typed.note)
        lists: dict[Kind, list[str] | None] = {kind: self.read(kind, typed.globs) for kind in KINDS}
        self.expires = self.read("expires", typed.end)
        self.not_before = self.read("not_before", typed.beginning)
        rate: RateOrOff | None = self.read("rate", typed.rate)
        if self.query and not url_keys:
            self.errors["query"] = NO_URL
        if name is not None and not self.errors:
            self.token = Token(
                name=name,
                values=(),
                grants=by_kind(
                    {kind: None if given is None else tuple(given) for kind, given in lists.items()}
                ),
                rate=rate,
                lanes=LANES if self.query else HEADER_ONLY,
                note=note or "",
            )

    @property
    def says_more(self) -> bool:
        """True if somebody has written, or ticked, one of the fields that few need."""
        texts = self.texts
        seldom = ("resources", "prompts", "not_before", "rate")
        return self.query or any(texts[name] or name in self.errors for name in seldom)


class RotateForm(Fields):
    """The form for a new value of a token. `newest` is the id of the last value that its page has shown."""

    def __init__(self, form: Form) -> None:
        super().__init__(form, ("overlap", "expires"))
        self.name = name_in(form)
        self.newest = form.text("newest") or NO_NAME
        self.overlap: timedelta | None = self.read("overlap", typed.span, needed=True)
        self.expires: When | None = self.read("expires", typed.end)


def _name(text: str) -> str:
    if FOREIGN_PATTERN.search(text):
        raise ValueError("this looks like an access token; give a name instead")
    return typed.name(text)


def _holds_secret(text: str) -> bool:
    return bool(VALUE_PATTERN.search(text) or FOREIGN_PATTERN.search(text))


def name_in(form: Form) -> str:
    """The name of the token that a form is about."""
    name = form.text("name")
    return name if NAME.fullmatch(name) and not _holds_secret(name) else NO_NAME


def value_in(form: Form) -> str:
    """The id of the value that a form is about; empty if it is about the token."""
    text = form.text("value")
    if not text:
        return ""
    try:
        return typed.value_id(text)
    except ValueError:
        return NO_NAME
