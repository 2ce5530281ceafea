"""Errors as text for the log: in short, however many causes and members they have."""

from __future__ import annotations

import time
import traceback

import pytest

from gatehouse.errors import told
from gatehouse.records.log import (
    MAX_ENTRY_LINES,
    JsonFormatter,
    RedactingFormatter,
)
from gatehouse.records.redact import Redactor
from tests.harness.records import entry


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
