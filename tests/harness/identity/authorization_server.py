"""An authorization server that the tests steer: it rotates, lies, hangs, dies, and comes back on its port.

It runs in threads, on loopback, and keeps what it was asked. Each path answers as `says` has it, else properly.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import uuid4

from tests.harness.identity.scripts import Asked, Script, document, status
from tests.harness.identity.signing import SigningKey, key

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
JWKS = "/jwks"
INTROSPECTION = "/introspect"
AUDIENCE = "https://gate.example/mcp"
"""The endpoint, at the PUBLIC_URL of the tests."""
CLIENT_ID, CLIENT_SECRET = "gate: of the tests", "s3cret/for+introspection%1"
"""By these the gate asks about opaque tokens: form-encoded they are something else (RFC 6749 section 2.3.1)."""


class AuthorizationServer:
    """The server; it listens from the beginning."""

    def __init__(self, path: str = "", port: int = 0) -> None:
        """`path` is that of the issuer. It listens on `port`, or on any that is free."""
        self.keys: list[SigningKey] = [key()]
        self.says: dict[str, Script] = {}
        """How it answers at some paths."""
        self.introspects: dict[str, dict[str, Any]] = {}
        """Its answers about opaque tokens, by the token."""
        self.asked: list[Asked] = []
        self.port = port
        self._path = path
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return self.url + self._path

    # Its questions.

    def count(self, path: str = "") -> int:
        """How often somebody asked at that path; at any, without one."""
        return sum(not path or asked.path == path for asked in self.asked)

    # Its life.

    def start(self) -> None:
        """Listen; on the port of the last time, if there was one."""
        self._end = threading.Event()
        self._server = _Listener(self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()

    def stop(self) -> None:
        """Die: nobody listens any more, and whatever hangs is ended."""
        self._end.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # Its tokens.

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token for alice; `changes` replace them, and a None takes one out."""
        now = int(time.time())
        whole = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "alice-0001",
            "preferred_username": "alice",
            "email": "alice@example.com",
            "email_verified": True,
            "client_id": "app-of-the-tests",
            "scope": "mcp:read",
            "iat": now,
            "exp": now + 600,
            "jti": uuid4().hex,
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def token(
        self,
        *,
        by: SigningKey | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A good access token, or one with these changes to its header and claims."""
        return (by or self.keys[0]).token(self.claims(**changes), **(header or {}))

    def rotate(self, alg: str = "RS256", *, keep: bool = False) -> SigningKey:
        """Sign with another key from now on; the old ones stay listed if they are to be kept."""
        new = replace(key(f"spare-{alg}", alg), kid=uuid4().hex)
        if alg == "RS256" and new.private is self.keys[0].private:
            new = replace(key("spare-2", alg), kid=new.kid)
        self.keys = [new, *(self.keys if keep else [])]
        return new

    # Its answers.

    @property
    def metadata(self) -> dict[str, Any]:
        """The proper document (RFC 8414)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}{JWKS}",
            "introspection_endpoint": f"{self.url}{INTROSPECTION}",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        }

    def answer(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        """Keep the question, and answer it."""
        self.asked.append(asked)
        script = self.says.get(asked.path) or self.proper(asked)
        script(handler, asked, self._end)

    def proper(self, asked: Asked) -> Script:
        """The answer that the question should get."""
        if asked.path in {METADATA + self._path, OPENID, self._path + OPENID}:
            return document(self.metadata)
        if asked.path == JWKS:
            return document({"keys": [each.jwk for each in self.keys]})
        if asked.path == INTROSPECTION:
            token = parse_qs(asked.body.decode()).get("token", [""])[0]
            return document(self.introspects.get(token, {"active": False}))
        return status(404)


class _Listener(ThreadingHTTPServer):
    """Gives each connection to a thread, and to the server that stands behind it."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, server: AuthorizationServer) -> None:
        self.behind = server
        super().__init__(("127.0.0.1", server.port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no matter for the screen."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10.0
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fields = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = self.path.partition("?")
        asked = Asked(self.command, path, fields, body, query)
        self.close_connection = True
        self.server.behind.answer(self, asked)

    do_GET = do_POST = do_HEAD = _any  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """No line on the screen for a request."""


@contextmanager
def authorization_server(path: str = "") -> Iterator[AuthorizationServer]:
    """The server, until the block ends."""
    server = AuthorizationServer(path)
    try:
        yield server
    finally:
        server.stop()
