"""The first checks: the way to the server, and the protocol that it speaks. Without them there is nothing to see."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import trio

from gatehouse.doctor.client import NoConnectionError, connected
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.visit import (
    LEGACY,
    MODERN,
    OLDER,
    in_session,
    introduction,
    lets_in,
    result_of,
)
from gatehouse.http.challenges import FRONT_AWAY, ISSUER_AWAY, not_through_front, unavailable

if TYPE_CHECKING:
    from gatehouse.doctor.client import Answer
    from gatehouse.doctor.visit import Visit

MIN_DAYS = 14
"""A certificate that renews itself does so a month before its end; with less than this left, it does not."""

MAX_FIRST_BYTE_SECONDS = 3.0
"""A server that is awake takes less for the first byte of its answer."""

MAX_CLOCK_SECONDS = 30
"""How far two clocks may be apart: a token's expiry is told in minutes."""

NO_TLS_REASONS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
"""OpenSSL says one of these, depending on its release, of an answer that is no TLS, such as a plain 400."""


SIGN_IN_PAGE = re.compile(
    r"^https://(?:[\w.-]+\.cloudflareaccess\.com/|accounts\.google\.com/|[^?#]*/\.pomerium/)"
)
"""The pages to which fronts send whoever has not signed in with them: Cloudflare Access, Google IAP, Pomerium."""


async def way(visit: Visit) -> list[Finding]:
    """Name, connection and TLS."""
    target = visit.target
    findings = [] if target.private else [found("no-tls", f"{target.url} is not encrypted")]
    begun = trio.current_time()
    try:
        async with connected(target) as stream:
            took = round((trio.current_time() - begun) * 1000)
            findings.append(fine(f"connected to {target.host} in {took} ms"))
            if isinstance(stream, trio.SSLStream):
                findings += certificate(stream)
    except NoConnectionError as error:
        return [*findings, no_connection(visit, error.reason)]
    return findings


def no_connection(visit: Visit, reason: BaseException) -> Finding:
    """The finding for a connection that there is not."""
    target = visit.target
    if isinstance(reason, BaseExceptionGroup):  # one for each address
        reason = reason.exceptions[0]
    if isinstance(reason, ssl.SSLCertVerificationError):
        return found("tls-untrusted", f"the certificate is not accepted: {reason.verify_message}")
    if isinstance(reason, ssl.SSLError) and reason.reason in NO_TLS_REASONS:
        return found("speaks-no-tls", f"port {target.port} answers, but not with TLS")
    if isinstance(reason, ssl.SSLError):
        return found("tls-untrusted", f"TLS failed: {reason.reason}")
    if isinstance(reason, socket.gaierror):
        return found("name-unknown", f"{target.host}: {reason.strerror}")
    words = getattr(reason, "strerror", None) or str(reason) or "it took too long"
    return found("no-connection", f"{target.host}, port {target.port}: {words}")


def certificate(stream: Any) -> list[Finding]:
    """The version of TLS, the certificate's name and its end."""
    shown = cast("dict[str, Any]", stream.getpeercert())
    days = (ssl.cert_time_to_seconds(shown["notAfter"]) - datetime.now(UTC).timestamp()) / 86_400
    names = ", ".join(str(name) for _, name in shown.get("subjectAltName", ())[:3])
    seen = f"{stream.version()}, certificate for {names}, {days:.0f} days left"
    return [found("certificate-ends", seen) if days < MIN_DAYS else fine(seen)]


async def protocol(visit: Visit) -> list[Finding]:
    """Both eras of the protocol, and the lists of tools. Sets what the visit knows of the server."""
    bare = await visit.knock(token="")
    if is_redirect_to_tls(visit, bare):  # from where there is none the token must not go
        return refusal(visit, bare)
    visit.open = lets_in(bare)
    old = await visit.call("initialize", introduction())
    if refused := refusal(visit, old):
        return refused
    visit.legacy = "protocolVersion" in result_of(old).get("result", {})
    new = await visit.call("server/discover", era=MODERN)
    visit.modern = "supportedVersions" in result_of(new).get("result", {})
    findings = [*speed(old), skew(old.get("date"), "its clock")]
    try:
        if not visit.legacy and not visit.modern:
            return [*findings, stranger(old)]
        if visit.legacy:
            findings += await older_eras(visit, old)
        else:
            findings.append(found("no-legacy", f"initialize got {old.status}"))
        if visit.modern:
            findings.append(tools(await visit.call("tools/list", era=MODERN), MODERN))
        else:
            findings.append(found("no-modern", f"server/discover got {new.status}"))
        return findings
    finally:
        await visit.leave(old.get("mcp-session-id"))


def refusal(visit: Visit, answer: Answer) -> list[Finding]:
    """The findings if the endpoint lets nobody in; none if it does."""
    if 300 <= answer.status < 400 and SIGN_IN_PAGE.search(answer.get("location")):
        return [found("front-first", f"POST gets {answer.status}, to {place(visit, answer)}")]
    if 300 <= answer.status < 400:
        return [found("redirect", f"POST gets {answer.status}, to {place(visit, answer)}")]
    if answer.body == not_through_front("").body:
        return [found("front-first", "the endpoint takes requests through its front only")]
    for words in (ISSUER_AWAY, FRONT_AWAY):
        if answer.body == unavailable(0, "", words).body:
            return [found("no-keys", words.partition(",")[0])]
    if answer.status in {401, 403}:
        if visit.token:
            return [found("token-refused", f"the token gets {answer.status}")]
        seen = f"without a token, the endpoint answers {answer.status}"
        if "resource_metadata=" in ", ".join(answer.all("www-authenticate")):
            return [found("sign-in-needed", f"{seen}, and says where to sign in")]
        return [found("token-needed", seen)]
    if answer.status == 429:
        return [found("rate-limited", "the endpoint answers 429")]
    return []


def is_redirect_to_tls(visit: Visit, answer: Answer) -> bool:
    """True if the server is asked without TLS, and wants to be asked with it."""
    to_tls = answer.get("location").lower().startswith("https:")
    return visit.target.scheme == "http" and 300 <= answer.status < 400 and to_tls


def place(visit: Visit, answer: Answer) -> str:
    """The place that a redirect leads to, without its query: in words, or a URL."""
    location = answer.get("location").partition("?")[0]
    if visit.target.scheme == "https" and location.startswith("http:"):
        return f"{location} (without TLS)"
    return location or "nowhere"


def stranger(answer: Answer) -> Finding:
    """The finding for an answer that is not MCP's."""
    kind = answer.content_type or "nothing"
    if answer.good and answer.content_type not in {"application/json", "text/event-stream"}:
        return found("odd-content", f"initialize gets {answer.status} with {kind}")
    return found("not-mcp", f"initialize gets {answer.status} with {kind}")


def speed(answer: Answer) -> list[Finding]:
    """The time to the first byte."""
    seen = f"the first byte came after {answer.head_seconds * 1000:.0f} ms"
    return [found("slow", seen) if answer.head_seconds > MAX_FIRST_BYTE_SECONDS else fine(seen)]


def skew(date: str, whose: str) -> Finding:
    """A clock against ours, by the date of an answer."""
    try:
        there = parsedate_to_datetime(date)
    except ValueError:
        return fine("the answer has no date to compare clocks by")
    if there.tzinfo is None:
        there = there.replace(tzinfo=UTC)
    apart = (there - datetime.now(UTC)).total_seconds()
    seen = f"{whose} is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    return found("clock-off", seen) if abs(apart) > MAX_CLOCK_SECONDS else fine(seen)


async def older_eras(visit: Visit, opened: Answer) -> list[Finding]:
    """The two newest versions with a handshake."""
    session = opened.get("mcp-session-id")
    told = await visit.call("notifications/initialized", None, *in_session(session), rpc_id=None)
    listed = await visit.call("tools/list", None, *in_session(session))
    findings = [tools(listed, LEGACY)]
    if told.status != 202:
        findings.append(found("notification-status", f"a notification gets {told.status}"))
    older = await visit.call("initialize", introduction(OLDER))
    version = result_of(older).get("result", {}).get("protocolVersion")
    await visit.leave(older.get("mcp-session-id"))
    findings.append(fine(f"initialize with {OLDER} agrees on {version}"))
    return findings


def tools(answer: Answer, era: str) -> Finding:
    """The list of tools, or why there is none."""
    content = result_of(answer)
    listed = content.get("result", {}).get("tools")
    if isinstance(listed, list):
        return fine(f"{len(listed)} {'tool' if len(listed) == 1 else 'tools'} with {era}")
    if content.get("error", {}).get("code") == -32601:  # no such method: a server without tools
        return fine(f"no tools with {era}")
    return found("tools-failed", f"tools/list with {era} gets {answer.status}")
