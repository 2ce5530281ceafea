"""The start: tokens, secrets, the log and the sockets come first, so that a fault in them is one clear line."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, unquote, urlsplit

from gatehouse.assembly.announce import Announcement
from gatehouse.assembly.house import House
from gatehouse.assembly.location import endpoint_at
from gatehouse.assembly.noted import noted_of
from gatehouse.assembly.pages import ways_in
from gatehouse.assembly.tokens import first_contents
from gatehouse.downstream.listeners import bind, inherited
from gatehouse.process import forks, fresh_start
from gatehouse.records import loggers
from gatehouse.records.log import configure_logging
from gatehouse.records.loggers import logger_of
from gatehouse.settings.env_file import read_env_file
from gatehouse.settings.environment import unquoted
from gatehouse.version import VERSION

if TYPE_CHECKING:
    from gatehouse.assembly.noted import Noted
    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.contents import Contents

logger = logger_of("gate")


def open_house(settings: Settings) -> tuple[House, Announcement]:
    """The parts of the program that `settings` describe, with open sockets, and what announces it.

    Raises TokensError or CannotListenError. A function of its own, because its variables hold secrets: a hosted
    server that reports an error with the variables of the whole stack (as Sentry's client does) finds none of them
    while the program runs.
    """
    given = settings.mcp_auth_token
    one_off = secrets.token_urlsafe(32) if settings.makes_token else None
    shared = given.get_secret_value() if given else one_off or ""
    contents = first_contents(settings, shared)
    secret = secrets.token_urlsafe(32)
    noted = noted_of(settings)
    hidden = [*secrets_of(settings), one_off or "", secret]
    configure_logging(hidden, json=settings.log_format == "json", level=settings.log_level)
    handed = inherited()
    listeners = handed or bind("PORT", settings.host, settings.port)
    house = House(
        settings,
        listeners,
        endpoint=endpoint_at(settings, handed),
        contents=contents,
        shared_token=shared,
        secret=secret,
        hidden=hidden,
        noted=noted,
    )
    side = house.upstream_side  # opens its socket now, if it has one
    if side.exposed.open:
        paths = ", ".join(map(str, side.exposed.open))
        as_gate = settings.upstream_authorization is not None
        more = "; the server takes each such request as the gate's own, by UPSTREAM_AUTHORIZATION"
        logger.warning(
            "EXPOSE_PATHS: open to everybody, without a token: %s%s", paths, more * as_gate
        )
    tell_sources(settings, contents, noted)
    forks.keep_sockets({end.getsockname()[1] for end in listeners} | {settings.upstream_port})
    announcement = Announcement(
        house.endpoint,
        settings.mcp_app if side.hosted else str(settings.upstream_at),
        one_off_token=one_off,
        names=[token.name for token in contents.tokens],
        url_keys=house.keyring.takes_url_keys,
        ways=ways_in(settings, house.endpoint),
        hosted=side.hosted is not None,
        as_json=settings.log_format == "json",
    )
    return house, announcement


def speak_json_if_asked() -> None:
    """Make lines of JSON of what is said about settings that cannot be used, if they ask for that."""
    if loggers.root.handlers:  # they could be used
        return
    given = [*read_env_file(Path(".env")).written.items(), *os.environ.items()]
    formats = [
        unquoted(value) for name, value in given if name.upper() == "LOG_FORMAT" and value.strip()
    ]
    if formats and formats[-1].strip().lower() == "json":
        configure_logging((), json=True)


def tell_sources(settings: Settings, contents: Contents, noted: Noted) -> None:
    """Tell the log the release, where settings come from, and what about it is probably not meant."""
    logger.info("gate %s starts: %s", VERSION, noted.sources)
    for note in noted.notes:
        logger.warning(note)
    if settings.tokens_at != settings.tokens_file:
        logger.info("TOKENS_FILE is not set: the dashboard keeps tokens in %s", settings.tokens_at)
    no_people = not settings.has_other_ways_in and settings.sign_in is None
    if contents.beside_tokens and no_people:
        logger.warning(
            "TOKENS_FILE: its scopes and people let nobody in, and keep nobody out: they are for access tokens "
            "(AUTH_ISSUER), fronts (FRONT) and people who sign in (SIGN_IN), and none of these is set"
        )
    if settings.believes_others and not settings.people and not contents.people:
        logger.info(
            "neither PEOPLE nor [[people]] in a tokens file lists anybody: everybody may come in to whom the issuer "
            "or the front gives a token for this gate"
        )


def secrets_of(settings: Settings) -> list[str]:
    """The secrets that no line of log may hold, and that the environment no longer holds."""
    of_space = fresh_start.SECRETS_OF_SPACE if settings.at_hugging_face else ()
    for name in fresh_start.secret_names((*fresh_start.SECRETS, *of_space)):
        del os.environ[name]
    url = settings.shared_state_url
    password = urlsplit(url.get_secret_value()).password if url else None
    tokens = (settings.mcp_auth_token, settings.metrics_token, settings.sign_in_secret)
    given = settings.upstream_authorization
    value = given.get_secret_value() if given else ""
    credentials = (
        value.partition(" ")[2] or value
    )  # the scheme is no secret, and stands in many a line
    known = [token.get_secret_value() for token in tokens if token]
    introspects = settings.auth_client_secret
    clients = [
        (settings.auth_client_id or "", introspects.get_secret_value() if introspects else ""),
        settings.sign_in_client,
    ]
    spelt = [spelling for client in clients for spelling in _spellings_of_client(*client)]
    return [*known, unquote(password or ""), credentials, *spelt]


def _spellings_of_client(name: str, secret: str) -> list[str]:
    """The client's secret, and as it is sent: form-encoded, with the client id, in base64 (RFC 6749 section 2.3.1)."""
    if not secret:
        return []
    pair = f"{quote_plus(name)}:{quote_plus(secret)}"
    return [secret, quote_plus(secret), base64.b64encode(pair.encode()).decode()]
