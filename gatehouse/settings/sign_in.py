"""Settings of signing in: where people do it, and who of them may open the dashboard."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, SecretStr

from gatehouse.identity.matches import key_of
from gatehouse.settings.identity import IdentitySettings
from gatehouse.settings.identity_kinds import ClientId, ClientSecret, PeopleListed, listed
from gatehouse.settings.issuers import host_of, issuer
from gatehouse.settings.kinds import Token, stripped
from gatehouse.settings.lists import SCOPES_OF_FACTS, untold
from gatehouse.tokens.places import Place, default_place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

HUGGING_FACE = "huggingface"
"""The value of SIGN_IN that takes what Hugging Face gives to a Space."""

HUB = "https://huggingface.co"
"""Hugging Face's issuer, where a Space is told of no other."""

SCOPES = ("openid", "profile", "email")
"""The scopes that any OpenID provider knows (OpenID Connect Core 1.0, sections 3.1.2.1 and 5.4)."""

_HUB_AS_URL = re.compile(r"(?i)https?://(?:www\.)?(?:huggingface\.co|hf\.co)/?")
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _sign_in(value: Any) -> Any:
    """HUGGING_FACE, or an issuer byte for byte; None for off."""
    text = stripped(value)
    if not isinstance(text, str) or not text:
        return text
    if text.lower() == "off":
        return None
    if re.sub("[ _-]", "", text.lower()) in {HUGGING_FACE, "hf"} or _HUB_AS_URL.fullmatch(text):
        return HUGGING_FACE
    if "://" not in text:
        raise ValueError(
            "must be huggingface, or the issuer of an OpenID provider, such as https://accounts.google.com; unset, nobody signs in"
        )
    return issuer(str(value))


SignIn = Annotated[str | None, BeforeValidator(_sign_in)]
Given = Annotated[str, BeforeValidator(stripped)]


class SignInSettings(IdentitySettings):
    """The provider where people sign in, and the people who may open the dashboard."""

    sign_in: SignIn = None
    """The place where people sign in: huggingface (in a Space with hf_oauth: true), or the issuer of an OpenID provider."""

    sign_in_client_id: ClientId = None
    """The client id of the gate at the provider."""

    sign_in_client_secret: ClientSecret = None
    """The secret of SIGN_IN_CLIENT_ID."""

    sign_in_secret: Token = None
    """The secret from which the keys of browsers' sessions are made: 32 or more random visible ASCII characters.
    Unset: the client's secret."""

    admins: PeopleListed = ()
    """The people who may open the dashboard, separated by commas, in the words of PEOPLE."""

    # Set by Hugging Face in a Space, not by the user. They count only with SIGN_IN=huggingface: a hosted server may
    # have a sign-in of its own.
    space_creator_user_id: Given = ""
    oauth_client_id: Given = ""
    oauth_client_secret: SecretStr | None = None
    oauth_scopes: Given = ""
    openid_provider_url: Given = ""

    @property
    def at_hugging_face(self) -> bool:
        """True if people sign in at Hugging Face."""
        return self.sign_in == HUGGING_FACE

    @property
    def has_dashboard(self) -> bool:
        """True if somebody may open the dashboard, and has a way to say who they are."""
        ways = self.sign_in is not None or self.front is not None
        return ways and bool(self.admins_in_force)

    @property
    def creator(self) -> tuple[str, ...]:
        """The one who made the Space, if people sign in at Hugging Face; nobody elsewhere."""
        user_id = self.space_creator_user_id
        known = self.in_space and self.at_hugging_face and _USER_ID.fullmatch(user_id)
        return (f"sub:{user_id}",) if known else ()

    @property
    def admins_in_force(self) -> tuple[str, ...]:
        """The people who may open the dashboard, in the words of `identity/matches.py`."""
        return self.admins or self.creator

    @property
    def people_who_sign_in(self) -> tuple[str, ...]:
        """The people who may sign in beside the admins and those of the tokens file. None: only these."""
        return self.people or self.creator

    @property
    def uses_client_of_space(self) -> bool:
        """True if the gate is the client that Hugging Face has made for the Space."""
        own = self.sign_in_client_id or self.sign_in_client_secret
        return self.in_space and self.at_hugging_face and not own

    @property
    def sign_in_issuer(self) -> str:
        """The issuer of the provider, byte for byte; empty if nobody signs in."""
        if not self.at_hugging_face:
            return self.sign_in or ""
        return (self.openid_provider_url if self.in_space else "") or HUB

    @property
    def sign_in_client(self) -> tuple[str, str]:
        """The gate's id and secret at the provider; empty if nobody signs in."""
        name, secret = self.sign_in_client_id or "", self.sign_in_client_secret
        if self.uses_client_of_space:
            name, secret = self.oauth_client_id, self.oauth_client_secret
        return name, secret.get_secret_value() if secret else ""

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        """The scopes that the gate asks for, as far as the settings list people."""
        return self.scopes_for(())

    def scopes_for(self, matches: Iterable[str]) -> tuple[str, ...]:
        """The same where the tokens file lists these people, too: of Hugging Face only those by which somebody is known."""
        if not self.at_hugging_face:
            return SCOPES if self.sign_in else ()
        found = dict.fromkeys(("openid", "profile"))
        for match in (*self.admins_in_force, *self.people_who_sign_in, *matches):
            scope = SCOPES_OF_FACTS.get(key_of(match).kind)
            if scope and self.may_ask_for(scope):
                found[scope] = None
        return tuple(found)

    def may_ask_for(self, scope: str) -> bool:
        """True if Hugging Face lets the gate ask for that scope. Of a client of one's own only Hugging Face knows."""
        return not self.uses_client_of_space or scope in listed(self.oauth_scopes)

    @property
    def sign_in_at(self) -> str:
        """The name of the provider for people; empty if nobody signs in."""
        return "Hugging Face" if self.at_hugging_face else host_of(self.sign_in or "")

    @property
    def behind_front(self) -> bool:
        """True if every request to the dashboard passes the front."""
        return self.front is not None and (self.front_required or self.sign_in is None)

    @property
    def dashboard_origin(self) -> str:
        """The origin at which the dashboard is; empty if that is not known.

        Hugging Face sends people back only to the Space's own host, not to a custom domain.
        """
        if self.uses_client_of_space and self.space_host and not self.behind_front:
            return f"https://{self.space_host[0]}"
        local = "" if self.exposed else self.local_endpoint.removesuffix("/mcp")
        return self.public_origin or local

    @property
    def sign_in_key_material(self) -> bytes | None:
        """The secret from which the keys of sessions are made; None if there is none, and keys are new at each start."""
        if self.sign_in_secret is not None:
            return self.sign_in_secret.get_secret_value().encode("ascii")
        return self.sign_in_client[1].encode() or None

    @property
    def others_sign(self) -> bool:
        """True if somebody else than an authorization server signs what lets people in."""
        return super().others_sign or self.sign_in is not None

    @cached_property
    def tokens_place(self) -> Place | None:
        """The place of the tokens file that the dashboard makes; None if TOKENS_FILE names one, or nobody makes any.

        Decided once: no folder is looked at again while the gate runs.
        """
        if self.tokens_file is not None or not self.has_dashboard:
            return None
        home = Path(os.path.expanduser("~"))  # noqa: PTH111 - never fails
        state = self.state_db.absolute().parent if self.state_db else home
        return default_place(state, in_space=self.in_space)

    @property
    def tokens_at(self) -> Path | None:
        """The file with named tokens, there or still to be made; None if there can be no named tokens."""
        return self.tokens_place.path if self.tokens_place else self.tokens_file

    @property
    def untold(self) -> Collection[str]:
        """The kinds of facts about people that no way in tells, so that nobody can be listed by them."""
        return untold(self, dashboard=False).keys()
