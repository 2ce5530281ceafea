"""A stand-in for Hugging Face's sign-in, in the shape of its documents: endpoints, claims, organisations, tokens.

In a test it runs in threads (`hugging_face()`). As a program it is a little server with a page that asks the person:

    python -m tests.harness.identity.hugging_face --port 8000 [--person alice] [--algorithm EdDSA]

The client of the tests is CLIENT_ID with CLIENT_SECRET, which a Space gets as OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET;
its OPENID_PROVIDER_URL is the URL of this server, and alice, whose Space it is, has CREATOR as her id.
"""

from __future__ import annotations

import argparse
import signal
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from tests.harness.identity.openid_provider import OpenIDProvider, form_in
from tests.harness.identity.scripts import page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.identity.scripts import Asked, Script

CLIENT_ID = "8d5f2c1e-0b7a-4c36-9f41-6a2e7d90c3b8"
CLIENT_SECRET = "3f1c9a47-52e8-4d0b-b6a3-1e7f8c2d9054"

CREATOR = "64f1c3a2b7d9e0551a2b3c4d"
"""The id of alice, who made the Space: SPACE_CREATOR_USER_ID."""


def person(sub: str, username: str, name: str, *orgs: dict[str, Any]) -> dict[str, Any]:
    """The claims about a person, as `/oauth/userinfo` tells them."""
    return {
        "sub": sub,
        "name": name,
        "preferred_username": username,
        "profile": f"https://huggingface.co/{username}",
        "picture": f"https://cdn-avatars.huggingface.co/v1/production/uploads/{sub}/p.png",
        "isPro": False,
        "orgs": list(orgs),
        "email": f"{username}@example.com",
        "email_verified": True,
    }


def org(sub: str, username: str, name: str, role: str | None = None) -> dict[str, Any]:
    """An organisation of a person. The role is told of those only to which the person has let the app."""
    told: dict[str, Any] = {
        "sub": sub,
        "name": name,
        "preferred_username": username,
        "picture": "https://www.gravatar.com/avatar/0?d=retro&size=100",
        "isEnterprise": False,
    }
    return told if role is None else {**told, "roleInOrg": role}


KITCHEN, ONLOOKERS, FRIENDS = (f"65aa00112233445566778{n:03}" for n in (801, 802, 803))

PEOPLE: dict[str, Mapping[str, Any]] = {
    "alice": person(
        CREATOR,
        "alice",
        "Alice Liddell",
        org(KITCHEN, "kitchen", "The Kitchen", "admin"),
        org(ONLOOKERS, "onlookers", "kitchen", "read"),
        org(FRIENDS, "friends", "Friends"),
    ),
    "bob": person(
        "64f1c3a2b7d9e0551a2b3c4e",
        "bob",
        "Alice Liddell",  # anybody may call themselves so
        org(KITCHEN, "kitchen", "The Kitchen", "write"),
    ),
    "mallory": person(
        "64f1c3a2b7d9e0551a2b3c4f",
        "mallory",
        '<img src="//evil.example" onerror=alert(1)>',
        org("65aa00112233445566778899", "evil", "kitchen", "admin"),
    ),
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Authorize</title></head><body>
<h1>The gate of the tests wants to know who you are</h1>
<form method="post" action="{action}">
{hidden}
<p><label for="person">Signed in as</label> <select id="person" name="person">{people}</select></p>
<p><button name="decision" value="yes">Authorize</button> <button name="decision" value="no">Deny</button></p>
</form></body></html>
"""


class HuggingFace(OpenIDProvider):
    """The stand-in. With `asks`, people see a page and press a button; else the one who is chosen answers at once."""

    authorize, token_path = "/oauth/authorize", "/oauth/token"
    userinfo, keys_path = "/oauth/userinfo", "/oauth/jwks"
    access_prefix = "hf_oauth_"

    def __init__(self, port: int = 0, *, alg: str = "RS256", asks: bool = False) -> None:
        self.asks = asks
        super().__init__(port=port, alg=alg)
        self.client_id, self.client_secret = CLIENT_ID, CLIENT_SECRET
        self.people = dict(PEOPLE)
        self.takes = ["client_secret_basic"]
        self.id_claims = ("name", "preferred_username", "profile", "picture")

    @property
    def metadata(self) -> dict[str, Any]:
        """Its document: nothing is said of RFC 9207, and much of what the gate does not use."""
        mine = super().metadata
        del mine["authorization_response_iss_parameter_supported"]
        return {
            **mine,
            "device_authorization_endpoint": f"{self.url}/oauth/device",
            "registration_endpoint": f"{self.url}/oauth/register",
            "scopes_supported": ["openid", "profile", "email", "read-memberships", "read-billing"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "claims_supported": ["sub", "name", "preferred_username", "picture", "email", "orgs"],
        }

    def changed(self, what: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """The members as they are told: no `iss` stands in the answer to the browser."""
        told = {n: v for n, v in members.items() if (what, n) != ("answer", "iss")}
        return super().changed(what, told)

    def at_authorize(self, asked: Asked) -> Script:
        """The page that asks, and the answer of the person who has pressed one of its buttons."""
        if not self.asks:
            return super().at_authorize(asked)
        if asked.method == "POST":
            form = form_in(asked.body.decode())
            who = form.get("person", self.person)
            return self.wrong(form) or self.decided(form, who, denies=form["decision"] == "no")
        query = form_in(asked.query)
        return self.wrong(query) or page(self._page(query))

    def _page(self, query: Mapping[str, str]) -> str:
        first = sorted(self.people, key=lambda name: name != self.person)
        return PAGE.format(
            action=self.authorize,
            hidden="\n".join(
                f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
                for name, value in query.items()
            ),
            people="".join(f"<option>{escape(name)}</option>" for name in first),
        )


@contextmanager
def hugging_face(**given: Any) -> Iterator[HuggingFace]:
    """The stand-in, until the block ends."""
    provider = HuggingFace(**given)
    try:
        yield provider
    finally:
        provider.stop()


def main() -> None:
    """Serve until somebody ends this program."""
    parser = argparse.ArgumentParser(description="A stand-in for Hugging Face's sign-in.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--person", choices=[*PEOPLE], default="alice")
    parser.add_argument("--algorithm", choices=["RS256", "EdDSA"], default="RS256")
    given = parser.parse_args()
    with hugging_face(port=given.port, alg=given.algorithm, asks=True) as provider:
        provider.person = given.person
        print(provider.url, flush=True)  # noqa: T201
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
