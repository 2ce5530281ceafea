"""The image in a Space whose owner has no shell, as docs/space.md says: signed in, a token made, and where it lasts."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.harness.containers import running
from tests.harness.identity.hugging_face import hugging_face
from tests.harness.owner import TOKENS, Owner, space_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.identity.hugging_face import HuggingFace


@pytest.fixture
def provider() -> Iterator[HuggingFace]:
    with hugging_face() as provider:
        yield provider


@contextmanager
def owner_in(image: str, provider: HuggingFace, *volumes: str) -> Iterator[Owner]:
    """The owner, signed in at a Space that has just started: its disk is new but for the volumes."""
    options = [f"--volume={volume}" for volume in volumes]
    with running(image, *options, **space_of(provider)) as container:
        owner = Owner(container.url)
        owner.sign_in()
        yield owner


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A folder that the user of the image may write, as Hugging Face mounts a bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    return folder


def test_a_token_made_without_a_bucket_lasts_among_the_files_of_the_space(
    new: str, provider: HuggingFace, tmp_path: Path
) -> None:
    with owner_in(new, provider) as owner:
        assert "gone at the next restart" in owner.page()
        value = owner.new_value("desktop")
        assert 200 in owner.statuses(value)
        assert "/home/user/tokens.toml" in owner.page()
        kept = tmp_path / "tokens.toml"
        kept.write_text(owner.page(f"{TOKENS}.toml"))
        kept.chmod(0o644)
    with owner_in(new, provider) as owner:
        assert owner.status_with(value) == 401
    with owner_in(new, provider, f"{kept}:/app/tokens.toml:ro") as owner:
        assert owner.status_with(value) == 200
        page = owner.page()
        assert "one of the Space's own files" in page
        assert "gone at the next restart" not in page
        assert "cannot be changed" in owner.send("revoke", name="desktop")
        assert owner.status_with(value) == 200


def test_a_token_made_with_a_bucket_lasts_and_one_that_is_revoked_does_not_come_back(
    new: str, provider: HuggingFace, tmp_path: Path, bucket: Path
) -> None:
    mounted = f"{bucket}:/data"
    with owner_in(new, provider, mounted) as owner:
        assert "outlasts a restart" in owner.page()
        first, second = owner.new_value("first"), owner.new_value("second")
        assert 200 in owner.statuses(second)
    old = tmp_path / "tokens.toml"
    old.write_bytes((bucket / "tokens.toml").read_bytes())
    old.chmod(0o644)
    with owner_in(new, provider, mounted) as owner:
        assert owner.status_with(first) == 200
        owner.send("revoke", name="first")
        assert 401 in owner.statuses(first)
    with owner_in(new, provider, mounted, f"{old}:/app/tokens.toml:ro") as owner:
        assert owner.status_with(second) == 200
        assert owner.status_with(first) == 401
        assert "another tokens.toml" in owner.page()
