"""Parts to figures: the things of one gate that are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.records.metrics import Metrics
from gatehouse.records.redact import Redactor

if TYPE_CHECKING:
    from gatehouse.assembly.house import House


def metrics_of(house: House) -> Metrics:
    """The figures of the gate."""
    return Metrics(
        in_flight=lambda: len(house.in_flight),
        open_streams=lambda: house.in_flight.open_streams,
        connections=lambda: len(house.connections.open),
        ends=house.connections.ends,
        stalls=house.watchdog.facts,
        redact=Redactor(house.hidden),
        key_ages=house.identity.key_ages,
    )
