"""Named tokens must not clash with those of settings: no value may be both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.tokens.file import TokensError
from gatehouse.tokens.reader import parse_contents
from gatehouse.tokens.value import digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic import SecretStr

    from gatehouse.tokens.contents import Contents


def parse_without_clashes(
    others: Mapping[str, SecretStr | None], untold: Collection[str], path: str, text: str
) -> Contents:
    """All that the text of the tokens file at `path` says.

    `others` are the tokens of settings, by their names, and `untold` the kinds of facts about people that no way in
    tells. Raises TokensError, also if a value equals one of the others: a value that was revoked in the file would
    still be good, and for more.
    """
    contents = parse_contents(text, path, untold)
    faults = [
        f"{name}: is also the value {value.id} of {token.name} in {path}; make another one"
        for name, other in others.items()
        for token in contents.tokens
        for value in token.values
        if other is not None and digest_of(other.get_secret_value()) == value.digest
    ]
    if faults:
        raise TokensError(*faults)
    return contents
