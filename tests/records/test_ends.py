"""The lines of connections that were ended: each names its reason, as the table of the documents and the figures do."""

from __future__ import annotations

import pytest

from gatehouse.records.ends import SAYS, Ends

ADDRESS = "203.0.113.7"


@pytest.mark.parametrize("reason", SAYS)
def test_each_line_ends_with_the_reason(reason: str, access_log: pytest.LogCaptureFixture) -> None:
    ends = Ends()
    ends.ended(reason, ADDRESS)
    (line,) = [entry.getMessage() for entry in access_log.records]
    assert ADDRESS in line
    assert line.endswith(f" ({reason})")
    assert ends.connections == {reason: 1}
