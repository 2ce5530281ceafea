"""Settings of access tokens and of fronts: each by itself, and together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gatehouse.identity import public_keys
from gatehouse.settings.environment import KNOWN, Settings, load_settings
from gatehouse.settings.identity import OF_BOTH
from gatehouse.settings.identity_kinds import ALGORITHMS
from gatehouse.settings.misspelt import ALIASES, INJECTED, meant, perhaps_meant
from tests.harness.judged import faults, notes, without_settings
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "https://as.example/realms/one"
AS = {"AUTH_ISSUER": ISSUER, "PUBLIC_URL": "https://gate.example.com"}
OPAQUE = {
    "AUTH_INTROSPECTION_URL": "https://as.example/introspect",
    "AUTH_CLIENT_ID": "gate",
    "AUTH_CLIENT_SECRET": "S3cret-of-the-client",
}
CLOUDFLARE = {"FRONT": "cloudflare", "FRONT_AUDIENCE": "a1b2c3", "FRONT_TEAM": "acme"}
IAP = {"FRONT": "iap", "FRONT_AUDIENCE": "/projects/1/global/backendServices/2"}
POMERIUM = {"FRONT": "pomerium", "FRONT_AUDIENCE": "gate.example.com"}
SIGNED = {
    "FRONT": "jwt",
    "FRONT_AUDIENCE": "gate",
    "FRONT_HEADER": "X-Jwt-Assertion",
    "FRONT_ISSUER": "https://sso.example",
    "FRONT_JWKS_URL": "https://sso.example/keys",
    "FRONT_ALGORITHMS": "ES256",
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        AS,
        {"AUTH_ISSUER": ISSUER, "SPACE_ID": "me/gate", "SPACE_HOST": "me-gate.hf.space"},
        {**AS, "HOST": "0.0.0.0"},
        {"AUTH_ISSUER": "http://127.0.0.1:9000", "PUBLIC_URL": "http://localhost:7860"},
        {**AS, "AUTH_ISSUER": "https://as.example/"},
        {**AS, "AUTH_ISSUER": "https://gate.example.com/realms/one"},
        {**AS, "AUTH_ISSUER": "https://me-as.hf.space"},
        {**AS, "AUTH_ISSUER": "https://login.microsoftonline.com/0a1b2c3d-0000-4000-8000-000000000000/v2.0"},
        {**AS, "AUTH_AUDIENCE": "https://gate.example.com/mcp,urn:gate"},
        {**AS, "AUTH_SCOPES": "mcp:read https://gate.example.com/write"},
        {**AS, "AUTH_JWKS_URL": "https://as.example/keys?of=one"},
        {**AS, "AUTH_JWKS_URL": "https://as.example:8443/.well-known/jwks.json"},
        {**AS, "AUTH_ISSUER": "http://[::1]:9000/As"},
        {**AS, "AUTH_TOKEN_TYPE": "application/AT+JWT", "AUTH_LEEWAY_SECONDS": "0"},
        {**AS, **OPAQUE},
        {**AS, **OPAQUE, "MCP_AUTH_TOKEN": f"mcpgate_{TOKEN}"},
        {**AS, "MCP_AUTH_TOKEN": TOKEN},
        {**AS, "PEOPLE": "alice, alice@example.com,*@example.com,sub:auth0|1,sub:{1-2},org:Acme Inc,client:ci"},
        {**AS, "AUTH_ISSUER": "https://accounts.google.com", "PEOPLE": "me@gmail.com"},
        {**AS, "AUTH_ISSUER": "https://accounts.google.com", "PEOPLE": "*"},
        CLOUDFLARE,
        {**CLOUDFLARE, "HOST": "0.0.0.0", "FRONT_JWKS_URL": "https://keys.example/"},
        IAP,
        POMERIUM,
        SIGNED,
        {**SIGNED, "FRONT_ISSUER": "gate.example.com", "FRONT_NAME_CLAIM": "https://x.example/name"},
        {**SIGNED, "FRONT_REQUIRED": "false", "PEOPLE": "alice"},
        {**SIGNED, "FRONT_ISSUER": "//[odd"},
        {**AS, **CLOUDFLARE},
        {**IAP, "AUTH_LEEWAY_SECONDS": "30", "AUTH_KEYS_STALE_SECONDS": "3600"},
        {"OAUTH_CLIENT_ID": "x", "OAUTH_CLIENT_SECRET": "y", "OAUTH_SCOPES": "openid profile"},
        {**AS, "OAUTH_CLIENT_ID": "x", "OPENID_PROVIDER_URL": "https://huggingface.co"},
    ],
)  # fmt: skip
def test_what_goes_together_is_accepted(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    assert faults(monkeypatch, settings) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        # The issuer, byte for byte, and the way to it.
        ({**AS, "AUTH_ISSUER": " https://as.example"}, "AUTH_ISSUER: has a space"),
        ({**AS, "AUTH_ISSUER": "https://as.example/ "}, "AUTH_ISSUER: has a space"),
        ({**AS, "AUTH_ISSUER": "as.example"}, "AUTH_ISSUER: must begin with https://"),
        ({**AS, "AUTH_ISSUER": "http://as.example"}, "AUTH_ISSUER: must begin with https://"),
        ({**AS, "AUTH_ISSUER": "http://192.168.1.2"}, "AUTH_ISSUER: must begin with https://"),
        ({**AS, "AUTH_ISSUER": "https://as.example?a=S3cret"}, "AUTH_ISSUER: may have no query"),
        ({**AS, "AUTH_ISSUER": "https://as.example#S3cret"}, "AUTH_ISSUER: may have no fragment"),
        ({**AS, "AUTH_ISSUER": "https://a:S3cret@as.example"}, "AUTH_ISSUER: may hold no user name"),
        ({**AS, "AUTH_ISSUER": "https://"}, "AUTH_ISSUER: has a host or a port"),
        ({**AS, "AUTH_ISSUER": "https://as.example:0"}, "AUTH_ISSUER: has a host or a port"),
        ({**AS, "AUTH_ISSUER": "https://as.ex ample"}, "AUTH_ISSUER: may hold visible ASCII"),
        (
            {**AS, "AUTH_ISSUER": f"{ISSUER}/.well-known/openid-configuration"},
            "AUTH_ISSUER: is the URL of a document",
        ),
        ({**AS, "AUTH_ISSUER": "https://gate.example.com/"}, "AUTH_ISSUER: is the gate itself"),
        ({**AS, "AUTH_ISSUER": "https://Gate.Example.com/mcp"}, "AUTH_ISSUER: is the gate itself"),
        ({**AS, "AUTH_JWKS_URL": "http://as.example/jwks"}, "AUTH_JWKS_URL: must begin with https"),
        ({**AS, "AUTH_JWKS_URL": "https://a@as.example/jwks"}, "AUTH_JWKS_URL: may hold no user"),
        ({**AS, "AUTH_ISSUER": "https://*.as.example"}, "AUTH_ISSUER: has a host or a port"),
        ({**AS, "AUTH_ISSUER": "https://as.example\\.evil"}, "AUTH_ISSUER: has a host or a port"),
        (
            {**AS, "AUTH_JWKS_URL": f"{ISSUER}/.well-known/openid-configuration"},
            "AUTH_JWKS_URL: is the URL of metadata",
        ),
        ({**AS, "AUTH_JWKS_URL": "file:///etc/keys"}, "AUTH_JWKS_URL: must begin with https"),
        # Nobody but a list can keep strangers out.
        ({**AS, "AUTH_ISSUER": "https://accounts.google.com"}, "AUTH_ISSUER: anybody can join"),
        ({**AS, "AUTH_ISSUER": "https://Accounts.Google.com./"}, "AUTH_ISSUER: anybody can join"),
        ({**AS, "AUTH_ISSUER": "https://github.com/login/oauth"}, "AUTH_ISSUER: anybody can join"),
        ({**AS, "AUTH_ISSUER": "https://gitlab.com"}, "AUTH_ISSUER: anybody can join"),
        ({**AS, "AUTH_ISSUER": "https://appleid.apple.com"}, "AUTH_ISSUER: anybody can join"),
        ({**AS, "AUTH_ISSUER": "https://login.live.com"}, "AUTH_ISSUER: anybody can join"),
        *(
            (
                {**AS, "AUTH_ISSUER": f"https://login.microsoftonline.com/{tenants}/v2.0"},
                "AUTH_ISSUER: anybody can join",
            )
            for tenants in ("common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad")
        ),
        ({**SIGNED, "FRONT_ISSUER": "https://accounts.google.com"}, "FRONT_ISSUER: anybody can"),
        # A Hugging Face token is never a credential here.
        ({**AS, "AUTH_ISSUER": "https://huggingface.co"}, "AUTH_ISSUER: is Hugging Face"),
        ({**AS, "AUTH_ISSUER": "https://hf.co/", "PEOPLE": "me"}, "AUTH_ISSUER: is Hugging Face"),
        ({**SIGNED, "FRONT_ISSUER": "https://huggingface.co"}, "FRONT_ISSUER: is Hugging Face"),
        # Where the gate is, and for whom tokens are.
        ({"AUTH_ISSUER": ISSUER}, "PUBLIC_URL: is missing, and AUTH_ISSUER needs it"),
        ({"AUTH_ISSUER": ISSUER, "PUBLIC_URL": "http://gate.lan"}, "PUBLIC_URL: must begin with"),
        ({**AS, "AUTH_AUDIENCE": "*"}, "AUTH_AUDIENCE: * is no audience"),
        ({**AS, "AUTH_AUDIENCE": "https://*.example.com"}, "AUTH_AUDIENCE: https://*.example.com is"),
        ({**AS, "AUTH_AUDIENCE": ", ,"}, "AUTH_AUDIENCE: names nothing"),
        ({**AS, **OPAQUE, "AUTH_AUDIENCE": "other gate"}, "AUTH_AUDIENCE: has AUTH_CLIENT_ID in it"),
        ({**AS, "AUTH_SCOPES": 'read "write"'}, 'AUTH_SCOPES: "write" is no scope'),
        ({**AS, "AUTH_SCOPES": "x" * 101}, "AUTH_SCOPES: an entry is no scope"),
        ({**AS, "AUTH_SCOPES": "a\\b"}, "AUTH_SCOPES: a\\b is no scope"),
        ({**AS, "AUTH_SCOPES": "lesen schr\u00e4g"}, "AUTH_SCOPES: schr\u00e4g is no scope"),
        ({**AS, "AUTH_TOKEN_TYPE": "JWT"}, "AUTH_TOKEN_TYPE: must be at+jwt"),
        ({**AS, "AUTH_NAME_CLAIM": "first name"}, "AUTH_NAME_CLAIM: must be the name of one claim"),
        ({**AS, "AUTH_LEEWAY_SECONDS": "3600"}, "AUTH_LEEWAY_SECONDS: must be a number, 0 or more"),
        ({**AS, "AUTH_KEYS_STALE_SECONDS": "0"}, "AUTH_KEYS_STALE_SECONDS: must be a number, more"),
        # Signatures.
        ({**AS, "AUTH_ALGORITHMS": "RS256 none"}, "AUTH_ALGORITHMS: none means unsigned"),
        ({**AS, "AUTH_ALGORITHMS": "NONE"}, "AUTH_ALGORITHMS: none means unsigned"),
        ({**AS, "AUTH_ALGORITHMS": "RS256,HS256"}, "AUTH_ALGORITHMS: HS256 signs and checks with one"),
        ({**AS, "AUTH_ALGORITHMS": "hs512"}, "AUTH_ALGORITHMS: hs512 signs and checks with one"),
        ({**AS, "AUTH_ALGORITHMS": "RSA"}, "AUTH_ALGORITHMS: RSA is none of RS256"),
        ({**SIGNED, "FRONT_ALGORITHMS": "HS256"}, "FRONT_ALGORITHMS: HS256 signs and checks"),
        # Introspection: three or none.
        *(
            (
                {**AS, **{name: value for name, value in OPAQUE.items() if name != missing}},
                f"{missing}: is missing; it goes with ",
            )
            for missing in OPAQUE
        ),
        (
            {**AS, **OPAQUE, "AUTH_INTROSPECTION_URL": "http://as.example/introspect"},
            "AUTH_INTROSPECTION_URL: must begin with https",
        ),
        (
            {**AS, **OPAQUE, "AUTH_INTROSPECTION_URL": "https://as.example/oauth2/userinfo"},
            "AUTH_INTROSPECTION_URL: is for people's names",
        ),
        ({**AS, **OPAQUE, "AUTH_CLIENT_SECRET": "<secret>"}, "AUTH_CLIENT_SECRET: is the text"),
        # A list that would decide nothing.
        *(
            ({**AS, "PEOPLE": f"me@example.com, {match}"}, f"PEOPLE: {match.strip()} means nobody: ")
            for match in (
                *("alice bob", "@example.com", "alice@", "*@", "*@*.example.com", "*.example.com", "al*"),
                *("user:alice", "Sub:1", "sub:", "org:", "client:*", '["alice"]', "a@b@c"),
            )
        ),
        ({**AS, "PEOPLE": ",,"}, "PEOPLE: names nobody"),
        ({**AS, "PEOPLE": f"mcpgate_{'S3cret' * 8}"}, "PEOPLE: holds the value of a token"),
        ({**CLOUDFLARE, "PEOPLE": "me@example.com,alice"}, "PEOPLE: alice lets nobody in"),
        ({**IAP, "PEOPLE": "org:acme"}, "PEOPLE: org:acme lets nobody in"),
        ({"MCP_AUTH_TOKEN": TOKEN, "PEOPLE": "alice"}, "PEOPLE: says who may come in"),
        # Fronts.
        ({"FRONT": "oauth2-proxy"}, "FRONT: must be cloudflare, iap, pomerium or jwt"),
        *(
            (
                {name: value for name, value in front.items() if name != "FRONT_AUDIENCE"},
                "FRONT_AUDIENCE: is missing",
            )
            for front in (CLOUDFLARE, IAP, POMERIUM, SIGNED)
        ),
        *(
            (
                {name: value for name, value in SIGNED.items() if name != missing},
                f"{missing}: is missing, and FRONT=jwt needs it",
            )
            for missing in ("FRONT_HEADER", "FRONT_ISSUER", "FRONT_JWKS_URL", "FRONT_ALGORITHMS")
        ),
        (
            {"FRONT": "cloudflare", "FRONT_AUDIENCE": "a1b2c3"},
            "FRONT_TEAM: is missing, and FRONT=cloudflare needs it",
        ),
        ({**IAP, "FRONT_TEAM": "acme"}, "FRONT_TEAM: is for FRONT=cloudflare only"),
        ({**CLOUDFLARE, "FRONT_TEAM": "https://acme.example.com"}, "FRONT_TEAM: must be the name"),
        ({**IAP, "FRONT_HEADER": "X-Jwt-Assertion"}, "FRONT_HEADER: is for FRONT=jwt"),
        ({**POMERIUM, "FRONT_ALGORITHMS": "ES256"}, "FRONT_ALGORITHMS: is for FRONT=jwt"),
        ({**CLOUDFLARE, "FRONT_ISSUER": "https://sso.example"}, "FRONT_ISSUER: is for FRONT=jwt"),
        ({**SIGNED, "FRONT_ISSUER": "accounts.google.com"}, "FRONT_ISSUER: anybody can join"),
        ({**SIGNED, "FRONT_ISSUER": "login.windows.net/common"}, "FRONT_ISSUER: anybody can join"),
        ({**SIGNED, "FRONT_ISSUER": "huggingface.co"}, "FRONT_ISSUER: is Hugging Face"),
        ({**SIGNED, "FRONT_AUDIENCE": "*"}, "FRONT_AUDIENCE: * is no audience"),
        ({**SIGNED, "FRONT_JWKS_URL": "http://sso.lan/keys"}, "FRONT_JWKS_URL: must begin with https"),
        ({**SIGNED, "FRONT_ISSUER": "http://sso.lan"}, "FRONT_ISSUER: must begin with https"),
        *(
            ({**SIGNED, "FRONT_HEADER": header}, f"FRONT_HEADER: {header} means something else")
            for header in (
                *("Authorization", "cookie", "Host", "X-API-Key", "X-HF-Authorization"),
                *("Connection", "Transfer-Encoding", "X-Gate-Principal", "X-Forwarded-User"),
                *("Content-Type", "Mcp-Session-Id", "Sec-Fetch-Site", "Forwarded"),
            )
        ),
        *(
            ({**SIGNED, "FRONT_HEADER": header}, f"FRONT_HEADER: {header} is not signed")
            for header in ("Tailscale-User-Login", "Remote-User", "X-Amzn-Oidc-Data")
        ),
        ({**SIGNED, "FRONT_HEADER": "X-Jwt:"}, "FRONT_HEADER: must be the name of a header field"),
        ({**SIGNED, "FRONT_HEADER": "X Jwt"}, "FRONT_HEADER: must be the name of a header field"),
        ({**SIGNED, "FRONT_HEADER": "X_Jwt"}, "FRONT_HEADER: X_Jwt has an underscore"),
        ({**POMERIUM, "FRONT_AUDIENCE": "/projects/1/apps/x"}, "FRONT_AUDIENCE: must be the host"),
        ({**POMERIUM, "FRONT_AUDIENCE": "gate.example a..b"}, "FRONT_AUDIENCE: must be the host"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_in_a_sentence_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    (fault,) = faults(monkeypatch, settings)
    assert fault.startswith(told)
    assert "S3cret" not in fault


@pytest.mark.parametrize(
    ("group", "switch"), [(("AUTH_",), "AUTH_ISSUER"), (("FRONT_",), "FRONT")], ids=str
)
def test_half_of_a_group_is_a_fault_also_where_it_says_the_default(
    monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...], switch: str
) -> None:
    given = {**AS, **OPAQUE, **SIGNED, "FRONT_TEAM": "acme", "FRONT_NAME_CLAIM": "name"}
    defaults = {
        name.upper(): "https://as.example/keys" if name.endswith("url") else str(field.default or "x")
        for name, field in Settings.model_fields.items()
    }  # fmt: skip
    defaults |= {"AUTH_ALGORITHMS": "RS256", "AUTH_TOKEN_TYPE": "at+jwt", "FRONT_REQUIRED": "true"}
    names = [name for name in defaults if name.startswith(group) and name != switch]
    for name in names:
        (fault,) = faults(monkeypatch, {name: given.get(name, defaults[name])})
        needed = "AUTH_ISSUER, FRONT or SIGN_IN" if name.lower() in OF_BOTH else switch
        assert fault.startswith(f"{name}: means nothing without {needed};"), name
    assert len(names) > 7


def test_a_copy_of_the_example_file_switches_nothing_on(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AUTH_LEEWAY_SECONDS=60\nFRONT_REQUIRED=True\nAUTH_ISSUER=\n")
    settings = load_settings()
    assert not settings.has_other_ways_in
    assert not settings.has_principals
    assert settings.makes_token


def test_the_algorithms_that_may_be_named_are_those_that_can_be_checked() -> None:
    assert {*ALGORITHMS} == public_keys.ALGORITHMS.keys()


def test_all_faults_of_the_ways_in_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AUTH_ISSUER": ISSUER, "AUTH_ALGORITHMS": "none", "AUTH_CLIENT_ID": "gate"}
    found = faults(monkeypatch, {**given, "FRONT": "cloudflare", "PORT": "0"})
    assert sorted(fault.partition(":")[0] for fault in found) == [
        "AUTH_ALGORITHMS",
        "AUTH_CLIENT_SECRET",
        "AUTH_INTROSPECTION_URL",
        "FRONT_AUDIENCE",
        "FRONT_TEAM",
        "PORT",
        "PUBLIC_URL",
    ]


def test_a_faulty_issuer_is_the_only_fault_of_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**AS, **OPAQUE, "AUTH_ISSUER": "http://as.example", "HOST": "0.0.0.0", "PEOPLE": "alice"}  # fmt: skip
    (fault,) = faults(monkeypatch, given)
    assert fault.startswith("AUTH_ISSUER:")


def test_values_are_as_the_verifiers_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        **AS,
        **CLOUDFLARE,
        "AUTH_SCOPES": "mcp:read, mcp:write  mcp:read offline_access",
        "AUTH_ALGORITHMS": "rs256 eddsa",
        "AUTH_TOKEN_TYPE": "application/at+jwt",
        "PEOPLE": " alice ,org:Acme Inc,",
    }
    for name, value in texts.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.auth_issuer == ISSUER
    assert settings.audiences == ("https://gate.example.com/mcp", "https://gate.example.com/mcp/")
    assert settings.needed_scopes == ("mcp:read", "mcp:write")
    assert settings.auth_algorithms == ("RS256", "EdDSA")
    assert settings.auth_token_type == "at+jwt"
    assert settings.people == ("alice", "org:Acme Inc")
    assert settings.has_principals
    assert not settings.makes_token
    assert not settings.shows_discovery
    for team in ("acme", "Acme.cloudflareaccess.com", "https://acme.cloudflareaccess.com/"):
        monkeypatch.setenv("FRONT_TEAM", team)
        assert load_settings().front_team == "acme"
    monkeypatch.setenv("FRONT_REQUIRED", "false")
    assert load_settings().shows_discovery


# The names that a Space has for something else


def test_no_setting_has_a_name_that_a_space_injects() -> None:
    assert not KNOWN & {*INJECTED}
    assert [meant(name, KNOWN) for name in INJECTED] == [None] * len(INJECTED)


def test_what_a_space_injects_switches_nothing_on_and_is_no_slip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = dict.fromkeys(INJECTED, "x" * 40)
    assert notes(monkeypatch, given) == notes(monkeypatch, {})
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert not load_settings().has_other_ways_in


def test_what_a_space_injects_is_told_of_where_it_was_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    injected = {"OAUTH_CLIENT_ID": "id-of-the-space", "OAUTH_CLIENT_SECRET": "S3cret-of-the-space"}
    copied = {f"AUTH_{name.removeprefix('OAUTH_')}": value for name, value in injected.items()}
    found = faults(monkeypatch, {**AS, **OPAQUE, **injected, **copied})
    assert [fault.partition(",")[0] for fault in found] == [
        "AUTH_CLIENT_ID: is OAUTH_CLIENT_ID",
        "AUTH_CLIENT_SECRET: is OAUTH_CLIENT_SECRET",
    ]
    assert "S3cret" not in str(found)
    (tmp_path / ".env").write_text("\n".join(f"{name}=S3cret" for name in INJECTED))
    told = [note for note in notes(monkeypatch, {}) if "switches nothing on" in note]
    assert len(told) == len(INJECTED)
    found = faults(monkeypatch, AS)
    assert [fault for fault in found if "is no setting of the gate" not in fault] == []
    assert len(found) == len(INJECTED)


# Names, and remarks


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *ALIASES.items(),
        ("AUTH_AUDIENCES", "AUTH_AUDIENCE"),
        ("AUTH_JWKS_URI", "AUTH_JWKS_URL"),
        ("AUTH_SCOPE", "AUTH_SCOPES"),
        ("FRONT_REQUIRE", "FRONT_REQUIRED"),
        ("PEOPEL", "PEOPLE"),
    ],
)
def test_a_slip_of_these_names_is_known(name: str, setting: str) -> None:
    assert meant(name, KNOWN) == setting
    assert meant("OAUTH_ISSUER", KNOWN) is None  # a server with a sign-in of its own has it


def test_the_words_of_these_names_are_left_to_others() -> None:
    others = "AUTH_SECRET AUTH_URL CLIENT_ID CLIENT_SECRET JWKS_URL FRONTEND FRONT_URL AZURE_CLIENT_ID GITHUB_CLIENT_ID"
    assert [name for name in others.split() if meant(name, KNOWN) or perhaps_meant(name, KNOWN)] == []  # fmt: skip
    assert perhaps_meant("AUTH_TOKEN", KNOWN) == "MCP_AUTH_TOKEN"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**AS, **CLOUDFLARE}, "AUTH_ISSUER: clients are not told of it, since FRONT_REQUIRED"),
        ({**AS, "AUTH_SCOPES": "mcp openid"}, "AUTH_SCOPES: openid asks for an ID token"),
        ({**AS, "AUTH_SCOPES": "offline_access"}, "AUTH_SCOPES: offline_access has no effect"),
        ({**AS, "AUTH_ISSUER": "https://accounts.google.com", "PEOPLE": "*"}, "PEOPLE: has *, and"),
        ({**AS, "AUTH_AUDIENCE": "account"}, "AUTH_AUDIENCE: account is the audience of tokens for"),
        ({**AS, "AUTH_AUDIENCE": ISSUER}, f"AUTH_AUDIENCE: {ISSUER} is the audience of tokens for"),
        ({**AS, **OPAQUE, "MCP_AUTH_TOKEN": TOKEN}, "MCP_AUTH_TOKEN: does not begin with mcpgate_"),
        (
            {**AS, "AUTH_ISSUER": "https://login.microsoftonline.com/common/v2.0", "PEOPLE": "me"},
            "AUTH_ISSUER: stands for all tenants",
        ),
    ],
)  # fmt: skip
def test_what_is_allowed_but_hardly_meant_is_told(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    given = {"TRUSTED_HOPS": "1", **settings}
    (note,) = notes(monkeypatch, given)
    assert note.startswith(told)
