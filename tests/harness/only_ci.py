"""Tests that take long for what they tell, and run with `CI` set only, so that the default run stays under 4 minutes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

IN_CI = bool(os.environ.get("CI"))

only_in_ci = pytest.mark.skipif(not IN_CI, reason="takes long; runs with CI=true")


def default_modes(modes: Iterable[str]) -> list[Any]:
    """The ways to a hosted server as parameters: by default those in one process, on Trio, which are the default, too."""
    rare = {"network", "asyncio"}
    return [pytest.param(mode, marks=only_in_ci) if mode in rare else mode for mode in modes]
