"""Remarks on where settings come from: nothing is wrong with their values, and yet somebody may have meant more.

The start writes them into the log; none holds a value.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse import advice
from gatehouse.http.challenges import NEVER_ASKED
from gatehouse.records.redact import PREFIX
from gatehouse.settings.env_file import EnvFile, read_env_file
from gatehouse.settings.environment import (
    BLANK_MEANS_NONE,
    KNOWN,
    Settings,
    injected_in,
    unread_env_file,
)
from gatehouse.settings.issuers import is_every_tenant
from gatehouse.settings.misspelt import MIN_LENGTH, meant, perhaps_meant
from gatehouse.settings.sign_in_notes import on_dashboard

MIN_DIFFERENT = 8
"""Of 32 random characters, even of hex digits only, fewer are different once in a million times."""

SHARED_AUDIENCES = {
    "account",
    "00000003-0000-0000-c000-000000000000",
    "https://graph.microsoft.com",
    "https://management.azure.com",
    "https://huggingface.co",
}
"""Audiences that many tokens have: of Keycloak, without a mapper of one's own, of Microsoft and of Hugging Face."""

if TYPE_CHECKING:
    from collections.abc import Iterator


def sources(file: EnvFile) -> str:
    """A sentence about the places that settings come from."""
    if file.exists:
        return f"settings come from the environment and {file.path}"
    return f"settings come from the environment; there is no {file.path}"


def notes(file: EnvFile, settings: Settings | None) -> Iterator[str]:
    """A sentence for each thing about the environment and `.env` that is probably not what was meant."""
    yield from unread_env_file(file)
    for place, name in injected_in(file, settings):
        yield (
            f"{place}: {name} switches nothing on in the gate; Hugging Face gives a Space that name, for signing people in "
            "at huggingface.co"
        )
    for name, lines in file.names.items():
        if name in KNOWN and len(lines) > 1:
            told = ", ".join(map(str, lines[:-1]))
            yield f"{name}: is more than once in {file.path} (line {told}, and {lines[-1]}); the last counts"
    given = {name.upper(): value for name, value in os.environ.items()}
    for name in sorted(BLANK_MEANS_NONE):
        wanted = file.names.keys() - file.empty
        if name.upper() in wanted and not given.get(name.upper(), "is not set").strip():
            yield (
                f"{name.upper()}: is empty in the environment, which means none; the value in {file.path} does "
                "not count. Unset the variable, and it will"
            )
    # The program's start takes secrets out of the environment.
    are_set = {name.upper() for name in settings.model_fields_set} if settings else given.keys()
    unset = KNOWN - are_set - (file.names.keys() - file.empty)
    for name in sorted(given):
        if len(name) >= MIN_LENGTH and (
            setting := meant(name, KNOWN) or perhaps_meant(name, unset)
        ):
            yield f"{name}: is in the environment, but is no setting; did you mean {setting}?"
    for name, lines in file.names.items():
        if not meant(name, KNOWN) and (setting := perhaps_meant(name, unset)):
            yield f"{file.path}, line {lines[-1]}: {name} is no setting of the gate; did you mean {setting}?"


def effects(settings: Settings) -> Iterator[str]:
    """A sentence for each setting that is weak, lacks another one, or has no effect beside the others."""
    fields = Settings.model_fields
    for name in ("mcp_auth_token", "metrics_token", "sign_in_secret"):
        given = getattr(settings, name)
        if given is not None and len({*given.get_secret_value()}) < MIN_DIFFERENT:
            yield (
                f"{name.upper()}: has few different characters, and can be guessed. Make one with: "
                f"{advice.make_secret()}"
            )
    yield from on_fronts(settings)
    yield from on_people(settings)
    yield from on_dashboard(settings)
    if not settings.in_process or settings.mcp_app != fields["mcp_app"].default:
        return
    for name in ("upstream_host", "upstream_port"):
        if getattr(settings, name) != fields[name].default:
            yield (
                f"{name.upper()}: has no effect, since the gate hosts MCP_APP={settings.mcp_app} in its own process; "
                "if your server runs elsewhere, set MCP_APP to nothing (MCP_APP=)"
            )


def on_fronts(settings: Settings) -> Iterator[str]:
    """A sentence about each front that the gate has been told too little of."""
    behind_a_front = (settings.public_url or "").startswith("https:") and not settings.in_space
    tells_addresses = settings.front == "cloudflare" and settings.front_required
    if behind_a_front and settings.trusted_hops is None and not tells_addresses:
        yield (
            "PUBLIC_URL: is https, so a front stands before the gate, but TRUSTED_HOPS is not set: all clients "
            "seem to have the front's address, and share the limit for bad tokens. TRUSTED_HOPS=1 is right for "
            "one front that sets X-Forwarded-For; 0 says that there is none"
        )
    if settings.front is not None and settings.front_required and settings.public_url is None:
        yield (
            "PUBLIC_URL: is not set, so that the start page and snippets show an address past the front, where FRONT_REQUIRED "
            "lets nobody in; set it to the URL by which clients call the front"
        )


def on_people(settings: Settings) -> Iterator[str]:
    """A sentence about each way in for people that does not do what it seems to."""
    if settings.auth_issuer is not None and not settings.shows_discovery:
        yield (
            "AUTH_ISSUER: clients are not told of it, since FRONT_REQUIRED has them sign in at the front; set "
            "FRONT_REQUIRED=false if they may come past the front"
        )
    if settings.auth_issuer is not None and is_every_tenant(settings.auth_issuer):
        yield (
            "AUTH_ISSUER: stands for all tenants, but each token names its own, and none will be good; write your tenant's id in its place"
        )
    token = settings.mcp_auth_token
    is_ours = token is None or token.get_secret_value().startswith(PREFIX)
    if settings.auth_introspection_url is not None and not is_ours:
        yield (
            f"MCP_AUTH_TOKEN: does not begin with {PREFIX}, so that a client's slip in it is taken for an access token, and the "
            f"authorization server is asked about it; put {PREFIX} before it, here and in the clients"
        )
    for name in settings.open_issuers:
        if "*" in settings.people:
            yield f"PEOPLE: has *, and anybody can join {name}, so that everybody may come in"
    for audience in settings.auth_audience:
        if audience in SHARED_AUDIENCES or audience == settings.auth_issuer:
            yield (
                f"AUTH_AUDIENCE: {audience} is the audience of tokens for other services, too, each of which could use its "
                "callers' tokens here; have the authorization server make tokens for the gate alone"
            )
    if NEVER_ASKED in settings.auth_scopes:
        yield (
            f"AUTH_SCOPES: {NEVER_ASKED} has no effect: it asks for a refresh token, which is between the client and the "
            "authorization server; take it away"
        )
    if "openid" in settings.auth_scopes:
        yield (
            "AUTH_SCOPES: openid asks for an ID token, which is never good here, and an access token without that scope "
            "gets 403; take it away unless clients sign in only with it"
        )


def read_notes(settings: Settings | None = None) -> tuple[str, list[str]]:
    """Where settings come from, and the notes about it; `settings` are what came of them, if they could be used."""
    file = read_env_file(Path(".env"))
    return sources(file), [*notes(file, settings), *(effects(settings) if settings else ())]
