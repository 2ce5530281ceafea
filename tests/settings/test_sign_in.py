"""Settings of signing in: each by itself, together, and in a Space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gatehouse.settings.environment import KNOWN, load_settings
from gatehouse.settings.misspelt import USUAL, meant, perhaps_meant
from tests.harness.judged import faults, notes, settings_of, without_settings
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "S3cret-of-the-client-with-40-characters!"
OF_SPACE = "S3cret-of-the-space-with-38-characters"
OWN = "S3cret-of-the-sessions-with-42-characters!"
CLIENT = {"SIGN_IN_CLIENT_ID": "gate", "SIGN_IN_CLIENT_SECRET": SECRET}
ANY = {"SIGN_IN": "https://sso.example/realms/one", **CLIENT, "ADMINS": "alice@example.com"}
OUTSIDE = {**ANY, "HOST": "0.0.0.0", "PUBLIC_URL": "https://gate.example.com"}
HERE = {"SPACE_ID": "me/gate", "SPACE_HOST": "me-gate.hf.space,gate.example.com"}
GIVEN = {
    "OAUTH_CLIENT_ID": "1d5f",
    "OAUTH_CLIENT_SECRET": OF_SPACE,
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
    "SPACE_CREATOR_USER_ID": "5f0c1d",
}
SPACE = {**HERE, **GIVEN, "SIGN_IN": "huggingface"}
OWN_APP = {"SIGN_IN": "huggingface", **CLIENT, "ADMINS": "alice"}
FRONT = {
    "FRONT": "cloudflare",
    "FRONT_AUDIENCE": "a1b2c3",
    "FRONT_TEAM": "acme",
    "PUBLIC_URL": "https://gate.example.com",
}
FRONTED = {**FRONT, "ADMINS": "alice@example.com"}
POMERIUM = {
    "FRONT": "pomerium",
    "FRONT_AUDIENCE": "gate.example.com",
    "PUBLIC_URL": "https://gate.example.com",
}
AS = {"AUTH_ISSUER": "https://as.example", "PUBLIC_URL": "https://gate.example.com"}


def without(settings: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in names}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setattr("os.path.ismount", lambda _: True)  # tokens made in these Spaces last


@pytest.mark.parametrize(
    "settings",
    [
        ANY,
        {**ANY, "SIGN_IN": "http://127.0.0.1:9000"},
        {**ANY, "HOST": "::1", "MCP_AUTH_TOKEN": TOKEN, "TOKENS_FILE": "tokens.toml"},
        {**ANY, "PUBLIC_URL": "http://localhost:7860", "AUTH_LEEWAY_SECONDS": "5"},
        {**ANY, "SIGN_IN_SECRET": OWN},
        {**ANY, "SIGN_IN_CLIENT_SECRET": "short", "SIGN_IN_SECRET": OWN},
        {**ANY, "SIGN_IN": "https://accounts.google.com"},
        {**ANY, "ADMINS": "alice, sub:1, org:Acme Inc, *@example.com"},
        {**ANY, "ADMINS": "*"},
        {**ANY, "PEOPLE": "*@gmail.com"},
        {**ANY, "ALLOWED_HOSTS": "gate.lan, 127.0.0.1"},
        {**ANY, "EXPOSE_PATHS": "/*, /dashboards, /app/dashboard"},
        {**ANY, **GIVEN},
        OUTSIDE,
        {**OUTSIDE, "ALLOWED_HOSTS": "gate.lan"},
        {**OUTSIDE, **AS, "SIGN_IN": "https://as.example", "PEOPLE": "org:acme,client:ci"},
        SPACE,
        {**SPACE, "SIGN_IN": " Hugging-Face ", "MCP_AUTH_TOKEN": TOKEN},
        {**SPACE, "SIGN_IN": "https://huggingface.co/"},
        {**SPACE, "ADMINS": "alice, bob"},
        {**SPACE, "OAUTH_SCOPES": "openid profile email read-memberships", "ADMINS": "org:acme, a@b.example"},
        {**SPACE, "PUBLIC_URL": "https://gate.example.com", "ALLOWED_HOSTS": "me-gate.hf.space"},
        {**without(SPACE, "OPENID_PROVIDER_URL"), **FRONT},
        {**without(SPACE, *GIVEN), **OWN_APP},
        {**SPACE, **CLIENT, "ADMINS": "org:acme"},
        OWN_APP,
        {**OWN_APP, "ADMINS": "a@b.example", "PEOPLE": "org:acme"},
        FRONTED,
        {**FRONTED, "SIGN_IN_SECRET": OWN, "FRONT_REQUIRED": "false"},
        {**FRONTED, **ANY},
        {**FRONTED, **OWN_APP, "ADMINS": "alice"},
        {**POMERIUM, "ADMINS": "alice"},
        {**AS, "PEOPLE": "alice", **ANY},
        {"SIGN_IN": " off "},
        GIVEN,
        {**HERE, **GIVEN, "MCP_AUTH_TOKEN": TOKEN},
    ],
)  # fmt: skip
def test_what_goes_together_is_accepted(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    assert faults(monkeypatch, settings) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        # The place where people sign in.
        ({**ANY, "SIGN_IN": "google"}, "SIGN_IN: must be huggingface, or the issuer"),
        ({**ANY, "SIGN_IN": "true"}, "SIGN_IN: must be huggingface, or the issuer"),
        ({**ANY, "SIGN_IN": "sso.example"}, "SIGN_IN: must be huggingface, or the issuer"),
        ({**ANY, "SIGN_IN": "http://sso.example"}, "SIGN_IN: must begin with https://"),
        ({**ANY, "SIGN_IN": " https://sso.example"}, "SIGN_IN: has a space"),
        ({**ANY, "SIGN_IN": "https://sso.example?a=S3cret"}, "SIGN_IN: may have no query"),
        ({**ANY, "SIGN_IN": "https://a:S3cret@sso.example"}, "SIGN_IN: may hold no user name"),
        ({**ANY, "SIGN_IN": "https://sso.example/.well-known/openid-configuration"}, "SIGN_IN: is the URL"),
        ({**ANY, "SIGN_IN": "https://login.microsoftonline.com/common/v2.0"}, "SIGN_IN: stands for all"),
        ({**OUTSIDE, "SIGN_IN": "https://Gate.example.com/"}, "SIGN_IN: is the gate itself"),
        ({**OUTSIDE, "SIGN_IN": "https://gate.example.com/mcp"}, "SIGN_IN: is the gate itself"),
        ({**ANY, "SIGN_IN": "http://127.0.0.1:7860"}, "SIGN_IN: is the gate itself"),
        (
            {**ANY, **HERE, "SIGN_IN": "https://gate.example.com", "PUBLIC_URL": "https://g.example"},
            "SIGN_IN: is the gate itself",
        ),
        # Half a group.
        (without(ANY, "SIGN_IN_CLIENT_ID"), "SIGN_IN_CLIENT_ID: is missing, and SIGN_IN needs it"),
        (without(ANY, "SIGN_IN_CLIENT_SECRET"), "SIGN_IN_CLIENT_SECRET: is missing, and SIGN_IN"),
        (without(ANY, "ADMINS"), "ADMINS: is missing, and SIGN_IN needs it, since nobody could"),
        (without(OUTSIDE, "ADMINS"), "ADMINS: is missing, and SIGN_IN needs it, since nobody could"),
        ({"SIGN_IN_CLIENT_ID": "gate"}, "SIGN_IN_CLIENT_ID: means nothing without SIGN_IN;"),
        ({"SIGN_IN_CLIENT_SECRET": SECRET}, "SIGN_IN_CLIENT_SECRET: means nothing without SIGN_IN;"),
        ({"SIGN_IN_SECRET": OWN}, "SIGN_IN_SECRET: means nothing without SIGN_IN;"),
        ({**FRONT, "SIGN_IN_SECRET": OWN}, "SIGN_IN_SECRET: means nothing without SIGN_IN;"),
        ({**FRONTED, "SIGN_IN_CLIENT_ID": "gate"}, "SIGN_IN_CLIENT_ID: means nothing without SIGN_IN"),
        ({"ADMINS": "alice"}, "ADMINS: says who may open the dashboard, but nobody can say"),
        ({**AS, "ADMINS": "alice"}, "ADMINS: says who may open the dashboard, but nobody can say"),
        # Hugging Face.
        (without(SPACE, "OAUTH_CLIENT_ID"), "SIGN_IN: huggingface needs the client that Hugging Face"),
        (without(SPACE, "OAUTH_CLIENT_SECRET"), "SIGN_IN: huggingface needs the client that Hugging"),
        ({**HERE, "SIGN_IN": "huggingface", "ADMINS": "a"}, "SIGN_IN: huggingface needs the client that"),
        ({**GIVEN, "SIGN_IN": "huggingface", "ADMINS": "a"}, "SIGN_IN: huggingface gets a client only in a"),
        (without(OWN_APP, "SIGN_IN_CLIENT_ID"), "SIGN_IN_CLIENT_ID: is missing, and SIGN_IN needs it"),
        ({**SPACE, "SIGN_IN_CLIENT_ID": "x"}, "SIGN_IN_CLIENT_SECRET: is missing, and SIGN_IN needs"),
        (without(SPACE, "SPACE_CREATOR_USER_ID"), "ADMINS: is missing, and SIGN_IN needs it, since this Space"),
        ({**SPACE, "SPACE_CREATOR_USER_ID": "*"}, "ADMINS: is missing, and SIGN_IN needs it, since this Space"),
        ({**GIVEN, **without(OWN_APP, "ADMINS")}, "ADMINS: is missing, and SIGN_IN needs it, since nobody"),
        ({**SPACE, "OPENID_PROVIDER_URL": "http://hub.example"}, "OPENID_PROVIDER_URL: must begin with https"),
        (
            {**ANY, **HERE, **GIVEN, "SIGN_IN_CLIENT_ID": GIVEN["OAUTH_CLIENT_ID"], "SIGN_IN_CLIENT_SECRET": "x" * 40},
            "SIGN_IN_CLIENT_ID: is OAUTH_CLIENT_ID, by which people sign in at huggingface.co; SIGN_IN is another",
        ),
        ({**ANY, **HERE, **GIVEN, "SIGN_IN_CLIENT_SECRET": OF_SPACE}, "SIGN_IN_CLIENT_SECRET: is OAUTH_CLIENT_SECRET, by"),
        # Lists by which nobody comes, or everybody.
        *(
            ({**ANY, "ADMINS": f"me@example.com, {match}"}, f"ADMINS: {match} means nobody: ")
            for match in ("alice bob", "@example.com", "al*", "user:alice", "sub:", "a@b@c")
        ),
        ({**ANY, "ADMINS": ",,"}, "ADMINS: names nobody"),
        ({**ANY, "ADMINS": f"mcpgate_{'S3cret' * 8}"}, "ADMINS: holds the value of a token"),
        ({**ANY, "ADMINS": "alice, client:ci"}, "ADMINS: client:ci lets nobody in, since only people"),
        ({**FRONTED, "ADMINS": "client:ci"}, "ADMINS: client:ci lets nobody in, since only people"),
        ({**ANY, "PEOPLE": "client:ci"}, "PEOPLE: client:ci lets nobody in, since only people"),
        ({**FRONTED, "ADMINS": "alice"}, "ADMINS: alice lets nobody in, since the assertions of FRONT="),
        ({**FRONTED, "ADMINS": "org:acme"}, "ADMINS: org:acme lets nobody in, since the assertions of"),
        ({**FRONTED, **AS, "ADMINS": "alice"}, "ADMINS: alice lets nobody in, since the assertions of"),
        ({**SPACE, "ADMINS": "org:acme"}, "ADMINS: org:acme lets nobody in, since Hugging Face tells"),
        ({**SPACE, "ADMINS": "*@acme.example"}, "ADMINS: *@acme.example lets nobody in, since Hugging"),
        ({**SPACE, "PEOPLE": "a@b.example"}, "PEOPLE: a@b.example lets nobody in, since Hugging Face"),
        ({**FRONT, **SPACE, "ADMINS": "org:acme"}, "ADMINS: org:acme lets nobody in, since Hugging Face"),
        ({**SPACE, "ADMINS": "*"}, "ADMINS: * lets everybody open the dashboard, since anybody can join SIGN_IN"),
        ({**ANY, "SIGN_IN": "https://gitlab.com", "ADMINS": "*"}, "ADMINS: * lets everybody open the"),
        (
            {
                "FRONT": "jwt", "FRONT_AUDIENCE": "gate", "FRONT_HEADER": "X-Jwt", "ADMINS": "*", "PEOPLE": "alice",
                "FRONT_ISSUER": "https://accounts.google.com", "FRONT_JWKS_URL": "https://sso.example/keys",
                "FRONT_ALGORITHMS": "ES256", "PUBLIC_URL": "https://gate.example.com",
            },
            "ADMINS: * lets everybody open the dashboard, since anybody can join FRONT_ISSUER",
        ),
        ({**ANY, "ADMINS": "*@GMail.com"}, "ADMINS: *@GMail.com lets everybody open the dashboard, since"),
        # The address of the dashboard.
        (without(OUTSIDE, "PUBLIC_URL"), "PUBLIC_URL: is missing, and SIGN_IN needs it"),
        ({**ANY, "SPACE_ID": "me/gate"}, "PUBLIC_URL: is missing, and SIGN_IN needs it"),
        (without(FRONTED, "PUBLIC_URL"), "PUBLIC_URL: is missing, and ADMINS beside FRONT needs it"),
        ({**SPACE, **without(FRONT, "PUBLIC_URL")}, "PUBLIC_URL: is missing, and SIGN_IN needs it"),
        ({**ANY, "PUBLIC_URL": "http://gate.lan"}, "PUBLIC_URL: must begin with https:// where there is a"),
        ({**ANY, **AS, "PUBLIC_URL": "http://gate.lan"}, "PUBLIC_URL: must begin with https:// beside AUTH"),
        (without({**ANY, **AS}, "PUBLIC_URL"), "PUBLIC_URL: is missing, and AUTH_ISSUER needs it"),
        ({**ANY, "ALLOWED_HOSTS": "gate.lan"}, "ALLOWED_HOSTS: leaves out 127.0.0.1, where the dashboard"),
        ({**SPACE, "ALLOWED_HOSTS": "gate.example.com"}, "ALLOWED_HOSTS: leaves out me-gate.hf.space, where"),
        *(
            ({**ANY, "EXPOSE_PATHS": path}, f"EXPOSE_PATHS: {path} is the dashboard's")
            for path in ("/dashboard/*", "/Dashboard", "/dashboard/x/*", "/DASHBOARD/")
        ),
        # Secrets.
        ({**ANY, "SIGN_IN_CLIENT_SECRET": "S3cret"}, "SIGN_IN_SECRET: is missing, and the client's secret"),
        ({**ANY, "SIGN_IN_CLIENT_SECRET": "<secret>"}, "SIGN_IN_CLIENT_SECRET: is the text in place of it"),
        ({**ANY, "SIGN_IN_SECRET": "S3cret"}, "SIGN_IN_SECRET: is too short"),
        ({**ANY, "SIGN_IN_SECRET": "change-me-S3cret-change-me-S3cret-change"}, "SIGN_IN_SECRET: is the text"),
        ({**ANY, "SIGN_IN_SECRET": SECRET}, "SIGN_IN_SECRET: is the same as SIGN_IN_CLIENT_SECRET"),
        ({**ANY, "SIGN_IN_SECRET": OWN, "MCP_AUTH_TOKEN": OWN}, "SIGN_IN_SECRET: is the same as MCP_AUTH"),
        ({**ANY, "SIGN_IN_SECRET": OWN, "METRICS_TOKEN": OWN}, "SIGN_IN_SECRET: is the same as METRICS_T"),
        ({**SPACE, "SIGN_IN_SECRET": OF_SPACE}, "SIGN_IN_SECRET: is the same as OAUTH_CLIENT_SECRET"),
        ({**ANY, "MCP_AUTH_TOKEN": SECRET}, "MCP_AUTH_TOKEN: is the same as the secret of the client"),
        (
            {**ANY, **AS, "AUTH_AUDIENCE": "gate https://gate.example.com/mcp"},
            "AUTH_AUDIENCE: has SIGN_IN_CLIENT_ID in it",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_in_a_sentence_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    (fault,) = faults(monkeypatch, settings)
    assert fault.startswith(told)
    assert "S3cret" not in fault
    assert "\n" not in fault


def test_all_faults_of_signing_in_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**without(OUTSIDE, "PUBLIC_URL", "SIGN_IN_CLIENT_ID"), "SIGN_IN_SECRET": "S3cret"}
    found = faults(monkeypatch, {**given, "PORT": "0", "EXPOSE_PATHS": "/dashboard"})
    assert sorted(fault.partition(":")[0] for fault in found) == [
        "EXPOSE_PATHS",
        "PORT",
        "PUBLIC_URL",
        "SIGN_IN_CLIENT_ID",
        "SIGN_IN_SECRET",
    ]


def test_a_faulty_provider_is_the_only_fault_of_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**OUTSIDE, "SIGN_IN": "http://sso.example", "SIGN_IN_SECRET": OWN, "PEOPLE": "alice"}
    (fault,) = faults(monkeypatch, {**given, "AUTH_LEEWAY_SECONDS": "5"})
    assert fault.startswith("SIGN_IN:")


# The values


def test_without_these_settings_there_is_no_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({}, {**HERE, **GIVEN, "MCP_AUTH_TOKEN": TOKEN}, FRONT, {**AS, "PEOPLE": "alice"}):
        settings = settings_of(monkeypatch, given)
        assert not settings.has_dashboard
        assert not settings.admins_in_force
        assert not settings.sign_in_issuer
        assert settings.sign_in_client == ("", "")
        assert settings.sign_in_scopes == ()
        assert settings.sign_in_key_material is None
        assert settings.has_principals == settings.has_other_ways_in


def test_a_space_needs_nothing_but_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, SPACE)
    assert settings.has_dashboard
    assert settings.admins_in_force == settings.people_who_sign_in == ("sub:5f0c1d",)
    assert settings.sign_in_issuer == "https://huggingface.co"
    assert settings.sign_in_client == ("1d5f", OF_SPACE)
    assert settings.sign_in_scopes == ("openid", "profile")
    assert settings.sign_in_at == "Hugging Face"
    assert settings.dashboard_origin == "https://me-gate.hf.space"
    assert settings.sign_in_key_material == OF_SPACE.encode()
    assert settings.has_principals
    assert settings.takes_tokens
    assert not settings.makes_token
    assert not settings.believes_others
    assert settings.lets_apps_in


def test_any_provider_is_asked_as_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, {**ANY, **GIVEN, "SIGN_IN_SECRET": OWN, "PEOPLE": "bob"})
    assert settings.admins_in_force == ("alice@example.com",)
    assert settings.people_who_sign_in == ("bob",)
    assert settings.sign_in_issuer == "https://sso.example/realms/one"
    assert settings.sign_in_client == ("gate", SECRET)
    assert settings.sign_in_scopes == ("openid", "profile", "email")
    assert settings.sign_in_at == "sso.example"
    assert settings.sign_in_key_material == OWN.encode()
    assert settings_of(monkeypatch, ANY).people_who_sign_in == ()


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        (ANY, "http://127.0.0.1:7860"),
        ({**ANY, "HOST": "localhost", "PORT": "80"}, "http://localhost:80"),
        ({**ANY, "HOST": "::1"}, "http://[::1]:7860"),
        ({**ANY, "PUBLIC_URL": "http://localhost:9/mcp"}, "http://localhost:9"),
        (OUTSIDE, "https://gate.example.com"),
        ({**ANY, **HERE, "PUBLIC_URL": "https://gate.example.com"}, "https://gate.example.com"),
        # Hugging Face sends people back to the Space's own host only, with the client of the Space.
        ({**SPACE, "PUBLIC_URL": "https://gate.example.com"}, "https://me-gate.hf.space"),
        ({**SPACE, **FRONT, "FRONT_REQUIRED": "false"}, "https://me-gate.hf.space"),
        ({**SPACE, **FRONT}, "https://gate.example.com"),
        (
            {**SPACE, **OWN_APP, "PUBLIC_URL": "https://gate.example.com"},
            "https://gate.example.com",
        ),
        (FRONTED, "https://gate.example.com"),
    ],
)
def test_the_dashboard_has_one_origin(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], origin: str
) -> None:
    assert settings_of(monkeypatch, settings).dashboard_origin == origin


@pytest.mark.parametrize(
    ("given", "lists", "more"),
    [
        ("openid profile email read-memberships", {}, ()),
        ("openid profile email read-memberships", {"ADMINS": "alice, sub:1"}, ()),
        ("openid profile email", {"ADMINS": "a@b.example"}, ("email",)),
        ("openid profile email", {"PEOPLE": "*@b.example"}, ("email",)),
        ("openid profile,read-memberships", {"PEOPLE": "org:acme"}, ("read-memberships",)),
    ],
)
def test_people_at_hugging_face_are_asked_for_no_more_than_a_list_needs(
    monkeypatch: pytest.MonkeyPatch, given: str, lists: dict[str, str], more: tuple[str, ...]
) -> None:
    settings = settings_of(monkeypatch, {**SPACE, "OAUTH_SCOPES": given, **lists})
    assert settings.sign_in_scopes == ("openid", "profile", *more)


def test_those_of_the_tokens_file_count_among_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, {**SPACE, "OAUTH_SCOPES": "openid profile email"})
    asked = settings.scopes_for(["a@b.example", "org:acme", "alice"])
    assert asked == ("openid", "profile", "email")
    assert settings.untold == {"org", "client"}
    assert settings_of(monkeypatch, OWN_APP).scopes_for(["org:acme"])[2:] == ("read-memberships",)


def test_what_is_set_in_the_environment_of_a_space_is_found_in_a_file_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in SPACE.items()))
    assert load_settings().sign_in_client == ("1d5f", OF_SPACE)


def test_no_text_of_settings_has_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, {**ANY, **GIVEN, "SIGN_IN_SECRET": OWN})
    assert "S3cret" not in f"{settings!r} {settings}"


# Names, and remarks


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("HF_SIGN_IN", "SIGN_IN"),
        ("SIGNIN", "SIGN_IN"),
        ("SIGN-IN", "SIGN_IN"),
        ("SIGN_IN_ISSUER", "SIGN_IN"),
        ("SIGNIN_CLIENT_ID", "SIGN_IN_CLIENT_ID"),
        ("SIGN_IN_CLIENTID", "SIGN_IN_CLIENT_ID"),
        ("SIGN_IN_CLIENT_SECERT", "SIGN_IN_CLIENT_SECRET"),
        ("SIGNIN_SECRET", "SIGN_IN_SECRET"),
        ("SIGN_IN_ADMINS", "ADMINS"),
        ("AMDINS", "ADMINS"),
    ],
)
def test_a_slip_of_these_names_is_known(name: str, setting: str) -> None:
    assert meant(name, KNOWN) == setting


def test_the_words_of_these_names_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    others = "SIGNING_SECRET SLACK_SIGNING_SECRET SIGN_UP SIGN_KEY SESSION_SECRET PROVIDER_URL USER_ID CREATOR_USER_ID ADMIN_TOKEN"
    names = [*others.split(), *USUAL]
    assert [name for name in names if meant(name, KNOWN) or perhaps_meant(name, KNOWN)] == []
    assert notes(monkeypatch, dict.fromkeys(names, "x")) == notes(monkeypatch, {})


@pytest.mark.parametrize(
    ("lacking", "name"),
    [
        ("SIGN_IN_CLIENT_ID", "OIDC_CLIENT_ID"),
        ("SIGN_IN_CLIENT_SECRET", "CLIENT_SECRET"),
        ("ADMINS", "ADMIN"),
    ],
)
def test_a_usual_name_is_told_of_where_the_gate_lacks_that_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacking: str, name: str
) -> None:
    told = f"{name}: is there, but is no setting of the gate; did you mean {lacking}?"
    assert told in faults(monkeypatch, {**without(ANY, lacking), name: "S3cret"})
    assert faults(monkeypatch, {**ANY, name: "x"}) == []
    assert faults(monkeypatch, {**SPACE, name: "x"}) == []
    (tmp_path / ".env").write_text(f"{name}=x\n")
    assert told in faults(monkeypatch, without(ANY, lacking))
    assert faults(monkeypatch, {}) == []


def test_the_client_of_a_space_in_a_file_counts_only_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("OAUTH_CLIENT_ID=1d5f\n")
    assert faults(monkeypatch, {**SPACE, "TRUSTED_HOPS": "1"}) == []
    assert notes(monkeypatch, SPACE) == []
    (fault,) = faults(monkeypatch, ANY)
    assert "OAUTH_CLIENT_ID is no setting of the gate" in fault
    (note,) = notes(monkeypatch, {})
    assert "OAUTH_CLIENT_ID switches nothing on" in note


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**ANY, "ADMINS": "*"}, "ADMINS: has *, so that everybody who signs in may make tokens"),
        ({**FRONTED, "ADMINS": "*"}, "ADMINS: has *, so that everybody who signs in may make"),
        ({**SPACE, "PEOPLE": "*"}, "PEOPLE: has *, and anybody can join SIGN_IN"),
        ({**ANY, **FRONT}, "SIGN_IN: nobody signs in there, since FRONT_REQUIRED"),
        (
            {**SPACE, "PUBLIC_URL": "https://gate.example.com"},
            "PUBLIC_URL: is not where the dashboard",
        ),
        (
            {**ANY, "EXPOSE_PATHS": "/app"},
            "EXPOSE_PATHS: a page of the server's is of the dashboard's",
        ),
        ({**ANY, "SIGN_IN_SECRET": "ab" * 20}, "SIGN_IN_SECRET: has few different characters"),
        (
            {**OUTSIDE, **AS, "PEOPLE": "bob"},
            "PEOPLE: bob means whoever is so called at SIGN_IN or AUTH",
        ),
        (
            {**ANY, **POMERIUM, "FRONT_REQUIRED": "false", "ADMINS": "alice, a@b.example"},
            "ADMINS: alice means whoever is so called at SIGN_IN or FRONT",
        ),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_told(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    (note,) = notes(monkeypatch, {"TRUSTED_HOPS": "1", **settings})
    assert note.startswith(told)


def test_usual_settings_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (ANY, SPACE, FRONTED, {**SPACE, "MCP_AUTH_TOKEN": TOKEN}, OWN_APP):
        assert notes(monkeypatch, {"TRUSTED_HOPS": "1", **given}) == []
