"""The SQLite file: it survives, it is shared safely, and it is never a wrong one."""

import sqlite3
import sys
import time
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
import trio

from pantry import PantrySettings, PantrySettingsError, Query, open_store, sqlite_file
from pantry.errors import RefusedError, UnavailableError
from pantry.models import NewItem
from pantry.sqlite_file import SqliteFile
from pantry.sqlite_store import SqliteStore

TAKE_IN_ANOTHER_PROCESS = """
import anyio, sys
from pathlib import Path
from pantry.errors import RefusedError
from pantry.sqlite_store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    for _ in range(20):
        try:
            await store.inventory.take(sys.argv[2], 1)
        except RefusedError:
            print("refused")

anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "food.sqlite3"


@pytest.fixture
def store(path: Path) -> SqliteStore:
    return SqliteStore(path)


async def faults_of_opening(path: Path) -> str:
    with pytest.raises(PantrySettingsError) as caught:
        async with open_store(PantrySettings.model_construct(sqlite_path=path)):
            pass
    (fault,) = caught.value.faults
    assert fault.startswith(f"SQLITE_PATH ({path}): ")
    return fault


async def test_the_records_survive_a_restart(store: SqliteStore, path: Path) -> None:
    item = await store.inventory.add(NewItem(name="Flour", quantity=1.5))
    await store.aclose()
    assert await SqliteStore(path).inventory.get(item.id) == item


async def test_many_first_calls_at_once_make_one_file(store: SqliteStore) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(store.inventory.find, Query())
        for _ in range(5):
            nursery.start_soon(store.inventory.add, NewItem(name="Milk", quantity=1))
    assert len((await store.inventory.find(Query())).items) == 5


async def test_two_processes_at_once_never_lose_an_update(store: SqliteStore, path: Path) -> None:
    item = await store.inventory.add(NewItem(name="Eggs", quantity=50))
    command = [sys.executable, "-c", TAKE_IN_ANOTHER_PROCESS, str(path), item.id]
    refused = 0
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            nonlocal refused
            done = await trio.run_process(command, capture_stdout=True)
            refused += done.stdout.count(b"refused")

        nursery.start_soon(take)
        nursery.start_soon(take)
        for _ in range(20):
            try:
                await store.inventory.take(item.id, 1)
            except RefusedError:
                refused += 1
    assert (await store.inventory.get(item.id)).quantity == 0
    assert refused == 10


async def test_what_a_write_rests_on_cannot_change_before_it_is_done(
    store: SqliteStore, path: Path
) -> None:
    item = await store.inventory.add(NewItem(name="Eggs", quantity=10))
    reading = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def take_slowly(connection: sqlite3.Connection) -> None:
        (quantity,) = connection.execute("SELECT quantity FROM inventory").fetchone()
        token.run_sync_soon(reading.set)
        time.sleep(0.2)
        connection.execute("UPDATE inventory SET quantity = ?", [quantity - 1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(SqliteFile(path).write, take_slowly)
        await reading.wait()
        assert (await store.inventory.take(item.id, 1)).quantity == 8


async def test_a_file_that_stays_locked_is_an_error_that_says_when_to_try_again(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.check()
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError, match="Try again in 5 seconds") as caught:
            await store.inventory.add(NewItem(name="Milk", quantity=1))
    assert caught.value.retry_after == 5
    await store.inventory.add(NewItem(name="Milk", quantity=1))


async def test_a_write_that_fails_leaves_everything_as_it_was(store: SqliteStore) -> None:
    item = await store.inventory.add(NewItem(name="Milk", quantity=1))
    with pytest.raises(RefusedError):
        await store.inventory.take(item.id, 2)
    assert (await store.inventory.find(Query())).items == [item]


async def test_a_page_begins_where_the_last_ended_though_rows_came_and_went(
    store: SqliteStore,
) -> None:
    items = [await store.inventory.add(NewItem(name=name, quantity=1)) for name in "bdf"]
    page = await store.inventory.find(Query(), limit=2)
    await store.inventory.remove(items[1].id)
    for name in "aeg":
        await store.inventory.add(NewItem(name=name, quantity=1))
    rest = await store.inventory.find(Query(), cursor=page.next_cursor)
    assert [item.name for item in rest.items] == ["e", "f", "g"]


async def test_the_cursor_of_one_order_is_refused_by_another(store: SqliteStore) -> None:
    for name in "ab":
        await store.inventory.add(NewItem(name=name, quantity=1))
    page = await store.inventory.find(Query(), limit=1)
    query = Query(expires_by=date(2026, 11, 24))
    with pytest.raises(RefusedError, match="without a cursor"):
        await store.inventory.find(query, cursor=page.next_cursor)


def test_the_file_keeps_a_rollback_journal(tmp_path: Path) -> None:
    async def check() -> None:
        await SqliteStore(tmp_path / "food").check()

    trio.run(check)
    with closing(sqlite3.connect(tmp_path / "food")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_file_of_a_newer_version_is_refused(store: SqliteStore, path: Path) -> None:
    await store.check()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert "version 2 of the schema" in await faults_of_opening(path)


async def test_a_database_of_another_program_is_refused_and_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE inventory (id)")
    before = await trio.Path(path).read_bytes()
    assert "some other program" in await faults_of_opening(path)
    assert await trio.Path(path).read_bytes() == before


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    await trio.Path(path).write_text("shopping: milk\n" * 100)
    assert "file is not a database" in await faults_of_opening(path)


async def test_a_folder_that_does_not_exist_is_told(path: Path) -> None:
    assert "folder of the inventory file does not exist" in await faults_of_opening(
        path / "x" / "y"
    )


async def test_a_path_that_is_a_folder_is_told(tmp_path: Path) -> None:
    assert "is a folder" in await faults_of_opening(tmp_path)
