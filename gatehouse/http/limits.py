"""Limits: how large a request may be, and how long each side may take. Settings give them."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Sizes and times, one value for the reader of requests, for bodies, connections and exchanges.

    A time without limit is infinite.
    """

    target_bytes: int
    """The longest request target, without the `?`; one that is longer gets 414."""
    header_bytes: int
    """The most bytes of all header fields together; more get 431."""
    header_fields: int
    """The most header fields; more get 431."""
    body_bytes: int
    """The largest body of a request; a larger one gets 413."""
    header_seconds: float
    """How long a request's head may take to arrive, from its first byte; then the connection ends."""
    body_seconds: float
    """How long the client may be silent within its body, or slower than a body must come; then 408."""
    write_seconds: float
    """How long the client may take to accept the next piece of an answer; then the connection ends."""
    keep_alive_seconds: float
    """How long a connection may rest between two requests."""
    upstream_seconds: float
    """How long the upstream may take for the next piece of a request, or to begin its answer (then 504), and
    for each next piece of an answer that is no event stream (then the answer is cut)."""
    silence_seconds: float
    """How long the upstream may be silent in an event stream; then the stream is cut."""
    comment_seconds: float
    """How long an event stream may be silent before the gate writes a comment into it."""
