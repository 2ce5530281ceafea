"""FoodWise's settings: read from the environment or `.env`, and judged all at once.

A setting that is empty, or holds only spaces, counts as not set.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticUseDefault
from pydantic_settings import BaseSettings, SettingsConfigDict

_NOTION_ID = re.compile(
    r"(?:^|[/-])([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})$", re.IGNORECASE
)
_NOTION_HOST = re.compile(r"(?:.+\.)?notion\.(?:so|com|site)", re.IGNORECASE)


class PantrySettingsError(Exception):
    """The settings cannot work.

    Args:
        faults: one short sentence for each fault, each naming its setting, none holding a secret.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults


class PantrySettings(BaseSettings):
    """Where FoodWise keeps its records: in Notion if `notion_secret` is set, else in SQLite."""

    # The order matters: a field's validator sees only the fields above it.
    model_config = SettingsConfigDict(
        env_file=".env",
        # An empty variable leaves the value of `.env` in force.
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        frozen=True,
    )

    sqlite_path: Path = Field(default=Path("foodwise.sqlite3"), validate_default=True)
    notion_base_url: str = "https://api.notion.com"
    notion_inventory_db_id: str | None = None
    notion_shopping_db_id: str | None = None
    notion_secret: SecretStr | None = Field(default=None, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_means_not_set(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        # `docker --env-file` leaves quotes around a value.
        plain = re.sub(r"(?s)^([\"'])(.*)\1$", r"\2", value.strip()).strip()
        if not plain:
            raise PydanticUseDefault
        return plain

    @field_validator("sqlite_path")
    @classmethod
    def _where_it_is_now(cls, value: Path) -> Path:
        return value.absolute()  # the program may go elsewhere before the file is opened again

    @field_validator("notion_base_url")
    @classmethod
    def _no_secret_in_the_clear(cls, value: str) -> str:
        url = urlsplit(value)
        loopback = url.hostname in {"127.0.0.1", "::1", "localhost"}
        if not url.hostname or url.query or url.fragment or url.username:
            raise ValueError("is not a plain https:// address.")
        if url.scheme != "https" and not (url.scheme == "http" and loopback):
            raise ValueError("must start with https://; only a loopback address may be http.")
        return value.rstrip("/")

    @field_validator("notion_inventory_db_id", "notion_shopping_db_id")
    @classmethod
    def _canonical_id(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        canonical = _parse_notion_id(value)
        if canonical == info.data.get("notion_inventory_db_id"):
            raise ValueError("names the same database as NOTION_INVENTORY_DB_ID.")
        return canonical

    @field_validator("notion_secret")
    @classmethod
    def _secret_and_database_together(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        # A field whose own validation failed is absent from `data`: it was set, though wrongly.
        ids = {
            name.upper(): info.data.get(name, "wrong")
            for name in ("notion_inventory_db_id", "notion_shopping_db_id")
        }
        given = [name for name, id_ in ids.items() if id_]
        if value is None:
            if given:
                raise ValueError(
                    f"is missing, though {' and '.join(given)} is set. Set the connection's secret,"
                    " or remove the id to keep the records in SQLite."
                )
            return None
        if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("holds a space or a character outside ASCII. Paste it again.")
        if not ids["NOTION_INVENTORY_DB_ID"]:
            raise ValueError(
                "is set, but NOTION_INVENTORY_DB_ID is missing. Set it to the id or the address of"
                " the inventory database, or remove the secret to keep the records in SQLite."
            )
        return value


def _parse_notion_id(value: str) -> str:
    """Take the dashed UUID out of an id, or out of a Notion address.

    Only the path of an address counts. Its query names the view (`v`), or a page that happened to be
    open beside the table (`p`), which notion-client's own helper would take for the database.
    """
    path = re.split(r"[?#]", value)[0].rstrip("/")
    found = _NOTION_ID.search(path)
    is_address = "://" in value
    at_notion = is_address and _NOTION_HOST.fullmatch(urlsplit(value).hostname or "")
    if not found or not (at_notion or found[1] == value):
        raise ValueError(
            "is not a Notion id. Paste the 32 hexadecimal digits, or the address, of the database."
        )
    digits = found[1].replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def read_settings() -> PantrySettings:
    """Read the environment and `.env`.

    Raises:
        PantrySettingsError: with all faults together.
    """
    try:
        return PantrySettings()
    except ValidationError as error:
        faults = [
            f"{str(fault['loc'][0]).upper()} {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_context=False, include_url=False)
        ]
    # Outside the `except`, so that the new error does not drag the old one along.
    raise PantrySettingsError(faults)
