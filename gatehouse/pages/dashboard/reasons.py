"""A sentence for each reason for which the gate refuses a request, or for which one fails: in short what it means.

`docs/operations.md` and `docs/identity.md` have the remedies.
"""

from __future__ import annotations

MEANINGS = {
    # The request
    "ambiguous-credentials": "The same kind of credential came twice.",
    "expectation": "An odd Expect field.",
    "host": "The request names a host that is none of this gate's.",
    "http-version": "Another version of HTTP than 1.1 or 1.0.",
    "malformed": "No well-formed HTTP, longer than the gate takes, or a signed token that is none.",
    "method": "An HTTP method that MCP does not use.",
    "no-mcp-method": "The field Mcp-Method is missing, and this token has lists.",
    "unclear-call": "The fields that name the call contradict each other.",
    "websocket": "The client wants a WebSocket, which MCP does not have.",
    "too-large": "More bytes than the gate takes, in a body or in a token.",
    "too-slow": "The body came too slowly.",
    # The path
    "method-not-allowed": "A page was asked with another method than GET; perhaps /mcp is missing in the URL.",
    "not-found": "A path with nothing behind it; often a client without a good token that looks for OAuth.",
    "old-transport": "The client speaks the old HTTP+SSE transport, which the gate does not carry.",
    "static-token": "A client with a static token that is no good looked for a place to sign in.",
    # The credential
    "no-token": "No token came. Clients that sign in begin so.",
    "token": "A token that nobody here knows.",
    "token-lane": "A token came in the URL, and may not.",
    "token-not-in-time": "A token that has expired, or has not begun.",
    "url-key": "A token came in the URL, and none may.",
    "revoked": "The token was revoked while its request waited.",
    "ended": "Somebody ended all that this person had open.",
    "metrics-token": "Somebody asked for the figures without METRICS_TOKEN.",
    "algorithm": "A signed token with an algorithm that is not allowed.",
    "audience": "A signed token that was made for another service.",
    "bad-signature": "A signed token that was changed, or signed with another key.",
    "critical": "A signed token that demands an extension.",
    "expired": "A signed token whose time is over. One at each renewal is normal.",
    "id-token": "An ID token in place of an access token.",
    "inactive": "The authorization server says that the token is no good.",
    "introspection-unavailable": "The authorization server does not answer questions about tokens.",
    "issuer": "A signed token of another issuer.",
    "key-unknown": "A signed token whose key the issuer does not have.",
    "keys-unavailable": "The keys for signed tokens cannot be had.",
    "not-yet": "A signed token whose time has not come.",
    "subject": "A signed token that says neither who nor which client.",
    "type": "A signed token that is no plain access token.",
    "front-missing": "The request came past the front.",
    "front-twice": "Two assertions of a front: a client has sent one itself.",
    # The permission
    "grants": "The token may not use this tool, resource, prompt or path.",
    "mcp-version": "A token with lists, and a client too old to tell what it calls.",
    "origin": "A web page of an origin that is not allowed.",
    "people": "Signed in, but not among the people.",
    "scope": "The access token lacks a scope.",
    "session": "A session that is over, or of another token. The client opens a new one.",
    "sessions-unknown": "The shared store does not say whether the session exists.",
    "failures": "Too many bad tokens from one address.",
    "rate": "More requests than the rate of the token allows.",
    "open-rate": "Too many requests without a token from one address.",
    "token-questions": "One token asks faster than the shared store answers.",
    # The dashboard
    "foreign-form": "Another site sent a form to the dashboard, or nobody knows which.",
    "busy": "Too many people sign in at a time.",
    "callback": "The provider sent somebody back in a way that does not hold.",
    "code-refused": "The provider did not take its own code back.",
    "denied": "Somebody said no at the provider.",
    "no-login": "Somebody came back from the provider who has not begun a sign-in in this browser, or too long ago.",
    "nonce": "The provider's word belongs to another sign-in.",
    "provider-away": "The provider does not answer.",
    "provider-error": "The provider says that something failed there.",
    "provider-metadata": "The provider says of itself what does not hold.",
    "provider-refused": "The provider does not know the gate's client, or its secret.",
    "state": "Somebody came back from the provider with another sign-in than this browser has begun.",
    "token-answer": "The provider's answer about the sign-in does not hold.",
    "unfit": "The provider tells of somebody in a way that nobody can be known by.",
    "used": "A sign-in came back twice.",
    "userinfo": "The provider's word on who it is does not hold.",
    "form-too-large": "A form for the dashboard was too large.",
    "form-too-slow": "A form for the dashboard came too slowly.",
    "form-type": "Something else than a form was sent to the dashboard.",
    "form-unreadable": "A form for the dashboard could not be read.",
    "not-admin": "Somebody who is not on the list wanted to open the dashboard.",
    "not-changed": "A form of the dashboard changed nothing; its page said why.",
    "tokens-file": "The disk of the tokens file hangs, or another program keeps the file locked.",
    "wrong-field": "Something in a form of the dashboard could not be so; its page said what.",
    "old-form": "A form of the dashboard from an earlier session.",
    "signed-out": "Somebody who is not signed in asked for the dashboard.",
    # The room
    "bodies": "Too many large requests at a time.",
    "connections": "All connections are in use.",
    "open-places": "Too many requests without a token at a time.",
    "token-connections": "One token, or one person, holds as many connections as it may.",
    "draining": "The gate was about to stop.",
    "starting": "The server was still starting.",
    # The server
    "failed": "A fault of the gate itself; its log says where.",
    "not-from-gate": "Somebody asked the hosted server's own port.",
    "upstream-broke": "The server broke off before it had answered.",
    "upstream-down": "The server has stopped answering.",
    "upstream-flood": "The server sent more small pieces than a sound one does.",
    "upstream-redirected": "The server answered with a redirect.",
    "upstream-silent": "The server fell silent in the middle of its answer.",
    "upstream-timeout": "The server took too long to answer.",
    "upstream-unreachable": "The server has not been reached since the gate started.",
}
"""The sentences, by reason."""


def meaning_of(reason: str) -> str:
    """The sentence for a reason; empty if the house has none."""
    return MEANINGS.get(reason, "")
