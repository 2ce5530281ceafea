"""Why the store that several gates share does not answer, in words for the log that say what to do.

The words are our own: the texts of redis-py's errors could repeat the URL, and those of the server anything.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gatehouse.errors import connection_trouble, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CAUSES = 8
"""How many errors, each the cause of the one before, are looked at."""


COMMANDS = "GET, SET, DEL, EVAL, EVALSHA, SCRIPT, XADD, XREAD, EXPIRE, TIME"
"""All that the gate asks of the store."""


def trouble(error: BaseException) -> str:
    """Why the question failed. The last error that we have words for counts: earlier ones led to another try."""
    causes = list(_causes(error))
    for cause in causes:
        if words := _redis_trouble(cause) or _path_trouble(cause) or connection_trouble(cause):
            return words
    return f"asking it failed with {type_name(type(causes[-1]))}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    one: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if one is not None:
            yield one
            one = one.__cause__ or one.__context__


def _redis_trouble(error: BaseException) -> str:
    from redis import exceptions as of_redis  # slow to import, and imported by whoever has asked

    words = {
        of_redis.AuthenticationError: "it refuses the user or the password of SHARED_STATE_URL, or wants them",
        of_redis.AuthenticationWrongNumberOfArgsError: "it knows no users: leave out the one of SHARED_STATE_URL",
        of_redis.NoPermissionError: f"its user may not do all that the gate does there: {COMMANDS} on the keys mcp-gate:*",
        of_redis.BusyLoadingError: "it is still loading its data",
        of_redis.ReadOnlyError: "it is a replica, and takes no writes: SHARED_STATE_URL needs the primary's address",
        of_redis.OutOfMemoryError: "it has no memory left: raise its maxmemory, or let it evict keys",
        of_redis.AskError: "it is one of a cluster, and the gate needs a single server",
        of_redis.ClusterError: "it is one of a cluster, and the gate needs a single server",
        of_redis.TimeoutError: connection_trouble(TimeoutError()),
        of_redis.InvalidResponse: "what answers there is no Redis: is the port right?",
    }
    for kind, told in words.items():
        if isinstance(error, kind):
            return told
    if "max number of clients" in str(error):
        return "it takes no more connections: raise its maxclients"
    if isinstance(error, of_redis.ResponseError):
        return _refusal(str(error))
    if type(error) is of_redis.ConnectionError and error.__context__ is None:
        return "it ended the connection: is the port right, and does it want TLS (rediss://)?"
    return ""


def _refusal(text: str) -> str:
    """An error that the server itself answered with. Only words of ours are told."""
    if text.startswith("MISCONF"):
        return "it cannot save its data, and takes no writes: its own log says why"
    return "it answers the gate's commands with errors: `INFO errorstats` there tells which"


def _path_trouble(error: BaseException) -> str:
    """A file that cannot be opened: the socket of the server, or the certificate of its authority."""
    if isinstance(error, ssl.SSLError):  # which is an OSError of its own kind
        return ""
    if isinstance(error, FileNotFoundError):
        return "there is no such socket, or no such file as ssl_ca_certs names"
    if isinstance(error, PermissionError):
        return "this user may not open the socket, or the file that ssl_ca_certs names"
    return ""
