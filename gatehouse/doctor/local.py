"""The configuration of this machine, as the gate would find it. Nothing is started, and no server is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import ssl
import stat
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from packaging.requirements import InvalidRequirement, Requirement

from gatehouse import advice
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.sign_in import signers
from gatehouse.hosting import modules
from gatehouse.process.fresh_start import SECRETS, SECRETS_OF_SPACE
from gatehouse.settings.env_file import read_env_file
from gatehouse.settings.environment import Settings, SettingsError, load_settings
from gatehouse.settings.notes import read_notes
from gatehouse.tokens.file import MissingError, TokensError
from gatehouse.tokens.reader import load_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIN_FREE_MIB = 100
"""With less room, a database or a log soon cannot be written."""

LOCAL_SECONDS, LOCAL_BYTES = 2, 4096
"""How long the program at the gate's port may take to accept, and again to answer, and how much of that is read: it
may be any program."""

PINS = advice.ROOT / "requirements.txt"

READABLE = stat.S_IRGRP | stat.S_IROTH

HARMLESS = {name.upper() for name in Settings.model_fields}.difference(SECRETS, SECRETS_OF_SPACE)
"""The settings in `.env` that hold no secret. Any other name may be the hosted server's, and hold one."""


def examine_machine() -> list[Finding]:
    """All findings about this machine."""
    findings = [replace(finding, check="settings") for finding in settings_in_force()]
    try:
        settings = load_settings()
    except SettingsError:
        settings = (
            Settings.model_construct()
        )  # the defaults, for all that does not go by the faulty ones
    for check in CHECKS:
        findings += (replace(finding, check=name_of(check)) for finding in check(settings))
    return findings


def name_of(check: Check) -> str:
    """A check's name as it is shown."""
    return str(getattr(check, "__name__", check)).replace("_", " ")


def settings_in_force() -> Iterator[Finding]:
    """The faults and the notes that the start would tell."""
    settings = None
    try:
        settings = load_settings()
    except SettingsError as error:
        for fault in error.faults:
            yield found("setting-wrong", fault)
    try:
        places, notes = read_notes(settings)
    except OSError as error:
        yield found("setting-wrong", f".env: {error.strerror}")
        return
    yield fine(places)
    for note in notes:
        yield found("setting-odd", note)


def files(settings: Settings) -> Iterator[Finding]:
    """The rights of files that hold secrets, and of those that the gate writes."""
    yield from env_file(Path(".env").absolute())
    yield from own_files(settings)


def env_file(path: Path) -> Iterator[Finding]:
    """The rights of `.env`, if it holds a secret."""
    if (mode := mode_of(path)) and mode & READABLE:
        written = {name.upper() for name, value in read_env_file(path).written.items() if value}
        if written - HARMLESS:
            yield found("file-readable", f"{path}: others may read it ({stat.filemode(mode)})")


def own_files(settings: Settings) -> Iterator[Finding]:
    """The tokens file, and the file of STATE_DB, which a gate with a dashboard makes for its owner alone."""
    state, tokens = settings.state_db, settings.tokens_at
    if tokens is not None:
        yield from tokens_file(settings, tokens)
    if state is None or not (tokens or settings.has_dashboard):
        return
    if not writable(state):
        yield found("state-unwritable", f"{state}: cannot be written")
    if settings.has_dashboard and (mode := mode_of(state)) & READABLE:
        yield found("state-readable", f"{state}: others may read it ({stat.filemode(mode)})")


def tokens_file(settings: Settings, path: Path) -> Iterator[Finding]:
    """The rights and the faults of the tokens file."""
    if (mode := mode_of(path)) and mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield found("file-writable", f"{path}: others may write it ({stat.filemode(mode)})")
    try:
        contents = load_contents(path)
        more = contents.beside_tokens and f", {contents.beside_tokens}"
        yield fine(f"{path}: {len(contents.tokens)} named tokens{more}")
    except TokensError as error:
        if isinstance(error, MissingError) and settings.tokens_file is None:
            yield fine(f"{path}: is made with the first token at the dashboard")
        else:
            yield from (found("tokens-wrong", fault) for fault in error.faults)


def mode_of(path: Path) -> int:
    """The mode of a file; 0 if there is none."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def writable(path: Path) -> bool:
    """True if the file can be written, or made."""
    return os.access(path if path.exists() else path.parent, os.W_OK)


def ports(settings: Settings) -> Iterator[Finding]:
    """The gate's port: free, or taken, and by whom."""
    wanted = [("PORT", settings.host, settings.port)]
    if settings.hosts_upstream and not settings.in_process:
        wanted.append(("UPSTREAM_PORT", settings.upstream_host, settings.upstream_port))
    for name, host, port in wanted:
        if reason := taken(host, port):
            running = name == "PORT" and is_gate(host, port)
            words = f"{name} {port} at {host}: {reason}"
            if running:
                yield found("gate-running", f"{words}; a gate answers there")
            else:
                yield found("port-taken", words)
        else:
            yield fine(f"{name} {port} is free")


def taken(host: str, port: int) -> str:
    """The reason why nobody can listen there; empty if somebody can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return str(error.strerror or error)
    return ""


def is_gate(host: str, port: int) -> bool:
    """True if the program there answers `/health` as the gate does: at once, and in one piece."""
    there = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with socket.create_connection((there, port), LOCAL_SECONDS) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return b'"status"' in connection.recv(LOCAL_BYTES)
    except OSError:
        return False


def server(settings: Settings) -> Iterator[Finding]:
    """The module of the hosted server: is it found? It is not imported."""
    if not settings.hosts_upstream:
        yield fine(f"the server runs elsewhere: {settings.upstream_at}")
        return
    module = settings.mcp_app.partition(":")[0]
    modules.let_servers_be_found()
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        yield found("server-missing", f"MCP_APP: there is no module {module}")
    else:
        yield fine(f"MCP_APP: {module} is {spec.origin or 'a folder'}")


def versions(settings: Settings) -> Iterator[Finding]:  # noqa: ARG001 - all checks take it
    """Python, and the packages against their pins."""
    python = "{}.{}.{}".format(*sys.version_info)
    fit = python.rpartition(".")[0] in advice.PYTHONS
    yield fine(f"Python {python}") if fit else found("python-unfit", f"Python {python}")
    missing, differ, count = [], [], 0
    for requirement in pinned():
        count += 1
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            differ.append(f"{requirement.name} {installed}, pinned {requirement.specifier}")
    if missing:
        yield found("package-missing", f"not installed: {', '.join(missing)}")
    if differ:
        yield found("package-differs", "; ".join(differ))
    if not missing and not differ:
        yield fine(f"{count} packages are as requirements.txt has them")


def pinned() -> Iterator[Requirement]:
    """The pins that hold on this machine; none if the file is not there."""
    if not PINS.is_file():
        return
    for line in PINS.read_text(encoding="utf-8").splitlines():
        try:
            requirement = Requirement(line.rstrip("\\ "))
        except InvalidRequirement:  # a hash, or a comment
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def disk(settings: Settings) -> Iterator[Finding]:
    """Room on the disk of the folder in which the gate keeps its state."""
    folder = settings.state_db.parent if settings.state_db else Path.cwd()
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free // 2**20
    seen = f"{folder}: {free} MiB free"
    yield found("disk-low", seen) if free < MIN_FREE_MIB else fine(seen)


def authorities(settings: Settings) -> Iterator[Finding]:
    """The certificate authorities that this machine knows."""
    known = ssl.create_default_context(cafile=settings.upstream_ca).cert_store_stats()["x509_ca"]
    paths = ssl.get_default_verify_paths()
    folder = Path(paths.capath or "")
    # A store that is a folder is read only when it is needed.
    if known or (paths.capath and folder.is_dir() and any(folder.iterdir())):
        yield fine(f"{known or 'a folder of'} certificate authorities")
    else:
        yield found("no-authorities", "this machine knows no certificate authorities")


def clock(settings: Settings) -> Iterator[Finding]:  # noqa: ARG001 - all checks take it
    """This machine's clock, as far as it can be told without another one."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if time.time() < Path(__file__).stat().st_mtime - 60:
        yield found("clock-behind", f"it is {now} here, which is before the gate was installed")
    else:
        yield fine(f"it is {now} here")


Check: TypeAlias = "Callable[[Settings], Iterator[Finding]]"

CHECKS: tuple[Check, ...] = (
    files,
    ports,
    server,
    versions,
    disk,
    authorities,
    signers,
    clock,
)
"""Each takes the settings. The first, of the settings themselves, stands above."""
