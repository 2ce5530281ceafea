"""The words that mean people, in PEOPLE and in `[[people]]`, and the facts about a subject that they ask for."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.identity.subject import Subject

MAX_MATCH_LENGTH = 400
"""How long a match may be, in characters. An e-mail address has 254 at most (RFC 5321 section 4.5.3.1.3), and a
`sub` of OpenID Connect 255."""

MAX_SUBJECTS = 1024
"""For how many subjects their keys are remembered, since the place of each with a standing stream is looked up
every second."""

ADDRESS = re.compile(r"([^\s@*]+|\*)@([^\s@*.][^\s@*]*)")

USERNAME = re.compile(r"[^\s@*:,]+")

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Key(NamedTuple):
    """A kind of fact about a subject, and the fact: two matches with one key mean the same people."""

    kind: Literal["username", "address", "domain", "sub", "org", "client", "everybody"]
    fact: str = ""


EVERYBODY = Key("everybody")


def key_of(match: str) -> Key:
    """The fact that a match asks for. Raises ValueError, in words that complete «NAME: ...» and do not repeat it."""
    if match == "*":
        return EVERYBODY
    if len(match) > MAX_MATCH_LENGTH or not match.isprintable() or match.strip() != match:
        raise ValueError(
            f"has {MAX_MATCH_LENGTH} printable characters at most, and no blank at its begin or end"
        )
    word, colon, fact = match.partition(":")
    if colon:
        return _prefixed(word, fact)
    address = ADDRESS.fullmatch(match)
    if address:
        domain = address[2].translate(_LOWER)
        return (
            Key("domain", domain) if address[1] == "*" else Key("address", match.translate(_LOWER))
        )
    if not USERNAME.fullmatch(match):
        raise ValueError(
            "must be a user name, an e-mail address, *@DOMAIN, sub:SUB, org:NAME, client:ID, or * for everybody; "
            "a star stands for nothing else"
        )
    return Key("username", match)


def _prefixed(word: str, fact: str) -> Key:
    if not fact or fact.strip() != fact:
        raise ValueError("there is nothing after the colon, or a blank")
    if fact == "*":
        raise ValueError("a star after a colon means nobody; write * alone for everybody")
    for kind in ("sub", "org", "client"):
        if word == kind:
            return Key(kind, fact)
    raise ValueError("before a colon there must be sub, org or client")


def covering(key: Key) -> Iterator[Key]:
    """The keys of all matches that mean at least the same people."""
    yield key
    if key.kind == "address":
        yield Key("domain", key.fact.partition("@")[2])
    yield EVERYBODY


@lru_cache(maxsize=MAX_SUBJECTS)
def keys_of(subject: Subject) -> tuple[Key, ...]:
    """The keys of all matches that mean the subject.

    Letters of an e-mail address count in either case, but only those of ASCII: others may become one letter (K and
    the sign for kelvin), and so let in somebody else. Everything else is compared as it stands.
    """
    keys = [EVERYBODY, Key("sub", subject.sub), *(Key("org", org) for org in subject.orgs)]
    keys.append(
        Key("client", subject.client) if subject.is_machine else Key("username", subject.username)
    )
    if ADDRESS.fullmatch(subject.email):
        address = subject.email.translate(_LOWER)
        keys += [Key("address", address), Key("domain", address.partition("@")[2])]
    return tuple(keys)
