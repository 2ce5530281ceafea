"""nginx, HAProxy and Caddy in the gate's place: one worker, the same check of the token, no access log.

They do less than the gate: no look at Host, Origin or path, one place for the token instead of three, and
no log line (the gate writes one for each request). Each lets in the exact token only, takes it off, and
keeps its connections to the upstream. nginx does not collect answers (`proxy_buffering off`), which would
hold up event streams.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.harness.program import TOKEN, free_port
from tests.load.processes import NotThereError

if TYPE_CHECKING:
    from tests.load.processes import Server, Stage

SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

NGINX = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream null {{ server 127.0.0.1:{upstream}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 4m;
        location /mcp {{
            if ($http_authorization != "Bearer {token}") {{ return 401; }}
            proxy_set_header Authorization "";
            proxy_set_header Connection "";
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_pass http://null;
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 300s
    http-reuse always
listen peer
    bind 127.0.0.1:{port}
    http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "Bearer {token}" }}
    http-request del-header authorization
    server null 127.0.0.1:{upstream}
"""

CADDY = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    @stranger not header Authorization "Bearer {token}"
    respond @stranger 401
    reverse_proxy 127.0.0.1:{upstream} {{
        header_up -Authorization
    }}
}}
"""


def nginx(stage: Stage, upstream_port: int) -> Server:
    """A master that does nothing, and its one worker."""
    program = installed("nginx")
    return peer(stage, [program, "-p", str(stage.folder), "-c"], NGINX, upstream_port)


def haproxy(stage: Stage, upstream_port: int) -> Server:
    """One process in the foreground, with one thread."""
    return peer(stage, [installed("haproxy"), "-db", "-f"], HAPROXY, upstream_port)


def caddy(stage: Stage, upstream_port: int) -> Server:
    """One process, whose Go code uses one core at a time."""
    command = [installed("caddy"), "run", "--adapter", "caddyfile", "--config"]
    home = str(stage.folder)  # where it keeps its data
    return peer(
        stage,
        command,
        CADDY,
        upstream_port,
        GOMAXPROCS="1",
        XDG_DATA_HOME=home,
        XDG_CONFIG_HOME=home,
    )


def installed(name: str) -> str:
    """Where the program is; NotThereError if nowhere."""
    path = shutil.which(name) or shutil.which(name, path=SBIN)  # some PATHs have no /usr/sbin
    if path is None:
        raise NotThereError("not installed")
    return path


def peer(
    stage: Stage, command: list[str], configuration: str, upstream_port: int, **environment: str
) -> Server:
    """Write the configuration, and start the program whose last argument is its file."""
    port = free_port()
    file = stage.folder / f"peer-{port}.conf"
    file.write_text(configuration.format(port=port, upstream=upstream_port, token=TOKEN))
    server = stage.start([*command, str(file)], port, **environment)
    server.wait()
    return server
