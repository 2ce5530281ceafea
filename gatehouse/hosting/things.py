"""The things that a message of MCP names: tools, prompts and resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatehouse.http.mcp import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatehouse.http.mcp import Kind

LISTENED = frozenset({"promptsListChanged", "resourcesListChanged", "toolsListChanged"})
"""The news that anybody may listen for, since they name nothing."""


def things_in(method: str, params: Mapping[str, Any]) -> Sequence[tuple[Kind, str]] | None:
    """All things that a message names, by kind; None if they cannot be told, or the method is unknown."""
    named: list[tuple[Kind, Any]]
    if method in {"resources/read", "resources/subscribe", "resources/unsubscribe"}:
        named = [("resources", params.get("uri"))]
    elif kind := KINDS.get(method):
        named = [(kind, params.get("name"))]
    elif method == "completion/complete":
        named = [completed(params.get("ref"))]
    elif method == "subscriptions/listen":
        named = listened(params.get("notifications"))
    else:
        return None
    things = [(kind, thing) for kind, thing in named if isinstance(thing, str)]
    return things if len(things) == len(named) else None


def completed(ref: Any) -> tuple[Kind, Any]:
    """The kind and name of the thing whose argument is completed."""
    match ref:
        case {"type": "ref/prompt", "name": name}:
            return "prompts", name
        case {"type": "ref/resource", "uri": uri}:
            return "resources", uri
    return "prompts", None


def listened(notifications: Any) -> list[tuple[Kind, Any]]:
    """The things that a client wants to hear of."""
    if not isinstance(notifications, Mapping):
        return [("resources", None)]
    asked = {key: value for key, value in notifications.items() if key not in LISTENED}
    asked.pop("taskIds", None)  # judged by their owners
    uris = asked.pop("resourceSubscriptions", None) or []
    if asked or not isinstance(uris, list):  # extensions may add anything
        return [("resources", None)]
    return [("resources", uri) for uri in uris]
