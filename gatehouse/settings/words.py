"""Faults of settings in words that say what to write instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

NUMBER_FAULTS = {
    *(
        "int_parsing",
        "int_type",
        "int_from_float",
        "int_parsing_size",
        "float_parsing",
        "float_type",
    ),
    *("finite_number", "greater_than", "greater_than_equal", "less_than_equal"),
}
"""Pydantic's names of what can be wrong with a number."""

SHOWN = re.compile(r"[ -~]{1,20}")
"""A refused text is told only if it is too short to be a token that was put in the wrong place."""

UNITS = {"SECONDS": "in seconds and ", "BYTES": "in bytes and "}


def in_words(fault: Any, fields: Mapping[str, FieldInfo]) -> str:
    """One of pydantic's faults, as «NAME: ...»."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    name = str(fault["loc"][0]) if fault["loc"] else ""
    if fault["type"].startswith("bool_"):
        message = f"must be true or false{_not_this(fault)}"
    elif fault["type"] == "literal_error":
        choices = fault["ctx"]["expected"].replace("'", "")
        message = f"must be {choices}{_not_this(fault)}"
    elif fault["type"] in NUMBER_FAULTS and name:
        message = f"{_number_wanted(fields[name])}{_not_this(fault)}{_without_unit(name, fault)}"
    return f"{name.upper()}: {message}" if name else message


def _not_this(fault: Any) -> str:
    """The refused text, where it is no secret."""
    given = str(fault["input"]).strip()
    return f"; not '{given}'" if SHOWN.fullmatch(given) else ""


def _without_unit(name: str, fault: Any) -> str:
    if not re.fullmatch(r"\s*[0-9][0-9.,_ ]*\s*[A-Za-z]{1,8}\s*", str(fault["input"])):
        return ""
    return f". Write it {UNITS.get(name.rpartition('_')[2].upper(), '')}without a unit"


def _number_wanted(field: FieldInfo) -> str:
    """The advice for a setting that is no number, or out of its bounds."""
    whole = int in (field.annotation, *get_args(field.annotation))
    bounds = {
        sign: bound
        for rule in field.metadata
        for sign in ("ge", "gt", "le")
        if (bound := getattr(rule, sign, None)) is not None
    }
    words = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}"}
    limits = " and ".join(
        words[sign].format(f"{bound:g}" if bound < 1e6 else bound) for sign, bound in bounds.items()
    )
    example = 1 if field.default is None else field.default
    return f"must be a {'whole ' if whole else ''}number, {limits}, such as {example}"
