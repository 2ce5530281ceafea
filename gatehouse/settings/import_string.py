"""The import string of a hosted server, and the one that was meant by a text that is none."""

from __future__ import annotations

import re

# Identifiers with dots between, a colon, an identifier.
_IMPORT_STRING = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*:[A-Za-z_]\w*")

USUAL_NAMES = ("mcp", "server", "app")
"""The names that FastMCP's own command looks for; the first is the most frequent."""

MAX_GUESSED_CHARACTERS = 30
"""A longer text without `:`, `/` or `.` may be a token in the wrong place, which no message repeats."""


def check_import_string(text: str) -> str:
    """The text, if it is an import string or empty. Raises ValueError in words."""
    if not text or (_IMPORT_STRING.fullmatch(text) and ".py:" not in text):
        return text
    meant = guess(text)
    question = f"; did you mean MCP_APP={meant}?" if meant else ""
    raise ValueError(
        "must look like module:name (for example mcp_app:mcp), or be empty if an MCP server "
        f"already runs at the upstream address{question}"
    )


def guess(text: str) -> str:
    """The import string that was probably meant: a file's name, a module alone, a call; empty without a guess."""
    module, _, name = text.strip("\"'` ").partition(":")
    if "//" in text or (len(module) > MAX_GUESSED_CHARACTERS and not re.search(r"[/.]", module)):
        return ""
    words = re.findall(r"[A-Za-z_]\w*", "" if name.endswith(")") else name)
    name = words[0] if words else ""
    if "/" in module or module.endswith(".py"):
        parts = [
            part for part in module.removesuffix(".py").split("/") if part not in {"", ".", ".."}
        ]
        if "server" in parts[:-1]:
            parts = parts[len(parts) - parts[::-1].index("server", 1) :]
        elif module.startswith(("/", "~", "..")):
            parts = parts[-1:]
        module = ".".join(parts)
    elif not name and module.rpartition(".")[2] in USUAL_NAMES and "." in module:
        module, _, name = module.rpartition(".")
    meant = f"{module.strip('. ').replace('-', '_')}:{name or USUAL_NAMES[0]}"
    return meant if _IMPORT_STRING.fullmatch(meant) else ""
