"""The log's writer: nobody waits for its reader, what is lost is told, and no line is too long."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from gatehouse.records import line_writer
from gatehouse.records.line_writer import MAX_WAITING_BYTES, LineWriter, Stream
from gatehouse.records.log import (
    MAX_ENTRY_LINES,
    MAX_LINE_BYTES,
    JsonFormatter,
    RedactingFormatter,
)
from gatehouse.records.redact import MASK, Redactor
from tests.harness.pipes import Pipe
from tests.harness.program import ROOT, TOKEN
from tests.harness.records import ANSWERED, VALUE, entry

if TYPE_CHECKING:
    from pathlib import Path


def report(lines: int, why: str) -> str:
    return f"lost {lines}: {why}\n"


def test_a_reader_that_stops_keeps_nobody_waiting_and_every_line_is_accounted_for(
    pipe: Pipe,
) -> None:
    writer = LineWriter(pipe.writer, report)
    line = "x" * 999 + "\n"
    start = time.monotonic()
    for _ in range(2000):
        writer.put(line)
    assert time.monotonic() - start < 1
    assert not writer.flush(0.05)
    text = pipe.read_until(r"lost \d+: .*\n")
    writer.put("and on it goes\n")
    text = pipe.read_until("and on it goes\n")
    (lost,) = re.findall(r"lost (\d+): the reader did not keep up", text)
    assert text.count(line) + int(lost) == 2000
    assert text.count(line) <= MAX_WAITING_BYTES / len(line) < text.count(line) + 2
    assert text.index("lost") > text.rindex("x")  # where the lines are missing
    assert writer.flush(1)


def test_a_full_disk_is_waited_out() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(descriptor, report)
    os.close(descriptor)
    for number in range(3):
        writer.put(f"lost {number}\n")
        assert writer.flush(1)


@pytest.mark.parametrize("more", ["", "room\n"])
def test_what_was_lost_is_told_once_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(line_writer, "RETRY_SECONDS", 0.05)
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    descriptor = os.open(tmp_path / "log", os.O_WRONLY)
    writer = LineWriter(descriptor, report)
    os.close(reader)
    for number in range(3):
        writer.put(f"lost {number}\n")
        assert writer.flush(1)
    with (tmp_path / "log").open() as again:
        writer.put(more)
        assert again.readline() == "lost 3: they could not be written (Broken pipe)\n"
        assert not more or again.readline() == more
    os.close(descriptor)


@pytest.mark.parametrize("closes_the_source", [False, True])
def test_no_line_goes_into_a_file_that_got_the_number_of_a_closed_descriptor(
    tmp_path: Path, pipe: Pipe, *, closes_the_source: bool
) -> None:
    os.close(own := os.dup(pipe.writer))  # the lowest number that is free
    writer = LineWriter(pipe.writer, report)
    file = os.open(tmp_path / "database", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, own)
    if closes_the_source:
        os.dup2(file, pipe.writer)
    writer.put("a line\n")
    assert writer.flush(1)
    assert (tmp_path / "database").read_text() == ""
    if not closes_the_source:
        assert pipe.read_until("\n") == "a line\n"
    os.close(file)
    os.close(own)


def test_a_pipe_that_does_not_block_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    writer = LineWriter(pipe.writer, report)
    for number in range(900):
        writer.put(f"{number:999}\n")
    writer.put("end\n")
    text = pipe.read_until("end\n")
    assert [int(line) for line in text.splitlines()[:-1]] == list(range(900))


def test_many_threads_may_log_at_once(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, report)
    threads = [threading.Thread(target=lambda: writer.put("line\n" * 5)) for _ in range(400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(1)
    writer.put("end\n")
    assert pipe.read_until("end\n") == "line\n" * 2000 + "end\n"


def test_half_a_printed_line_never_runs_into_a_line_of_the_log(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, report)
    stream = Stream(writer, pipe.writer)
    stream.write(b"half a li")
    stream.write(b"ne")
    writer.put("a line of the log\n")
    stream.write(b"whole\n")
    writer.put("another\n")
    assert pipe.read_until("another\n") == "half a line\na line of the log\nwhole\nanother\n"


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f955", "\0", "\n", "\udc9b", '"'])
@pytest.mark.parametrize("formatter", [RedactingFormatter, JsonFormatter])
def test_no_line_is_longer_than_two_kilobytes(
    formatter: type[RedactingFormatter], character: str
) -> None:
    for length in (100, 1000, 8192, 200_000):
        text = formatter(Redactor([TOKEN])).format(entry(character * length))
        lines = f"{text}\n".encode().splitlines(keepends=True)
        assert all(len(line) <= MAX_LINE_BYTES for line in lines)
        assert len(lines) <= MAX_ENTRY_LINES + 1
        if formatter is JsonFormatter:
            assert json.loads(text)["level"] == "WARNING"


@pytest.mark.parametrize("formatter", [RedactingFormatter, JsonFormatter])
def test_a_record_with_long_words_stays_whole_but_for_these(
    formatter: type[RedactingFormatter],
) -> None:
    record = ANSWERED._replace(path="/" + "p" * 8000, rpc_method="m" * 3000, tool="t" * 3000)
    text = formatter(Redactor([])).format(entry("", msg=record))
    assert len(text) < MAX_LINE_BYTES
    if formatter is RedactingFormatter:
        assert re.search(r"/p+\.\.\.\(7601-more\) 200 \d.*, alice .* id ", text)
    else:
        assert "more characters)" in text
        fields = json.loads(text)
        assert fields.keys() >= record.fields().keys()
        assert (fields["token"], fields["status"]) == ("alice", 200)
        assert fields["path"].startswith("/ppp")


@pytest.mark.parametrize("secret", [TOKEN, VALUE])
@pytest.mark.parametrize("formatter", [RedactingFormatter, JsonFormatter])
def test_no_cut_leaves_a_piece_of_a_secret(
    formatter: type[RedactingFormatter], secret: str
) -> None:
    format_ = formatter(Redactor([TOKEN])).format
    for before in range(1900, 2048):
        assert secret[10:18] not in format_(entry("." * before + secret + "." * 3000))
    for length in (32_768, 65_536, 98_304):
        text = format_(entry("." * (length - 20) + secret + "." * 40_000))
        assert secret[20:] not in text
        text = format_(entry("." * length + secret + "." * (32_768 - 20)))
        assert secret[20:] not in text
        assert MASK not in text


@pytest.mark.parametrize("formatter", [RedactingFormatter, JsonFormatter])
def test_of_a_long_traceback_the_end_is_kept(formatter: type[RedactingFormatter]) -> None:
    def sink(depth: int) -> None:
        if depth:
            rise(depth - 1)
        raise ValueError("the end")

    def rise(depth: int) -> None:
        sink(depth)

    try:
        sink(200)
    except ValueError as error:
        failed = entry("failed", exc_info=(type(error), error, error.__traceback__))
    start = time.perf_counter()
    text = formatter(Redactor([])).format(failed)
    assert time.perf_counter() - start < 0.05
    assert "Traceback (most recent call last):" in text
    assert text.rstrip('"}').endswith("ValueError: the end")
    lines = text.splitlines()
    assert len(lines) <= MAX_ENTRY_LINES + 1
    assert max(map(len, lines)) < MAX_LINE_BYTES


def test_all_of_the_gates_loggers_are_in_its_own_tree() -> None:
    for path in [ROOT / "gate.py", ROOT / "run.py", *(ROOT / "gatehouse").rglob("*.py")]:
        assert 'logging.getLogger("' not in path.read_text(), path
