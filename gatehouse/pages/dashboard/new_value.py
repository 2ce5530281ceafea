"""The page that shows a new value of a token: once, in the answer to the form that asked for it.

The value goes into this answer and nowhere else: no URL, no title, no line of log holds it, and no cache keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import segno
from markupsafe import Markup

from gatehouse.pages.dashboard.ways import with_token
from gatehouse.tokens.words import KEEP, about_old_values, about_use, validity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.tokens.issue import Issued
    from gatehouse.tokens.token import Token


async def new_value_page(
    visit: Visit,
    issued: Issued,
    now: datetime,
    *,
    endpoint: str,
    key: str,
    url_keys: bool,
    is_of_space: bool,
) -> Reply:
    """The value with the texts for clients, and as a code for a phone.

    `endpoint` is the URL that clients call, and `key` the server's name in their configurations. With `url_keys`, a token
    may come in a URL if it says so itself. `is_of_space` is True if the value is lost when the Space restarts.
    """
    token = issued.token
    query = url_keys and "query" in token.lanes
    return await visit.page(
        "new_value.html",
        name=token.name,
        value=issued.value,
        keep=KEEP,
        late=lambda: {"code": code_of(issued.value)},
        about=list(_about(token, now, url_keys=url_keys)),
        is_of_space=is_of_space,
        ways=with_token(endpoint, issued.value, key, header="header" in token.lanes, query=query),
    )


def _about(token: Token, now: datetime, *, url_keys: bool) -> Iterator[str]:
    end = validity(token.values[-1], now)
    yield f"The new value {end}."
    yield from about_old_values(token, now)
    yield from about_use(token)
    if "query" in token.lanes and not url_keys:
        yield "ALLOW_QUERY_KEY is false, so no token may come in a URL now."


def code_of(value: str) -> Markup:
    """The QR code of a value, as an image in the page's own text.

    It holds the value alone. A phone opens a URL that it reads, and remembers it; a text it offers to copy. Black on white
    with a border, since not every phone reads the inverse.
    """
    code = segno.make(value, error="m", micro=False)
    return Markup(  # noqa: S704 - of numbers that segno has made of the value
        code.svg_inline(
            border=4,
            dark="#000",
            light="#fff",
            svgclass=None,
            lineclass=None,
            omitsize=True,
        )
    )
