"""The release of the gate."""

from __future__ import annotations

VERSION = "0.1.0"
"""As in pyproject.toml, which is not there in the image; a test holds them equal."""
