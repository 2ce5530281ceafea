"""Faults that a person can mend, and errors as text for the log.

The text is made in bounded time: foreign code may raise thousands of errors at once, or megabytes.
"""

from __future__ import annotations

import errno
import socket
import ssl
import traceback

MAX_FRAMES = 40
"""How many frames of an error are told, the last ones: a line for each takes 30 µs."""

MAX_ERRORS = 16
"""How many errors, with causes and members of groups, are told as Python does. Thousands would take seconds."""

MAX_TEXT = 65_536
"""How many characters the text of each of them may have."""

SHORT_ERRORS, SHORT_FRAMES, SHORT_LINES, SHORT_TEXT = 4, 5, 3, 4096
"""Of anything larger, this many errors are told, the last and its causes, each with the last frames of its
traceback and the first lines and characters of its text: as much as an entry of the log may hold."""

# Python's own attributes: a class may have others of the same name, which raise when they are read.
type_name = type.__dict__["__name__"].__get__
exceptions_in = BaseExceptionGroup.__dict__["exceptions"].__get__
traceback_of = BaseException.__dict__["__traceback__"].__get__


class FaultsError(Exception):
    """The program cannot run as it is set up. `faults` has a sentence for each fault, and says what to do."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


def tells_of_a_client_that_left(kind: type) -> bool:
    """True for the class of errors that Starlette raises if a client leaves in the middle of its body.

    The gate's own line about the request is enough: no client may fill the log with tracebacks.
    """
    return bool(type_name(kind) == "ClientDisconnect")


def told(error: BaseException) -> str:
    """The error as Python tells it; in short if that is too long, and only its class if nothing else works."""
    try:
        if _is_large(error):
            return _in_short(error)
        return "".join(traceback.format_exception(error, limit=-MAX_FRAMES)).rstrip("\n")
    except BaseException:  # noqa: BLE001 - whatever a foreign class raises when it is read
        return str(type_name(type(error)))


def without_message(error: BaseException) -> str:
    """An error as its type and the lines of code it came through, without its message.

    The message could repeat what a client sent; the rest is enough to find a fault.
    """
    error = sole_cause(error)
    frames = traceback.format_tb(traceback_of(error), limit=-MAX_FRAMES)
    return f"{type_name(type(error))}\n{''.join(frames)}".rstrip()


def sole_cause(error: BaseException) -> BaseException:
    """The error that a group of groups holds, if it holds just one; else the error, or the group, itself."""
    while isinstance(error, BaseExceptionGroup) and len(held := exceptions_in(error)) == 1:
        error = held[0]
    return error


def without_kind(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The error, or the part of its group, that is not of this kind; None if there is none."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kind)[1]
    return None if isinstance(error, kind) else error


def _is_large(error: BaseException) -> bool:
    """True if there are more than MAX_ERRORS errors in it, or one of them has more than MAX_TEXT."""
    waiting, seen = [error], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > MAX_ERRORS or len(text_of(one)) > MAX_TEXT:
            return True
        if (cause := _cause_of(one)) is not None:
            waiting.append(cause)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions[: MAX_ERRORS + 1]
    return False


def _in_short(error: BaseException) -> str:
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and len(chain) < SHORT_ERRORS:
        chain.append(one)
        one = _cause_of(one)
        if one is None and isinstance(chain[-1], BaseExceptionGroup):
            one = chain[-1].exceptions[0]
    return "\n\nwhich led to this (others are left out):\n\n".join(map(_briefly, reversed(chain)))


def _briefly(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-SHORT_FRAMES))
    text = text_of(error)
    lines = "\n".join(text[:SHORT_TEXT].splitlines()[:SHORT_LINES])
    more = f"... ({len(text) - len(lines)} more characters)" if len(text) > len(lines) else ""
    return f"Traceback (most recent call last):\n{frames}{type(error).__name__}: {lines}{more}"


def _cause_of(error: BaseException) -> BaseException | None:
    """The error that Python would tell before this one. One that `from None` hides stays hidden."""
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def text_of(error: BaseException) -> str:
    """The text of an error, its notes included."""
    try:
        return "\n".join([str(error), *map(str, getattr(error, "__notes__", None) or ())])
    except BaseException:  # noqa: BLE001 - whatever somebody else's code raises, as Python itself does here
        return "<no text>"


def connection_trouble(error: BaseException) -> str:
    """Why a connection to a server could not be opened, or broke, and what to look at; empty if that is not known.

    The words are our own: they hold no address, and nothing that the server has sent.
    """
    for kind, words in _TROUBLES.items():
        if isinstance(error, kind):
            return words
    number = error.errno if isinstance(error, OSError) else None
    return _TROUBLES_BY_NUMBER.get(number, "") if number else ""


# All of them are kinds of OSError; those of TLS and of names have numbers of their own.
_TROUBLES: dict[type[BaseException], str] = {
    socket.gaierror: "its name is not found: is the name right, and does DNS answer?",
    ssl.SSLCertVerificationError: "nobody whom this machine trusts has signed its certificate, or it is for another name",
    ssl.SSLError: "it does not speak TLS, or not as this machine wants it",
    ConnectionRefusedError: "nobody listens there: is it running, and is the port right?",
    TimeoutError: "it did not answer in time: is it overloaded, or does a firewall keep it from us?",
    ConnectionError: "the connection broke",
}
_TROUBLES_BY_NUMBER = {
    **dict.fromkeys(
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EINVAL),
        "no way leads there: is the address right, and the network up?",
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "no file descriptor is left"),
}
