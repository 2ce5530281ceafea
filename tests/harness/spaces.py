"""Makes Spaces as docs/space.md says: its commands, run as they stand there. A bare repository stands in for Hugging Face."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

from tests.harness.containers import build
from tests.harness.program import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs/space.md"
ADDRESS = "https://huggingface.co/spaces/YOU/SPACE"
DEPENDENCY = "humanize"
"""A small package of pure Python that the gate does not need."""

FIRST_README = """\
---
title: Mine
emoji: 🌦
sdk: {sdk}
app_port: 8000
---
Words of mine.
"""
MY_SERVER = f"""\
import time

import {DEPENDENCY}
from fastmcp import FastMCP

mcp = FastMCP("Mine")


@mcp.tool
def in_words(number: int) -> str:
    return {DEPENDENCY}.intword(number)


@mcp.tool
def wait(seconds: float) -> str:
    print("the wait has begun", flush=True)
    time.sleep(seconds)
    return "waited"
"""
APP = """\
import asyncio

from fastmcp import FastMCP

import my_words

mcp = FastMCP("Mine")


@mcp.tool
async def in_words(number: int) -> str:
    await asyncio.sleep(0.01)
    return my_words.in_words(number)


if __name__ == "__main__":
    mcp.run(transport="http", host="0.0.0.0", port=8000)
"""
MY_WORDS = f"""\
import {DEPENDENCY}


def in_words(number):
    return {DEPENDENCY}.intword(number)
"""
PACKAGE = "own_package-1.0-py3-none-any.whl"


def steps(section: str) -> list[str]:
    """The blocks of commands under a heading of the page, in their order."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [
        re.sub(r"^   ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    ]


class Space:
    """A folder with `gate`, a clone of this repository, beside which the page's commands run."""

    def __init__(self, folder: Path, name: str, first: dict[str, str]) -> None:
        self.folder = folder
        self.name = name
        self.bare = folder / "bare"
        self.environment = {
            **{name: os.environ[name] for name in ("PATH",) if name in os.environ},
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self.run(f"git init -q --bare -b main {self.bare}")
        for setting in (
            f"url.{self.bare}.insteadOf {ADDRESS}",
            "user.name Me",
            "user.email me@localhost",
        ):
            self.run(f"git config --global {setting}")
        self.run("git config --global init.defaultBranch main")
        self.copy_of_this_repository()
        self.first_commit(first)

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run commands in the folder, up to the first that fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def follow(self, *commands: str) -> None:
        """Run the page's commands, in one shell as a person would."""
        self.run("\n".join(commands))

    def copy_of_this_repository(self) -> None:
        """The files of this repository as they are, committed or not, as a repository of their own."""
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).exists():
                copy = self.folder / "gate" / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy)
        self.run("cd gate && git init -q && git add --all && git commit -qm 'The gate'")

    def first_commit(self, files: dict[str, str]) -> None:
        """The Space as it is before: Hugging Face makes a first commit in each."""
        for name, text in files.items():
            (self.folder / "before" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "before" / name).write_text(text)
        self.run(
            f"cd before && git init -q && git add --all && git commit -qm 'initial commit' && git push -q {ADDRESS} main"
        )

    def checkout(self) -> Path:
        """All that has been pushed, as the Space's builder sees it."""
        self.run(f"git clone -q {ADDRESS} built")
        return self.folder / "built"


def new_space(folder: Path) -> Space:
    """A new Space with a server of its own, made as the page says."""
    space = Space(
        folder,
        "new-space",
        {"README.md": FIRST_README.format(sdk="docker"), ".gitattributes": "*.zip filter=lfs\n"},
    )
    (folder / "my_server.py").write_text(MY_SERVER)
    (folder / "requirements.txt").write_text(f"{DEPENDENCY}\n")
    space.follow(*steps("A new Space, with git"))
    return space


def existing_space(folder: Path) -> Space:
    """A Space that has had a server already, changed as the page says. A package of its own comes along."""
    first = {
        "README.md": FIRST_README.format(sdk="gradio"),
        "Dockerfile": "FROM python:3.12\nCMD python app.py\n",
        "app.py": APP,
        "my_words.py": MY_WORDS,
        "requirements.txt": f"fastmcp\n{DEPENDENCY}\n./server/{PACKAGE}\n",
    }
    space = Space(folder, "existing-space", first)
    clone_and_move, copy, push = steps("A Space that already exists, with git")
    moved = clone_and_move.replace("app.py", "app.py my_words.py")
    space.follow(moved, copy)
    write_package(folder / "SPACE/server" / PACKAGE)
    readme = folder / "SPACE/README.md"
    wanted = re.findall(r"^ *(\w+: \w+)$", PAGE.read_text(), re.MULTILINE)
    for line in wanted:
        name = line.partition(":")[0]
        readme.write_text(re.sub(rf"^{name}: .*$", line, readme.read_text(), flags=re.MULTILINE))
    space.follow("cd SPACE", push)
    return space


def image_of(space: Space) -> str:
    """Build an image of all that has been pushed, as the Space would; its name."""
    tag = f"localhost/gate-of-{space.name}"
    build(space.checkout(), tag)
    return tag


def write_package(wheel: Path) -> None:
    """A package with a server in it, as a wheel."""
    about = "own_package-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("own_package/__init__.py", "")
        file.writestr("own_package/server.py", MY_SERVER)
        file.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n"
        )
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
