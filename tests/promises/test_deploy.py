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
