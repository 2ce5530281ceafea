"""The state that gates share, without a Redis."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from gatehouse.policy.breaker import Breaker
from gatehouse.policy.redis_url import shared_address
from gatehouse.policy.seals import Seals
from gatehouse.policy.shared_state import (
    SharedState,
)


def test_one_failure_stops_all_and_then_only_the_gate_itself_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = 100.0
    monkeypatch.setattr("gatehouse.policy.breaker.time", SimpleNamespace(monotonic=lambda: now))
    breaker = Breaker("there", retry_seconds=5)
    first, second = breaker.admit(), breaker.admit()
    assert first is not None
    assert second is not None
    breaker.failed(first, "Reason")
    assert not breaker.valid(second)  # it need not even begin
    breaker.failed(second, "Reason")
    breaker.succeeded(second)  # late news
    assert breaker.admit() is None
    now += 5
    assert breaker.admit() is None
    trial = breaker.admit(again=True)
    assert trial is not None
    assert breaker.admit(again=True) is None
    breaker.failed(trial, "Reason")
    now += 4.9
    assert breaker.admit(again=True) is None
    now += 0.1
    trial = breaker.admit(again=True)
    assert trial is not None
    breaker.succeeded(trial)
    assert breaker.admit() == breaker.admit() == trial
    assert [message.partition("(")[0] for message in caplog.messages] == [
        "shared state at there is unavailable ",
        "shared state at there is back",
    ]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", "redis://localhost:6379"),
        ("redis://user:pa55word@host.example:1234/7", "redis://host.example:1234/7"),
        ("rediss://:pa55word@[2001:db8::1]/0", "rediss://[2001:db8::1]:6379/0"),
        ("valkey://:pa55word@10.0.0.1:6379", "valkey://10.0.0.1:6379"),
        ("valkeys://:pa55word@a?ssl_ca_certs=/etc/ca.pem", "valkeys://a:6379"),
        ("unix://:pa55word@/run/redis.sock?db=3", "unix:///run/redis.sock"),
    ],
)
def test_the_address_for_the_log_holds_no_password(url: str, address: str) -> None:
    assert shared_address(url) == address
    SharedState(url, Seals([b"digest"])).close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pa55word",
        "pa55word@host:6379",
        "http://:pa55word@host:6379",
        "REDIS://:pa55word@host",
        "redis:pa55word@host",
        "redis://",
        "redis://:pa55word@",
        "redis://:pa55word@:6379",
        "redis://:pa55word",
        "redis://host:pa55word",
        "redis://host:0",
        "redis://host:65536",
        "redis://host/pa55word",
        "redis://:pa55word@x/y@host:6379",
        "redis://:pa55word?x@host:6379",
        "redis://:pa55word#x@host:6379",
        "redis://:pa55word@x@host:6379",
        "redis://:pa55word x@host",
        "redis://:pa55wörd@host",
        "redis://host:6379/0?password=pa55word",
        "redis://host:6379/0?socket_timeout=1000",
        "redis://host:6379/0?ssl_ca_certs=/etc/ca.pem",
        "rediss://host:6379/0?ssl_cert_reqs=none",
        "rediss://host?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=none",
        "redis://host:6379/0#pa55word",
        "redis://[::1",
        "redis://host\n",
        "unix://pa55word",
        "unix://run/redis.sock",
        "unix:///run/redis.sock?password=pa55word",
    ],
)
def test_a_url_that_is_none_is_refused_in_words_without_a_piece_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a URL: redis://:PASSWORD@HOST") as refused:
        SharedState(url, Seals([b"digest"]))
    assert "pa55" not in str(refused.value)
    assert refused.value.__cause__ is None
