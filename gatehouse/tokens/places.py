"""The place of the tokens file where nobody names one, and whether it outlasts a restart."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

NAME = "tokens.toml"
"""The name of the tokens file if nobody gives it another one: the documents use it, too."""

SPACE_DATA = Path("/data")
"""The folder of a Space where a bucket is mounted, as Hugging Face suggests: the rest of its disk is lost at a restart."""


class Place(NamedTuple):
    """The place of a tokens file that nobody has named."""

    path: Path
    aside: Path | None = None
    """Another tokens file that is there, and not in force, because `path` goes before it."""


def default_place(state: Path, *, in_space: bool) -> Place:
    """The place of the tokens file, there or still to be made, if the state of the gate is kept in the folder `state`.

    It is in the folder of the start. In a Space a bucket goes before that; the folder of the start is there the program's
    own, and holds a file only if the Space's files do. Where neither has one, the first folder takes it that can be
    written: the folder of the state comes last, unless everybody may write there, and so put a file of their own.
    """
    here = Path.cwd()
    usual = [SPACE_DATA, here] if in_space else [here]
    there = [folder / NAME for folder in usual if os.access(folder / NAME, os.F_OK)]
    if there:
        return Place(*there[:2])
    folders = [*usual, *([] if _is_everybodys(state) else [state])]
    return Place(next(filter(_takes_files, folders), here) / NAME)


def is_mounted(path: Path) -> bool:
    """True if a file at that path is on a disk of its own, as a Space's bucket is, and a volume of a container."""
    return any(os.path.ismount(folder) for folder in path.parents[:-1])


def has_bucket() -> bool:
    """True if a Space has a bucket where files outlast a restart."""
    return os.path.ismount(SPACE_DATA) and _takes_files(SPACE_DATA)


def _takes_files(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _is_everybodys(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return True
