"""The image as it is described; `tests/containers/` builds and runs it, where the machine can."""

from __future__ import annotations

import re

from tests.harness.program import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_image_is_pinned_and_as_a_space_wants_it() -> None:
    (base,) = {line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM ")}
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", base)
    for line in ("USER 1000", "EXPOSE 7860"):
        assert line in DOCKERFILE.splitlines()
    assert re.search(r"^ +HOST=0\.0\.0\.0 ", DOCKERFILE, re.MULTILINE)
    assert "--uid 1000" in DOCKERFILE
    front_matter = (ROOT / "README.md").read_text().split("---\n")[1]
    assert "sdk: docker\n" in front_matter
    assert "app_port: 7860\n" in front_matter
    assert "hf_oauth: true\n" in front_matter


def test_all_that_the_image_copies_is_among_the_files_that_are_dragged_into_a_space() -> None:
    page = (ROOT / "docs/space.md").read_text()
    step = page.partition("**Bring the files**")[2].partition("Let `README.md` take")[0]
    dragged = set(re.findall(r"`([^`]+)`", step))
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    needed = {name for names in copied for name in names.split()} - {"tokens.tom[l]"}
    assert dragged == {"README.md", "Dockerfile", *needed}
