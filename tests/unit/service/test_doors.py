"""Who may come in where: every route, every scope, and nobody; and that no secret comes out again."""

import base64
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Route

from cloudaccel import state
from cloudaccel.access.people import SCOPES, NotSignedIn, scopes_of
from cloudaccel.access.tokens import Tokens
from cloudaccel.service.app import create_app
from cloudaccel.service.doors import KNOWN_FOR_S, NEEDS, PUBLIC, SignIn, need_of
from cloudaccel.service.runs import Runs

START = datetime(2026, 11, 1, tzinfo=UTC)
# What each scope lets in: the whole matrix, written down apart from the code that decides.
MAY: dict[str, set[str]] = {
    "nobody": {PUBLIC},
    "no scope": {PUBLIC},
    "read": {PUBLIC, "read"},
    "plan": {PUBLIC, "read", "plan"},
    "provision": {PUBLIC, "read", "plan", "provision"},
    "admin": {PUBLIC, "read", "admin"},
}


class World:
    """A service that asks for tokens, and a clock that a test sets."""

    def __init__(self, folder: Path) -> None:
        self.at = START
        self.engine = state.open_state(f"sqlite:///{folder / 'state.db'}")
        self.tokens = Tokens(self.engine, lambda: self.at)
        self.sign_in = SignIn(self.tokens, clock=self.seconds)
        self.app = create_app(sign_in=self.sign_in, runs=Runs(self.engine))
        self.client = TestClient(
            self.app, base_url="http://localhost", raise_server_exceptions=False, follow_redirects=False
        )

    def seconds(self) -> float:
        return (self.at - START).total_seconds()

    def token(self, scope: str = "read", lasts_s: float = 3600) -> str:
        scopes = frozenset[str]() if scope == "no scope" else scopes_of(scope)
        return self.tokens.create("alice@example.org", scopes, project="p", lasts_s=lasts_s, by="test")[0]

    def ask(self, method: str, path: str, token: str | None, **more: Any) -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.client.close()
    made.engine.dispose()


def routes(app: Any) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        assert isinstance(route, Route | APIRoute), f"{route}: who may use it?"
        found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    return found


def test_every_route_is_in_the_table_and_no_other(world: World) -> None:
    """A new route without a scope would be open to everybody who has any token."""
    assert routes(world.app) == set(NEEDS)


@pytest.mark.parametrize("who", MAY)
def test_matrix(world: World, who: str) -> None:
    token = None if who == "nobody" else world.token(who)
    wrong: list[str] = []
    for (method, path), need in NEEDS.items():
        answer = world.ask(method, path.replace("{name}", "H100").replace("{offer_id}", "0" * 16), token)
        refused = answer.status_code in (401, 403)
        if refused == bool(MAY[who] & set(need.split(" or "))) or (
            refused and answer.status_code != (401 if token is None else 403)
        ):
            wrong.append(f"{method} {path} needs {need}: {who} got {answer.status_code}")
    assert not wrong


def test_matrix_knows_every_scope() -> None:
    assert set(MAY) == {"nobody", "no scope", *SCOPES}
    assert {word for need in NEEDS.values() for word in need.split(" or ")} <= {PUBLIC, *SCOPES}


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/v1/offers/0123456789abcdef", "read"),
        ("POST", "/v1/offers", ""),
        ("HEAD", "/v1/offers", ""),
        ("GET", "/v1/offers/a/b", None),
        ("GET", "/v1/offers/", None),
        ("GET", "//v1/offers", None),
        ("GET", "/V1/offers", None),
        ("GET", "/static/../v1/plan", None),
        ("GET", "/healthz/", None),
        ("GET", "/healthz\n", None),
    ],
)
def test_path_is_the_whole_path(method: str, path: str, need: str | None) -> None:
    assert need_of(method, path) == need


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/offers/", "/docs", "/redoc", "/%2e%2e/etc/passwd"])
def test_what_there_is_not_is_not_told_to_strangers(world: World, path: str) -> None:
    assert world.ask("GET", path, None).status_code == 401
    assert world.ask("GET", path, world.token()).status_code == 404


def basic(password: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_browser_is_asked_and_sends_the_token_as_a_password(world: World) -> None:
    answer = world.ask("GET", "/", None)
    assert answer.status_code == 401
    assert [way.split()[0] for way in answer.headers.get_list("www-authenticate")] == ["Bearer", "Basic"]
    page = world.ask("GET", "/", None, headers={"Authorization": basic(world.token(), "whoever")})
    assert (page.status_code, "text/html" in page.headers["content-type"]) == (200, True)


def test_password_that_a_browser_sends_by_itself_changes_nothing(world: World) -> None:
    """A stranger's page can make a browser post with the password that it remembers."""
    answer = world.ask("POST", "/v1/plan", None, headers={"Authorization": basic(world.token("plan"))}, json={})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Basic", "Basic !!!", "Basic /w==", "Digest x", "bearer\txx", "Bearer \x7f", "null",
        "Bearer " + "x" * 30_000, "Bearer a.b.c", "Bearer cloudaccel_00000000_" + "0" * 48,
    ],
)  # fmt: skip
def test_odd_headers_are_401(world: World, header: str) -> None:
    answer = world.client.get("/v1/offers", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_signed_in"
    if len(header) > 12:
        assert header[7:] not in answer.text


def test_two_headers_are_refused(world: World) -> None:
    """Of two, a proxy in front may have looked at the other one."""
    good = f"Bearer {world.token()}"
    answer = world.client.get("/v1/offers", headers=[("Authorization", good), ("Authorization", "Bearer x")])
    assert answer.status_code == 401


def test_token_elsewhere_than_in_its_header_is_no_token(world: World) -> None:
    token = world.token()
    for answer in (
        world.ask("GET", f"/v1/offers?token={token}&access_token={token}", None),
        world.ask("GET", "/v1/offers", None, headers={"Cookie": f"token={token}", "X-Api-Key": token}),
    ):
        assert answer.status_code == 401


def test_token_taken_back_is_refused_within_ten_seconds(world: World) -> None:
    token = world.token()
    assert world.ask("GET", "/v1/catalog", token).status_code == 200
    world.tokens.revoke(token.split("_")[1], "test")
    world.at += timedelta(seconds=KNOWN_FOR_S + 1)
    assert world.ask("GET", "/v1/catalog", token).status_code == 401


def test_token_that_is_over_is_refused(world: World) -> None:
    token = world.token(lasts_s=60)
    assert world.ask("GET", "/v1/catalog", token).status_code == 200
    world.at += timedelta(seconds=61)
    assert world.ask("GET", "/v1/catalog", token).status_code == 401


def test_answer_kept_for_one_is_not_given_to_a_stranger(world: World) -> None:
    """The short way for repeated questions stands behind the door, too."""
    token = world.token()
    first = world.ask("GET", "/v1/offers?limit=1", token)
    assert world.ask("GET", "/v1/offers?limit=1", token).headers["etag"] == first.headers["etag"]
    assert world.ask("GET", "/v1/offers?limit=1", None).status_code == 401
    tagged = world.ask("GET", "/v1/offers?limit=1", None, headers={"If-None-Match": first.headers["etag"]})
    assert tagged.status_code == 401


def test_database_that_is_away_lets_nobody_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import exc

    def away(_: str) -> None:
        raise exc.OperationalError("SELECT canary-77", {}, Exception("canary-77"))

    monkeypatch.setattr(world.tokens, "principal", away)
    answer = world.ask("GET", "/v1/catalog", "cloudaccel_00000000_" + "0" * 48)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "canary-77" not in answer.text
    assert world.ask("GET", "/healthz", None).status_code == 200


def test_no_secret_in_log_or_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = world.token(), "cloudaccel_12345678_" + "c" * 48
    said = ""
    for token in (good, bad, "eyJhbGciOiJub25lIn0.e30.canary"):
        for path in ("/v1/offers?limit=1", f"/v1/offers?token={token}", f"/v1/accelerators/{token}", "/v1/nothing"):
            answer = world.ask("GET", path, token, headers={"Cookie": f"t={token}"})
            # Who writes a secret into the path gets it back in the message that it is no name; others must not.
            said += "" if token in path else answer.text + str(answer.headers)
        said += world.ask("POST", "/v1/plan", token, content=token).text
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("cloudaccel"))
    assert "alice@example.org" in log
    for secret in (good.rpartition("_")[2], "c" * 48, "e30.canary"):
        assert secret not in log
        assert secret not in said


def test_every_refusal_has_the_security_headers(world: World) -> None:
    for token in (None, world.token()):
        answer = world.ask("POST", "/v1/plan", token)
        assert answer.status_code in (401, 403)
        for name, value in (
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("content-type", "application/problem+json"),
        ):
            assert answer.headers[name] == value
        assert json.loads(answer.text)["request_id"] == answer.headers["x-request-id"]


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudaccel.service import doors

    monkeypatch.setattr(doors, "_REMEMBERED", 10)
    for number in range(50):
        with pytest.raises(NotSignedIn):
            world.sign_in.principal(f"cloudaccel_{number:08x}_" + "0" * 48)
    known: Any = vars(world.sign_in)["_known"]
    assert len(known) == 10
