"""Believable data for pictures: tokens, apps and calls of a kitchen, with a past."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gatehouse.apps.client import Client
from gatehouse.identity.grants import Grants
from gatehouse.identity.subject import subject_of
from gatehouse.records.record import Record
from gatehouse.tokens import issue
from gatehouse.tokens.token import Token
from tests.harness.identity.hugging_face import PEOPLE

if TYPE_CHECKING:
    from pathlib import Path

    from gatehouse.apps.grants import Grants as AppGrants
    from gatehouse.records.recent import Recent

TOKENS = [  # name, note, days since it was made, days it is good for
    ("laptop", "Claude Desktop in the study", 41, 0),
    ("phone", "Claude on the phone", 12, 0),
    ("nightly", "The job that writes the shopping list", 96, 120),
    ("guest", "For the weekend", 9, 7),
]
APPS = [  # name, place, person, minutes since it was let in and since it came last, from where
    ("Claude", "claude.ai", "alice", 17_000, 3, "160.79.104.10"),
    ("Claude Code (foodwise)", "this computer", "alice", 4_400, 51, "203.0.113.20"),
    ("ChatGPT", "chatgpt.com", "bob", 12_200, 1_510, "13.65.138.112"),
    (
        "Cursor",
        "the app on this device that opens cursor: links",
        "bob",
        26_000,
        9_100,
        "203.0.113.91",
    ),
]
CALLS = ["list_inventory", "add_item", "get_item", "list_expiring", "consume_item", "list_shopping"]


class Past:
    """A clock that can be put back."""

    ago = 0.0

    def __call__(self) -> float:
        return time.time() - self.ago


def with_a_past(recent: Recent, clock: Past) -> None:
    """Fill the last hour with what a kitchen may have asked."""
    chance = random.Random(7)  # noqa: S311 - of pictures
    for minute in range(59, 0, -1):
        busy = 3 + 9 * chance.random() * (1.6 if 14 < minute < 33 else 0.6)
        for second in sorted(60 * chance.random() for _ in range(int(busy))):
            clock.ago = 60 * minute - second  # never back: later minutes would be dropped
            recent(a_call(chance))
        if chance.random() < 0.2:
            recent(a_refusal(chance))
    clock.ago = 0.0


def with_apps(grants: AppGrants, clock: Past, endpoint: str, issuer: str) -> None:
    """Let in the apps that these people may use for cooking."""
    for name, place, who, began, used, address in APPS:
        told = {name: PEOPLE[who][name] for name in ("sub", "preferred_username")}
        person = subject_of("person", told, issuer=issuer, expires=9e9)
        client = Client(name, name, ("https://app.example/callback",))
        clock.ago = 60.0 * began
        grant = grants.new(person, client, to=place, scopes=(), resource=endpoint)
        clock.ago = 60.0 * used
        grants.used(grant, address)
    clock.ago = 0.0


def a_call(chance: random.Random) -> Record:
    tool = chance.choice(CALLS)
    seconds = 0.004 * 2 ** (4 * chance.random() ** 2) * (6 if tool == "list_expiring" else 1)
    failed = chance.random() < 0.03
    return record(
        chance,
        name=chance.choice(["laptop", "laptop", "phone", "nightly"]),
        lane="header",
        tool=tool,
        result="error" if failed else "ok",
        seconds=seconds,
    )


def a_refusal(chance: random.Random) -> Record:
    return record(
        chance,
        client="198.51.100.7",
        status=401,
        outcome="refused",
        reason=chance.choice(["token", "token", "token-not-in-time", "no-token"]),
        rpc_method="",
    )


def record(chance: random.Random, **members: Any) -> Record:
    usual: dict[str, Any] = {
        "request_id": f"{chance.getrandbits(64):016x}",
        "client": f"203.0.113.{chance.choice([20, 20, 91])}",
        "name": "",
        "lane": "",
        "method": "POST",
        "path": "/mcp",
        "route": "mcp",
        "rpc_method": "tools/call",
        "tool": "",
        "differs": False,
        "result": "",
        "status": 200,
        "bytes_in": 140 + chance.randrange(90),
        "bytes_out": 300 + chance.randrange(2500),
        "first_byte_seconds": 0.003,
        "seconds": 0.0003,
        "outcome": "done",
        "reason": "",
    }
    return Record(**{**usual, **members})


def write_tokens(path: Path) -> list[str]:
    """Make the tokens; their values."""
    values, now = [], datetime.now(UTC)
    for name, note, days, good in TOKENS:
        grants = Grants(tools=("list_*", "get_*")) if name == "guest" else Grants()
        token = Token(name, (), grants, note=note)
        made = now - timedelta(days=days, hours=5)
        expires = timedelta(days=good) if good else None
        values.append(issue.make(path, token, made, expires=expires).value)
    return values
