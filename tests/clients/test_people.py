"""People sign in at two real OpenID providers, the whole way that the dashboard goes: from its link and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest
import trio

from gatehouse.signin.sign_in import CALLBACK, SignInFailedError
from tests.clients.authorization_servers import nanoidp, oidc_provider
from tests.clients.node import node_programs
from tests.harness.identity.browser import ORIGIN, gone, sign_in_at, signed_in
from tests.harness.identity.person import ANSWERS
from tests.harness.only_ci import only_in_ci

if TYPE_CHECKING:
    from pathlib import Path

CLIENT: dict[str, Any] = {
    "client_id": "dashboard: of the tests",
    "client_secret": "s3cret/of+the%dashboard 0123456789",
    "redirect_uris": [ORIGIN + CALLBACK],
}
"""Id and secret are other texts when they are form-encoded (RFC 6749 section 2.3.1)."""
PLAIN = {**CLIENT, "client_id": "dashboard", "client_secret": "s3cret-of-the-dashboard_0123456789"}
"""For nanoidp, which takes them as they come."""
OURS = CLIENT["client_id"], CLIENT["client_secret"]
ALICE = ANSWERS["username"]

pytestmark = only_in_ci


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
async def test_people_sign_in_at_oidc_provider(alg: str, tmp_path: Path) -> None:
    node_programs()
    client = {**CLIENT, "id_token_signed_response_alg": alg}
    with oidc_provider(tmp_path, CLIENT=json.dumps(client)) as server:
        sign_in = sign_in_at(server.issuer, OURS)
        finished = await signed_in(sign_in, "/dashboard/tokens")
        who = finished.subject
        assert (who.kind, who.issuer, who.sub) == ("person", server.issuer, ALICE)
        assert (who.username, who.email) == (ALICE, f"{ALICE}@example.com")
        assert finished.to == "/dashboard/tokens"
        again = await gone(sign_in)
        await sign_in.finish(again)
        with pytest.raises(SignInFailedError) as caught:
            await sign_in_at(server.issuer, OURS).finish(again)
        assert caught.value.reason == "code-refused"
        wrong = sign_in_at(server.issuer, (OURS[0], "another"))
        with pytest.raises(SignInFailedError) as caught:
            await signed_in(wrong)
        assert caught.value.reason == "provider-refused"
        asked = server.asked
        assert quote_plus(OURS[1]) not in server.log
    assert asked.count("GET /.well-known/openid-configuration") == 3
    assert "GET /me" in asked


async def test_people_sign_in_at_nanoidp(tmp_path: Path) -> None:
    ours = PLAIN["client_id"], PLAIN["client_secret"]
    with nanoidp(tmp_path, PLAIN) as server:
        sign_in = sign_in_at(server.issuer, ours)
        who = (await signed_in(sign_in)).subject
        assert (who.kind, who.issuer, who.sub) == ("person", server.issuer, ALICE)
        assert (who.username, who.email) == (ALICE, "alice@example.com")
        assert await trio.to_thread.run_sync(server.rotate) == 200
        await trio.sleep(5)  # until the keys may be asked for again
        assert (await signed_in(sign_in)).subject.id == who.id
        with pytest.raises(SignInFailedError) as caught:
            await signed_in(sign_in_at(server.issuer, (ours[0], "another")))
        assert caught.value.reason == "provider-refused"
