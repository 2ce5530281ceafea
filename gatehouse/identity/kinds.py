"""The kind of a credential, by its shape alone. Answers come in kind: a static secret meets nothing of OAuth."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from functools import lru_cache
from typing import TYPE_CHECKING

from gatehouse.records.redact import PREFIX

if TYPE_CHECKING:
    from gatehouse.http.credentials import Credential

NEVER_OAUTH = (PREFIX.encode("ascii"), b"hf_")
"""The beginnings of our own tokens and of Hugging Face's. The latter are meant for huggingface.co, and for nobody else:
whoever got one here could use it there, and the other way round."""

# The compact form of a signed token (RFC 7515 section 7.1). The signature of one with `alg: none` is empty.
_THREE_PARTS = re.compile(rb"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

# The compact form of an encrypted one (RFC 7516 section 7.1). Encrypted directly, it has no key of its own.
_FIVE_PARTS = re.compile(rb"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+){3}")


def is_static(credential: Credential, *, introspects: bool) -> bool:
    """True if it is a static secret, good or not; False if it is an access token of some authorization server.

    With `introspects`, an authorization server says of each bearer that is not ours what it is.
    """
    if credential.kind != "bearer" or credential.value.startswith(NEVER_OAUTH):
        return True
    return not (introspects or is_jwt(credential.value) or is_sealed(credential.value))


def is_jwt(value: bytes) -> bool:
    """True if a value has the form of a signed token: three parts, and a header that names its algorithm."""
    parts = _THREE_PARTS.fullmatch(value)
    return parts is not None and "alg" in _members_of(parts[1])


def is_sealed(value: bytes) -> bool:
    """True if a value has the form of an encrypted token: five parts, and a header that names its two algorithms."""
    parts = _FIVE_PARTS.fullmatch(value)
    return parts is not None and {"alg", "enc"} <= _members_of(parts[1])


@lru_cache(64)  # all tokens that one key has signed begin alike
def _members_of(header: bytes) -> frozenset[str]:
    try:
        content = json.loads(urlsafe_b64decode(header + b"=" * (-len(header) % 4)).decode())
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(content) if isinstance(content, dict) else frozenset()
