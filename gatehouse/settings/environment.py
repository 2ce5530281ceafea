"""The gate's settings, read once from the environment or `.env`, and judged all at once.

Every fault is collected, so that one run tells everything that has to be mended.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gatehouse import advice
from gatehouse.errors import FaultsError
from gatehouse.http.address import is_loopback
from gatehouse.settings.app_faults import app_disagreements
from gatehouse.settings.apps import AppSettings
from gatehouse.settings.env_file import EnvFile, read_env_file
from gatehouse.settings.kinds import lowered, stripped
from gatehouse.settings.limits import LimitSettings
from gatehouse.settings.lists import list_disagreements
from gatehouse.settings.misspelt import FOODWISE_SETTINGS, INJECTED, USUAL, meant
from gatehouse.settings.sign_in_faults import sign_in_disagreements
from gatehouse.settings.upstream import UpstreamSettings
from gatehouse.settings.words import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

BLANK_MEANS_NONE = {"mcp_app", "state_db"}
"""The settings that may be empty; any other empty setting counts as unset."""

NO_WAY_INTO_SPACE = (
    "MCP_AUTH_TOKEN: is missing, and the gate never runs open. In the settings of the Space, make the variable SIGN_IN with the "
    "value huggingface: clients then sign in, and tokens for those that cannot are made in a browser, at /dashboard. Or make the "
    "secret MCP_AUTH_TOKEN, with 32 random characters or more (or set TOKENS_FILE)"
)
"""For a Space: whoever made it may have no shell."""


class SettingsError(FaultsError):
    """The settings cannot be used. Each fault names its setting."""


class Environment(EnvSettingsSource):
    """The environment. An empty variable leaves a value of `.env` in force, except where empty means none."""

    def __call__(self) -> dict[str, Any]:
        """The variables that count. Quotes around a value are taken off: `docker --env-file` leaves them there."""
        values = {name: unquoted(value) for name, value in super().__call__().items()}
        return {name: value for name, value in values.items() if _counts(name, value)}


def unquoted(value: Any) -> Any:
    """A text without the pair of quotes around it; any other value as it is."""
    if isinstance(value, str) and (
        quoted := re.fullmatch(r"\s*([\"'])(.*)\1\s*", value, re.DOTALL)
    ):
        return quoted[2]
    return value


def _counts(name: str, value: Any) -> bool:
    return stripped(value) != "" or name in BLANK_MEANS_NONE


class Settings(LimitSettings, UpstreamSettings, AppSettings, BaseSettings):
    """All settings of the gate. The string under each field is its meaning; docs/settings.md has more."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    log_format: Annotated[Literal["text", "json"], BeforeValidator(lowered)] = "text"
    """The form of the log: text for people, json for machines."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lowered)] = (
        "info"
    )
    """The least level of lines in the log: debug, info, warning or error."""

    record_calls: bool = True
    """Whether log and metrics say what the bodies of requests and answers tell of a call: method, tool, and its end."""

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if _counts(name, value)}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, the strongest first."""
        return init_settings, Environment(settings_cls), dotenv_settings

    @property
    def loops(self) -> bool:
        """True if the gate would forward to itself."""
        there = self.upstream_at
        everywhere = self.host in {"0.0.0.0", "::"} and is_loopback(there.host)  # noqa: S104
        return (
            not self.in_process
            and self.port == there.port
            and (everywhere or self.host == there.host)
        )

    def disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Settings that do not go together, though each is fine by itself: their names, and a sentence."""
        if self.makes_token and self.exposed and self.sign_in is None:
            yield (
                {"mcp_auth_token", "tokens_file", "host", "auth_issuer", "front", "sign_in"},
                NO_WAY_INTO_SPACE
                if self.in_space
                else (
                    "MCP_AUTH_TOKEN: is missing, and the gate never runs open. On a HOST that others can "
                    "reach, set it to 32 random characters or more (or set TOKENS_FILE). "
                    f"Make one with: {advice.make_secret()}"
                ),
            )
        if self.metrics_token is not None and self.metrics_token == self.mcp_auth_token:
            yield (
                {"mcp_auth_token", "metrics_token"},
                "METRICS_TOKEN: is the same as MCP_AUTH_TOKEN, so a reader of metrics could call tools; make another one",
            )
        if self.tokens_at is not None and self.tokens_at == self.state_db:
            yield (
                {"tokens_file", "state_db"},
                "STATE_DB: is the same file as TOKENS_FILE; give it a name of its own",
            )
        yield from self.identity_disagreements()
        yield from list_disagreements(self)
        yield from sign_in_disagreements(self)
        yield from app_disagreements(self)
        yield from self.upstream_disagreements()
        if self.loops:
            yield (
                {"port", "upstream_port", "host", "upstream_host", "upstream_url"},
                (
                    f"{'UPSTREAM_URL' if self.upstream_url else 'UPSTREAM_PORT'}: is the gate's own PORT, so the gate would forward to itself; give one "
                    "of the two another number"
                ),
            )


KNOWN = ({name.upper() for name in Settings.model_fields} | {*FOODWISE_SETTINGS}).difference(
    INJECTED
)
"""All names that are settings; any other name is somebody else's, or a slip."""


def load_settings(env_file: str = ".env") -> Settings:
    """Read the environment and `env_file` (the environment wins).

    Raises SettingsError with every fault in words; no value of a secret is in them.
    """
    file = read_env_file(Path(env_file))
    if file.faults:
        raise SettingsError(*file.faults)
    faults: list[str] = []
    mended: dict[str, Any] = {}
    try:
        settings = Settings(_env_file=env_file)
    except ValidationError as error:
        faults = [in_words(fault, Settings.model_fields) for fault in error.errors()]
        names = {str(fault["loc"][0]) for fault in error.errors()}
        mended = {name: Settings.model_fields[name].default for name in names}
        # Check the rest, too: read again as if the faulty settings were not set.
        settings = Settings(_env_file=env_file, **mended)
    faults += [fault for names, fault in settings.disagreements() if not names & mended.keys()]
    faults += [*_misspelt(file), *_injected(settings, file), *_usual(settings, file)]
    if faults:
        raise SettingsError(*faults, *unread_env_file(file))
    return settings


def _misspelt(file: EnvFile) -> Iterator[str]:
    for name, lines in file.names.items():
        if setting := meant(name, KNOWN):
            yield (
                f"{file.path}, line {lines[-1]}: {shown_name(name)} is no setting; did you mean {setting}? If your "
                "server reads it, put it into the environment instead"
            )


def _usual(settings: Settings, file: EnvFile) -> Iterator[str]:
    """Faults about names that are usual for what SIGN_IN lacks, and that stand there instead."""
    if settings.sign_in is None:
        return
    has_client = settings.uses_client_of_space and all(settings.sign_in_client)
    lacks = {
        name
        for name in ("sign_in_client_id", "sign_in_client_secret", "admins")
        if not getattr(settings, name)
        and not (settings.admins_in_force if name == "admins" else has_client)
    }
    there = {name.upper() for name, value in os.environ.items() if value.strip()}
    for name, setting in USUAL.items():
        if setting.lower() in lacks and name in there | (file.names.keys() - file.empty):
            yield f"{name}: is there, but is no setting of the gate; did you mean {setting}?"


def _injected(settings: Settings, file: EnvFile) -> Iterator[str]:
    """Faults about what Hugging Face gives to a Space for signing people in, where it is meant for something else."""
    given = {
        name.upper(): value.strip() for name, value in (*file.written.items(), *os.environ.items())
    }
    elsewhere = {
        "AUTH": "Hugging Face judges no tokens for others. Name a client of your own authorization server, or take the three "
        "settings of introspection away",
        "SIGN_IN": "SIGN_IN is another provider. Name the gate's client there, or set SIGN_IN=huggingface",
    }
    if settings.at_hugging_face:
        del elsewhere["SIGN_IN"]
    for group, words in elsewhere.items():
        for part in ("CLIENT_ID", "CLIENT_SECRET"):
            setting = getattr(settings, f"{group}_{part}".lower())
            value = setting.get_secret_value() if isinstance(setting, SecretStr) else setting
            if value and value == given.get(f"OAUTH_{part}"):
                yield f"{group}_{part}: is OAUTH_{part}, by which people sign in at huggingface.co; {words}"
    for place, name in injected_in(file, settings):
        if settings.has_other_ways_in or settings.sign_in is not None:
            yield (
                f"{place}: {name} is no setting of the gate; Hugging Face gives a Space that name, for signing people in at "
                "huggingface.co. Take it away, or put it into the environment if your server reads it"
            )


def injected_in(file: EnvFile, settings: Settings | None) -> Iterator[tuple[str, str]]:
    """The names in the file that Hugging Face gives to a Space, and that nobody uses, each with its place."""
    if settings is not None and settings.uses_client_of_space:
        return
    for name in INJECTED:
        if name in file.names.keys() - file.empty:
            yield f"{file.path}, line {file.names[name][-1]}", name


def shown_name(name: str) -> str:
    """An unknown name as it is told: only if it is too short and plain to be a secret."""
    return name if re.fullmatch(r"[A-Z_-]{1,32}", name) else "a name"


def unread_env_file(file: EnvFile) -> Iterator[str]:
    """A sentence about the file that is not read and was probably meant: beside run.py, or by another name."""
    if file.exists:
        return
    beside, folder = advice.ROOT / ".env", file.path.parent
    if beside.is_file():
        yield f"{beside}: is not read; .env is read from the folder that you start in, {folder}"
    for name in (".env.txt", "env.txt", ".env.local", "env"):
        if (folder / name).is_file():
            yield f"{folder / name}: is not read; only a file of the name .env is"
    example = read_env_file(folder / ".env.example")
    if {"MCP_AUTH_TOKEN", "TOKENS_FILE"} & (example.names.keys() - example.empty):
        yield f"{example.path}: is not read; copy it to .env, and keep your own values there"
