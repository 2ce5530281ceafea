"""Opaque access tokens: the authorization server is asked what each one is (RFC 7662), as seldom as possible.

Good answers are remembered for a while, bad ones for a moment, and all who show the same token at the same time share
one question. An authorization server that does not answer as it should makes nobody's token bad: its trouble is told in
the log, and the client comes again.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import trio

from gatehouse.errors import without_message
from gatehouse.http.address import address_group
from gatehouse.http.asked import AskError
from gatehouse.identity.at_once import AtOnce
from gatehouse.identity.clock import clock
from gatehouse.identity.jwt import MAX_TIME, MAX_TOKEN_BYTES, Bad, Verified
from gatehouse.identity.jwt_uses import NOT_FOR_ACCESS
from gatehouse.identity.kinds import NEVER_OAUTH, is_jwt
from gatehouse.identity.remembered import Remembered
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.http.asked import Ask
    from gatehouse.identity.jwt import Rules

logger = logger_of("gate.identity")

MAX_ANSWER_BYTES = MAX_TOKEN_BYTES
"""How large an answer may be, since good ones are kept: as large as a token that holds the same claims."""

MAX_GOOD, MAX_BAD = 4096, 256
"""How many answers of each kind are remembered. Somebody who guesses tokens drives out only other bad ones."""

BAD_SECONDS = 5.0
"""How long a bad token is remembered: a client that repeats itself costs nothing, and nobody waits for a new token."""

MAX_AT_ONCE, MAX_AT_ONCE_OF_ONE = 16, 4
"""How many questions may be under way: in all, and for the clients of one address."""

MAX_WAIT_SECONDS = 2.0
"""How long a question waits until it may be asked."""

RETRY_SECONDS = 5
"""When a client should come again while the server cannot be asked."""

TELL_SECONDS = 60.0
"""How long after a trouble was told none is told again, though the server has answered in between."""

BOUND = frozenset({"dpop", "pop", "mac"})
"""Types of tokens that are good only together with a key, which nobody has shown here (RFC 9449 section 7.1)."""

REFUSALS = {
    400: "it answers 400: are AUTH_CLIENT_ID and AUTH_CLIENT_SECRET right?",
    401: "it refuses AUTH_CLIENT_ID and AUTH_CLIENT_SECRET",
    403: "it does not let AUTH_CLIENT_ID ask about tokens",
    404: "it answers 404: is AUTH_INTROSPECTION_URL right?",
    405: "it answers 405: is AUTH_INTROSPECTION_URL right?",
    429: "it is asked too often for its liking: raise its limit, or AUTH_INTROSPECTION_SECONDS",
}

_B64TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1

UNAVAILABLE = Bad("introspection-unavailable", counts=False, retry_after=RETRY_SECONDS)


class Introspection:
    """Verifies opaque tokens by asking `url`, as the client `client_id` with its secret.

    A good answer counts for `seconds`, unless the token expires before.
    """

    def __init__(
        self,
        ask: Ask,
        rules: Rules,
        *,
        url: str,
        client_id: str,
        client_secret: str,
        seconds: float,
    ) -> None:
        self._ask = ask
        self._rules = rules
        self._url = url
        self._fields = [(b"Authorization", basic(client_id, client_secret))]
        self._seconds = seconds
        self._good: Remembered[Verified] = Remembered(MAX_GOOD)
        self._bad: Remembered[Bad] = Remembered(MAX_BAD)
        self._questions: dict[bytes, Question] = {}
        self._room = AtOnce(MAX_AT_ONCE, MAX_AT_ONCE_OF_ONE)
        self._trouble = Trouble()

    async def verify(self, token: bytes, client: str) -> Verified | Bad:
        """Judge a token that the client at this address shows."""
        if len(token) > MAX_TOKEN_BYTES:
            return bad("too-large")
        digest = sha256(token).digest()
        if (known := self._known(digest)) is not None:
            return known
        if not _B64TOKEN.fullmatch(token) or token.startswith(NEVER_OAUTH) or is_jwt(token):
            return bad("malformed")
        if digest not in self._questions:
            group = address_group(client)
            if not await self._room.enter(group, MAX_WAIT_SECONDS):
                return UNAVAILABLE
            if (known := self._known(digest)) is not None or digest in self._questions:
                self._room.leave(group)  # somebody else has asked meanwhile
            else:
                self._questions[digest] = Question()
                # A task of its own: a client that goes does not take the answer from the others.
                trio.lowlevel.spawn_system_task(self._settle, digest, token, group)
        if known is not None:
            return known
        question = self._questions[digest]
        await question.over.wait()
        return question.answer

    def holds(self, digest: bytes) -> bool:
        """False if the server's last word on the token with this SHA-256 digest was that it is no good."""
        return not self._bad.knew(digest)

    def good_until(self, digest: bytes) -> float:
        """The Unix time until which a good answer about that token counts; before now if there is none."""
        return clock() + self._good.seconds_left(digest)

    def _known(self, digest: bytes) -> Verified | Bad | None:
        return self._good.get(digest) or self._bad.get(digest)

    async def _settle(self, digest: bytes, token: bytes, group: str) -> None:
        """Ask about the token, and tell all who wait."""
        question = self._questions[digest]
        try:
            question.answer = self._judged(digest, await self._asked(token))
            self._trouble.end()
        except AskError as error:
            self._trouble.begin(error.words)
        except Exception as error:  # noqa: BLE001 - an error in a system task ends the program
            self._trouble.begin(without_message(error))
        finally:
            del self._questions[digest]
            self._room.leave(group)
            question.over.set()

    async def _asked(self, token: bytes) -> Mapping[str, Any]:
        """The server's answer. Raises AskError if it is none."""
        form = {"token": token.decode("ascii"), "token_type_hint": "access_token"}
        asked = await self._ask.post_form(self._url, form, self._fields)
        if asked.status != 200:
            raise AskError(REFUSALS.get(asked.status, f"it answers {asked.status}"))
        if "active" not in asked.document:
            raise AskError("its answer does not say «active»: is AUTH_INTROSPECTION_URL right?")
        if len(json.dumps(asked.document)) > MAX_ANSWER_BYTES:
            raise AskError(f"its answer is larger than {MAX_ANSWER_BYTES // 1024} KiB")
        return asked.document

    def _judged(self, digest: bytes, told: Mapping[str, Any]) -> Verified | Bad:
        """Whether the token is good here, and remember that."""
        now = clock()
        claims = claims_in(told, self._rules.issuer)
        reason = fault_in(claims, self._rules, now) if told["active"] is True else "inactive"
        if not reason:
            good = Verified(claims, "")
            self._bad.forget(digest)
            self._good.put(digest, good, min(self._seconds, claims.get("exp", math.inf) - now))
            return good
        # The server does not say whether an inactive token ever was one. Here it may be known.
        answer = bad(reason, counts=reason != "expired" and not self._good.knew(digest))
        self._bad.put(digest, answer, BAD_SECONDS)
        return answer


class Question:
    """A question under way."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.answer: Verified | Bad = UNAVAILABLE


class Trouble:
    """Tells the log that the server cannot be asked: once until it can, and once in TELL_SECONDS."""

    def __init__(self) -> None:
        self._lasts = self._is_told = False
        self._told_at = -math.inf

    def begin(self, words: str) -> None:
        """There is no answer."""
        now = trio.current_time()
        if not self._lasts and now - self._told_at >= TELL_SECONDS:
            self._is_told, self._told_at = True, now
            logger.error(
                "the authorization server cannot be asked about tokens, which get 503 until it can: %s",
                words,
            )
        self._lasts = True

    def end(self) -> None:
        """There is one again."""
        if self._is_told:
            logger.info("the authorization server can be asked about tokens again")
        self._lasts = self._is_told = False


def basic(client_id: str, secret: str) -> bytes:
    """The Authorization field of a client: both parts form-encoded first (RFC 6749 section 2.3.1)."""
    return b"Basic " + b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode("ascii"))


def bad(reason: str, *, counts: bool = True) -> Bad:
    """A token that is no good."""
    return Bad(reason, counts=counts, retry_after=None)


def claims_in(told: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """The claims that the server tells of a token. Some servers say `null` of those that they do not tell.

    The issuer is ours if none is told, and `username` (RFC 7662 section 2.2) is what OpenID Connect calls
    `preferred_username`.
    """
    claims = {name: value for name, value in told.items() if value is not None and name != "active"}
    claims.setdefault("iss", issuer)
    if "username" in claims:
        claims.setdefault("preferred_username", claims["username"])
    return claims


def fault_in(claims: Mapping[str, Any], rules: Rules, now: float) -> str:
    """Why an active token is no good here, as one word; empty if it is good."""
    uses = {str(claims.get(name)).lower() for name in ("token_type", "token_use", "typ")}
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if not uses.isdisjoint(NOT_FOR_ACCESS | BOUND):
        return "type"
    if claims["iss"] != rules.issuer:
        return "issuer"
    if not any(isinstance(one, str) and one in rules.audiences for one in audiences):
        return "audience"
    if not any(is_name(claims.get(name)) for name in ("sub", "client_id")):
        return "subject"
    if not all(map(is_time, times.values())):
        return "malformed"
    if times.get("exp", math.inf) <= now - rules.leeway:
        return "expired"
    ahead = max(times.get("nbf", -math.inf), times.get("iat", -math.inf)) > now + rules.leeway
    return "not-yet" if ahead else ""


def is_name(value: object) -> bool:
    """True for a text that may name somebody."""
    return isinstance(value, str) and value != ""


def is_time(value: object) -> bool:
    """True for a NumericDate (RFC 7519 section 2) that makes sense."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value <= MAX_TIME
