"""The order of the checks. A new check is a function in one of the modules, and an item of a table here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import trio

from gatehouse.doctor import arrival, bodies, browsers, entry, sessions, sign_in, streams
from gatehouse.doctor.client import NoAnswerError
from gatehouse.doctor.finding import Finding, Level, found, worst

if TYPE_CHECKING:
    from gatehouse.doctor.visit import Visit

Check: TypeAlias = "Callable[[Visit], Awaitable[list[Finding]]]"
Progress: TypeAlias = Callable[[str, bool], None]
"""Is told the name of a check as it begins (False) and ends (True)."""

FOR_ANYBODY: tuple[Check, ...] = (
    entry.discovery,
    sign_in.sign_in,
    entry.url_key,
    browsers.preflight,
)
"""These say something even where the URL is not an endpoint's."""

AT_THE_DOOR: tuple[Check, ...] = (entry.no_token, entry.wrong_token)
"""These need an endpoint, though it may let nobody in."""

FOR_GUESTS: tuple[Check, ...] = (
    entry.spellings,
    browsers.origin,
    browsers.host,
    bodies.body_limit,
    bodies.echo,
)
"""These need an endpoint that speaks MCP."""

OF_SESSIONS: tuple[Check, ...] = (
    sessions.unknown_session,
    sessions.delete,
    sessions.session_of_another,
    streams.cancel,
)
"""These need one that takes initialize."""

CHECK_SECONDS = 60
"""The most that one check takes, whatever the server does. The idle stream has its own time on top."""


def name_of(check: Check) -> str:
    """A check's name as it is shown."""
    return str(getattr(check, "__name__", check)).replace("_", " ")


async def examine(
    visit: Visit, progress: Progress, tell: Callable[[list[Finding]], object] | None = None
) -> list[Finding]:
    """All findings, in the order of the checks. `tell` gets those of each check as soon as it is done."""
    findings = await perform(arrival.way, visit, progress, tell)
    if worst(findings) == Level.ERROR:
        return findings
    arrived = await perform(arrival.protocol, visit, progress, tell)
    words = {finding.word for finding in arrived}
    if words & {"rate-limited", "no-answer", "redirect", "front-first"}:
        return [*findings, *arrived]
    checks = chosen(visit, words)
    results: dict[Check, list[Finding]] = {}

    async def keep(check: Check) -> None:
        results[check] = await perform(check, visit, progress, tell)

    async with trio.open_nursery() as nursery:
        for check in checks:
            nursery.start_soon(keep, check)
    return [*findings, *arrived, *(each for check in checks for each in results[check])]


def chosen(visit: Visit, words: set[str]) -> list[Check]:
    """The checks that say something about a server of which the introduction has found these words."""
    checks = list(FOR_ANYBODY)
    if visit.legacy or visit.modern or words & {"token-needed", "sign-in-needed", "token-refused"}:
        checks += AT_THE_DOOR
    if visit.legacy or visit.modern:
        checks += FOR_GUESTS
    if visit.legacy:
        checks += OF_SESSIONS
        checks += [streams.idle_stream] * bool(visit.idle_seconds)
    return checks


async def perform(
    check: Check,
    visit: Visit,
    progress: Progress,
    tell: Callable[[list[Finding]], object] | None = None,
) -> list[Finding]:
    """The findings of one check; one that fails is a finding, too."""
    name = name_of(check)
    progress(name, False)
    try:
        with trio.fail_after(CHECK_SECONDS + visit.idle_seconds):
            findings = await check(visit)
    except NoAnswerError as error:
        findings = [found("no-answer", str(error))]
    except trio.TooSlowError:
        findings = [found("no-answer", "it took too long")]
    except Exception as error:  # noqa: BLE001 - the server may have sent anything
        findings = [
            found(
                "check-failed",
                f"an answer that the doctor does not understand ({type(error).__name__})",
            )
        ]
    progress(name, True)
    findings = [replace(finding, check=name) for finding in findings]
    if tell is not None:
        tell(findings)
    return findings
