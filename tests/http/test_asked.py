"""Where the gate's own questions may go."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.address import is_loopback
from gatehouse.http.asked import AskError, Place, place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://as.example", Place("https", "as.example", 443, "/")),
        ("https://AS.example:8443/keys?p=1", Place("https", "as.example", 8443, "/keys?p=1")),
        ("HTTPS://as.example/a%2Fb", Place("https", "as.example", 443, "/a%2Fb")),
        ("http://localhost:8080/", Place("http", "localhost", 8080, "/")),
        ("http://127.0.0.1/x", Place("http", "127.0.0.1", 80, "/x")),
        ("http://[::1]:81/x", Place("http", "::1", 81, "/x")),
    ],
)
def test_a_url_is_read_as_it_is_meant(url: str, place: Place) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "as.example/keys",
            "/keys",
            "//as.example/keys",
            "ftp://as.example/",
            "file:///etc/passwd",
        ),
        *(
            "http://as.example/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
        ),
        *(
            "http://localhost@as.example/",
            "https://a:b@as.example/",
            "https://as.example\\@evil.example/",
        ),
        *(
            "https://",
            "https:///keys",
            "https://as.example:0/",
            "https://as.example:99999/",
            "https://[::1/",
        ),
        *(
            "https://as.example/#a",
            "https://as.example/#",
            "https://as.example/a b",
            "https://as.example/\r\nA: b",
        ),
        *("https://as.exámple/", "https://as%2eexample/", "https://as.example/" + 2048 * "a"),
    ],
)
def test_no_other_url_is_asked(url: str) -> None:
    with pytest.raises(AskError):
        place_of(url)


@settings(max_examples=50)
@given(
    st.text() | st.builds("http://{}".format, st.text()) | st.builds("https://{}".format, st.text())
)
def test_any_text_is_a_place_that_may_be_asked_or_an_error(url: str) -> None:
    with suppress(AskError):
        place = place_of(url)
        assert place.scheme == "https" or is_loopback(place.host)
        assert place.target.isascii()
        assert place.target.startswith("/")
