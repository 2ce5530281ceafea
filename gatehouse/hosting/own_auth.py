"""A hosted server with `auth=` of its own: it looks for a credential that the gate has taken off."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fastmcp.server.auth import AuthProvider

from gatehouse.hosting.faults import HostedServerError
from gatehouse.http.reply import UNAUTHORIZED, rpc_error
from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.upstream.inprocess import App

logger = logger_of("gate.upstream")

ADVICE = (
    "leave auth= out where the server runs behind the gate (server.auth = None): "
    "get_access_token().client_id then is the name of the token that the gate has let in"
)

REPLY = rpc_error(
    401,
    UNAUTHORIZED,
    "The gate has let this token in, but the server behind it has auth= of its own, which finds no credential: the gate "
    f"takes it off. Whoever runs the server: {ADVICE}.",
    reason="",
)


def judge_auth(server: object, import_string: str) -> Callable[[App], App]:
    """The function to put round the server's app, so that it says why if its own `auth=` lets nobody in.

    Raises HostedServerError for a provider that can let nobody in. One with middleware of its own may look at
    something else than the credential; it gets a line of log, too.
    """
    auth = getattr(server, "auth", None)
    if not isinstance(auth, AuthProvider):
        return lambda app: app
    kind = type(auth)
    if kind.get_middleware is AuthProvider.get_middleware:
        raise HostedServerError(
            f"MCP_APP: the server {import_string} has auth= of its own ({kind.__name__}), which looks for a "
            f"credential that the gate has taken off, so it would answer every call with 401; {ADVICE}",
            started=False,
        )
    logger.warning(
        "the server %s has auth= of its own (%s): it never sees a credential, since the gate takes it off, so it "
        "answers every call with 401, unless its own middleware finds one elsewhere; who calls then is whom it says, "
        "not whom the gate has let in. Otherwise %s",
        import_string,
        kind.__name__,
        ADVICE,
    )
    return partial(says_why, import_string)


def says_why(import_string: str, app: App) -> App:
    """`app`, with words in each 401 that has none."""
    budget = LogBudget(logger)

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        held: Any = None

        async def tell(message: Any) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and message["status"] == 401:
                held = message
                return
            if held is not None:
                start, held = held, None
                if not message.get("body") and not message.get("more_body"):
                    budget.warning(
                        "server-auth",
                        "the server %s has answered 401: its own auth= has found no credential, since the gate takes "
                        "it off",
                        import_string,
                    )
                    start, message = with_words(start), {**message, "body": REPLY.body}
                await send(start)
            await send(message)

        await app(scope, receive, tell)

    return asked


def with_words(start: Any) -> Any:
    """The start of an answer without a body, for one with the words of REPLY. Its challenge stays."""
    ours = {name.lower() for name, _ in REPLY.fields()}
    headers = [pair for pair in start["headers"] if pair[0].lower() not in ours]
    return {**start, "headers": headers + [(name.lower(), value) for name, value in REPLY.fields()]}
