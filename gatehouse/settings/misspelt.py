"""Names that look like a setting's and are none: somebody meant that setting, and it is not in force."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

CLOSE = 0.885
"""How alike two names are, from 0 to 1, if one is a slip of the other: TOKEN_FILE and TOKENS_FILE are, MCP_API and
MCP_APP are not, nor MY_TOKENS_FILE and TOKENS_FILE."""

MIN_LENGTH = 8
"""In the environment shorter names are nobody's slip: too many programs have variables such as PORTS."""

OTHERS = (
    "FASTMCP_",
    "SPACE_",
    "SPACES_",
    "HF_",
    "HUGGINGFACE_",
    "UV_",
    "PIP_",
    "NEXT_",
    "VITE_",
    "OAUTH_",
    "OIDC_",
)
"""The beginnings of names that well-known programs own, Hugging Face's and FastMCP's among them, and of those that
servers with a sign-in of their own have, such as OAUTH_ISSUER."""

INJECTED = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
"""The names that Hugging Face gives to a Space with `hf_oauth: true`, for signing people in at huggingface.co. They
switch nothing on here, and none is a slip."""

GROUPS = ("AUTH_", "FRONT_", "SIGN_IN_", "SPACE_")
"""The beginnings of settings whose other words are usual elsewhere: CLIENT_ID is nobody's half of AUTH_CLIENT_ID."""

ALIASES = {
    **dict.fromkeys(("AUTH_ISSUER_URL", "AUTH_ISSUER_URI"), "AUTH_ISSUER"),
    "AUTH_AUD": "AUTH_AUDIENCE",
    **dict.fromkeys(("AUTH_JWKS", "AUTH_KEYS_URL"), "AUTH_JWKS_URL"),
    **dict.fromkeys(("AUTH_ALG", "AUTH_ALGS"), "AUTH_ALGORITHMS"),
    "AUTH_INTROSPECTION_ENDPOINT": "AUTH_INTROSPECTION_URL",
    "AUTH_LEEWAY": "AUTH_LEEWAY_SECONDS",
    **dict.fromkeys(("FRONT_AUD", "FRONT_AUDIENCE_TAG"), "FRONT_AUDIENCE"),
    **dict.fromkeys(("FRONT_TEAM_NAME", "FRONT_TEAM_DOMAIN"), "FRONT_TEAM"),
    **dict.fromkeys(("FRONT_JWKS", "FRONT_KEYS_URL"), "FRONT_JWKS_URL"),
    **dict.fromkeys(("FRONT_ALG", "FRONT_ALGS"), "FRONT_ALGORITHMS"),
    **dict.fromkeys(("AUTH_PEOPLE", "FRONT_PEOPLE", "ALLOWED_PEOPLE"), "PEOPLE"),
}
"""Names by which other programs, or other documents, call these settings."""

FOODWISE_SETTINGS = (
    "SQLITE_PATH",
    "NOTION_BASE_URL",
    "NOTION_INVENTORY_DB_ID",
    "NOTION_SHOPPING_DB_ID",
    "NOTION_SECRET",
)
"""The settings of the server that comes with the gate, read from the same places."""


def meant(name: str, known: Collection[str]) -> str | None:
    """The setting of which `name` is a slip, if it is one. Names are in upper case."""
    if name in known or name in INJECTED or name.startswith(OTHERS) or re.search("[0-9]", name):
        return None
    if name in ALIASES:
        return ALIASES[name]
    letters = re.sub("[^A-Z]", "", name)
    for setting in known:
        plain = setting.replace("_", "")
        # MCP-AUTH-TOKEN, "PORT" in quotes, PROT
        if letters == plain or (letters[:1] == plain[0] and sorted(letters) == sorted(plain)):
            return setting
    return next(iter(get_close_matches(name, known, n=1, cutoff=CLOSE)), None)


def perhaps_meant(name: str, unset: Iterable[str]) -> str | None:
    """The one setting that has two words or more of `name`, and no other word is in that: AUTH_TOKEN."""
    words = set(name.split("_"))
    named = [setting for setting in unset if not setting.startswith(GROUPS)]
    found = [setting for setting in named if words < set(setting.split("_"))]
    return found[0] if len(words) > 1 and len(found) == 1 else None
