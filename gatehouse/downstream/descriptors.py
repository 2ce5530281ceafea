"""Enough file descriptors for all connections, or fewer connections."""

from __future__ import annotations

import resource
from contextlib import suppress

DESCRIPTORS_PER_CONNECTION = 3
"""The client's connection, the one to a hosted server, and that server's own end of it."""

SPARE_DESCRIPTORS = 128
"""For everything else: listeners, files, a database, Redis, and what tools open."""

MAX_DESCRIPTORS_ON_MACOS = 10_240
"""macOS lets a process have no more, even where it says that there is no limit: getrlimit(2) there."""


def connections_within(wanted: int) -> tuple[int, str]:
    """Raise the soft limit as far as `wanted` connections need; return how many are possible, and a line that says so.

    The line is empty if the limit was high enough.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = DESCRIPTORS_PER_CONNECTION * wanted + SPARE_DESCRIPTORS
    if before == resource.RLIM_INFINITY or before >= needed:
        return wanted, ""
    for limit in (
        needed if hard == resource.RLIM_INFINITY else min(needed, hard),
        MAX_DESCRIPTORS_ON_MACOS,
    ):
        with suppress(ValueError, OSError):  # more than the system allows
            if limit > before:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                break
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now >= needed:
        return wanted, f"raised the limit of file descriptors from {before} to {now}"
    possible = max(1, (now - min(SPARE_DESCRIPTORS, now // 2)) // DESCRIPTORS_PER_CONNECTION)
    return possible, (
        f"there can be {possible} connections, not MAX_CONNECTIONS ({wanted}): they need {needed} file "
        f"descriptors, and the limit is {now} (ulimit -n, LimitNOFILE)"
    )


def keep_limit(limit: int) -> bool:
    """If code has lowered the soft limit, raise it to `limit` again, or as far as possible, and return True."""
    now, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    lowered = now != resource.RLIM_INFINITY and now < limit
    if lowered:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return lowered
