"""A reader of event streams, written from the HTML Standard word by word: 9.2.5 (lines), 9.2.6 (what they mean)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class EventSource:
    """A stream as a browser reads it: the events it dispatches, and the retry times it takes."""

    dispatched: list[tuple[str, str, str] | int] = field(default_factory=list)
    """(type, data, last event id) for an event, a number for a reconnection time."""
    last_event_id: str = ""
    _data: str = ""
    _type: str = ""
    _id: str = ""

    def process(self, line: str) -> None:
        if line == "":
            self._dispatch()
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            self._field(name, value.removeprefix(" "))

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.dispatched.append(int(value))

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        if self._data:
            self.dispatched.append(
                (self._type or "message", self._data.removesuffix("\n"), self.last_event_id)
            )
        self._data = self._type = ""


def parsed(stream: bytes) -> EventSource:
    """All that comes of the lines that have ended; a pending event is dropped."""
    source = EventSource()
    *lines, _ = re.split("\r\n|\n|\r", stream.decode("utf-8", "replace"))
    for line in lines:
        source.process(line)
    return source


def cut(stream: bytes, places: set[int]) -> list[bytes]:
    bounds = sorted({0, *places, len(stream)})
    return [stream[start:end] for start, end in pairwise(bounds)]
