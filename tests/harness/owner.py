"""The browser of somebody who has a Space with the gate in it, and no shell: the pages, forms and cookies of its dashboard."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import httpx

from gatehouse.tokens.value import VALUE_PATTERN
from tests.harness.identity import hugging_face, person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.identity.hugging_face import HuggingFace

HOST = "me-gate.hf.space"
ORIGIN = f"https://{HOST}"
TOKENS = "/dashboard/tokens"


def space_of(provider: HuggingFace) -> dict[str, str]:
    """The environment of a Space with hf_oauth: true, of somebody who has set the one variable SIGN_IN."""
    return {
        "SPACE_ID": "me/gate",
        "SPACE_HOST": HOST,
        "SPACE_CREATOR_USER_ID": hugging_face.CREATOR,
        "OAUTH_CLIENT_ID": hugging_face.CLIENT_ID,
        "OAUTH_CLIENT_SECRET": hugging_face.CLIENT_SECRET,
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": provider.url,
        "SIGN_IN": "huggingface",
        "MCP_AUTH_TOKEN": "",
    }


class Owner:
    """The browser, at a gate that serves at `url`: Hugging Face's edge, which speaks TLS, is left out."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Host": HOST}, trust_env=False)
        self._cookies: dict[str, str] = {}

    def _ask(self, method: str, path: str, **given: object) -> httpx.Response:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        request = self._http.build_request(method, path, **given)  # type: ignore[arg-type]
        if cookies:
            request.headers["Cookie"] = cookies
        answer = self._http.send(request)
        for line in answer.headers.get_list("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer

    def sign_in(self) -> None:
        """Go to the provider, where the person says yes, and come back."""
        begun = self._ask("GET", "/dashboard/sign-in")
        there = person.sign_in(begun.headers["Location"], until=f"{ORIGIN}/dashboard/callback")
        done = self._ask("GET", there.removeprefix(ORIGIN))
        assert (done.status_code, done.headers["Location"]) == (303, "/dashboard"), done.text

    def page(self, path: str = TOKENS) -> str:
        """The page, without what it says of looks."""
        answer = self._ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, action: str, **fields: str) -> str:
        """Send a form of the page of tokens; the page that comes then."""
        (mark,) = set(re.findall(r'name="form_token" value="([^"]+)"', self.page()))
        fields["form_token"] = mark
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        answer = self._ask("POST", f"{TOKENS}/{action}", data=fields, headers=headers)
        return answer.text if answer.status_code != 303 else self.page(answer.headers["Location"])

    def new_value(self, name: str) -> str:
        """Make a token; the value that the page shows once."""
        (value,) = set(VALUE_PATTERN.findall(self.send("make", name=name)))
        return str(value)

    def status_with(self, value: str) -> int:
        """The status that a client with that token gets."""
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {
            "Host": HOST,
            "Authorization": f"Bearer {value}",
            "Accept": "application/json, text/event-stream",
        }
        url = self._http.base_url.join("/mcp")
        return httpx.post(url, json=ping, headers=headers, trust_env=False).status_code

    def statuses(self, value: str, *, seconds: float = 10) -> Iterator[int]:
        """The same again and again, for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield self.status_with(value)
            time.sleep(0.1)
