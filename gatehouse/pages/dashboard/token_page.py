"""The page of tokens as it is shown: the list, the forms, the state of the file; and the file to download."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from gatehouse.http.paths import DASHBOARD
from gatehouse.http.reply import Reply
from gatehouse.pages.dashboard.token_file import StalledError, TokenFile, last_uses
from gatehouse.pages.dashboard.token_forms import NO_URL, OVERLAP, MakeForm
from gatehouse.pages.dashboard.token_list import others_shown, shared_shown, tokens_shown
from gatehouse.tokens import typed
from gatehouse.tokens.file import TokensError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gatehouse.pages.dashboard.token_forms import RotateForm
    from gatehouse.pages.dashboard.visit import Visit
    from gatehouse.tokens.contents import Contents
    from gatehouse.tokens.last_use import LastUse

HERE = f"{DASHBOARD.decode()}/tokens"
"""The path of the page."""

MAX_SHOWN = 50
"""How many tokens a page shows; the others are found by their names. A file may hold thousands, and a page of so many
would hold up everybody while it is written."""

MAX_OTHERS = 100
"""How many people and scopes of the file a page shows."""

MAX_FAULTS = 20
"""How many faults of the file a page shows: who has mended them sees the next ones."""

REASONS = {409: "not-changed", 422: "wrong-field", 503: "tokens-file"}
"""Why a form did nothing, by the status of the page that comes then, as one word for records."""

MAX_FIND_LENGTH = 64
"""How much of a name may be asked for: no name is longer."""


class TokenPage:
    """The page over one file. `uses` tells when values were last used in this run, by their digests, and `state_db` is the
    record of earlier uses. `shared` is the digest of MCP_AUTH_TOKEN; empty without one. `aside` is another tokens file,
    which is not in force.
    """

    def __init__(
        self,
        file: TokenFile,
        *,
        uses: Callable[[], Mapping[bytes, float]],
        state_db: Path | None,
        shared: bytes,
        url_keys: bool,
        aside: Path | None,
    ) -> None:
        self._file = file
        self._uses, self._state_db = uses, state_db
        self._began = time.time()
        self._shared = shared
        self._url_keys = url_keys
        self._aside = aside

    async def show(self, visit: Visit) -> Reply:
        """The page as it is asked for."""
        return await self.page(visit, find=_asked_for(visit))

    async def page(
        self,
        visit: Visit,
        *,
        status: int = 200,
        errors: Sequence[str] = (),
        make: MakeForm | None = None,
        rotate: RotateForm | None = None,
        find: str = "",
    ) -> Reply:
        """The page, with `errors` above it. A form that was sent, and is wrong, is shown with what stood in it.

        Only tokens are listed whose names hold `find`, MAX_SHOWN at most.
        """
        now = now_to_the_second()
        sight = await self._file.look()
        record = await last_uses(self._state_db)
        last_use = record.with_uses(dict(self._uses()), self._began)
        form = make or rotate
        find = rotate.name if rotate else find

        context: dict[str, Any] = {
            "errors": [*(form.summary if form else ()), *errors],
            "path": self._file.path,
            "sight": sight,
            "changes": not (sight.faults or sight.unwritable),
            "in_space": self._file.in_space,
            "is_of_space": self._file.is_of_space,
            "aside": self._aside,
            "record_fault": record.fault,
            "number": len(sight.contents.tokens),
            "find": find,
            "shared": shared_shown(self._shared, last_use, now, url_keys=self._url_keys)
            if self._shared
            else None,
            "make": make or MakeForm(),
            "is_wrong": make is not None,
            "rotate": rotate,
            "overlap": OVERLAP,
            "when": typed.WHEN,
            "no_url": "" if self._url_keys else NO_URL,
        }
        reply = await visit.page(
            "tokens.html",
            status=status,
            late=lambda: listed(sight.contents, find, last_use, now),
            **context,
        )
        return replace(reply, reason=REASONS.get(status, ""))

    async def download(self, visit: Visit) -> Reply:
        """The file as it stands, to be kept elsewhere: it holds digests, and no value."""
        try:
            text = await self._file.text()
        except TokensError as error:
            return visit.see(HERE, " ".join(error.faults), is_warning=True)
        except StalledError as error:
            return visit.see(HERE, str(error), is_warning=True)
        headers = (
            (b"Content-Type", b"application/toml; charset=utf-8"),
            (b"Content-Disposition", b'attachment; filename="tokens.toml"'),
        )
        return Reply(200, text.encode(), headers)


def listed(contents: Contents, find: str, last_use: LastUse, now: datetime) -> dict[str, Any]:
    """The names for the lists of the page, tokens whose names hold `find` and all others, and their bounds."""
    found = [token for token in contents.tokens if find.lower() in token.name.lower()]
    others = others_shown(contents, now)
    return {
        "found": len(found),
        "others": others[:MAX_OTHERS],
        "other_number": len(others),
        "max_shown": MAX_SHOWN,
        "max_faults": MAX_FAULTS,
        "tokens": tokens_shown(found[:MAX_SHOWN], last_use, now),
    }


def now_to_the_second() -> datetime:
    """The time, as it stands in the file."""
    return datetime.now(UTC).replace(microsecond=0)


def _asked_for(visit: Visit) -> str:
    """The part of a name that the query asks for."""
    query = visit.exchange.request.query.decode("ascii", "replace")
    try:
        return parse_qs(query, max_num_fields=10).get("find", [""])[0].strip()[:MAX_FIND_LENGTH]
    except ValueError:
        return ""
