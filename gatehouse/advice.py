"""The commands that messages suggest: each works as it stands, pasted into the shell of the start.

Any Python from 3.8 on can read this file, and it needs no package, since it also says why the program cannot run
here. The interpreter is the one that runs now; a setting that came from the environment is in the command, too.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
"""The folder of run.py."""

HERE = ROOT
"""The folder of the start: a hosted server may go elsewhere later."""
with suppress(OSError):  # it may be gone
    HERE = Path.cwd()

PYTHONS = ("3.13", "3.12", "3.11")
"""The versions that run the gate, the best one first. trio-asyncio does not import on 3.14
(python-trio/trio-asyncio#160)."""

PACKAGES = (
    *("cryptography", "dotenv", "fastmcp", "httpx", "hypercorn", "jinja2", "joserfc"),
    *(
        "notion_client",
        "packaging",
        "prometheus_client",
        "pydantic_settings",
        "redis",
        "rich",
        "segno",
        "throttled",
        "tomlkit",
        "trio",
        "trio_asyncio",
        "uvicorn",
    ),
)
"""The packages that pyproject.toml asks for, by the names under which Python finds them."""

INSTALL = "pip install -q --no-deps --require-hashes -r requirements.txt"

INSTALL_ANEW = f"python3 -m venv --clear .venv && .venv/bin/{INSTALL}"
"""Without `--clear`, pip takes the files of a package's old release away after it has put the new ones there."""


def run_py(*arguments: str) -> str:
    """The command that runs this program with these arguments."""
    tokens_file = os.environ.get("TOKENS_FILE", "").strip()
    setting = [f"TOKENS_FILE={shlex.quote(tokens_file)}"] if tokens_file and arguments else []
    return " ".join(
        [*setting, *map(shlex.quote, (python(), _from_here(ROOT / "run.py"), *arguments))]
    )


def add_token(name: str = "NAME") -> str:
    """The command that makes a named token, and the tokens file if it is missing."""
    return run_py("tokens", "add", name)


def rotate_token(name: str) -> str:
    """The command that gives a token a new value."""
    return run_py("tokens", "rotate", name)


def revoke_token(name: str) -> str:
    """The command that ends a token."""
    return run_py("tokens", "revoke", name)


def revoke_value(name: str, value_id: str) -> str:
    """The command that ends one value of a token."""
    return run_py("tokens", "revoke", name, "--value", value_id)


def list_tokens() -> str:
    """The command that shows the tokens."""
    return run_py("tokens", "list")


def make_secret() -> str:
    """The command that prints a random text for MCP_AUTH_TOKEN or METRICS_TOKEN."""
    return f'{shlex.quote(python())} -c "import secrets; print(secrets.token_urlsafe(32))"'


def show_authorities() -> str:
    """The command that prints the path of a file of certificate authorities, for UPSTREAM_CA."""
    return f"{shlex.quote(python())} -m certifi"


def install_from(requirements: Path) -> str:
    """The command that installs the packages in this file for this interpreter; one made by uv has no pip."""
    file = shlex.quote(_from_here(requirements))
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {shlex.quote(sys.executable)} -r {file}"
    return f"{shlex.quote(python())} -m pip install -r {file}"


def python() -> str:
    """This interpreter: by its name if the shell finds it so, else by its path, from here if it is below."""
    for name in ("python", "python3"):
        if sys.executable and shutil.which(name) == sys.executable:
            return name
    return _from_here(Path(sys.executable)) if sys.executable else "python3"


def _from_here(path: Path) -> str:
    return str(path.relative_to(HERE)) if HERE in path.parents else str(path)


def unfit() -> str:
    """The reason why this Python cannot run the program, and the command that can; empty if it can."""
    version = "{}.{}".format(*sys.version_info)
    if version not in PYTHONS:
        return f"The gate needs Python {PYTHONS[-1]} to {PYTHONS[0]}; this is {version}. {_with_another()}"
    try:
        Path.cwd()
    except OSError as error:
        return f"The folder of the start is gone, or closed to this user ({error.strerror}). Go to another one: cd {shlex.quote(str(ROOT))}"
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return ""
    words = f"This Python ({sys.executable}) has no {', '.join(missing[:3])}"
    if sys.prefix != sys.base_prefix and importlib.util.find_spec("pip"):
        return f"{words}. Install the packages: {_in_root()}{shlex.quote(python())} -m {INSTALL}"
    return f"{words}. {_with_another()}"


def _with_another() -> str:
    """The command that starts with the Python of `.venv`, or that makes that first, as README.md has it."""
    mine = ROOT / ".venv/bin/python"
    if mine.exists() and sys.prefix != str(ROOT / ".venv"):
        return f"Start with the one in .venv: {shlex.quote(_from_here(mine))} {shlex.quote(_from_here(ROOT / 'run.py'))}"
    found = next((f"python{name}" for name in PYTHONS if shutil.which(f"python{name}")), "")
    if "{}.{}".format(*sys.version_info) in PYTHONS:
        found = shlex.quote(python())
    words = (
        "Make one of its own" if found else f"Install Python {PYTHONS[0]}, and make one of its own"
    )
    made = f"{found or f'python{PYTHONS[0]}'} -m venv {'--clear ' if mine.exists() else ''}.venv"
    return f"{words}: {_in_root()}{made} && .venv/bin/{INSTALL} && .venv/bin/python run.py"


def _in_root() -> str:
    return "" if HERE == ROOT else f"cd {shlex.quote(str(ROOT))} && "
