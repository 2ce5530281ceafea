"""The answer of a provider, which a browser brings in a URL (OpenID Connect Core section 3.1.2.5).

Anybody can write such a URL, and make a browser go there. It is read strictly, and nothing of it is shown.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

MAX_PARAMETERS = 32
"""How many there may be. Providers send four, and some of their own."""

MAX_CODE_LENGTH = 4096
"""How long a code may be. Most have fewer than 100 characters; Microsoft's have up to 2000."""

_CODE = re.compile(rf"[ -~]{{1,{MAX_CODE_LENGTH}}}")  # RFC 6749 appendix A.11
_ERROR = re.compile(r"[a-z_]{1,40}")

DENIALS = frozenset(
    {
        "access_denied",
        *("interaction_required", "login_required", "account_selection_required"),
        "consent_required",
    }
)
"""The errors that mean that the person did not say yes (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6)."""

AWAY = frozenset({"server_error", "temporarily_unavailable"})
"""The errors that mean that the provider cannot do it just now."""


class ProviderAnswer(NamedTuple):
    """The parameters that count. Either `code` or `error` is empty."""

    state: str
    code: str
    error: str
    """The provider's word, if it is a plain one; else `unknown`."""
    issuer: str | None
    """RFC 9207; None if the answer does not say."""

    def __repr__(self) -> str:
        """No code, and no state."""
        return "<the answer of a provider>"


def read_answer(query: bytes) -> ProviderAnswer | None:
    """The answer in a query; None if it is none, or can be read in two ways: nothing may be there twice."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        return None
    told = dict(pairs)
    state, code, error = told.get("state", ""), told.get("code"), told.get("error")
    if len(told) != len(pairs) or not state or (code is None) == (error is None):
        return None
    if code is not None and not _CODE.fullmatch(code):
        return None
    word = error if error is None or _ERROR.fullmatch(error) else "unknown"
    return ProviderAnswer(state, code or "", word or "", told.get("iss"))
