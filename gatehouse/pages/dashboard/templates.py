"""The dashboard's pages as text: templates with automatic escaping, and the header fields that go with them.

Only this module knows the template engine. A value from anywhere is text on the page, never markup: escaping is on in
every template, and a name that a template asks for and nobody gave is an error, not nothing.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gatehouse.http.reply import Reply
from gatehouse.pages.snippets import PLACEHOLDER
from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2.bccache import Bucket

THREADS = OwnThreads("templates")

NONCE_BYTES = 16
"""The bytes of a nonce: 128 bits, as Content Security Policy asks for (CSP Level 3 section 8.1)."""

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content security policy of a page: nothing but the gate's own files, and in no frame."""

OWN_FORMS = "form-action 'self'; "
"""The part of it that a page cannot have whose form leads on: Chromium asks it at each step of the way, and nobody knows all
places through which an app's answer goes (w3c/webappsec-csp#8, PrefectHQ/fastmcp#3369)."""

BARE_POLICY = "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
"""The same for an answer that is no page: it may load nothing at all."""

SAFE_FIELDS = (
    (b"X-Frame-Options", b"DENY"),
    (b"Cache-Control", b"no-store"),
    # With "no-referrer", browsers send `Origin: null` along with our own forms.
    (b"Referrer-Policy", b"same-origin"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"X-Content-Type-Options", b"nosniff"),
)
"""The header fields of every answer, besides the policy."""


ANY_OPENER = (b"Cross-Origin-Opener-Policy", b"unsafe-none")
"""For the way of an app's request: the page that opened the window waits there for the answer, and would lose it."""


class Compiled(BytecodeCache):
    """The code of templates, for all dashboards of this process: to make it takes ten times as long as a page."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template the code that is kept, if there is any."""
        if code := self._kept.get(bucket.key):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._kept[bucket.key] = bucket.bytecode_to_string()


_COMPILED = Compiled()


class Templates:
    """The templates of this package, and nothing else: no other folder is read, and none while the gate runs."""

    def __init__(self, shared: Mapping[str, Any]) -> None:
        """All templates know the `shared` values."""
        self._environment = _environment()
        self._environment.globals.update(shared)

    def text(self, template: str, context: Mapping[str, Any]) -> str:
        """A template as text: a page, or a part of one."""
        return self._environment.get_template(template).render(context)

    def reply(
        self,
        template: str,
        context: Mapping[str, Any],
        *headers: tuple[bytes, bytes],
        status: int = 200,
        reason: str = "",
        leads_on: bool = False,
    ) -> Reply:
        """The page as a reply, with a nonce that no other answer has. `reason` is for records, if it refuses.

        With `leads_on`, the answer to a form of the page may lead on to other sites, and from there to others.
        """
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        text = self.text(template, {**context, "nonce": nonce})
        policy = POLICY.format(nonce=nonce).replace(OWN_FORMS, "" if leads_on else OWN_FORMS)
        fields = (
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Security-Policy", policy.encode()),
            *SAFE_FIELDS,
            *headers,
        )
        # Names that people and clients choose may hold halves of pairs, which are no UTF-8.
        return Reply(status, text.encode("utf-8", "replace"), fields, reason)


async def prepare() -> None:
    """Make the code of all templates in a thread, so that the first page does not keep everybody waiting."""
    await THREADS.run(_compile)


def _compile() -> None:
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        bytecode_cache=_COMPILED,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=moment, ago=ago, lasting=lasting, marked=marked)
    return environment


def dressed(reply: Reply) -> Reply:
    """The reply with each header field of safety that it does not have yet."""
    there = {name.lower() for name, _ in reply.headers}
    wanted = ((b"Content-Security-Policy", BARE_POLICY.encode()), *SAFE_FIELDS)
    missing = tuple(pair for pair in wanted if pair[0].lower() not in there)
    return Reply(reply.status, reply.body, (*reply.headers, *missing), reply.reason)


def marked(text: str) -> Markup:
    """A text to copy, with the placeholder for a token made visible."""
    return escape(text).replace(PLACEHOLDER, Markup("<var>{}</var>").format(PLACEHOLDER))


def moment(seconds: float) -> Markup:
    """A Unix time as an element `time`, in UTC to the minute."""
    there = time.gmtime(seconds)
    return Markup('<time datetime="{}">{}</time>').format(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", there), time.strftime("%Y-%m-%d %H:%M UTC", there)
    )


def ago(seconds: float) -> Markup:
    """The same, in words for how long it has been, or will be; the time itself is its title."""
    there, passed = time.gmtime(seconds), time.time() - seconds
    words = f"{lasting(passed)} ago" if passed >= 0 else f"in {lasting(-passed)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", there),
        time.strftime("%Y-%m-%d %H:%M:%S UTC", there),
        words,
    )


_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def lasting(seconds: float) -> str:
    """A length of time in words: the largest unit of which there are at least two, or one second less."""
    for unit, word in _UNITS:
        count = int(seconds // unit)
        if count >= 2 or unit == 1:
            return f"{count} {word}{'' if count == 1 else 's'}"
    return ""
