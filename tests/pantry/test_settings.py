"""Which settings are accepted, and what is said about the others."""

from pathlib import Path

import pytest

from pantry import PantrySettings, PantrySettingsError, read_settings

DIGITS = "0123456789abcdef0123456789ABCDEF"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
OTHER = "f" * 32
SECRET = "ntn_do-not-show-me"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in PantrySettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def faults(monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[str]:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    try:
        read_settings()
    except PantrySettingsError as error:
        caught = error
    else:
        return []
    assert SECRET not in f"{caught!r} {caught} {caught.__cause__} {caught.__context__}"
    return caught.faults


def test_without_any_setting_the_records_go_into_a_file() -> None:
    settings = read_settings()
    assert settings.notion_secret is None
    assert settings.sqlite_path == Path("foodwise.sqlite3").absolute()


def test_an_empty_value_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PantrySettings.model_fields:
        monkeypatch.setenv(name.upper(), "  ")
    here = Path("foodwise.sqlite3").absolute()
    assert read_settings() == PantrySettings.model_construct(sqlite_path=here)


def test_a_dotenv_file_is_read_and_what_is_not_ours_in_it_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MCP_AUTH_TOKEN=abc\nSQLITE_PATH=/data/food.db\n")
    assert read_settings().sqlite_path == Path("/data/food.db")


def test_an_empty_variable_leaves_the_file_in_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"NOTION_SECRET={SECRET}\nNOTION_INVENTORY_DB_ID={DASHED}\n")
    monkeypatch.setenv("NOTION_SECRET", "")
    monkeypatch.setenv("NOTION_INVENTORY_DB_ID", "")
    settings = read_settings()
    assert settings.notion_secret is not None
    assert settings.notion_inventory_db_id == DASHED


@pytest.mark.parametrize(
    "pasted",
    [
        DIGITS,
        DASHED,
        f" {DASHED.upper()} ",
        f"https://www.notion.so/{DIGITS}",
        f"https://www.notion.so/team/Our-food-{DIGITS}?v={OTHER}",
        f"https://www.notion.so/team/{DIGITS}?v={OTHER}&p={'e' * 32}&pm=s",
        f"https://team.notion.site/Food-{DASHED}#part",
        f"https://app.notion.com/p/{DIGITS}/",
    ],
)
def test_a_database_may_be_pasted_as_an_id_or_an_address(
    monkeypatch: pytest.MonkeyPatch, pasted: str
) -> None:
    assert not faults(monkeypatch, NOTION_SECRET=SECRET, NOTION_INVENTORY_DB_ID=pasted)
    assert read_settings().notion_inventory_db_id == DASHED


@pytest.mark.parametrize(
    "pasted",
    [
        "food",
        DIGITS[:-1],
        DIGITS + "0",
        f"https://example.org/{DIGITS}",
        f"x-{DIGITS}",
        "/" + DIGITS,
    ],
)
def test_anything_else_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, pasted: str) -> None:
    found = faults(monkeypatch, NOTION_SECRET=SECRET, NOTION_INVENTORY_DB_ID=pasted)
    assert [fault[:45] for fault in found] == ["NOTION_INVENTORY_DB_ID is not a Notion id. Pa"]


def test_a_secret_without_a_database_and_the_reverse_are_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (fault,) = faults(monkeypatch, NOTION_SECRET=SECRET)
    assert "NOTION_INVENTORY_DB_ID is missing" in fault
    (fault,) = faults(monkeypatch, NOTION_SECRET="", NOTION_SHOPPING_DB_ID=DIGITS)
    assert fault.startswith("NOTION_SECRET is missing, though NOTION_SHOPPING_DB_ID is set.")


def test_all_faults_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found = faults(
        monkeypatch,
        NOTION_INVENTORY_DB_ID="food",
        NOTION_SHOPPING_DB_ID="shop",
        NOTION_BASE_URL="http://api.notion.com",
    )
    assert [fault.split()[0] for fault in found] == [
        "NOTION_BASE_URL",
        "NOTION_INVENTORY_DB_ID",
        "NOTION_SHOPPING_DB_ID",
        "NOTION_SECRET",
    ]


def test_one_database_cannot_be_both_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    found = faults(
        monkeypatch,
        NOTION_SECRET=SECRET,
        NOTION_INVENTORY_DB_ID=DIGITS,
        NOTION_SHOPPING_DB_ID=DASHED,
    )
    assert found == ["NOTION_SHOPPING_DB_ID names the same database as NOTION_INVENTORY_DB_ID."]


@pytest.mark.parametrize(
    "url", ["http://notion.example", "notion", "https://", "https://u:p@h/", "https://h/?q=1"]
)
def test_the_secret_is_not_sent_in_the_clear_nor_to_nowhere(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    (fault,) = faults(monkeypatch, NOTION_BASE_URL=url)
    assert fault.startswith("NOTION_BASE_URL ")


def test_a_loopback_address_may_be_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not faults(monkeypatch, NOTION_BASE_URL="http://127.0.0.1:8080/")
    assert read_settings().notion_base_url == "http://127.0.0.1:8080"


def test_the_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not faults(monkeypatch, NOTION_SECRET=SECRET, NOTION_INVENTORY_DB_ID=DIGITS)
    settings = read_settings()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"
    (fault,) = faults(monkeypatch, NOTION_SECRET=f"{SECRET} and more")
    assert fault == "NOTION_SECRET holds a space or a character outside ASCII. Paste it again."
