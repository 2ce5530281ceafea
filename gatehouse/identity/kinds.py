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


def is_static(credential: Credential, *, introspects: bool) -> bool:
    """True if it is a static secret, good or not; False if it is an access token of some authorization server.

    With `introspects`, an authorization server says of each bearer that is not ours what it is.
    """
    if credential.kind != "bearer" or credential.value.startswith(NEVER_OAUTH):
        return True
    return not introspects and not is_jwt(credential.value)


def is_jwt(value: bytes) -> bool:
    """True if a value has the form of a signed token: three parts, and a header that names its algorithm."""
    parts = _THREE_PARTS.fullmatch(value)
    if parts is None:
        return False
    return _names_algorithm(parts[1])


@lru_cache(64)  # all tokens that one key has signed begin alike
def _names_algorithm(header: bytes) -> bool:
    try:
        content = json.loads(urlsafe_b64decode(header + b"=" * (-len(header) % 4)).decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "alg" in content
