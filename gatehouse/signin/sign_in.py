"""Signing in: from the link in the dashboard to the provider, and back with a person.

A sign-in belongs to the browser that began it, which keeps what is needed for its end in a sealed cookie. A browser
has one at a time: of two tabs the later one counts. Whatever ends it, well or not, ends it for good.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.http.address import address_group
from gatehouse.http.paths import RESUME
from gatehouse.identity.at_once import AtOnce
from gatehouse.identity.clock import clock as unix_time
from gatehouse.identity.remembered import Remembered
from gatehouse.signin.callback import AWAY, DENIALS, read_answer
from gatehouse.signin.provider import WORDS, ProviderError, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.http.request import Request
    from gatehouse.identity.subject import Subject
    from gatehouse.signin.callback import ProviderAnswer
    from gatehouse.signin.cookies import Jar
    from gatehouse.signin.provider import Provider
    from gatehouse.signin.sealing import Sealer

HOME = "/dashboard"
CALLBACK = f"{HOME}/callback"

LOGIN_SECONDS = 600.0
"""How long a sign-in may take: somebody may have to find a second factor first."""

MAX_AT_ONCE, MAX_AT_ONCE_OF_ONE = 16, 4
"""For how many people the provider is asked at a time: in all, and for those of one address."""

MAX_WAIT_SECONDS = 5.0
"""How long one of them waits for that."""

MAX_USED = 4096
"""How many sign-ins that are over are remembered. The provider, too, takes a code only once."""

MAX_PATH_LENGTH = 512
"""How long a return path may be: it has to fit into the cookie."""

_OWN_PATH = re.compile(
    rf"{HOME}(?P<below>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)"
    r"(?:\?(?:[A-Za-z0-9._~=&+-]|%(?!2[Ff]|5[Cc]|7[Ff])[2-9A-Fa-f][0-9A-Fa-f])*)?"
)
_NO_WAY_BACK = ("/sign-in", "/callback", "/assets")
"""Pages below HOME to which nobody returns: they lead to a sign-in again, or are none."""

_HELP = "Sign in again."
REASONS = {
    "callback": f"This is no answer of the provider where people sign in. {_HELP}",
    "no-login": "This sign-in was not begun in this browser, or more than ten minutes ago, or it is over. If you are "
    "signed in, go on; if not, sign in again, and keep cookies allowed.",
    "state": f"This answer of the provider is for another sign-in than the one that this browser began last. {_HELP}",
    "used": f"This sign-in is over, and cannot be used again. {_HELP}",
    "issuer": f"Another provider has answered than the one where people sign in. {_HELP}",
    "denied": "You are not signed in, since the provider was told no. Sign in again, and say yes.",
    "provider-error": "The provider did not sign you in, and gave a reason that this gate cannot help with. Sign in "
    "again; if that is of no help, the log of the gate says more to whoever runs it.",
    "busy": "Many people are signing in at this moment. Wait a minute, and sign in again.",
}
"""For the person, by the reason. Those of `provider.WORDS` are others."""


class Begun(NamedTuple):
    """A sign-in that has begun: where the browser goes, and the Set-Cookie field that goes with it."""

    location: str
    cookie: tuple[bytes, bytes]


class Finished(NamedTuple):
    """A person has signed in, and may come in or not. `to` is a path of the gate's own.

    `cookies` are the Set-Cookie fields that go with the answer: they end the sign-in.
    """

    subject: Subject
    to: str
    cookies: tuple[tuple[bytes, bytes], ...]


class SignInFailedError(Exception):
    """Nobody has signed in. `words` tell the person what to do, and `reason` is one word for records.

    `cookies` are the Set-Cookie fields that go with the answer. There are none if this browser's own sign-in has not
    ended: else any page could end one, or a session, by a link. `to` is where it would have led.
    """

    def __init__(
        self,
        words: str,
        reason: str,
        cookies: tuple[tuple[bytes, bytes], ...] = (),
        to: str = HOME,
    ) -> None:
        super().__init__(words)
        self.words = words
        self.reason = reason
        self.cookies = cookies
        self.to = to


class _Login(NamedTuple):
    """A sign-in under way, as the cookie keeps it."""

    state: str
    nonce: str
    verifier: str
    to: str

    def __repr__(self) -> str:
        """No secret."""
        return "<a sign-in>"


class SignIn:
    """People sign in at the provider, and come back to CALLBACK below `origin`, the dashboard's own."""

    def __init__(
        self,
        provider: Provider,
        sealer: Sealer,
        jar: Jar,
        *,
        origin: str,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._provider = provider
        self._sealer = sealer
        self._jar = jar
        self._redirect_uri = origin + CALLBACK
        self._clock = clock
        self._room = AtOnce(MAX_AT_ONCE, MAX_AT_ONCE_OF_ONE)
        self._used: Remembered[bool] = Remembered(MAX_USED)

    async def begin(self, to: str) -> Begun:
        """Begin a sign-in that leads back to `to`, if that is an `own_path`. Raises SignInFailedError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        login = _Login(state, nonce, verifier, own_path(to))
        challenge = urlsafe_b64encode(sha256(login.verifier.encode()).digest()).rstrip(b"=")
        try:
            location = await self._provider.authorization_url(
                redirect_uri=self._redirect_uri,
                state=login.state,
                nonce=login.nonce,
                challenge=challenge.decode(),
            )
        except ProviderError as error:
            raise SignInFailedError(error.words, error.reason, to=login.to) from None
        sealed = self._sealer.seal(login._asdict(), self._clock() + LOGIN_SECONDS)
        return Begun(location, self._jar.write("login", sealed, LOGIN_SECONDS))

    async def finish(self, request: Request) -> Finished:
        """The person whom the provider sends back with this request. Raises SignInFailedError, in bounded time."""
        answer = read_answer(request.query)
        if answer is None:
            raise _failed("callback")
        login = self._login(request)
        if login is None:
            raise _failed("no-login")
        if not hmac.compare_digest(login.state.encode(), answer.state.encode()):
            raise _failed("state")
        end = (self._jar.delete("login"),)
        if not self._is_first_use(login):
            raise _failed("used", end, login.to)
        try:
            subject = await self._subject(answer, login, address_group(request.client))
        except (ProviderError, SignInFailedError) as error:
            cookies = (*end, self._jar.delete("session"))  # nobody goes on as somebody else
            raise SignInFailedError(error.words, error.reason, cookies, login.to) from None
        return Finished(subject, login.to, end)

    def _login(self, request: Request) -> _Login | None:
        """The sign-in that this browser began last, if it is not over."""
        sealed = self._jar.read(request, "login")
        content = self._sealer.open(sealed) if sealed else None
        if content is None or content.keys() != {*_Login._fields}:
            return None
        return _Login(**content)

    def _is_first_use(self, login: _Login) -> bool:
        """True once for each sign-in."""
        digest = sha256(login.state.encode()).digest()
        if self._used.get(digest):
            return False
        self._used.put(digest, True, LOGIN_SECONDS)
        return True

    async def _subject(self, answer: ProviderAnswer, login: _Login, group: str) -> Subject:
        """The person, by the provider's answer to this very sign-in. Raises SignInFailedError or ProviderError."""
        if not await self._provider.is_sender(answer.issuer):
            raise _failed("issuer")
        if answer.error:
            raise _failed(_reason_of(answer.error))
        if not await self._room.enter(group, MAX_WAIT_SECONDS):
            raise _failed("busy")
        try:
            return await self._provider.subject(
                code=answer.code,
                redirect_uri=self._redirect_uri,
                verifier=login.verifier,
                nonce=login.nonce,
            )
        finally:
            self._room.leave(group)


def own_path(text: str) -> str:
    """`text` if it is RESUME, where an app's request waits, or the path of a page of the dashboard, with a plain query
    or none; else HOME.

    No other host, no second way to read it, and no page that would lead to a sign-in again.
    """
    if text == RESUME.decode():
        return text
    path = _OWN_PATH.fullmatch(text) if len(text) <= MAX_PATH_LENGTH else None
    return text if path and not path["below"].startswith(_NO_WAY_BACK) else HOME


def _reason_of(error: str) -> str:
    """The reason for records behind an error of the provider's."""
    if error in DENIALS:
        return "denied"
    if error in AWAY:
        return "provider-away"
    logger.warning("a sign-in failed (provider-error): the provider says %s", error)
    return "provider-error"


def _failed(
    reason: str, cookies: tuple[tuple[bytes, bytes], ...] = (), to: str = HOME
) -> SignInFailedError:
    return SignInFailedError({**WORDS, **REASONS}[reason], reason, cookies, to)
