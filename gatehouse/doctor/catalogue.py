"""The kinds of findings: for each word its level, and what to do. docs/doctor.md has the same as a table."""

from __future__ import annotations

CATALOGUE = {
    # The way there
    "name-unknown": ("error", "Check the name in the URL, and its entry in DNS"),
    "no-connection": (
        "error",
        "Start the server, or check host and port; a firewall may stand between",
    ),
    "no-answer": (
        "error",
        "Look into the log of the server, and into those of the fronts before it",
    ),
    "check-failed": ("warning", "Run the doctor again; if it stays, report it with this line"),
    "tls-untrusted": (
        "error",
        "Mend the certificate; for an authority of your own, set SSL_CERT_FILE. No token was sent",
    ),
    "speaks-no-tls": (
        "error",
        "Write http:// in the URL for the gate's own port, or name the port of the front that has TLS",
    ),
    "certificate-ends": (
        "warning",
        "Renew the certificate; see why that does not happen by itself",
    ),
    "no-tls": (
        "warning",
        "Put a front with TLS before it: the token crosses the network for everybody to read",
    ),
    "slow": ("note", "See whether the server was asleep, or far away; run the doctor again"),
    "clock-off": (
        "warning",
        "Set the clock of the server, or of this machine: expiry of tokens goes by it",
    ),
    # The endpoint
    "redirect": (
        "error",
        "Give clients the URL that it leads to, or serve this one: over a redirect they lose their token",
    ),
    "slash-redirect": (
        "warning",
        "Serve both spellings without a redirect, as the gate does; until then use the exact URL",
    ),
    "slash-missing": (
        "note",
        "Use exactly the URL that works, without or with the slash at its end",
    ),
    "not-mcp": ("error", "Check the path in the URL: the endpoint is mostly /mcp"),
    "no-legacy": (
        "warning",
        "Let the server take initialize: most clients of today begin with it",
    ),
    "no-modern": ("note", "Nothing: clients fall back; a newer server serves MCP 2026-07-28, too"),
    "tools-failed": ("error", "Look into the log of the server"),
    "notification-status": ("warning", "Answer a notification with 202: clients may end otherwise"),
    "odd-content": (
        "error",
        "Look for a front that answers in place of the server, such as a page for signing in",
    ),
    # Entry
    "token-needed": (
        "error",
        "Give the doctor a token, static or an access token: --token-file, or GATE_TOKEN in the environment",
    ),
    "sign-in-needed": (
        "note",
        "Nothing, if clients sign in. With a token the doctor tries the rest, too: --token-file, or GATE_TOKEN in the environment",
    ),
    "token-refused": (
        "error",
        "Check the token: expired, revoked, for another server, or taken off by a front",
    ),
    "rate-limited": ("note", "Wait a minute, and run the doctor again; or raise the token's rate"),
    "open": ("warning", "Put the gate before it: anybody may call its tools"),
    "wrong-token-open": ("error", "Close it at once: any token lets in"),
    "refusal-status": ("warning", "Answer 401 where a token is missing or wrong: clients go by it"),
    "no-challenge": ("warning", "Send WWW-Authenticate: Bearer with each 401 (RFC 9110, 15.5.2)"),
    "challenge-dead-end": (
        "error",
        "Serve the metadata that the challenge names, or name none: clients begin a sign-in that leads nowhere",
    ),
    "discovery-odd": (
        "warning",
        "Answer discovery paths with 404, or with real metadata: clients take this for OAuth",
    ),
    "discovery-asks-token": (
        "warning",
        "Answer discovery paths without a token: clients ask there before they have one",
    ),
    "discovery-not-json": (
        "note",
        'Answer 404 with JSON such as {"error": "not_found"}: some clients fail on anything else',
    ),
    "oauth": (
        "note",
        "Nothing, if clients are to sign in; a client with a static token may still begin OAuth",
    ),
    "pointer-missing": (
        "warning",
        "Let the front pass WWW-Authenticate as it is: some clients look nowhere else for the sign-in",
    ),
    "resource-other": (
        "error",
        "Give clients the URL that the metadata are about, or set PUBLIC_URL to this one: clients refuse others",
    ),
    "sign-in-twice": (
        "error",
        "Switch one sign-in off: unset AUTH_ISSUER and set FRONT, or switch off that of the front (Managed OAuth)",
    ),
    "own-server": (
        "error",
        "Set PUBLIC_URL to the URL that clients use, and let the front pass /.well-known/ as it is: clients sign in by these metadata",
    ),
    "no-keys": (
        "error",
        "Mend AUTH_ISSUER or AUTH_JWKS_URL, FRONT_TEAM or FRONT_JWKS_URL, SIGN_IN, or the way there: without these keys nobody can sign in",
    ),
    "front-first": (
        "error",
        "Look at the way through the front with a client that signs in there; the doctor cannot",
    ),
    "key-leaks": (
        "error",
        "Take the key out of redirects and answers: it is a token, and ends in logs and histories",
    ),
    "key-in-url": (
        "note",
        "Use a header where the client can: URLs stand in logs of fronts and bridges",
    ),
    "key-refused": (
        "note",
        "Send the token in a header, or allow it in the URL (ALLOW_QUERY_KEY, --query)",
    ),
    # Browsers
    "origin-open": (
        "warning",
        "Refuse foreign origins with 403 (the specification asks for it): any web page may send calls",
    ),
    "host-open": (
        "warning",
        "Refuse foreign host names: a web page that has its name point here gets in (DNS rebinding)",
    ),
    "cors-credentials": ("error", "Allow credentials to known origins only, never to all"),
    "cors-foreign": ("note", "Allow only origins that you know; some fronts answer for the server"),
    # Sessions
    "unknown-session": (
        "warning",
        "Answer 404 for a session that is not known: only then clients open a new one",
    ),
    "delete-refused": (
        "note",
        "Nothing: clients go on; sessions end when they have been idle long enough",
    ),
    "delete-ignored": (
        "warning",
        "End the session at DELETE; its id stays good for whoever knows it",
    ),
    "one-token": ("note", "Give a second token to see whether it gets into sessions of the first"),
    "second-token-refused": ("error", "Check the second token"),
    "session-shared": (
        "error",
        "Bind sessions to tokens, as the gate does. (Two values of one named token share them rightly)",
    ),
    # Streams
    "no-stream": ("note", "Nothing: the server offers no stream to watch"),
    "head-held": (
        "error",
        "Switch buffering off in the front (nginx: proxy_buffering off, and no gzip of event streams; Caddy: flush_interval -1)",
    ),
    "stream-buffered": (
        "error",
        "Switch buffering off in the front (nginx: proxy_buffering off, and no gzip of event streams; Caddy: flush_interval -1)",
    ),
    "stream-compressed": (
        "warning",
        "Let the front compress no text/event-stream: it holds events back",
    ),
    "stream-cut": (
        "warning",
        "Raise the idle timeout of the front, or lower COMMENT_SECONDS below it",
    ),
    "no-comments": (
        "warning",
        "Write a comment into silent streams (COMMENT_SECONDS), or fronts cut them",
    ),
    "cancel-slow": (
        "warning",
        "Let the front tell the server at once that a client has left (nginx: proxy_ignore_client_abort off)",
    ),
    # Bodies
    "body-limit-low": (
        "warning",
        "Raise the limit of the front (nginx: client_max_body_size) to that of the server",
    ),
    "no-body-limit": (
        "note",
        "Set a limit (MAX_BODY_BYTES), or look whether the server has one of its own",
    ),
    "body-changed": (
        "error",
        "Find the front that rewrites answers, and have it pass them as they are",
    ),
    "echo-failed": ("note", "Look into the log of the server"),
    # This machine
    "setting-wrong": ("error", "Mend the setting"),
    "setting-odd": ("warning", "Correct the setting, or its name, or take it away"),
    "file-readable": ("warning", "Take the rights of others away (chmod 600): it holds secrets"),
    "file-writable": (
        "error",
        "Take the rights of others away (chmod 600): whoever writes it makes tokens",
    ),
    "tokens-wrong": ("error", "Mend the file"),
    "state-unwritable": (
        "warning",
        "Let the user who starts the gate write there, or set STATE_DB empty",
    ),
    "state-readable": (
        "warning",
        "Take the rights of others away (chmod 600): it holds names and addresses of people",
    ),
    "port-taken": ("error", "End the other program, or set another PORT"),
    "gate-running": ("note", "Nothing, if that is your gate"),
    "server-missing": ("error", "Put the module into server/, or correct MCP_APP"),
    "python-unfit": ("error", "Start with Python 3.11 to 3.13"),
    "package-missing": ("error", "Install requirements.txt as README.md has it"),
    "package-differs": (
        "warning",
        "Remove .venv, and make it again as README.md has it: only those were tested",
    ),
    "disk-low": ("warning", "Make room: last use, and what the server keeps, cannot be written"),
    "no-authorities": (
        "warning",
        "Install ca-certificates, or set UPSTREAM_CA: TLS to a server elsewhere fails",
    ),
    "clock-behind": ("warning", "Set the clock: the files of the gate are from the future"),
    # At the dashboard
    "not-from-here": (
        "note",
        "Run the doctor on a machine of your own: from inside, the way to a public address may be closed",
    ),
    "unfinished": (
        "warning",
        "Run the doctor on a machine of your own, where it may take longer; see why it takes so long here",
    ),
}
"""Level and remedy."""
