"""Checks of bodies: their limits, and whether they pass unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import trio

from gatehouse.doctor.client import Call, NoAnswerError, connected
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.visit import LEGACY, MODERN, in_session, message, result_of

if TYPE_CHECKING:
    from gatehouse.doctor.client import Fields
    from gatehouse.doctor.visit import Visit

MIB = 1024 * 1024

ORDINARY_BYTES = 2 * MIB
"""A call may be this large: a document, an image. FastMCP and the gate take 4 MiB by default."""

HUGE_BYTES = 64 * MIB
"""Announced, and never sent."""

SENT_BYTES = 5 * MIB
"""The most that is sent, to see whether a server that has not looked at the length refuses it on the way."""

TOO_LARGE = 413

PATIENCE_SECONDS = 4
"""How long the doctor waits for a refusal of a length that it has announced."""

AWKWARD = "<a href='http://127.0.0.1:7870/mcp'>doctor@example.com</a> äß漢字 \\u00e9 &amp; \t%41"
"""A text that fronts like to rewrite: links, addresses, what is no ASCII."""


async def body_limit(visit: Visit) -> list[Finding]:
    """The lengths that are refused."""
    content, fields = message("ping", None, LEGACY, 1)
    try:
        body = content.ljust(ORDINARY_BYTES)
        ordinary = (await visit.ask("POST", *fields, body=body)).status
    except NoAnswerError:  # it hung up: a refusal without words
        ordinary = TOO_LARGE
    if ordinary == TOO_LARGE:
        return [found("body-limit-low", f"a body of {ORDINARY_BYTES // MIB} MiB gets {TOO_LARGE}")]
    huge = HUGE_BYTES // MIB
    if refused := await announced(visit, fields):
        return [fine(f"a body of {huge} MiB gets {refused} before it has been sent")]
    sent = SENT_BYTES // MIB
    return [found("no-body-limit", f"{huge} MiB announced, {sent} MiB sent: no refusal")]


async def announced(visit: Visit, fields: Fields) -> int:
    """The status that HUGE_BYTES get after at most SENT_BYTES of them; 0 for none."""
    length = ("Content-Length", str(HUGE_BYTES))
    lines = [*visit.fields(None, *fields), length, ("Connection", "close")]
    async with connected(visit.target) as stream:
        call = Call(stream)
        await call.send(h11.Request(method="POST", target=visit.target.path, headers=lines))
        for seconds in (PATIENCE_SECONDS / 8,) * (SENT_BYTES // MIB) + (PATIENCE_SECONDS,):
            with trio.move_on_after(seconds):
                try:
                    return (await call.head()).status
                except NoAnswerError:
                    return TOO_LARGE
            if seconds < PATIENCE_SECONDS:
                with trio.move_on_after(PATIENCE_SECONDS):
                    await call.send(h11.Data(data=b" " * MIB))
    return 0


async def echo(visit: Visit) -> list[Finding]:
    """An awkward text, back and forth: the id of a message must come back as it was."""
    if visit.legacy:
        async with visit.session() as session:
            answer = await visit.call("ping", None, *in_session(session), rpc_id=AWKWARD)
            findings = [*await echo_tool(visit, session)]
    else:
        answer = await visit.call("server/discover", era=MODERN, rpc_id=AWKWARD)
        findings = []
    content = result_of(answer)
    if not content:
        return [found("echo-failed", f"ping gets {answer.status}"), *findings]
    if content.get("id") != AWKWARD:
        return [found("body-changed", "the id of a message came back changed"), *findings]
    return [fine("an awkward text comes back as it was"), *findings]


async def echo_tool(visit: Visit, session: str) -> list[Finding]:
    """The same with a tool called `echo` that takes one text, if there is one. No other tool is called."""
    fields = in_session(session)
    listed = result_of(await visit.call("tools/list", None, *fields)).get("result", {})
    schemas = [tool["inputSchema"] for tool in listed.get("tools", ()) if tool["name"] == "echo"]
    names = [name for schema in schemas for name in schema.get("properties", {})]
    if len(names) != 1:
        return []
    call = {"name": "echo", "arguments": {names[0]: AWKWARD}}
    result = result_of(await visit.call("tools/call", call, *fields)).get("result", {})
    if result.get("isError") or "content" not in result:
        return [found("echo-failed", "the tool echo failed")]
    texts = [str(part.get("text")) for part in result["content"]]
    if AWKWARD not in "".join(texts):
        return [found("body-changed", "the tool echo answers with another text")]
    return [fine("the tool echo answers with the same text")]
