"""A small gate with an MCP server in it, whose faults are switched on one by one."""

from __future__ import annotations

import json
from email.utils import formatdate
from itertools import count
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import trio

from gatehouse.http.challenges import FRONT_AWAY, not_through_front, unavailable
from gatehouse.pages.well_known import METADATA
from tests.harness.identity.signing import key
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from tests.harness.wire import Head, Peer

OTHER_TOKEN = "an0ther/token+of~the.tests-71b7ad25"
MODERN = b"2026-07-28"
COMMENT_SECONDS = 0.3

FAULTS = {
    "redirects to the slash": {"redirect"},
    "redirects the slash": {"slash-redirect"},
    "redirects the slash with the key": {"slash-redirect", "key-leaks"},
    "has no slash": {"slash-missing"},
    "401 without a challenge": {"no-challenge"},
    "challenge that leads nowhere": {"challenge-dead-end"},
    "challenge with a relative URL": {"challenge-dead-end"},
    "403 in place of 401": {"refusal-status"},
    "any token is good": {"wrong-token-open"},
    "no token is needed": {"open", "session-shared"},
    "page for discovery paths": {"discovery-odd"},
    "401 for discovery paths": {"discovery-asks-token"},
    "text for discovery paths": {"discovery-not-json"},
    "sign-in": {"oauth"},
    "sign-in without a pointer": {"oauth", "pointer-missing"},
    "sign-in for another host": {"oauth", "resource-other"},
    "sign-in at nobody's": {"oauth", "no-keys"},
    "sign-in at another issuer's": {"oauth", "no-keys"},
    "sign-in without keys": {"oauth", "no-keys"},
    "sign-in with keys of no use": {"oauth", "no-keys"},
    "sign-in with a clock that is off": {"oauth", "clock-off"},
    "sign-in beside the front's own": {"oauth", "sign-in-twice"},
    "sign-in of its own": {"oauth"},
    "sign-in of its own by another URL": {"oauth", "resource-other"},
    "sign-in of its own at another name": {"oauth", "own-server"},
    "sign-in of its own without S256": {"oauth", "own-server"},
    "no keys for the token": {"no-keys"},
    "no keys for the front": {"no-keys"},
    "only through its front": {"front-first"},
    "a page of the front's for signing in": {"front-first"},
    "key comes back in the body": {"key-leaks"},
    "key comes back in a field": {"key-leaks"},
    "every origin with credentials": {"cors-credentials"},
    "every origin": {"cors-foreign"},
    "any web page": {"origin-open"},
    "any host": {"host-open"},
    "clock off by an hour": {"clock-off"},
    "head held back": {"head-held"},
    "comments held back": {"stream-buffered"},
    "comments without end": {"stream-buffered"},
    "no comments": {"no-comments"},
    "streams cut": {"stream-cut"},
    "streams compressed": {"stream-compressed"},
    "no streams": {"no-stream"},
    "other tokens in a session": {"session-shared"},
    "DELETE ignored": {"delete-ignored"},
    "no DELETE": {"delete-refused"},
    "400 for unknown sessions": {"unknown-session"},
    "texts changed": {"body-changed"},
    "1 MiB at most": {"body-limit-low"},
    "any length": {"no-body-limit"},
    "200 for notifications": {"notification-status"},
    "tools fail": {"tools-failed"},
    "only the older eras": {"no-modern"},
    "only the newest era": {"no-legacy"},
    "a page for signing in": {"odd-content", "discovery-odd"},
    "nothing there": {"not-mcp"},
    "hangs up": {"no-answer"},
    "answers nonsense": {"no-answer"},
    "refuses everybody": {"token-refused"},
    "too many": {"rate-limited"},
}
"""Each fault, and the words that the doctor must have for it, and no others."""


class SickGate:
    """Without faults it does as the gate does."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        self.sessions: dict[str, str] = {}
        self.streams: set[str] = set()
        self.numbers = count(1)

    def has(self, fault: str) -> bool:
        return fault in self.faults

    @property
    def offers_sign_in(self) -> bool:
        return any(fault.startswith("sign-in") for fault in self.faults)

    async def __call__(self, peer: Peer, head: Head) -> None:
        """A script for `Upstream`."""
        if self.has("hangs up"):
            raise EOFError
        target = head.start_line.split(b" ")[1].decode()
        path, _, query = target.partition("?")
        length = int(head.get(b"content-length") or 0)
        if self.has("answers nonsense"):
            await peer.send(b"nonsense\r\n\r\n")
            raise EOFError
        if length > self.most:
            await self.answer(peer, 413)
            raise EOFError
        body = await peer.exactly(length)
        if early := self.early(head, path, query):
            await self.answer(peer, *early)
            return
        token = (head.get(b"authorization") or b"").decode().removeprefix("Bearer ")
        session = (head.get(b"mcp-session-id") or b"").decode()
        if head.start_line.startswith(b"POST"):
            await self.post(peer, head, json.loads(body), session, token)
        elif not self.owns(session, token):
            await self.answer(peer, 404)
        elif head.start_line.startswith(b"DELETE"):
            await self.delete(peer, session)
        else:
            await self.stream(peer, session)

    @property
    def most(self) -> int:
        if self.has("any length"):
            return 10**9
        return 2**20 if self.has("1 MiB at most") else 4 * 2**20

    def early(self, head: Head, path: str, query: str) -> tuple[Any, ...] | None:
        """The answer to a request that gets nowhere: status, body, and fields."""
        html = (b"Content-Type: text/html",)
        if self.has("too many"):
            return 429, b""
        if self.has("a page for signing in"):
            return 200, b"<html>", *html
        if path.startswith(("/.well-known/", "/as/")):
            return self.discovery(path, f"http://{(head.get(b'host') or b'').decode()}")
        if turned_away := self.turned_away():
            return turned_away
        if path not in {"/mcp", "/mcp/"} or self.has("nothing there"):
            return 404, b'{"error": "not_found"}'
        if slash := self.slash(path, query):
            return slash
        if head.start_line.startswith(b"OPTIONS"):
            return self.preflight()
        if (head.get(b"host") or b"").startswith(b"doctor") and not self.has("any host"):
            return 421, b"{}"
        if head.get(b"origin") and not self.has("any web page"):
            return 403, b"{}"
        return self.refusal(head, parse_qs(query).get("key", [""])[0])

    def turned_away(self) -> tuple[Any, ...] | None:
        if self.has("only through its front"):
            return 403, not_through_front("front-missing").body
        if self.has("no keys for the token"):
            return 503, unavailable(5, "keys-unavailable").body
        if self.has("no keys for the front"):
            return 503, unavailable(5, "keys-unavailable", FRONT_AWAY).body
        if self.has("a page of the front's for signing in"):
            return 302, b"", b"Location: https://team.cloudflareaccess.com/cdn-cgi/access/login/g"
        return None

    def discovery(self, path: str, origin: str) -> tuple[Any, ...]:
        if self.has("page for discovery paths"):
            return 200, b"<html>", b"Content-Type: text/html"
        if self.has("401 for discovery paths"):
            return 401, b"{}"
        if self.has("text for discovery paths"):
            return 404, b"Not found", b"Content-Type: text/plain"
        told = self.signing_in(path, origin) if self.offers_sign_in else None
        if told is None:
            return 404, b'{"error": "not_found"}'
        late = 3600 if self.has("sign-in with a clock that is off") and "/as" in path else 0
        date = b"Date: " + formatdate(time() - late, usegmt=True).encode()
        return 200, json.dumps(told).encode(), date

    def signing_in(self, path: str, origin: str) -> dict[str, Any] | None:
        """The documents of a server, and of an authorization server at the same place."""
        issuer, resource = f"{origin}/as", f"{origin}/mcp"
        if self.has("sign-in for another host"):
            resource = "https://gate.example/mcp"
        if self.has("sign-in at nobody's"):
            issuer = f"{origin}/nobody"
        other = "/other" * self.has("sign-in at another issuer's")
        keys = [{"kty": "oct"} if self.has("sign-in with keys of no use") else key().jwk]
        documents: dict[str, dict[str, Any]] = {
            METADATA.decode(): {"resource": resource, "authorization_servers": [issuer]},
            "/.well-known/oauth-authorization-server/as": {
                "issuer": f"{origin}/as{other}",
                "jwks_uri": f"{origin}/as/keys",
            },
            "/as/keys": {"keys": 5 if self.has("sign-in without keys") else keys},
        }
        if self.has("sign-in beside the front's own"):
            own = {"issuer": "https://front.example", "authorization_endpoint": "/"}
            documents["/.well-known/oauth-authorization-server"] = own
        if any(fault.startswith("sign-in of its own") for fault in self.faults):
            if self.has("sign-in of its own by another URL"):
                origin = "https://gate.example"
            told = {"resource": f"{origin}/mcp", "authorization_servers": [origin]}
            documents[METADATA.decode()] = told
            elsewhere = "https://elsewhere.example" * self.has("sign-in of its own at another name")
            documents["/.well-known/oauth-authorization-server"] = {
                "issuer": elsewhere or origin,
                "authorization_endpoint": f"{origin}/authorize",
                "token_endpoint": f"{origin}/token",
                "code_challenge_methods_supported": ["S256"]
                * (not self.has("sign-in of its own without S256")),
            }
        return documents.get(path.removesuffix("/mcp"))

    def slash(self, path: str, query: str) -> tuple[Any, ...] | None:
        ends = path.endswith("/")
        if self.has("redirects to the slash") and not ends:
            return 307, b"", b"Location: /mcp/"
        if self.has("redirects the slash") and ends:
            return 307, b"", b"Location: /mcp"
        if self.has("redirects the slash with the key") and ends:
            return 307, b"", b"Location: /mcp?" + query.encode()
        return (404, b"{}") if self.has("has no slash") and ends else None

    def preflight(self) -> tuple[Any, ...]:
        if self.has("every origin with credentials"):
            allowed = b"Access-Control-Allow-Origin: https://doctor.invalid"
            return 204, b"", allowed, b"Access-Control-Allow-Credentials: true"
        if self.has("every origin"):
            return 204, b"", b"Access-Control-Allow-Origin: *"
        return 403, b"{}"

    def refusal(self, head: Head, key: str) -> tuple[Any, ...] | None:
        token = (head.get(b"authorization") or b"").decode().removeprefix("Bearer ")
        good = token in {TOKEN, OTHER_TOKEN} and not self.has("refuses everybody")
        if good or self.has("no token is needed") or (token and self.has("any token is good")):
            return None
        body = key.encode() if self.has("key comes back in the body") else b"{}"
        fields = [b'WWW-Authenticate: Bearer realm="mcp"']
        if self.has("401 without a challenge"):
            fields.clear()
        if self.offers_sign_in and not self.has("sign-in without a pointer"):
            origin = b"http://" + (head.get(b"host") or b"") + METADATA
            fields = [b'WWW-Authenticate: Bearer resource_metadata="%s/mcp"' % origin]
        for fault, url in {
            "challenge that leads nowhere": b"http://127.0.0.1:1/metadata",
            "challenge with a relative URL": b"/metadata",
        }.items():
            if self.has(fault):
                fields = [b'WWW-Authenticate: Bearer resource_metadata="%s"' % url]
        if self.has("key comes back in a field"):
            fields.append(b"X-Asked: ?key=" + key.encode())
        return 403 if self.has("403 in place of 401") else 401, body, *fields

    def owns(self, session: str, token: str) -> bool:
        shared = self.has("other tokens in a session") or self.has("no token is needed")
        return session in self.sessions and (shared or self.sessions[session] == token)

    async def post(
        self, peer: Peer, head: Head, content: dict[str, Any], session: str, token: str
    ) -> None:
        method = content["method"]
        newest = head.get(b"mcp-protocol-version") == MODERN
        if newest and self.has("only the older eras"):
            await self.answer(peer, 400)
        elif newest:
            await self.result(peer, content, {"supportedVersions": [MODERN.decode()], "tools": []})
        elif self.has("only the newest era"):
            await self.answer(peer, 400)
        elif method == "initialize":
            made = f"session-{next(self.numbers)}"
            self.sessions[made] = token
            told = {"protocolVersion": content["params"]["protocolVersion"], "capabilities": {}}
            await self.result(peer, content, told, b"Mcp-Session-Id: " + made.encode())
        elif not self.owns(session, token):
            await self.answer(peer, 400 if self.has("400 for unknown sessions") else 404)
        elif method.startswith("notifications/"):
            await self.answer(peer, 200 if self.has("200 for notifications") else 202)
        elif method == "tools/list" and self.has("tools fail"):
            await self.answer(peer, 500)
        else:
            await self.result(peer, content, {"tools": []})

    async def result(
        self, peer: Peer, content: dict[str, Any], result: Any, *fields: bytes
    ) -> None:
        told = {"jsonrpc": "2.0", "id": content["id"], "result": result}
        body = json.dumps(told).encode()
        if self.has("texts changed"):
            body = body.replace(b"@", b"&#64;")
        await self.answer(peer, 200, body, *fields)

    async def delete(self, peer: Peer, session: str) -> None:
        if self.has("no DELETE"):
            await self.answer(peer, 405)
            return
        if not self.has("DELETE ignored"):
            del self.sessions[session]
        await self.answer(peer, 200)

    async def stream(self, peer: Peer, session: str) -> None:
        """An event stream with comments, until the client has left."""
        if self.has("no streams") or session in self.streams:
            await self.answer(peer, 405 if self.has("no streams") else 409)
            return
        self.streams.add(session)
        try:
            await self.comments(peer)
        finally:
            self.streams.discard(session)

    async def comments(self, peer: Peer) -> None:
        if self.has("head held back"):
            await peer.receive()
        packed = b"Content-Encoding: gzip\r\n" * self.has("streams compressed")
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        )
        await peer.send(head + packed + b"\r\n")
        if self.has("streams cut"):
            await trio.sleep(COMMENT_SECONDS)
            await peer.send(b"0\r\n\r\n")
            return
        if self.has("no comments"):
            await peer.receive()
        if self.has("comments without end"):
            while True:
                await peer.send(b"C0\r\n" + b": x\n" * 48 + b"\r\n")
        together = 2 if self.has("comments held back") else 1
        text = b": still here\n\n" * together
        gone = False
        while not gone:
            await peer.send(b"%x\r\n%s\r\n" % (len(text), text))
            with trio.move_on_after(COMMENT_SECONDS * together):
                gone = await peer.closed()

    async def answer(self, peer: Peer, status: int, body: bytes = b"{}", *fields: bytes) -> None:
        if status == 204:
            body = b""
        apart = 3600 if self.has("clock off by an hour") else 0
        lines = [
            b"HTTP/1.1 %d Told" % status,
            *fields,
        ]
        if not any(field.startswith(b"Date") for field in fields):
            lines.append(b"Date: " + formatdate(time() - apart, usegmt=True).encode())
        if not any(field.startswith(b"Content-Type") for field in fields):
            lines.append(b"Content-Type: application/json")
        if status != 204:
            lines.append(b"Content-Length: %d" % len(body))
        await peer.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
