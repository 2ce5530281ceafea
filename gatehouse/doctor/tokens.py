"""The tokens of a visit: from a file, from the environment, or from a prompt; never from the command line."""

from __future__ import annotations

import getpass
import os
import re
import sys
from pathlib import Path

VARIABLES = ("GATE_TOKEN", "SECOND_GATE_TOKEN")
"""The environment variables with the tokens; the second one is for the check of others' sessions."""

MAX_TOKENS = 2

SENDABLE = re.compile(r"[\x21-\x7e]+")


def read_tokens(file: str | None) -> tuple[str, ...]:
    """One token, two, or none for a server without. Raises ValueError in words that repeat no token."""
    if file is not None:
        tokens = tokens_in(file)
    elif os.environ.get(VARIABLES[0], "").strip():
        tokens = [os.environ.get(name, "").strip() for name in VARIABLES]
    elif sys.stdin is not None and sys.stdin.isatty():
        tokens = [getpass.getpass("Token (empty for none): ").strip()]
    else:
        tokens = []
    found = tuple(filter(None, tokens))
    if not all(map(sendable, found)):
        raise ValueError("a token holds visible ASCII characters only, no spaces")
    return found


def sendable(token: str) -> bool:
    """True if a client can send the token in a header field."""
    return SENDABLE.fullmatch(token) is not None


def tokens_in(file: str) -> list[str]:
    """The tokens in a file, one a line; empty lines and lines that begin with # do not count."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"--token-file: cannot be read ({reason})") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise ValueError("--token-file: holds one token, or two, each on a line of its own")
    return tokens
