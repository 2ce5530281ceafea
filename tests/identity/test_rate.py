"""Rates: all ways to write them, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from throttled.rate_limiter.quota_parser import parse as parse_of_throttled

from gatehouse.identity.rate import Rate, parse_rate
from tests.harness.program import TOKEN


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("60/min, burst 20", Rate(60, 60, 20)),
        ("60/min burst 20", Rate(60, 60, 20)),
        ("60/min,burst 20", Rate(60, 60, 20)),
        ("  60 / MIN ,  Burst   20 ", Rate(60, 60, 20)),
        ("10/s", Rate(10, 1, 10)),
        ("10/sec", Rate(10, 1, 10)),
        ("1000/hour", Rate(1000, 3600, 1000)),
        ("5 per day", Rate(5, 86_400, 5)),
        ("5 per week, burst 9", Rate(5, 604_800, 9)),
        ("1000000/s, burst 1000000", Rate(1_000_000, 1, 1_000_000)),
    ],
)
def test_a_rate_is_read_as_it_is_meant(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


UNITS = (
    "s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days w wk wks"
)


@pytest.mark.parametrize("unit", [*UNITS.split(), "week", "weeks"])
@pytest.mark.parametrize("form", ["7/{}", "7 per {}", "7 / {} burst 3"])
def test_every_unit_means_what_throttled_takes_it_for(unit: str, form: str) -> None:
    (quota,) = parse_of_throttled(form.format(unit))
    rate = parse_rate(form.format(unit))
    assert (rate.count, rate.seconds, rate.burst) == (
        quota.get_limit(),
        quota.get_period_sec(),
        quota.burst,
    )
    assert rate.interval == quota.emission_interval


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "/min",
        "60/",
        "60 min",
        "60/fortnight",
        "-60/min",
        "6.5/min",
        "1e3/min",
        "60/min, 20",
        "60/min, burst",
        "60/min, burst -1",
        "60/min; burst 20",
        "60/min, burst 20, burst 30",
        "60/min, 10/s",
        "٦٠/min",
        "60/min\n60/min",
    ],
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"60/min, burst 20; the units are s, min,"):
        parse_rate(text)


def test_the_refusal_does_not_repeat_what_somebody_wrote_into_the_wrong_place() -> None:
    with pytest.raises(ValueError, match="must be a rate") as refused:
        parse_rate(TOKEN)
    assert not any(TOKEN[at : at + 8] in str(refused.value) for at in range(len(TOKEN) - 7))


@pytest.mark.parametrize(
    "text",
    ["0/min", "60/min, burst 0", "1000001/s", "1/s burst 1000001", "1" * 5000 + "/s"],
)
def test_zero_and_absurd_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 1000000"):
        parse_rate(text)


numbers = st.integers(1, 1_000_000)
any_rate = st.builds(Rate, numbers, st.sampled_from([1, 60, 3600, 86_400, 604_800]), numbers)


@given(any_rate)
def test_a_rate_is_read_back_from_how_it_is_shown(rate: Rate) -> None:
    assert parse_rate(str(rate)) == rate
