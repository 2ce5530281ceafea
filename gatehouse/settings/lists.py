"""The lists of people, PEOPLE and ADMINS, against the ways by which people come: each entry may mean somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.identity.matches import EVERYBODY, Key, key_of
from gatehouse.settings.identity_kinds import shown
from gatehouse.settings.issuers import is_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gatehouse.settings.sign_in import SignInSettings

MAIL_FOR_ALL = frozenset(
    {
        *("gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com"),
        *("yahoo.com", "ymail.com", "aol.com", "icloud.com", "me.com", "mac.com"),
        *("proton.me", "protonmail.com", "pm.me", "tuta.com", "tutanota.com", "fastmail.com"),
        *("gmx.com", "gmx.de", "gmx.net", "web.de", "mail.com", "mail.ru", "yandex.ru"),
        *("yandex.com", "zoho.com", "qq.com", "163.com", "126.com", "naver.com", "hey.com"),
    }
)
"""Domains of mail where anybody can have an address: `*@gmail.com` means everybody."""

SCOPES_OF_FACTS = {"address": "email", "domain": "email", "org": "read-memberships"}
"""The scopes at Hugging Face that let a Space know such facts; a person is asked for each. The others need none."""

OF_PEOPLE = {"people", "auth_issuer", "front", "sign_in"}
OF_ADMINS = {"admins", "front", "sign_in"}

_ONLY_ADDRESSES = (
    "the assertions of FRONT={} have e-mail addresses, but no user names or organisations; write alice@example.com, "
    "*@example.com or sub:..."
)
_NO_PROGRAMS = "only people sign in, and client:... means a program; name people"
_NO_SCOPE = (
    "Hugging Face tells such a fact only to a Space with the scope {}; add it to hf_oauth_scopes in the README.md of the Space "
    "and restart it, or write a user name or sub:..."
)


def untold_by_front(settings: SignInSettings) -> Mapping[str, str]:
    """The kinds of facts about people that the front does not tell, each with the reason."""
    if settings.front not in {"cloudflare", "iap"}:
        return {}
    return dict.fromkeys(("username", "org"), _ONLY_ADDRESSES.format(settings.front))


def untold_by_provider(settings: SignInSettings) -> Mapping[str, str]:
    """The kinds of facts about people that the provider of SIGN_IN does not tell, each with the reason."""
    found = {"client": _NO_PROGRAMS}
    for kind, scope in SCOPES_OF_FACTS.items() if settings.at_hugging_face else ():
        if not settings.may_ask_for(scope):
            found[kind] = _NO_SCOPE.format(scope)
    return found


def untold(settings: SignInSettings, *, dashboard: bool) -> Mapping[str, str]:
    """The kinds of facts that no way for people tells, each with a reason: to the dashboard, or to the gate at all."""
    ways: list[Mapping[str, str]] = []
    if settings.front is not None:
        programs = {"client": _NO_PROGRAMS} if dashboard else {}
        ways.append({**programs, **untold_by_front(settings)})
    if settings.auth_issuer is not None and not dashboard:
        ways.append({})
    if settings.sign_in is not None:
        ways.append(untold_by_provider(settings))
    *others, last = ways or [{}]
    return {kind: why for kind, why in last.items() if all(kind in each for each in others)}


def list_disagreements(settings: SignInSettings) -> Iterator[tuple[set[str], str]]:
    """Entries of PEOPLE and ADMINS by which nobody can come, or everybody: the settings' names, and a sentence."""
    lists = (("PEOPLE", settings.people, OF_PEOPLE), ("ADMINS", settings.admins, OF_ADMINS))
    for name, matches, names in lists:
        reasons = untold(settings, dashboard=name == "ADMINS")
        for match in matches:
            if reason := reasons.get(key_of(match).kind):
                yield names, f"{name}: {shown(match)} lets nobody in, since {reason}"
    if settings.people and not settings.has_other_ways_in and settings.sign_in is None:
        yield (
            OF_PEOPLE,
            (
                "PEOPLE: says who may come in as a person, but there is no way in for people: whoever has a token comes in. Set "
                "AUTH_ISSUER, FRONT or SIGN_IN, too, or take PEOPLE away"
            ),
        )
    yield from _everybody(settings)


def open_providers(settings: SignInSettings) -> list[str]:
    """The settings that name a place where people sign in and that anybody can join."""
    at_hub = settings.at_hugging_face
    found = ["SIGN_IN"] if at_hub or (settings.sign_in and is_open(settings.sign_in)) else []
    return found + (
        ["FRONT_ISSUER"] if settings.front_issuer and is_open(settings.front_issuer) else []
    )


def _everybody(settings: SignInSettings) -> Iterator[tuple[set[str], str]]:
    for match in settings.admins:
        key = key_of(match)
        if key == EVERYBODY and (where := open_providers(settings)):
            yield (
                {*OF_ADMINS, "front_issuer"},
                (
                    f"ADMINS: * lets everybody open the dashboard, since anybody can join {where[0]}; name people, such as "
                    "ADMINS=alice@example.com"
                ),
            )
        if is_mail_for_all(key):
            yield (
                {"admins"},
                (
                    f"ADMINS: {shown(match)} lets everybody open the dashboard, since anybody can have an address there; name people, "
                    f"such as ADMINS=alice@{key.fact}"
                ),
            )


def is_mail_for_all(key: Key) -> bool:
    """True if the key means everybody with an address at a domain where anybody can have one."""
    return key.kind == "domain" and key.fact in MAIL_FOR_ALL
