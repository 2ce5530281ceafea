"""Seals: only the gate's own open, for their purpose and in their time; nothing raises."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe, jws
from joserfc.jwk import OctKey

from gatehouse.signin.sealing import (
    MAX_AHEAD_SECONDS,
    MAX_CONTENT_BYTES,
    MAX_SECONDS,
    MAX_TEXT_BYTES,
    Sealer,
    key_for,
    length_of,
)

SECRET = b"a secret of the tests, long enough"
ALICE = {"sub": "5f3c0a9b", "name": "Älice \ud800 🍋", "list": [1, None, {"deep": True}]}
SEALER = Sealer(SECRET, "session")
KEY = OctKey.import_key(key_for(SECRET, "session"))
END = int(time.time()) + 3600
HEADER = {"alg": "dir", "enc": "A256GCM"}


def made(data: Any, header: dict[str, Any] | None = None, key: OctKey = KEY) -> str:
    """A JWE with this content, as somebody with the key would make it."""
    plain = data if isinstance(data, bytes) else json.dumps(data).encode()
    wanted = header or HEADER
    algorithms = [str(wanted[name]) for name in ("alg", "enc", "zip") if name in wanted]
    registry = jwe.JWERegistry(algorithms=algorithms, strict_check_header=False)
    return jwe.encrypt_compact(wanted, plain, key, registry=registry)


def test_a_seal_opens_as_it_was_sealed() -> None:
    text = SEALER.seal(ALICE, END + 0.9)
    assert text.isascii()
    assert SEALER.open(text) == ALICE
    assert SEALER.unseal(text) == (ALICE, END)
    assert Sealer(SECRET, "session").open(text) == ALICE, "after a restart, too"


def test_no_two_seals_are_the_same() -> None:
    assert len({SEALER.seal(ALICE, END) for _ in range(20)}) == 20


def test_a_text_made_as_the_sealer_makes_it_opens() -> None:
    """The control of the table below."""
    assert SEALER.open(made(["session", END, ALICE])) == ALICE


def test_nothing_of_the_content_can_be_read() -> None:
    text = SEALER.seal({"name": "somebody"}, END)
    assert b"somebody" not in urlsafe_b64encode(text.encode()) + text.encode()
    assert "session" not in text


@pytest.mark.parametrize(
    "other",
    [
        Sealer(SECRET, "login"),
        Sealer(b"another secret, just as long as it", "session"),
        Sealer(SECRET, "session", bound_to=["https://huggingface.co", "client"]),
        Sealer(SECRET, "session", bound_to=[""]),
    ],
)
def test_a_seal_of_another_purpose_key_or_configuration_is_none(other: Sealer) -> None:
    assert SEALER.open(other.seal(ALICE, END)) is None
    assert other.open(SEALER.seal(ALICE, END)) is None
    assert other.open(other.seal(ALICE, END)) == ALICE


def test_what_a_seal_is_bound_to_is_not_run_together() -> None:
    keys = {
        key_for(SECRET, "session", bound)
        for bound in ([], [""], ["ab"], ["a", "b"], ["a b"], ["1:a", "b"], ["a", "", "b"])
    }
    assert len(keys) == 7
    assert key_for(SECRET, "a", ["b"]) != key_for(SECRET, "a 1:b")


def test_there_is_no_key_without_a_secret() -> None:
    with pytest.raises(ValueError, match="no secret"):
        Sealer(b"", "session")


def test_a_seal_is_over_at_its_end_and_no_seal_is_for_longer_than_a_session() -> None:
    now = [1_000_000.0]
    sealer = Sealer(SECRET, "session", clock=lambda: now[0])
    text = sealer.seal(ALICE, now[0] + MAX_SECONDS)
    with pytest.raises(ValueError, match="28800 seconds"):
        sealer.seal(ALICE, now[0] + MAX_SECONDS + 1)
    now[0] += MAX_SECONDS - 1
    assert sealer.open(text) == ALICE
    now[0] += 1
    assert sealer.open(text) is None
    now[0] = 1_000_000.0 - MAX_AHEAD_SECONDS
    assert sealer.open(text) == ALICE, "another gate's clock is a little ahead"
    now[0] -= 1
    assert sealer.open(text) is None, "made while the clock was wrong"


WRONG = {
    "another purpose inside": made(["login", END, ALICE]),
    "no list": made({"purpose": "session"}),
    "a list too short": made(["session", END]),
    "a list too long": made(["session", END, ALICE, 1]),
    "no object inside": made(["session", END, [ALICE]]),
    "null inside": made(["session", END, None]),
    "over": made(["session", int(time.time()) - 1, ALICE]),
    "the end is a fraction": made(["session", END + 0.5, ALICE]),
    "the end is a text": made(["session", str(END), ALICE]),
    "the end is true": made(["session", True, ALICE]),
    "the end is no number": made(b'["session",NaN,{}]'),
    "the end is far away": made(["session", END + 10 * MAX_SECONDS, ALICE]),
    "the end has many digits": made(b'["session",' + b"9" * 2000 + b",{}]"),
    "no JSON": made(b"session"),
    "no UTF-8": made(b'["session",%d,{"\xff":1}]' % END),
    "empty": made(b""),
    "deep": made(b"[" * 2500),
    "another key": made(["session", END, ALICE], key=OctKey.generate_key(256)),
    "enc A128GCM": made(
        ["session", END, ALICE], {"alg": "dir", "enc": "A128GCM"}, OctKey.generate_key(128)
    ),
    "enc A256CBC-HS512": made(
        ["session", END, ALICE], {"alg": "dir", "enc": "A256CBC-HS512"}, OctKey.generate_key(512)
    ),
    "alg A256KW": made(["session", END, ALICE], {"alg": "A256KW", "enc": "A256GCM"}),
    "alg A256GCMKW": made(["session", END, ALICE], {"alg": "A256GCMKW", "enc": "A256GCM"}),
    "alg PBES2": made(
        ["session", END, ALICE], {"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 1000}
    ),
    "members in another order": made(["session", END, ALICE], {"enc": "A256GCM", "alg": "dir"}),
    "compressed": made(["session", END, ALICE], {**HEADER, "zip": "DEF"}),
    "a compression bomb": made(
        b'["session",%d,{"x":"%s"}]' % (END, b"0" * 250_000), {**HEADER, "zip": "DEF"}
    ),
    "a kid": made(["session", END, ALICE], {**HEADER, "kid": "1"}),
    "a typ": made(["session", END, ALICE], {**HEADER, "typ": "JWT"}),
    "signed only": jws.serialize_compact({"alg": "HS256"}, json.dumps(ALICE), KEY),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_text_that_the_gate_would_not_make_is_none_though_the_key_is_right(text: str) -> None:
    assert SEALER.open(text) is None


def part(header: bytes) -> str:
    return urlsafe_b64encode(header).decode().rstrip("=")


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"dir","enc":"A256GCM","crit":["exp"],"exp":1}',
        b'{"alg":"dir","enc":"A256GCM","crit":["b64"],"b64":false}',
        b'{"alg":"dir","enc":"A256GCM","alg":"none"}',
        b'{"alg":"dir", "enc":"A256GCM"}',
        b'{"alg":"none"}',
        b"[]",
        b"",
    ],
)
def test_a_header_of_another_kind_is_none(header: bytes) -> None:
    text = SEALER.seal(ALICE, END)
    assert SEALER.open(part(header) + text[text.index(".") :]) is None


def test_no_character_of_a_seal_can_be_changed_left_out_or_added() -> None:
    """Bits that stand for nothing, too: no two texts are one seal."""
    for content in ({}, {"a": 1}, {"a": 12}):  # the last group of base64 in each of its lengths
        text = SEALER.seal(content, END)
        for at, character in enumerate(text):
            assert SEALER.open(text[:at] + text[at + 1 :]) is None
            for other in ("A", "B", "Q", "_", ".", "=", "\n", "é"):
                assert SEALER.open(text[:at] + other + text[at:]) is None
                if other != character:
                    assert SEALER.open(text[:at] + other + text[at + 1 :]) is None


@given(st.text() | st.text("eyJhbGciOkpXIsmVuQTU2R0NNn0._-", max_size=200))
def test_no_junk_opens(text: str) -> None:
    assert SEALER.open(text) is None


TEXT = SEALER.seal(ALICE, END)


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)), st.text("AQgw.-_=%", max_size=4))
def test_no_piece_of_a_seal_opens(begin: int, end: int, between: str) -> None:
    changed = TEXT[:begin] + between + TEXT[end:]
    assert SEALER.open(changed) is None or changed == TEXT


FACTS = st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3)


@given(st.dictionaries(st.text(max_size=10), FACTS, max_size=5))
def test_every_object_that_is_not_too_long_comes_back(content: dict[str, Any]) -> None:
    assert length_of(content) <= MAX_CONTENT_BYTES
    assert SEALER.open(SEALER.seal(content, END)) == content


def test_the_longest_content_fits_and_a_longer_one_raises() -> None:
    longest = Sealer(SECRET, "p" * 20)
    text = longest.seal({"x": "0" * (MAX_CONTENT_BYTES - 8)}, END)
    assert length_of(longest.open(text) or {}) == MAX_CONTENT_BYTES
    assert 3800 < len(text) <= MAX_TEXT_BYTES
    with pytest.raises(ValueError, match="bytes at most"):
        longest.seal({"x": "0" * (MAX_CONTENT_BYTES - 7)}, END)


def test_a_text_that_is_too_long_is_none() -> None:
    assert SEALER.open(made(["session", END, {"x": "0" * 4000}])) is None


def test_no_error_and_no_text_of_a_sealer_shows_its_key() -> None:
    assert "secret" not in repr(SEALER)
    assert repr(KEY.raw_value) not in repr(vars(SEALER))
