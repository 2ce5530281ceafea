"""The few requests FoodWise sends to Notion: how they are sent, repeated, and how they fail.

notion-client's own retries are switched off: they sleep with asyncio, which fails under Trio, and
for up to a minute, which is longer than a caller waits. Here a request is repeated once at most, and
only if that is quick and cannot do anything twice. Otherwise the error says when to come back.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
from notion_client import AsyncClient
from notion_client.errors import HTTPResponseError, NotionClientErrorBase, RequestTimeoutError
from pydantic import SecretStr

from pantry.errors import (
    ConflictError,
    MisconfiguredError,
    NotFoundError,
    PantryError,
    RefusedError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

VERSION = "2026-03-11"
TIMEOUT_SECONDS = 20.0  # for one request; two of them stay below the minute a caller may wait
MAX_PAUSE_SECONDS = 2  # seconds; a longer Retry-After goes to the caller
PAUSE_AFTER_FAULT = 0.5  # seconds, before a read is repeated
USUAL_WINDOW = 60  # seconds; Notion counts requests by the minute
BUSY = {429, 529}  # nothing was done, so any request may be repeated
FAULTS = {500, 502, 503, 504}  # something may have been done, so only reads may be


class InvalidRequestError(RefusedError):
    """Notion finds fault with a request: with a value, or a property that is there no more."""


class NotionApi:
    """A connection to Notion.

    Args:
        secret: the connection's token. It goes into a header and nowhere else.
        base_url: where the API is; the library appends `/v1/`.
        timeout: seconds that one request may take.
    """

    def __init__(
        self, secret: SecretStr, base_url: str, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._timeout = timeout
        self._notion = AsyncClient(
            auth=secret.get_secret_value(),
            base_url=base_url,
            notion_version=VERSION,
            timeout_ms=int(timeout * 1000),
            retry=False,
            # The library adds a handler to its own logger each time, and sets the level of ours.
            logger=logger,
            log_level=logging.NOTSET,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._notion.aclose()

    # The library drops keyword arguments it does not know, without a word. So they are spelled out
    # here, once each, and the tests look at what arrives.

    async def database(self, database_id: str) -> dict[str, Any]:
        """A database: the container of data sources."""
        return await self._send(self._notion.databases.retrieve, True, database_id=database_id)

    async def data_source(self, data_source_id: str) -> dict[str, Any]:
        """A data source with its schema."""
        endpoint = self._notion.data_sources.retrieve
        return await self._send(endpoint, True, data_source_id=data_source_id)

    async def query(
        self,
        data_source_id: str,
        *,
        filter: dict[str, Any],  # noqa: A002 - Notion's word
        sorts: list[dict[str, str]],
        page_size: int,
        start_cursor: str | None,
    ) -> dict[str, Any]:
        """One page of a data source's pages; an empty filter lets everything through."""
        optional = {"filter": filter, "start_cursor": start_cursor}
        return await self._send(
            self._notion.data_sources.query,
            True,
            data_source_id=data_source_id,
            sorts=sorts,
            page_size=page_size,
            result_type="page",
            **{name: value for name, value in optional.items() if value},
        )

    async def page(self, page_id: str) -> dict[str, Any]:
        """A page with its properties."""
        return await self._send(self._notion.pages.retrieve, True, page_id=page_id)

    async def create(self, data_source_id: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Add a page to a data source."""
        parent = {"type": "data_source_id", "data_source_id": data_source_id}
        endpoint = self._notion.pages.create
        return await self._send(endpoint, False, parent=parent, properties=properties)

    async def update(self, page_id: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Write some properties of a page."""
        endpoint = self._notion.pages.update
        return await self._send(endpoint, False, page_id=page_id, properties=properties)

    async def trash(self, page_id: str) -> dict[str, Any]:
        """Move a page to the trash."""
        return await self._send(self._notion.pages.update, False, page_id=page_id, in_trash=True)

    async def _send(
        self, endpoint: Callable[..., Any], reads: bool, **arguments: Any
    ) -> dict[str, Any]:
        """Send a request; once more if that is quick and safe."""
        try:
            return await self._once(endpoint, reads, **arguments)
        except HTTPResponseError as error:
            pause = pause_before_repeating(error, reads=reads)
            if pause is None:
                raise in_words(error, reads=reads) from error
        await anyio.sleep(pause)
        try:
            return await self._once(endpoint, reads, **arguments)
        except HTTPResponseError as error:
            raise in_words(error, reads=reads) from error

    async def _once(
        self, endpoint: Callable[..., Awaitable[Any]], reads: bool, **arguments: Any
    ) -> dict[str, Any]:
        """Send a request once. Only Notion's own refusals come out as the library's errors."""
        try:
            # The library's limit is for each step on the wire; this one is for all together.
            with anyio.fail_after(self._timeout):
                answer = await endpoint(**arguments)
        except HTTPResponseError:
            raise
        except (RequestTimeoutError, TimeoutError) as error:
            raise _unknown("Notion took too long to answer.", reads) from error
        except httpx.HTTPError as error:
            raise _unknown("Notion could not be reached.", reads) from error
        except (NotionClientErrorBase, ValueError) as error:
            raise _unknown("Notion's answer made no sense.", reads) from error
        if not isinstance(answer, dict) or "object" not in answer:
            raise _unknown("Notion's answer made no sense.", reads)
        return answer


def pause_before_repeating(error: HTTPResponseError, *, reads: bool) -> float | None:
    """Seconds to wait before the one repetition, None if there shall be none."""
    if error.status in BUSY:
        wanted = _retry_after(error)
        return wanted if wanted is not None and wanted <= MAX_PAUSE_SECONDS else None
    return PAUSE_AFTER_FAULT if reads and error.status in FAULTS else None


def in_words(error: HTTPResponseError, *, reads: bool) -> PantryError:
    """Turn a refusal of Notion into an error that says what to do."""
    match error.status:
        case 400:
            return InvalidRequestError(f"Notion refused the request: {error}")
        case 401:
            return MisconfiguredError("Notion does not accept the secret. Set NOTION_SECRET anew.")
        case 403:
            return MisconfiguredError(
                "Notion does not let the connection do this. Give it the capabilities to read,"
                " update and insert content; and check that the workspace is not full."
            )
        case 404:
            return NotFoundError(
                "Notion does not have it, or has not shared it with the connection."
            )
        case 409:
            return ConflictError(
                "Somebody changed this in Notion at the same moment. Try again.", 1
            )
        case status if status in BUSY:
            wanted = _retry_after(error)
            seconds = USUAL_WINDOW if wanted is None else max(wanted, 1)
            return UnavailableError(f"Notion is busy. Try again in {seconds} seconds.", seconds)
        case status:
            return _unknown(f"Notion failed with HTTP status {status}.", reads)


def _unknown(what: str, reads: bool) -> UnavailableError:
    """An error that leaves open whether a write was done."""
    advice = "" if reads else " The change may have been made or not: look before you repeat it."
    return UnavailableError(f"{what} Try again in 30 seconds.{advice}", 30)


def _retry_after(error: HTTPResponseError) -> int | None:
    value = error.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() else None
