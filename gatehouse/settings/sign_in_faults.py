"""The settings of signing in, judged together: half a group, a place where nobody can come back to, a weak secret."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gatehouse import advice
from gatehouse.http.address import is_loopback
from gatehouse.http.paths import DASHBOARD, folded, is_at_or_below
from gatehouse.policy.origins import Origins
from gatehouse.settings.identity_kinds import given
from gatehouse.settings.issuers import is_every_tenant, issuer
from gatehouse.settings.kinds import MIN_TOKEN_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gatehouse.settings.environment import Settings

    Faults = Iterator[tuple[set[str], str]]

CLIENT = ("sign_in_client_id", "sign_in_client_secret")

IN_README = "write hf_oauth: true into the README.md of the Space, and restart it"

OTHER_SECRETS = ("mcp_auth_token", "metrics_token", "auth_client_secret")
"""Secrets that others know: clients, whoever reads figures, and an authorization server."""


def sign_in_disagreements(settings: Settings) -> Faults:
    """Settings of signing in that do not go together: their names, and a sentence."""
    if settings.sign_in is None:
        yield from _without_sign_in(settings)
    else:
        yield from _client(settings)
        yield from _provider(settings)
        yield from _nobody(settings)
    yield from _secrets(settings)
    if settings.has_dashboard:
        yield from _origin(settings)
        yield from _paths(settings)


def _without_sign_in(settings: Settings) -> Faults:
    for name in given(settings, (*CLIENT, "sign_in_secret")):
        if name in CLIENT or not settings.has_dashboard:
            yield (
                {"sign_in", "admins", name},
                f"{name.upper()}: means nothing without SIGN_IN; set that, too, or take {name.upper()} away",
            )
    if settings.admins and settings.front is None:
        yield (
            {"sign_in", "admins", "front"},
            (
                "ADMINS: says who may open the dashboard, but nobody can say there who they are; set SIGN_IN (huggingface, or an "
                "issuer) or FRONT, too, or take ADMINS away"
            ),
        )


def _client(settings: Settings) -> Faults:
    names = {"sign_in", *CLIENT}
    if settings.uses_client_of_space:
        if not all(settings.sign_in_client):
            yield (
                names,
                (
                    f"SIGN_IN: huggingface needs the client that Hugging Face gives to a Space; {IN_README}"
                ),
            )
        return
    missing = [name for name in CLIENT if getattr(settings, name) is None]
    if settings.at_hugging_face and len(missing) == len(CLIENT):
        yield (
            names,
            (
                "SIGN_IN: huggingface gets a client only in a Space; elsewhere make an OAuth app at huggingface.co, in the settings "
                "of your account, and set SIGN_IN_CLIENT_ID and SIGN_IN_CLIENT_SECRET"
            ),
        )
        return
    what = {CLIENT[0]: "the id", CLIENT[1]: "the secret"}
    for name in missing:
        yield (
            names,
            (
                f"{name.upper()}: is missing, and SIGN_IN needs it: {what[name]} of the gate's client at the provider, whose "
                f"redirect is {settings.dashboard_origin or 'PUBLIC_URL'}/dashboard/callback"
            ),
        )


def _provider(settings: Settings) -> Faults:
    there = settings.sign_in_issuer
    if settings.at_hugging_face:
        try:
            issuer(there)
        except ValueError as error:
            yield {"sign_in"}, f"OPENID_PROVIDER_URL: {error}"
        return
    local = settings.local_endpoint.removesuffix("/mcp")
    here = {settings.public_origin, settings.public_endpoint, settings.dashboard_origin, local}
    here |= {f"https://{host}" for host in settings.space_host if settings.in_space}
    if there.lower().rstrip("/") in here:
        yield (
            {"sign_in", "public_url"},
            "SIGN_IN: is the gate itself, where nobody has an account; set the issuer of your OpenID provider",
        )
    if is_every_tenant(there):
        yield (
            {"sign_in"},
            (
                "SIGN_IN: stands for all tenants, but each ID token names its own, and none would be good; write your tenant's id "
                "in its place"
            ),
        )
    if settings.auth_issuer and settings.sign_in_client_id in settings.auth_audience:
        yield (
            {"auth_audience", "sign_in_client_id"},
            (
                "AUTH_AUDIENCE: has SIGN_IN_CLIENT_ID in it, which is the audience of ID tokens; these are no access tokens. Let the "
                f"authorization server make tokens for {settings.public_endpoint}"
            ),
        )


def _nobody(settings: Settings) -> Faults:
    if settings.admins_in_force:
        return
    why = "nobody could open the dashboard"
    if settings.in_space and settings.at_hugging_face:
        why = "this Space does not tell who made it (SPACE_CREATOR_USER_ID)"
    yield (
        {"sign_in", "admins"},
        f"ADMINS: is missing, and SIGN_IN needs it, since {why}; name somebody, such as ADMINS=alice@example.com",
    )


def _secrets(settings: Settings) -> Faults:
    def value_of(name: str) -> str:
        secret = getattr(settings, name)
        return secret.get_secret_value() if secret is not None else ""

    own, client = value_of("sign_in_secret"), settings.sign_in_client[1]
    for name in (*OTHER_SECRETS, "sign_in_client_secret", "oauth_client_secret"):
        if own and own == value_of(name):
            yield (
                {"sign_in_secret", name},
                (
                    f"SIGN_IN_SECRET: is the same as {name.upper()}, so that whoever knows that could make sessions. Make another one "
                    f"with: {advice.make_secret()}"
                ),
            )
    for name in OTHER_SECRETS[:2]:
        if client and not own and client == value_of(name):
            yield (
                {"sign_in_client_secret", name},
                f"{name.upper()}: is the same as the secret of the client at the provider; make another one",
            )
    if client and not own and len(client) < MIN_TOKEN_LENGTH:
        yield (
            {"sign_in_secret", "sign_in_client_secret"},
            (
                f"SIGN_IN_SECRET: is missing, and the client's secret is too short to take its place: it has fewer than {MIN_TOKEN_LENGTH} "
                f"characters. Make one with: {advice.make_secret()}"
            ),
        )


def _origin(settings: Settings) -> Faults:
    wants = "SIGN_IN needs it" if settings.sign_in else "ADMINS beside FRONT needs it"
    names = {"sign_in", "front", "admins", "public_url", "auth_issuer"}
    there = urlsplit(settings.dashboard_origin)
    of_front = settings.behind_front and settings.public_url is None
    if of_front or not settings.dashboard_origin:
        # An authorization server needs the same, and its fault says it.
        if settings.auth_issuer is None or settings.public_origin:
            yield (
                names,
                (
                    f"PUBLIC_URL: is missing, and {wants}: people reach the dashboard at that URL, such as https://gate.example.com, and "
                    "nothing is changed there from another one"
                ),
            )
        return
    if there.scheme == "http" and not is_loopback(there.hostname or ""):
        if settings.auth_issuer is None:
            yield (
                names,
                (
                    "PUBLIC_URL: must begin with https:// where there is a dashboard, since whoever is on the way could take over what "
                    "people do there; http:// is for this machine (127.0.0.1, localhost)"
                ),
            )
        return
    known = Origins(
        settings.hosts_allowed, (), loopback=settings.on_loopback, public=settings.public_origin
    )
    if not known.knows(there.netloc.encode("ascii")):
        yield (
            {*names, "allowed_hosts"},
            (
                f"ALLOWED_HOSTS: leaves out {there.hostname}, where the dashboard is; add it, or set PUBLIC_URL to the URL by which "
                "people reach it"
            ),
        )


def _paths(settings: Settings) -> Faults:
    own = folded(DASHBOARD)
    for exposed in settings.expose_paths:
        if is_at_or_below(folded(exposed.prefix or exposed.path), own):
            yield (
                {"expose_paths", "sign_in", "front", "admins"},
                (
                    f"EXPOSE_PATHS: {exposed} is the dashboard's; let the server answer at another path, or take SIGN_IN and ADMINS away, "
                    "and the dashboard with them"
                ),
            )
