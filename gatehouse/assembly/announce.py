"""Tells whoever started the program that it runs: on the screen, or in the log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gatehouse.commands import notice
from gatehouse.pages.landing import UNNAMED
from gatehouse.pages.snippets import PLACEHOLDER
from gatehouse.records import outputs
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatehouse.pages.ways_in import WaysIn

logger = logger_of("gate")


class Announcement:
    """The notice, once the gate listens, and the snippets, once the hosted server's name is known.

    Snippets are for people: they come on a terminal, and with a token that is made for this run. Otherwise one line
    of log says where the gate listens. With `as_json` all is in lines of JSON.
    """

    def __init__(
        self,
        endpoint: str,
        upstream: str,
        *,
        one_off_token: str | None,
        names: Sequence[str],
        url_keys: bool,
        ways: WaysIn,
        hosted: bool,
        as_json: bool,
    ) -> None:
        self._endpoint = endpoint
        self._upstream = upstream
        self._token = one_off_token
        self._names = names
        self._url_keys = url_keys
        self._ways = ways
        self._hosted = hosted
        self._as_json = as_json
        self._for_people = not as_json and (one_off_token is not None or sys.stdout.isatty())

    def listening(self) -> None:
        """The gate listens."""
        if self._as_json and self._token is not None:
            outputs.say(notice.as_json(self._endpoint, self._upstream, self._token))
        elif self._for_people:
            about = [f"The {notice.where(self._endpoint, self._upstream)}"]
            if self._ways.sign_in:
                about.append(self._ways.sign_in)
            if self._ways.tokens:
                about.append(notice.about_token(self._token, self._names))
            outputs.say("\n".join(about))
        else:
            names = f"; named tokens in force: {', '.join(self._names)}" if self._names else ""
            there = notice.where(self._endpoint, self._upstream)
            logger.info("%s%s%s", there, names, self._ways.summary)
        if not self._hosted:
            self.server_is(UNNAMED)

    def server_is(self, name: str) -> None:
        """The server behind the gate has this name."""
        if not self._for_people:
            return
        if self._ways.sign_in:
            outputs.say(notice.sign_in_snippets(self._endpoint, name))
        if not self._ways.tokens:
            outputs.say(notice.STOP)
            return
        token = self._token or PLACEHOLDER
        outputs.say(notice.snippets_for(self._endpoint, token, name, url_keys=self._url_keys))
