"""Tests that take long for what they tell, and run with `CI` set only, so that the default run stays under 4 minutes."""

from __future__ import annotations

import os

import pytest

IN_CI = bool(os.environ.get("CI"))

only_in_ci = pytest.mark.skipif(not IN_CI, reason="takes long; runs with CI=true")
