"""The files that pages of the dashboard load: read once, and known by a version that changes with them.

They hold nothing about this gate, and anybody may read them: the page for people who are not signed in needs them.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse.http.paths import DASHBOARD
from gatehouse.http.reply import Reply

if TYPE_CHECKING:
    from gatehouse.http.request import Request

TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
"""The types of the files, by how their names end. A file of another kind is not served."""

KEPT = b"public, max-age=31536000, immutable"
"""For a year: with another content a file has another URL."""


def _read() -> dict[bytes, tuple[bytes, bytes, bytes]]:
    found = {}
    for file in sorted(Path(__file__).with_name("assets").iterdir()):
        if kind := TYPES.get(file.suffix):
            content = file.read_bytes()
            path = DASHBOARD + b"/assets/" + file.name.encode("ascii")
            found[path] = (kind, content, sha256(content).hexdigest()[:16].encode("ascii"))
    return found


ASSETS = _read()
"""Type, content and version of each file, by its path."""


def asset(request: Request) -> Reply:
    """The file at the path of the request. A browser keeps it if its URL tells the version."""
    kind, content, version = ASSETS[request.path]
    kept = KEPT if request.query == b"v=" + version else b"no-store"
    return Reply(200, content, ((b"Content-Type", kind), (b"Cache-Control", kept)))


def asset_link(name: str) -> str:
    """The URL of a file by its name, with its version."""
    path = f"{DASHBOARD.decode()}/assets/{name}"
    return f"{path}?v={ASSETS[path.encode()][2].decode()}"
