"""The policy on tools: the gate's own, early lock for restricted tokens.

There are two locks, because the gate reads no bodies. For a server that it hosts, `tool_lock` in that
server has the last word, with the body in hand; the early lock merely answers sooner, and with the right
status. For a server elsewhere the early lock is the only one, and can trust MCP's header fields only if
that server compares them with the body. Since MCP 2026-07-28 servers must, so such a server has to speak
that version.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gatehouse.http import refusals
from gatehouse.http.for_people import worded
from gatehouse.http.mcp import KINDS, TASK_LIST, TASK_METHODS, printable
from gatehouse.http.paths import is_endpoint
from gatehouse.http.reply import forbidden
from gatehouse.identity.principal import is_token
from gatehouse.policy.base import Policy

if TYPE_CHECKING:
    from gatehouse.http.challenges import Challenges
    from gatehouse.http.mcp import Kind, McpCall
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.principal import Principal
    from gatehouse.identity.scopes import Scopes

HARMLESS_METHODS = frozenset(
    {
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "server/discover",
        "tools/list",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)
"""The methods that every token may send. A hosted server's lists show only the things that the token may call."""

BODY_METHODS = frozenset(
    {
        "completion/complete",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
    }
)
"""The methods whose thing is named only in the body."""

LOCKED_METHODS = BODY_METHODS | TASK_METHODS | {TASK_LIST}
"""The methods that only the lock in the hosted server can judge: it knows the owner of a task."""

_DOES = {
    "prompts": "use the prompt",
    "resources": "read the resource",
    "tools": "call the tool",
}

_HASHED = re.compile("[0-9a-f]{12}_.", re.DOTALL)


class Tools(Policy):
    """Refuses requests beyond the principal's grants, as far as the header fields tell.

    `hosted` is True if `tool_lock` will check the requests that pass here. If it will not, all requests that
    the fields leave unclear are refused. Only the lists pass unfiltered, since they are in a body: a token sees
    there the names of things that it may not call.

    An access token that lacks one of `scopes` for the thing is told so in `challenges`, upon which its client asks the
    user for it (MCP 2025-11-25, authorization, «Scope Challenge Handling»).
    """

    def __init__(self, *, hosted: bool, scopes: Scopes, challenges: Challenges) -> None:
        self._hosted = hosted
        self._scopes = scopes
        self._challenges = challenges

    async def refusal(self, request: Request, principal: Principal) -> Reply | None:
        if not principal.grants.restricted:
            return None
        if not is_endpoint(request.path):
            return worded(refusals.BESIDE_ENDPOINT, token=is_token(principal.id))
        if request.call_is_unclear:
            return refusals.UNCLEAR_CALL
        return self._call_refusal(request.call, principal)

    def _call_refusal(self, call: McpCall | None, principal: Principal) -> Reply | None:
        name, hosted = principal.name, self._hosted
        if call is None:
            return None if hosted else forbidden(words_for_version(name), "mcp-version")
        method = call.method
        if method in HARMLESS_METHODS or (hosted and (method in LOCKED_METHODS or not method)):
            return None
        if kind := KINDS.get(method):
            if granted(principal.grants, kind, call.name):
                return None
            words = words_for(name, kind, call.name)
            return self._step_up(principal, kind, call.name) or forbidden(words, "grants")
        return (
            forbidden(words_for_method(name, method), "grants")
            if method
            else refusals.NO_MCP_METHOD
        )

    def _step_up(self, principal: Principal, kind: Kind, thing: str) -> Reply | None:
        """The challenge to ask for one more scope; None if none would open the thing, as lists of a person may not."""
        subject = principal.subject
        if subject is None or subject.kind != "oauth":
            return None
        within = principal.grants.within
        needed = self._scopes.needed_for(
            subject.scopes, lambda grants: granted(replace(grants, within=within), kind, thing)
        )
        return self._challenges.insufficient_scope(subject.scopes, [needed]) if needed else None


def granted(grants: Grants, kind: Kind, thing: str) -> bool:
    """True if the thing of that name, or URI, may be seen and called.

    A name that a list spells out is granted. A glob must match the thing that the server will look up:
    servers leave out a URI's query and fragment, or decode it, and `x://secret#/public` would pass as
    `x://*/public`, so every such reading must be granted. FastMCP also finds the tools of apps by a hash
    of the app's name, as `0123456789ab_delete`: no glob but `*` means such a tool.
    """
    return all(_granted_by(part, kind, thing) for part in grants.parts)


def _granted_by(grants: Grants, kind: Kind, thing: str) -> bool:
    named = getattr(grants, kind) or ()
    if thing in named:
        return True
    if kind == "resources":
        return all(grants.allow(kind, uri) and not climbs(uri) for uri in readings(thing))
    if kind == "tools" and _HASHED.match(thing):
        return "*" in named
    return grants.allow(kind, thing)


def readings(uri: str) -> set[str]:
    """A URI as servers may read it."""
    bare = re.split("[?#]", uri, maxsplit=1)[0]
    return {uri, unquote(uri), bare, unquote(bare)}


def climbs(uri: str) -> bool:
    """True if the URI has a dot segment, which points elsewhere (RFC 3986 section 3.3)."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", uri))


def words_for(name: str, kind: Kind, thing: str) -> str:
    """Why the principal of that name is refused this thing, and what to do about it."""
    refused = f"may not {_DOES[kind]} '{printable(thing)}'. Ask the operator of this server to"
    if is_token(name):
        return f"Forbidden: the token '{name}' {refused} add it to the {kind} of the token."
    return f"Forbidden: {name} {refused} allow it."


def words_for_method(name: str, method: str) -> str:
    """Why the principal of that name is refused this method, and what to do about it."""
    return (
        f"Forbidden: {_limited(name)}, and they cannot allow '{printable(method)}', or not in this form. "
        f"Ask the operator of this server {_without_lists(name)}."
    )


def words_for_version(name: str) -> str:
    """Why the principal of that name is refused whatever an older client asks."""
    return (
        f"Forbidden: {_limited(name)}, and only with MCP 2026-07-28 can be told what a request calls. "
        f"Use a newer client, or ask the operator of this server {_without_lists(name)}."
    )


def _limited(name: str) -> str:
    who = f"the token '{name}'" if is_token(name) else name
    return f"{who} is limited to what its lists name"


def _without_lists(name: str) -> str:
    return "for a token without lists" if is_token(name) else f"to let {name} in without lists"
