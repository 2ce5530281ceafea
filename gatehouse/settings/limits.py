"""Settings of sizes and times."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from gatehouse.http.limits import Limits
from gatehouse.settings.kinds import Count, Seconds, stripped

MIN_HEADER_BYTES = 1024
"""The least that MAX_HEADER_BYTES may be: with less, no client's ordinary fields would pass."""


class LimitSettings(BaseModel):
    """How much one client may hold, and how long each side may take."""

    max_connections: Count = 2000
    """How many connections there may be at a time."""

    max_target_bytes: Count = 8192
    """The length of a URL; beyond that 414."""

    max_header_bytes: Annotated[int, BeforeValidator(stripped), Field(ge=MIN_HEADER_BYTES)] = 16384
    """The size of all header fields together, 1024 or more; beyond that 431."""

    max_header_fields: Count = 100
    """The number of header fields; beyond that 431."""

    max_body_bytes: Count = 4 * 1024 * 1024
    """The size of a request's body; beyond that 413."""

    header_seconds: Seconds = 6
    """How long a request's header fields may take to arrive; then the connection ends."""

    body_seconds: Seconds = 15
    """How long a request's body may take if it comes slower than 1 KiB/s, and any silence within it; then 408."""

    write_seconds: Seconds = 30
    """How long the client may take for the next piece of an answer; then the connection ends."""

    keep_alive_seconds: Seconds = 30
    """How long a connection may rest between two requests."""

    upstream_seconds: Seconds = 300
    """How long the upstream may take for the next piece of a request, and then to begin its answer; then 504."""

    upstream_silence_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0
    """How long the upstream may be silent in an event stream before the gate cuts it. 0: for ever."""

    comment_seconds: Annotated[float, Field(ge=0, le=3600)] = 15
    """After this much silence the gate writes a comment into an event stream, so that no front cuts it. The first one comes 0.25 s after the head of a silent stream. 0: never."""

    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 10
    """How long requests in flight have to finish after SIGTERM."""

    @property
    def limits(self) -> Limits:
        """The sizes and times that every request and connection meets; a time that is 0 here is infinite there."""
        return Limits(
            target_bytes=self.max_target_bytes,
            header_bytes=self.max_header_bytes,
            header_fields=self.max_header_fields,
            body_bytes=self.max_body_bytes,
            header_seconds=self.header_seconds,
            body_seconds=self.body_seconds,
            write_seconds=self.write_seconds,
            keep_alive_seconds=self.keep_alive_seconds,
            upstream_seconds=self.upstream_seconds,
            silence_seconds=self.upstream_silence_seconds or math.inf,
            comment_seconds=self.comment_seconds or math.inf,
        )
