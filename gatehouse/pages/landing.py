"""The landing page: the server's name, whether it is ready, and how to connect."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import sha256
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

UNNAMED = "MCP server"
"""The name of a server that runs elsewhere: only a hosted one tells its own."""

MAX_PAGES = 32
"""How many pages are kept: clients choose by which name they call the gate, so there may be any number."""

MAX_HOST = 260
"""How long that name may be, with its port: a DNS name has at most 253 characters."""


TOKENS_ONLY = WaysIn()

ELSEWHERE = 'target="_blank" rel="noopener"'
"""For links to pages that may not be framed where this one may: they get a tab of their own."""


class Landing:
    """The page for the MCP endpoint. `name` is the server's, and may be set later.

    Clients reach the endpoint at the host of their request if `origins` know that and no public origin is set; else
    at the URL `endpoint`. Those that sign in reach it only there: they compare the URL with that in the metadata
    (RFC 9728 section 3.3).
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
        is_fixed = self._origins.public or self._ways.provider
        if is_fixed or not plain or not self._origins.knows(host):
            return self._endpoint
        return f"{request.scheme.decode()}://{plain[0]}/mcp"

    async def __call__(self, exchange: Exchange) -> Reply:
        state = await self._readiness.state()
        gone = int(state.since or 0) if state.status == "unreachable" else 0
        return landing_page(
            self.endpoint_for(exchange.request),
            self.name,
            state.status,
            url_keys=self._verifiers.takes_url_keys,
            ways=self._ways,
            since=gone,
        )


@lru_cache(maxsize=MAX_PAGES)
def landing_page(
    endpoint: str,
    name: str,
    status: Status,
    *,
    url_keys: bool = True,
    ways: WaysIn = TOKENS_ONLY,
    since: int = 0,
) -> Reply:
    """The page, without any secret, with placeholders only. With `url_keys`, some token may come in a URL.

    `since` is the moment at which the server was found unreachable, in seconds since 1970; 0 if nobody knows.
    """
    key = slug(name)
    sections = _with_sign_in(endpoint, key, ways.sign_in) if ways.sign_in else ""
    either = ways.sign_in and not ways.front  # past a front, a token is one thing more to bring
    if ways.tokens:
        beside = "Or bring a token" if either else "With a token"
        heading = beside if ways.sign_in else "Connect"
        source = _source(ways.dashboard)
        sections += _with_token(endpoint, key, heading, source, url_keys=url_keys)
    lead = "Sign in or bring a token" if either else "Bring a token"
    page = _text("landing.html").substitute(
        endpoint=escape(endpoint),
        name=escape(name),
        status=status,
        unreachable=_since(since) if since else "has stopped answering",
        lead=lead if ways.tokens and not ways.front else "Sign in",
        connect=sections,
        dashboard="" if ways.tokens else _for_the_one_who_runs_it(ways.dashboard),
        script=_text("landing.js").template,
        style=_text("landing.css").template,
    )
    return Reply(200, page.encode(), _headers())


def _since(moment: int) -> str:
    """Since when the server has not answered, to come behind its name; the page shows it in the reader's own time."""
    at = datetime.fromtimestamp(moment, UTC)
    shown = at.strftime("%H:%M UTC on %d %B")
    exact = at.isoformat(timespec="seconds")
    return f'has not been reachable since <time datetime="{exact}">{shown}</time>'


def _source(dashboard: str) -> str:
    """Where a token comes from."""
    if not dashboard:
        return "A token comes from whoever runs this gate: ask them."
    link = f'<a href="{escape(dashboard)}" {ELSEWHERE}>sign in and make one</a>'
    return f"A token comes from whoever runs this gate: ask them or, if that is you, {link}."


def _for_the_one_who_runs_it(dashboard: str) -> str:
    """The link to the dashboard where it makes no tokens."""
    if not dashboard:
        return ""
    link = f'<a href="{escape(dashboard)}" {ELSEWHERE}>The dashboard</a>'
    return f"<p>{link} is for whoever runs this gate.</p>\n  "


def _with_token(endpoint: str, key: str, heading: str, source: str, *, url_keys: bool) -> str:
    """The section for clients that bring a static token."""
    return _text("landing_token.html").substitute(
        heading=heading,
        source=source,
        url_keys="" if url_keys else " hidden",
        supergateway=_shown(snippets.supergateway(endpoint, PLACEHOLDER, key)),
        claude_code=_command(snippets.claude_code(endpoint, PLACEHOLDER, key)),
        vs_code=_shown(snippets.vs_code(endpoint, PLACEHOLDER, key)),
        cursor=_shown(snippets.cursor(endpoint, PLACEHOLDER, key)),
        gemini_cli=_command(snippets.gemini_cli(endpoint, PLACEHOLDER, key)),
        mcp_remote=_shown(snippets.mcp_remote(endpoint, PLACEHOLDER, key)),
        mcp_remote_command=_command(snippets.mcp_remote_command(endpoint, PLACEHOLDER)),
        inspector=_command(snippets.inspector(endpoint, PLACEHOLDER)),
        url_key=_shown(snippets.url_key(endpoint, PLACEHOLDER)),
    )


def _with_sign_in(endpoint: str, key: str, sentence: str) -> str:
    """The section for clients that sign in, which need no token."""
    return _text("landing_sign_in.html").substitute(
        sign_in=escape(sentence),
        key=key,
        claude_code=_command(snippets.claude_code(endpoint, "", key)),
        vs_code=_shown(snippets.vs_code(endpoint, "", key)),
        vs_code_command=_command(snippets.vs_code_command(endpoint, "", key)),
        cursor=_shown(snippets.cursor(endpoint, "", key)),
        codex=_command(snippets.codex(endpoint, key)),
        opencode=_shown(snippets.opencode(endpoint, key)),
        gemini_cli=_command(snippets.gemini_cli(endpoint, "", key)),
        mcp_remote=_shown(snippets.mcp_remote(endpoint, "", key)),
        mcp_remote_command=_command(snippets.mcp_remote_command(endpoint, "")),
    )


@cache
def _headers() -> tuple[tuple[bytes, bytes], ...]:
    """The page's header fields.

    A Space shows its app in a frame on huggingface.co; nobody else may frame it. The page loads nothing; its script
    asks the gate alone, and is known by its hash, since the page is kept and so has no nonce.
    """
    policy = (
        f"default-src 'none'; script-src {_hashed('landing.js')}; style-src {_hashed('landing.css')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
    )
    return (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Cache-Control", b"no-store"),
        (b"Content-Security-Policy", policy.encode()),
        (b"Referrer-Policy", b"no-referrer"),
        (b"X-Content-Type-Options", b"nosniff"),
    )


def _hashed(name: str) -> str:
    """A source of the policy that lets this script or style run, and no other (CSP 3, section 2.3.1)."""
    digest = sha256(_text(name).template.encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"


@cache
def _text(name: str) -> Template:
    """A file beside this one; of script and style only the text is used."""
    return Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _shown(snippet: str) -> str:
    """A snippet as HTML, with its placeholder marked."""
    return escape(snippet, quote=False).replace(PLACEHOLDER, f"<var>{PLACEHOLDER}</var>")


def _command(snippet: str) -> str:
    """The same for a command, which wraps on a narrow screen: never within an option and its word."""
    return re.sub(r"--[a-z-]+(?: [a-z][a-z/-]*(?= |$))?", r"<b>\g<0></b>", _shown(snippet))
