"""The JSON object that an answer is: read whole, or not at all."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.asked import AskError
from gatehouse.upstream.asking import object_in

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
objects = st.dictionaries(texts, values, max_size=5)


@settings(max_examples=60)
@given(objects, st.booleans())
def test_every_object_is_read_as_it_was_written(written: dict[str, object], plain: bool) -> None:
    assert object_in(json.dumps(written, ensure_ascii=plain).encode()) == written


@settings(max_examples=100)
@given(
    st.binary(max_size=40) | objects.map(json.dumps).map(str.encode),
    st.integers(0, 40),
    st.binary(max_size=3),
)
def test_whatever_bytes_come_they_are_an_object_or_an_error_in_words(
    body: bytes, at: int, spoilt: bytes
) -> None:
    with suppress(AskError):
        found = object_in(body[:at] + spoilt + body[at + len(spoilt) :])
        assert isinstance(found, dict)
        json.dumps(found, ensure_ascii=False, allow_nan=True).encode()
