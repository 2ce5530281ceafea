"""The log's reader: it may stop, go away or have no room; nobody waits for it, and what is lost is told."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from gatehouse.errors import told
from gatehouse.records import line_writer
from gatehouse.records.line_writer import MAX_WAITING_BYTES, LineWriter, Stream
from gatehouse.records.log import (
    MAX_ENTRY_LINES,
    MAX_LINE_BYTES,
    JsonFormatter,
    RedactingFormatter,
)
from gatehouse.records.redact import MASK, Redactor
from tests.harness.program import ROOT, TOKEN, Program
from tests.harness.records import ANSWERED, VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def report(lines: int, why: str) -> str:
    return f"lost {lines}: {why}\n"


class Pipe:
    """A pipe, and what has been read from it so far."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.text = ""

    def read_until(self, pattern: str) -> str:
        """Read on until the text matches."""
        while not re.search(pattern, self.text):
            self.text += os.read(self.reader, 1 << 20).decode()
        return self.text

    def read_until_end(self) -> str:
        """Read on until nobody writes any more; `writer` has to be closed here."""
        while data := os.read(self.reader, 1 << 20):
            self.text += data.decode()
        return self.text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        with suppress(OSError):  # the test may have closed it
            os.close(descriptor)


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


# No line is too long.


def entry(message: str, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "gate", "levelname": "WARNING", "msg": message, **fields})


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


def chained() -> BaseException:
    error = ValueError("the first")
    for number in range(20_000):
        error, error.__cause__ = ValueError(f"number {number}"), error
    return error


def grouped() -> BaseException:
    return ExceptionGroup("all", [ExceptionGroup("some", [OSError("x")] * 300) for _ in range(300)])


@pytest.mark.parametrize("formatter", [RedactingFormatter, JsonFormatter])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (chained(), "ValueError: number 19999"),
        (grouped(), "ExceptionGroup: all"),
        (ValueError("line\n" * 500_000), "ValueError: line"),
    ],
    ids=["chain", "group", "text"],
)
def test_an_error_of_thousands_is_told_in_short(
    formatter: type[RedactingFormatter], error: BaseException, said: str
) -> None:
    start = time.process_time()
    text = formatter(Redactor([])).format(entry("failed", exc_info=(type(error), error, None)))
    assert time.process_time() - start < 0.1
    assert said in text
    assert len(text.splitlines()) <= MAX_ENTRY_LINES + 1


def test_an_error_of_a_few_causes_is_told_as_python_does() -> None:
    def fail(depth: int) -> None:
        if not depth:
            raise OSError("the first")
        try:
            fail(depth - 1)
        except (OSError, ValueError) as error:
            raise ValueError(f"number {depth}") from (None if depth == 3 else error)

    with pytest.raises(ValueError, match="number 9") as failed:
        fail(9)
    error = failed.value
    assert told(error) == "".join(traceback.format_exception(error)).rstrip("\n")
    assert "number 3" in told(error)
    assert "number 2" not in told(error)
    error.add_note("n" * 70_000)
    assert "number 2" not in told(error)


# Nobody else's configuration of logging is the gate's.


def test_what_others_do_to_logging_does_not_touch_the_gates_lines() -> None:
    code = """
import logging, logging.config, os, sys
from gatehouse.records import outputs
from gatehouse.records import record
from gatehouse.records.loggers import logger_of
from gatehouse.records.log import configure_logging
from tests.harness.records import ANSWERED
configure_logging(["s" * 32])
logging.basicConfig(force=True, level=logging.CRITICAL, format="%(thread)d %(message)s")
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
logging.disable(logging.CRITICAL)
logging.setLogRecordFactory(None)
logging.addLevelName(logging.INFO, "forged")
logging.getLogger("gate.access").disabled = True
logging.getLogger("gate").setLevel(logging.CRITICAL)
logging.setLoggerClass(type("Mute", (logging.Logger,), {"handle": lambda self, entry: None}))
logging.shutdown()
record.write(ANSWERED)
sys.stderr.close()
os.close(2)
logger_of("gate.made.later").warning("said with %s", "s" * 32)
print("printed", flush=True)
assert outputs.flush(5)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    access, later = ended.stderr.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO gate.access: " + re.escape(str(ANSWERED)),
        access,
    )
    assert later.endswith(f"WARNING gate.made.later: said with {MASK}")
    assert (ended.stdout, ended.returncode) == ("printed\n", 0)


def test_what_ends_the_program_is_written_before_the_end() -> None:
    code = "from gatehouse.records.log import configure_logging; configure_logging([]); raise OSError('the end')"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stderr.endswith("OSError: the end\n")
    assert ended.returncode == 1


def test_a_forked_child_writes_for_itself() -> None:
    code = """
import os
from gatehouse.records.loggers import logger_of
from gatehouse.records.log import configure_logging
configure_logging([])
if not os.fork():
    logger_of("gate").warning("from the child")
    print("printed by the child", flush=True)
    os._exit(0)
os.wait()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stderr.endswith("WARNING gate: from the child\n")
    assert ended.stdout == "printed by the child\n"


def test_no_forked_child_waits_for_what_another_thread_held() -> None:
    code = """
import logging, os, signal, sys, threading
from gatehouse.records.log import configure_logging
configure_logging([])
def chatter():
    while True:
        logging.getLogger("library").warning("." * 200)
        sys.stdout.write("." * 80 + "\\n")
for _ in range(4):
    threading.Thread(target=chatter, daemon=True).start()
for _ in range(120):
    if not (child := os.fork()):
        signal.alarm(10)
        print("printed by the child", flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        os._exit(1)
os._exit(0)
"""
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


@pytest.mark.parametrize("spoilt", ["sys.stdout.detach()", "sys.stderr.buffer.detach()"])
def test_streams_that_a_tool_has_spoilt_leave_the_status_as_it_is(spoilt: str) -> None:
    code = f"""
import sys
from gatehouse.records.loggers import logger_of
from gatehouse.records.log import configure_logging
configure_logging([])
try:
    {spoilt}
except OSError:
    sys.stderr = None
logger_of("gate").warning("still said")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.endswith("WARNING gate: still said\n")


def test_all_of_the_gates_loggers_are_in_its_own_tree() -> None:
    for path in [ROOT / "gate.py", ROOT / "run.py", *(ROOT / "gatehouse").rglob("*.py")]:
        assert 'logging.getLogger("' not in path.read_text(), path


def test_lost_lines_are_told_in_the_logs_own_form(pipe: Pipe) -> None:
    code = """
import threading
from gatehouse.records import outputs
from gatehouse.records import record
from gatehouse.records.log import configure_logging
from tests.harness.records import ANSWERED
configure_logging([], json=True)
for _ in range(6000):
    record.write(ANSWERED)
print("logged", flush=True)
assert outputs.flush(10)
"""
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=pipe.writer
    )
    assert program.stdout is not None
    with program.stdout:
        assert program.stdout.readline() == b"logged\n"
    os.close(pipe.writer)
    text = pipe.read_until_end()
    assert program.wait(10) == 0
    entries = [json.loads(line) for line in text.splitlines()]
    told = [entry for entry in entries if entry["logger"] == "gate.log"]
    assert {entry["level"] for entry in told} == {"WARNING"}
    lost = re.findall(
        r"(\d+) lines were lost, since the reader did not keep up",
        "\n".join(entry["message"] for entry in told),
    )
    assert len(lost) == len(told) > 0
    assert text.count("gate.access") + sum(map(int, lost)) == 6000


# The whole program.


def ask(program: Program, path: str = "/health") -> int:
    return httpx.get(program.url + path, trust_env=False, timeout=2).status_code


def test_a_gate_whose_log_nobody_reads_answers_and_ends(tmp_path: Path, pipe: Pipe) -> None:
    program = Program(tmp_path, {"MCP_AUTH_TOKEN": TOKEN}, output=pipe.writer)
    try:
        program.wait_for()
        with httpx.Client(base_url=program.url, trust_env=False, timeout=2) as stranger:
            for _ in range(60):
                assert stranger.get("/mcp/" + "x" * 8000).status_code == 401
        assert ask(program) == 200
        assert program.stop(seconds=5) == 0
    finally:
        program.process.kill()
        program.process.wait()


def test_a_gate_whose_logs_reader_has_left_ends_with_status_0(tmp_path: Path, pipe: Pipe) -> None:
    program = Program(tmp_path, {"MCP_AUTH_TOKEN": TOKEN}, output=pipe.writer)
    os.close(pipe.reader)
    try:
        program.wait_for()
        assert program.stop(seconds=5) == 0
    finally:
        program.process.kill()
        program.process.wait()
