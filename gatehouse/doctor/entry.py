"""Checks of the door: both spellings, no token, wrong ones, keys in URLs, and OAuth's discovery paths."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gatehouse.doctor.arrival import place
from gatehouse.doctor.client import NoAnswerError, ask
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.sign_in import document_in, resource_metadata
from gatehouse.doctor.target import read_target
from gatehouse.doctor.visit import lets_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.doctor.client import Answer
    from gatehouse.doctor.visit import Visit

DISCOVERY = (
    "/.well-known/oauth-protected-resource{path}",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)
"""The paths at which clients look for OAuth, before they have a token."""


async def spellings(visit: Visit) -> list[Finding]:
    """The endpoint with a slash at its end, and without."""
    other = visit.target.other_spelling
    answer = await visit.knock(path=other)
    if 300 <= answer.status < 400:
        return [found("slash-redirect", f"{other} gets {answer.status}, to {place(visit, answer)}")]
    if lets_in(answer):
        return [fine(f"{other} answers as {visit.target.path} does")]
    return [found("slash-missing", f"{other} gets {answer.status}")]


async def no_token(visit: Visit) -> list[Finding]:
    """The answer to a client that brings no token."""
    if visit.open:
        return [found("open", "initialize works without a token")]
    return await challenge(visit, await visit.knock(token=""))


async def challenge(visit: Visit, answer: Answer) -> list[Finding]:
    """The refusal, and the challenge in it."""
    if answer.status != 401:
        return [found("refusal-status", f"without a token the answer is {answer.status}")]
    challenges = ", ".join(answer.all("www-authenticate"))
    if not challenges:
        return [found("no-challenge", "the 401 has no WWW-Authenticate")]
    named = re.search(r'resource_metadata="?([^",\s]+)', challenges)
    if named is None and await resource_metadata(visit):
        return [found("pointer-missing", "the 401 without a token does not name the metadata")]
    if named is None:
        return [fine("without a token: 401, with a challenge that names no OAuth")]
    return [await metadata(visit, named[1])]


async def metadata(visit: Visit, url: str) -> Finding:
    """The document that a challenge names."""
    words = "the challenge names metadata"
    try:
        target, _ = read_target(url)
    except ValueError:
        return found("challenge-dead-end", f"{words} at no whole URL")
    if target.host != visit.target.host:
        return fine(f"{words} at another host, {target.host}")
    fields = (("Host", target.authority), ("Accept", "application/json"))
    path = urlsplit(url).path  # a target has a path even if the URL has none
    try:
        answer = await ask(target.at(path or "/"), "GET", fields)
    except NoAnswerError as error:
        return found("challenge-dead-end", f"{words}, and {error}")
    if not document_in(answer):
        return found("challenge-dead-end", f"{words} that is none (status {answer.status})")
    return found("oauth", f"{words} of OAuth")


async def wrong_token(visit: Visit) -> list[Finding]:
    """The answer to a token that nobody has given out."""
    if visit.open:
        return [fine("no token is looked at")]
    answer = await visit.knock(token=secrets.token_urlsafe(32))
    if lets_in(answer):
        return [found("wrong-token-open", "initialize works with a made-up token")]
    if answer.status != 401:
        return [found("refusal-status", f"a wrong token gets {answer.status}")]
    return [fine("a wrong token gets 401")]


async def discovery(visit: Visit) -> list[Finding]:
    """OAuth's discovery paths, as a client asks for them: without a token."""
    kinds: dict[str, list[str]] = {}
    for pattern in DISCOVERY:
        path = pattern.format(path=visit.target.path.removesuffix("/"))
        answer = await visit.ask("GET", ("Accept", "application/json"), token="", path=path)
        seen = f"{path} gets {answer.status} {answer.content_type}".rstrip()
        kinds.setdefault(kind_of(answer), []).append(seen)
    return [
        found(word, "; ".join(seen)) if word else fine(f"{len(seen)} paths get 404, in JSON")
        for word, seen in kinds.items()
    ]


def kind_of(answer: Answer) -> str:
    """The word of the catalogue for an answer at a discovery path; empty if it is as it should be."""
    if answer.status == 404:
        try:
            content = json.loads(answer.body)
        except ValueError:
            return "discovery-not-json"
        clean = isinstance(content, dict) and isinstance(content.get("error"), str)
        return "" if clean else "discovery-not-json"
    if answer.status in {401, 403}:
        return "discovery-asks-token"
    return "oauth" if document_in(answer) else "discovery-odd"


async def url_key(visit: Visit) -> list[Finding]:
    """The parameter `key`: does it come back? The token itself goes into a URL only if it came in one."""
    if visit.open:
        return [fine("no token is looked at")]
    canary = secrets.token_hex(16)
    paths = (visit.target.path, visit.target.other_spelling)
    answers = [await visit.ask("GET", token="", path=path, query=f"key={canary}") for path in paths]
    if leaks := sorted(set(leaks_of(answers, canary))):
        return [found("key-leaks", f"a key in the URL comes back in {' and '.join(leaks)}")]
    if not visit.key_in_url:
        return [fine("a wrong key in the URL does not come back")]
    answer = await visit.knock(token="", query=f"key={visit.token}")
    if lets_in(answer):
        return [found("key-in-url", "the token is good in the URL; the doctor took it off there")]
    return [found("key-refused", f"the token in the URL gets {answer.status}")]


def leaks_of(answers: Iterable[Answer], canary: str) -> Iterable[str]:
    """The places in answers where the key stands."""
    for answer in answers:
        yield from (name.title() for name, value in answer.fields if canary in value)
        if canary.encode() in answer.body:
            yield "the body"
