"""The file `.env` as it stands: the place of each name, and the lines that nobody can read.

pydantic-settings takes the values from it, and passes over lines that are no `NAME=value` without a word, as over
a folder in the file's place; both are found here. A fault tells the number of a line and never its text, which may
be a secret.
"""

from __future__ import annotations

import io
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dotenv.parser import Binding, parse_stream

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = re.compile(r"\$\{([^}:]*)(:-)?[^}]*\}")
"""How python-dotenv knows a variable within a value."""

NAME = re.compile(r"[\w.-]+")
"""A name as some program or other reads it."""

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
"""A name that is too short and plain to be a secret."""

HOW_TO_WRITE = (
    "cannot be read; write NAME=value, or # before a comment. A value that begins with a quote ends with "
    "the same one"
)


@dataclass
class EnvFile:
    """The file at `path`, if there is one. `written` are its names and values, `names` the same in upper case, each with its lines; `empty` are those whose
    last value is empty."""

    path: Path
    exists: bool = True
    written: dict[str, str] = field(default_factory=dict, repr=False)
    names: dict[str, list[int]] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def read_env_file(path: Path) -> EnvFile:
    """Look at the file; whatever is wrong with it stands in `faults`."""
    found = EnvFile(path.absolute())
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            found.faults.append(
                f"{found.path}: is a folder; remove it, and make a file of that name, or none "
                "(Docker makes a folder where a file to mount is missing)"
            )
        elif not stat.S_ISFIFO(mode):  # a pipe gives its text only once
            _read(found, path.read_bytes())
    except FileNotFoundError:
        found.exists = False
    except OSError as error:
        found.faults.append(
            f"{found.path}: cannot be read ({error.strerror}); let the user who starts the gate read it"
        )
    return found


def _is_pair(binding: Binding) -> bool:
    return binding.value is not None and bool(NAME.fullmatch(binding.key or ""))


def _unset_in(value: str, found: EnvFile) -> str:
    """The name of a variable that the value takes in (`${NAME}`, without `:-default`), if it is not set."""
    known = {*os.environ, *found.written}
    names = [name for name, default in VARIABLE.findall(value) if not default and name not in known]
    return (names[0] if PLAIN.fullmatch(names[0]) else "there") if names else ""


def _read(found: EnvFile, data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found.faults.append(f"{found.path}, line {line}: is not UTF-8; save the file as UTF-8")
        return
    for binding in parse_stream(io.StringIO(text, newline="")):
        # A statement begins with the blank lines above it.
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:blank].count("\n")
        if binding.error or (binding.key and not _is_pair(binding)):
            found.faults.append(f"{found.path}, line {line}: {HOW_TO_WRITE}")
        elif binding.key is not None and (name := _unset_in(binding.value or "", found)):
            found.faults.append(
                f"{found.path}, line {line}: takes ${{...}} from a variable {name}, which is not set; set it, or write the value itself"
            )
        elif binding.key is not None:
            name = binding.key.upper()
            found.names.setdefault(name, []).append(line)
            found.written[binding.key] = binding.value or ""
            (found.empty.discard if binding.value else found.empty.add)(name)
