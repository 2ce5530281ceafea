"""A pipe to write a log into, whose reader reads when the test says."""

from __future__ import annotations

import os
import re


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
