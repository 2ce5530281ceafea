"""Fronts before a gate, nginx and Caddy, with configurations that spoil something."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.harness.program import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 20

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{there}; proxy_http_version 1.1; proxy_set_header Host $http_host; {more} }}
  }}
}}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{there} {{
    {more}
  }}
}}
"""


@contextmanager
def front(kind: str, folder: Path, there: int, more: str) -> Iterator[int]:
    """A front before the port `there`, with these lines more in its configuration: its own port."""
    if shutil.which(kind) is None:
        pytest.skip(f"there is no {kind}")
    folder.mkdir(exist_ok=True)
    port, file = free_port(), folder / f"{kind}.conf"
    text = NGINX if kind == "nginx" else CADDY
    file.write_text(text.format(folder=folder, port=port, there=there, more=more))
    command = {
        "nginx": ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)],
        "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
    }[kind]
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin"}
    with _running(command, port, folder / "output", environment):
        yield port


@contextmanager
def server_alone(folder: Path) -> Iterator[int]:
    """FastMCP's own server, without a gate: its port."""
    port = free_port()
    text = f"from fastmcp import FastMCP\nFastMCP('x').run('http', port={port}, show_banner=False)"
    with _running([sys.executable, "-c", text], port, folder / "output", {**os.environ}):
        yield port


@contextmanager
def _running(
    command: list[str], port: int, output: Path, environment: dict[str, str]
) -> Iterator[None]:
    """A program that listens at a port, until the block ends."""
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _wait_for(port, process, output)
        yield
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
