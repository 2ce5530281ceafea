"""Enough file descriptors for all connections, or fewer connections."""

from __future__ import annotations

import resource
from contextlib import suppress

PER_CONNECTION = 3
"""The client's connection, the one to a hosted server, and that server's own end of it."""

SPARE = 128
"""For everything else: listeners, files, a database, Redis, and what tools open."""

OPEN_MAX = 10_240
"""The most that macOS lets a process have if it says that there is no limit: getrlimit(2) there."""


def connections_within(wanted: int) -> tuple[int, str]:
    """Raise the soft limit as far as `wanted` connections need; return how many are possible, and a line that says so.

    The line is empty if the limit was high enough.
    """
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = PER_CONNECTION * wanted + SPARE
    if before == resource.RLIM_INFINITY or before >= needed:
        return wanted, ""
    for limit in (needed if most == resource.RLIM_INFINITY else min(needed, most), OPEN_MAX):
        with suppress(ValueError, OSError):  # more than the system allows
            if limit > before:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
                break
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now >= needed:
        return wanted, f"raised the limit of file descriptors from {before} to {now}"
    possible = max(1, (now - min(SPARE, now // 2)) // PER_CONNECTION)
    return possible, (
        f"there can be {possible} connections, not MAX_CONNECTIONS ({wanted}): they need {needed} file "
        f"descriptors, and the limit is {now} (ulimit -n, LimitNOFILE)"
    )


def keep_limit(limit: int) -> bool:
    """If code has lowered the soft limit, raise it to `limit` again, or as far as possible, and return True."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    lowered = now != resource.RLIM_INFINITY and now < limit
    if lowered:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    return lowered
