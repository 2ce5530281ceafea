"""The images of the Spaces that docs/space.md makes, each built once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.containers import why_not
from tests.harness.spaces import existing_space, image_of, new_space

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a folder for a Space, where containers can be built and run."""
    if reason := why_not():
        pytest.skip(reason)
    return tmp_path_factory.mktemp


@pytest.fixture(scope="session")
def new(folder_of: Callable[[str], Path]) -> str:
    """The image of a new Space, with a server of its own."""
    return image_of(new_space(folder_of("new")))


@pytest.fixture(scope="session")
def existing(folder_of: Callable[[str], Path]) -> str:
    """The image of a Space that has had a server already."""
    return image_of(existing_space(folder_of("existing")))
