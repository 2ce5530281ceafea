"""The gate's settings: read once from the environment or `.env`, and refused in words if wrong.

Every fault is collected, so that one run tells everything that has to be mended. The words never
repeat a value that may be secret.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from gatehouse.http.address import is_loopback
from gatehouse.identity.rate import parse_rate
from gatehouse.policy.shared_state import shared_address

if TYPE_CHECKING:
    from collections.abc import Iterator

FOODWISE = "mcp_app:mcp"
OFF = "off"
BLANK_MEANS_NONE = {"mcp_app", "state_db"}
"""The settings that may be empty; any other empty setting counts as unset."""

NUMBER_FAULTS = {
    *(
        "int_parsing",
        "int_type",
        "int_from_float",
        "int_parsing_size",
        "float_parsing",
        "float_type",
    ),
    *("finite_number", "greater_than", "greater_than_equal", "less_than_equal"),
}
"""Pydantic's names of what can be wrong with a number."""

MIN_TOKEN_LENGTH = 32
MIN_HEADER_BYTES = 1024
"""The least that MAX_HEADER_BYTES may be: with less, no client's ordinary fields would pass."""

MAKE_A_TOKEN = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'  # noqa: S105

# RFC 3986 section 3.3, without percent-encoding, empty segments and parameters: enough for an
# endpoint path, and nothing that two programs could read in two ways.
ENDPOINT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?")
HOST_NAME = re.compile(
    r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?|\[[0-9a-f:.]+\]|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*"
)
IMPORT_STRING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class SettingsError(Exception):
    """The settings cannot be used. `faults` has one sentence for each fault, naming the setting."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _host(value: Any) -> Any:
    host = _stripped(value)
    if isinstance(host, str):
        host = host.removeprefix("[").removesuffix("]")
        if not re.fullmatch(r"[A-Za-z0-9.:_%-]+", host):
            raise ValueError("must be a host name or an IP address, without port or scheme")
    return host


def _token(value: Any) -> Any:
    """A token must fit into a header field as it is; a blank one counts as none."""
    token = _stripped(value)
    if not isinstance(token, str):
        return token
    if not token:
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("may hold visible ASCII characters only, no spaces")
    if len(token) < MIN_TOKEN_LENGTH:
        raise ValueError(
            f"is too short: it needs {MIN_TOKEN_LENGTH} random characters or more. "
            f"Make one with: {MAKE_A_TOKEN}"
        )
    return token


def _endpoint_path(value: Any) -> Any:
    path = _stripped(value)
    if isinstance(path, str) and not ENDPOINT_PATH.fullmatch(path):
        raise ValueError(
            "must be a plain path such as /mcp: no query, no %, no empty or dot segments"
        )
    return path


def _import_string(value: Any) -> Any:
    name = _stripped(value)
    if isinstance(name, str) and name and not IMPORT_STRING.fullmatch(name):
        raise ValueError(
            "must look like module:name (for example mcp_app:mcp), or be empty if an MCP server "
            "already runs at the upstream address"
        )
    return name


def listed(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list, in lower case."""
    return tuple(item for part in text.lower().split(",") if (item := part.strip()))


def _rate(value: Any) -> Any:
    text = _stripped(value)
    if isinstance(text, str) and text and text != OFF:
        try:
            parse_rate(text)
        except ValueError as error:
            raise ValueError(f"{error}; off for no limit") from None
    return text


def _shared_state_url(value: Any) -> Any:
    url = _stripped(value)
    if isinstance(url, str) and url:
        shared_address(url)
    return url or None


def _origins(value: str) -> str:
    for origin in listed(value):
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", origin):
            raise ValueError(
                f"{origin} is no origin; write scheme://host or scheme://host:port, with commas between"
            )
    return value


def _hosts(value: str) -> str:
    for host in listed(value):
        if not HOST_NAME.fullmatch(host):
            raise ValueError(
                f"{host} is no host name; write names such as gate.example.com, without scheme, port "
                "or *, with commas between"
            )
    return value


Count = Annotated[int, BeforeValidator(_stripped), Field(ge=1)]
Seconds = Annotated[float, BeforeValidator(_stripped), Field(gt=0, le=86_400)]
Hops = Annotated[int | None, Field(ge=0, le=16)]
Rates = Annotated[str, BeforeValidator(_rate)]
File = Annotated[
    Path | None,
    BeforeValidator(lambda value: _stripped(value) or None),
    # Resolved now: a hosted server may go elsewhere (os.chdir). A link stays one, and may be set anew.
    AfterValidator(lambda path: path and path.absolute()),
    Field(validate_default=True),
]
Mode = Annotated[Literal["", "network", "inprocess"], BeforeValidator(_stripped)]
Runtime = Annotated[Literal["", "asyncio", "trio"], BeforeValidator(_stripped)]
Host = Annotated[str, BeforeValidator(_host)]
Port = Annotated[int, BeforeValidator(_stripped), Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """All settings of the gate; docs/settings.md says what each one means."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in given.items()
            if _stripped(value) != "" or name in BLANK_MEANS_NONE
        }

    mcp_auth_token: Annotated[SecretStr | None, BeforeValidator(_token)] = None
    host: Host = "127.0.0.1"
    port: Port = 7860
    upstream_host: Host = "127.0.0.1"
    upstream_port: Port = 7870
    upstream_path: Annotated[str, BeforeValidator(_endpoint_path)] = "/mcp"
    mcp_app: Annotated[str, BeforeValidator(_import_string)] = FOODWISE

    upstream_mode: Mode = ""
    upstream_runtime: Runtime = ""
    upstream_keep_alive: bool = False

    allowed_hosts: Annotated[str, BeforeValidator(_stripped), AfterValidator(_hosts)] = ""
    allowed_origins: Annotated[str, AfterValidator(_origins)] = ""

    tokens_file: File = None
    state_db: File = Path("gate-state.sqlite3")
    allow_query_key: bool = True
    token_rate: Rates = ""
    query_rate: Rates = ""
    failure_rate: Rates = "60/min, burst 60"
    trusted_hops: Hops = None
    shared_state_url: Annotated[SecretStr | None, BeforeValidator(_shared_state_url)] = None
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_stripped)] = "text"
    metrics_token: Annotated[SecretStr | None, BeforeValidator(_token)] = None

    max_connections: Count = 2000
    max_target_bytes: Count = 8192
    max_header_bytes: Annotated[int, BeforeValidator(_stripped), Field(ge=MIN_HEADER_BYTES)] = 16384
    max_header_fields: Count = 100
    max_body_bytes: Count = 4 * 1024 * 1024

    header_seconds: Seconds = 6
    body_seconds: Seconds = 15
    write_seconds: Seconds = 30
    keep_alive_seconds: Seconds = 30
    upstream_seconds: Seconds = 300
    upstream_silence_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0
    comment_seconds: Annotated[float, Field(ge=0, le=3600)] = 15
    start_seconds: Annotated[float, Field(ge=0, le=3600)] = 10
    start_requests: Annotated[int, Field(ge=0, le=100_000)] = 64
    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 10

    # Set by Hugging Face in a Space, not by the user: they tell where we are, not what to do.
    space_id: str = ""
    space_host: str = ""

    @property
    def hosts_allowed(self) -> tuple[str, ...]:
        """The names that Host may have, in lower case; none means that the bind address decides."""
        return listed(self.allowed_hosts) or (listed(self.space_host) if self.in_space else ())

    @property
    def origins_allowed(self) -> tuple[str, ...]:
        """The origins of web pages that may send requests, in lower case."""
        return listed(self.allowed_origins)

    @property
    def in_space(self) -> bool:
        """True in a Hugging Face Space, which is always reachable from outside."""
        return bool(self.space_id)

    @property
    def hops(self) -> int:
        """How many fronts stand before the gate; each adds the address that it sees."""
        return int(self.in_space) if self.trusted_hops is None else self.trusted_hops

    @property
    def makes_token(self) -> bool:
        """True if no token is set, so that one is made for this run."""
        return self.mcp_auth_token is None and self.tokens_file is None

    @property
    def hosts_upstream(self) -> bool:
        """True if this program runs the MCP server itself, False if the server runs elsewhere."""
        return bool(self.mcp_app)

    @property
    def in_process(self) -> bool:
        """True if the gate calls the hosted server directly, not through a port of its own."""
        return (self.upstream_mode or ("inprocess" if self._foodwise else "network")) == "inprocess"

    @property
    def on_trio(self) -> bool:
        """True if the hosted server runs on Trio itself, not on asyncio in trio-asyncio."""
        fast = self._foodwise and self.in_process
        return (self.upstream_runtime or ("trio" if fast else "asyncio")) == "trio"

    @property
    def _foodwise(self) -> bool:
        # Any FastMCP server works at a port and on asyncio; this one is known to need neither.
        return self.mcp_app == FOODWISE

    @property
    def local_endpoint(self) -> str:
        """The MCP endpoint's URL for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/mcp"

    @property
    def public_endpoint(self) -> str:
        """The MCP endpoint's URL as others see it: on the Space's first host name, if it has one."""
        # With a custom domain there are several; the first one is canonical.
        space_hosts = listed(self.space_host) if self.in_space else ()
        return f"https://{space_hosts[0]}/mcp" if space_hosts else self.local_endpoint


def load_settings(env_file: Path | str | None = ".env") -> Settings:
    """Read the environment and `env_file` (the environment wins).

    Raises SettingsError with every fault in words; no value of a secret is in them.
    """
    faults: list[str] = []
    mended: dict[str, Any] = {}
    try:
        try:
            settings = Settings(_env_file=env_file)
        except ValidationError as error:
            faults = [_in_words(fault) for fault in error.errors()]
            names = {str(fault["loc"][0]) for fault in error.errors()}
            mended = {name: Settings.model_fields[name].default for name in names}
            # Check the rest, too: read again as if the faulty settings were not set.
            settings = Settings(_env_file=env_file, **mended)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{env_file}: cannot be read ({type(error).__name__})"]) from None
    faults += [fault for names, fault in _disagreements(settings) if not names & mended.keys()]
    if faults:
        raise SettingsError(faults)
    return settings


def _disagreements(settings: Settings) -> Iterator[tuple[set[str], str]]:
    """Settings that together would open the gate or make it loop, though each is fine: names and sentence."""
    exposed = settings.in_space or not is_loopback(settings.host)
    if settings.makes_token and exposed:
        yield (
            {"mcp_auth_token", "tokens_file", "host"},
            (
                "MCP_AUTH_TOKEN: is missing, and the gate never runs open. On a HOST that others can "
                "reach, or in a Space, set it to 32 random characters or more (or set TOKENS_FILE). "
                f"Make one with: {MAKE_A_TOKEN}"
            ),
        )
    if settings.metrics_token is not None and settings.metrics_token == settings.mcp_auth_token:
        yield (
            {"mcp_auth_token", "metrics_token"},
            "METRICS_TOKEN: is the same as MCP_AUTH_TOKEN; who may read figures may not call tools",
        )
    if settings.hosts_upstream and not is_loopback(settings.upstream_host):
        yield (
            {"mcp_app", "upstream_host"},
            (
                "UPSTREAM_HOST: must be a loopback address such as 127.0.0.1 while MCP_APP is set, or "
                "others could reach the MCP server without passing the gate"
            ),
        )
    if settings.in_process and not settings.hosts_upstream:
        yield (
            {"mcp_app", "upstream_mode"},
            "UPSTREAM_MODE: inprocess needs a server to host; set MCP_APP, or UPSTREAM_MODE=network",
        )
    if settings.on_trio and not settings.in_process:
        yield (
            {"mcp_app", "upstream_mode", "upstream_runtime"},
            (
                "UPSTREAM_RUNTIME: trio needs UPSTREAM_MODE=inprocess, since the server that listens at "
                "a port runs on asyncio"
            ),
        )
    if loops(settings):
        yield (
            {"port", "upstream_port", "host", "upstream_host"},
            (
                "UPSTREAM_PORT: is the gate's own PORT, so the gate would forward to itself; give one "
                "of the two another number"
            ),
        )


def loops(settings: Settings) -> bool:
    """True if the gate would forward to itself."""
    everywhere = settings.host in {"0.0.0.0", "::"} and is_loopback(settings.upstream_host)  # noqa: S104
    return (
        not settings.in_process
        and settings.port == settings.upstream_port
        and (everywhere or settings.host == settings.upstream_host)
    )


def _in_words(fault: Any) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"].startswith("bool_"):
        message = "must be true or false"
    loc = fault["loc"]
    if fault["type"] in NUMBER_FAULTS and loc:
        message = _number_wanted(str(loc[0]))
    name = ".".join(str(part) for part in loc).upper()
    return f"{name}: {message}" if name else message


def _number_wanted(name: str) -> str:
    """The advice for a setting that is no number, or out of its bounds."""
    field = Settings.model_fields[name]
    whole = int in (field.annotation, *get_args(field.annotation))
    bounds = {
        sign: bound
        for rule in field.metadata
        for sign in ("ge", "gt", "le")
        if (bound := getattr(rule, sign, None)) is not None
    }
    words = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}"}
    limits = " and ".join(
        words[sign].format(f"{bound:g}" if bound < 1e6 else bound) for sign, bound in bounds.items()
    )
    example = 1 if field.default is None else field.default
    return f"must be a {'whole ' if whole else ''}number, {limits}, such as {example}"


def make_token() -> str:
    """A one-off token: 43 URL-safe characters, 256 bits of randomness."""
    return secrets.token_urlsafe(32)
