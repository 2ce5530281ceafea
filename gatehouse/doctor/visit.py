"""One visit: the target, the tokens, and the requests that checks make of it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.doctor.client import Answer, ask
from gatehouse.version import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatehouse.doctor.client import Fields
    from gatehouse.doctor.target import Target

LEGACY = "2025-11-25"
OLDER = "2025-06-18"
MODERN = "2026-07-28"

MAX_WAIT_SECONDS = 10
"""How long the doctor waits, once for each request, if it is told that it asks too often."""

AGENT = ("User-Agent", f"mcp-gate-doctor/{VERSION}")


@dataclass
class Visit:
    """The value that every check gets."""

    target: Target
    tokens: tuple[str, ...] = ()
    idle_seconds: float = 20
    """How long a silent stream is watched; 0 for not at all."""

    key_in_url: bool = False
    """True if the user's URL held the token."""

    open: bool = False
    """True if the server lets in without a token; known after the introduction."""

    legacy: bool = False
    modern: bool = False
    """The eras of the protocol that the server speaks; known after the introduction."""

    ids: count[int] = field(default_factory=count)

    @property
    def token(self) -> str:
        """The first token; empty if there is none."""
        return self.tokens[0] if self.tokens else ""

    def fields(self, token: str | None = None, *more: tuple[str, str]) -> Fields:
        """The fields of a request: with the first token, or with another one; none for an empty text."""
        token = self.token if token is None else token
        host = () if any(name == "Host" for name, _ in more) else (("Host", self.target.authority),)
        carried = (("Authorization", f"Bearer {token}"),) if token else ()
        return (*host, AGENT, *carried, *more)

    async def ask(
        self,
        method: str,
        *more: tuple[str, str],
        token: str | None = None,
        path: str | None = None,
        body: bytes = b"",
        query: str = "",
    ) -> Answer:
        """One request. One that is told to come back soon does so, once."""
        target = self.target if path is None else self.target.at(path)
        fields = self.fields(token, *more)
        answer = await ask(target, method, fields, body, query)
        wait = answer.get("retry-after")
        if answer.status == 429 and wait.isdecimal() and int(wait) <= MAX_WAIT_SECONDS:
            await trio.sleep(int(wait))
            answer = await ask(target, method, fields, body, query)
        return answer

    async def call(
        self,
        rpc_method: str,
        params: dict[str, Any] | None = None,
        *more: tuple[str, str],
        era: str = LEGACY,
        rpc_id: Any = 1,
        **how: Any,
    ) -> Answer:
        """One message of MCP by POST. Without `rpc_id` it is a notification."""
        body, fields = message(rpc_method, params, era, rpc_id)
        return await self.ask("POST", *fields, *more, body=body, **how)

    async def knock(self, *more: tuple[str, str], version: str = LEGACY, **how: Any) -> Answer:
        """An initialize whose session is ended again: how far does a request get?"""
        if self.modern and not self.legacy:
            return await self.call("server/discover", None, *more, era=MODERN, **how)
        answer = await self.call("initialize", introduction(version), *more, **how)
        await self.leave(answer.get("mcp-session-id"), token=how.get("token"))
        return answer

    async def leave(self, session: str, token: str | None = None) -> None:
        """End a session, if there is one."""
        if session:
            await self.ask("DELETE", *in_session(session), token=token)

    @asynccontextmanager
    async def session(self, token: str | None = None) -> AsyncIterator[str]:
        """A session of its own; an empty text if the server keeps none."""
        answer = await self.call("initialize", introduction(), token=token)
        session = answer.get("mcp-session-id")
        try:
            await self.call(
                "notifications/initialized", None, *in_session(session), rpc_id=None, token=token
            )
            yield session
        finally:
            await self.leave(session, token)


def lets_in(answer: Answer) -> bool:
    """True if the server itself answered, with a result: a front may say 200 to anything."""
    return answer.good and "result" in result_of(answer)


def in_session(session: str, version: str = LEGACY) -> Fields:
    """The fields of a request in a session."""
    fields = (("MCP-Protocol-Version", version),)
    return (*fields, ("Mcp-Session-Id", session)) if session else fields


def introduction(version: str = LEGACY) -> dict[str, Any]:
    """The parameters of initialize."""
    about = {"name": "mcp-gate-doctor", "version": VERSION}
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": about}


def message(
    rpc_method: str, params: dict[str, Any] | None, era: str, rpc_id: Any
) -> tuple[bytes, Fields]:
    """A message of MCP as a body, and the fields that go with it."""
    fields: Fields = (
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    )
    params = dict(params or {})
    if era == MODERN:
        name = params.get("name")
        fields += (("MCP-Protocol-Version", MODERN), ("Mcp-Method", rpc_method))
        fields += (("Mcp-Name", str(name)),) if name else ()
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    content: dict[str, Any] = {"jsonrpc": "2.0", "method": rpc_method}
    if rpc_id is not None:
        content["id"] = rpc_id
    if params:
        content["params"] = params
    return json.dumps(content, ensure_ascii=False).encode(), fields


def result_of(answer: Answer) -> dict[str, Any]:
    """The message in an answer, JSON or event stream, that is a result or an error; empty if there is none."""
    texts = [answer.body.decode("utf-8", "replace")]
    if answer.content_type == "text/event-stream":
        events = texts[0].replace("\r\n", "\n").split("\n\n")
        texts = [
            "\n".join(line[5:].strip() for line in event.split("\n") if line.startswith("data:"))
            for event in events
        ]
    for text in texts:
        try:
            content = json.loads(text)
        except ValueError:
            continue
        if isinstance(content, dict) and {"result", "error"} & content.keys():
            return content
    return {}
