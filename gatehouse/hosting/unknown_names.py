"""Tells which names in the lists of tokens, scopes and people match nothing in the hosted server."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastmcp import FastMCP

    from gatehouse.hosting.contained import Containment
    from gatehouse.http.mcp import Kind
    from gatehouse.identity.grants import Grants

logger = logger_of("gate.upstream")

MAX_REPORT_SECONDS = 30
"""How long listing the server's tools may take."""

LISTING = "whether the server has what tokens' lists name is not known: listing what it has"


async def report(
    server: FastMCP[Any],
    lists: Callable[[], Mapping[str, Grants]],
    containment: Containment,
) -> None:
    """Log these names, now and after each change, for ever; in the server's own runtime."""
    reported: Mapping[str, Grants] | None = None
    while True:
        grants = lists()
        if grants is not reported:
            reported = grants
            with anyio.move_on_after(MAX_REPORT_SECONDS) as patience:
                question = partial(unknown_names, server, grants)
                for sentence in await containment.ask(LISTING, question) or ():
                    logger.warning("%s", sentence)
            if patience.cancelled_caught:
                logger.error("%s took more than %d s", LISTING, MAX_REPORT_SECONDS)
        await anyio.sleep(1)


async def unknown_names(server: FastMCP[Any], lists: Mapping[str, Grants]) -> list[str]:
    """Sentences for the names in lists that match nothing in the server.

    Call it where the server runs, outside of any request. Raises the errors of the server's lists.
    """
    has = await matchers_of(server)
    return [
        f"{owner}: its {kind} name `{glob}`, which no {kind[:-1]} of {server.name} is called"
        for owner, grants in lists.items()
        for kind, matches in has.items()
        for glob in getattr(grants, kind) or ()
        if not matches(glob)
    ]


async def matchers_of(server: FastMCP[Any]) -> dict[Kind, Callable[[str], bool]]:
    """For each kind, a function that is True if a glob matches anything in the server."""
    for (
        provider
    ) in server.providers:  # the server's own lists quietly leave out providers that fail
        await provider.list_tools()
    tools = {tool.name for tool in await server.list_tools(run_middleware=False)}
    prompts = {prompt.name for prompt in await server.list_prompts(run_middleware=False)}
    resources = await server.list_resources(run_middleware=False)
    templates = await server.list_resource_templates(run_middleware=False)
    uris = {str(resource.uri) for resource in resources}
    uris |= {template.uri_template for template in templates}

    def any_of(names: set[str], glob: str) -> bool:
        return any(fnmatchcase(name, glob) for name in names)

    def any_uri(glob: str) -> bool:
        return any_of(uris, glob) or any(made.matches(glob) is not None for made in templates)

    return {
        "tools": partial(any_of, tools),
        "resources": any_uri,
        "prompts": partial(any_of, prompts),
    }
