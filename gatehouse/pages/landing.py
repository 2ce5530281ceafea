"""The landing page: the server's name, whether it is ready, and how to connect."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from gatehouse.http.reply import Reply
from gatehouse.pages import snippets
from gatehouse.pages.snippets import PLACEHOLDER, slug
from gatehouse.pages.ways_in import WaysIn
from gatehouse.policy.origins import AUTHORITY

if TYPE_CHECKING:
    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.request import Request
    from gatehouse.identity.verifiers import Verifiers
    from gatehouse.pages.health import Readiness, Status
    from gatehouse.policy.origins import Origins

# A Space shows its app in a frame on huggingface.co; nobody else may frame it. The page loads nothing.
_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'self' https://huggingface.co https://*.hf.space"
)
_HEADERS = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Cache-Control", b"no-store"),
    (b"Content-Security-Policy", _POLICY),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
)


UNNAMED = "MCP server"
"""The name of a server that runs elsewhere: only a hosted one tells its own."""

MAX_PAGES = 32
"""How many pages are kept: clients choose by which name they call the gate, so there may be any number."""

MAX_HOST = 260
"""How long that name may be, with its port: a DNS name has at most 253 characters."""


TOKENS_ONLY = WaysIn()


class Landing:
    """The page for the MCP endpoint. `name` is the server's, and may be set later.

    Clients reach the endpoint at the host of their request if `origins` know that and no public origin is set; else
    at the URL `endpoint`.
    """

    def __init__(
        self,
        endpoint: str,
        readiness: Readiness,
        verifiers: Verifiers,
        origins: Origins,
        ways: WaysIn = TOKENS_ONLY,
    ) -> None:
        self.name = UNNAMED
        self._endpoint = endpoint
        self._readiness = readiness
        self._verifiers = verifiers
        self._origins = origins
        self._ways = ways

    def endpoint_for(self, request: Request) -> str:
        """The URL of the endpoint for the client that sends this request."""
        host = (request.value(b"host") or b"").lower()
        # It stands in commands to paste, so it holds nothing that a shell would read.
        plain = len(host) <= MAX_HOST and AUTHORITY.fullmatch(host.decode("latin-1"))
        if self._origins.public or not plain or not self._origins.knows(host):
            return self._endpoint
        return f"{request.scheme.decode()}://{plain[0]}/mcp"

    async def __call__(self, exchange: Exchange) -> Reply:
        status = (await self._readiness.state()).status
        endpoint = self.endpoint_for(exchange.request)
        url_keys = self._verifiers.takes_url_keys
        return landing_page(endpoint, self.name, status, url_keys=url_keys, ways=self._ways)


@lru_cache(maxsize=MAX_PAGES)
def landing_page(
    endpoint: str, name: str, status: Status, *, url_keys: bool = True, ways: WaysIn = TOKENS_ONLY
) -> Reply:
    """The page, without any secret, with placeholders only. With `url_keys`, some token may come in a URL."""
    key = slug(name)
    sections = _with_sign_in(endpoint, key, ways.sign_in) if ways.sign_in else ""
    either = ways.sign_in and not ways.front  # past a front, a token is one thing more to bring
    if ways.tokens:
        beside = "Or bring a token" if either else "With a token"
        heading = beside if ways.sign_in else "Connect"
        sections += _with_token(endpoint, key, heading, url_keys=url_keys)
    lead = "Sign in or bring a token" if either else "Bring a token"
    page = _template("landing").substitute(
        endpoint=escape(endpoint),
        name=escape(name),
        status=status,
        lead=lead if ways.tokens and not ways.front else "Sign in",
        connect=sections,
    )
    return Reply(200, page.encode(), _HEADERS)


def _with_token(endpoint: str, key: str, heading: str, *, url_keys: bool) -> str:
    """The section for clients that bring a static token."""
    return _template("landing_token").substitute(
        heading=heading,
        url_keys="" if url_keys else " hidden",
        supergateway=_shown(snippets.supergateway(endpoint, PLACEHOLDER, key)),
        claude_code=_command(snippets.claude_code(endpoint, PLACEHOLDER, key)),
        mcp_remote=_shown(snippets.mcp_remote(endpoint, PLACEHOLDER, key)),
        mcp_remote_command=_command(snippets.mcp_remote_command(endpoint, PLACEHOLDER)),
        inspector=_command(snippets.inspector(endpoint, PLACEHOLDER)),
        url_key=_shown(snippets.url_key(endpoint, PLACEHOLDER)),
    )


def _with_sign_in(endpoint: str, key: str, sentence: str) -> str:
    """The section for clients that sign in, which need no token."""
    return _template("landing_sign_in").substitute(
        sign_in=escape(sentence),
        claude_code=_command(snippets.claude_code(endpoint, "", key)),
        mcp_remote=_shown(snippets.mcp_remote(endpoint, "", key)),
    )


@cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.html").read_text(encoding="utf-8"))


def _shown(snippet: str) -> str:
    """A snippet as HTML, with its placeholder marked."""
    return escape(snippet, quote=False).replace(PLACEHOLDER, f"<var>{PLACEHOLDER}</var>")


def _command(snippet: str) -> str:
    """The same for a command, which wraps on a narrow screen: never within an option and its word."""
    return re.sub(r"--[a-z-]+(?: [a-z][a-z/-]*(?= |$))?", r"<b>\g<0></b>", _shown(snippet))
