"""Sign-in by an identity provider: only its own signatures, for this service, now; whatever else a token claims."""

import base64
import json
import time
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

jwt: Any = pytest.importorskip("jwt", reason="needs cloudaccel[service]")
pytest.importorskip("cryptography", reason="needs cloudaccel[service]")

from cryptography.hazmat.primitives import serialization  # noqa: E402 - after the skip
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

from cloudaccel.access.organisation import Issuer, Organisation, read_keys  # noqa: E402
from cloudaccel.access.people import NotSignedIn  # noqa: E402
from cloudaccel.errors import ConfigError, QueryError  # noqa: E402

ISSUER, AUDIENCE = "https://login.example.org/", "cloudaccel"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, kid: str, algorithm: Any, **more: str) -> dict[str, Any]:
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more}


ALGORITHMS: Any = jwt.algorithms
KEYS = {
    "keys": [
        jwk(RSA, "r", ALGORITHMS.RSAAlgorithm, use="sig"),
        jwk(EC, "e", ALGORITHMS.ECAlgorithm),
        jwk(ED, "o", ALGORITHMS.OKPAlgorithm),
        {"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(b"a shared secret of enough bytes!").decode()},
        {"kty": "new", "kid": "n"},
        jwk(STRANGER, "enc", ALGORITHMS.RSAAlgorithm, use="enc"),
    ]
}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice@example.org", "iat": now, "exp": now + 600, "project": "vision",
        "scope": "openid cloudaccel:plan cloudaccel:unknown read admin",
    } | changed  # fmt: skip
    return {key: value for key, value in given.items() if value is not None}


def signed(key: Any = RSA, kid: str | None = "r", algorithm: str = "RS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={} if kid is None else {"kid": kid})


def organisation(keys: Any = KEYS, **changed: Any) -> Organisation:
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, keys="keys.json", **changed)
    return Organisation(issuer, read=lambda _: json.dumps(keys).encode())


@pytest.mark.parametrize(("key", "kid", "algorithm"), [(RSA, "r", "RS256"), (EC, "e", "ES256"), (ED, "o", "EdDSA")])
def test_token_of_the_issuer_is_taken(key: Any, kid: str, algorithm: str) -> None:
    found = organisation().principal(signed(key, kid, algorithm))
    assert (found.name, found.project, found.scopes) == ("alice@example.org", "vision", {"plan"})


def test_scopes_without_our_name_give_nothing() -> None:
    """`admin` of some other program of the organisation must not be `admin` here."""
    assert organisation().principal(signed(scope="admin read provision")).scopes == frozenset()
    assert organisation(scopes="roles").principal(signed(roles=["cloudaccel.admin", "x", 5])).scopes == {"admin"}


def with_header(token: str, **header: Any) -> str:
    """The token with another header over the same signature."""
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return ".".join([text, *token.split(".")[1:]])


def unsigned() -> str:
    return with_header(signed(), alg="none", typ="JWT", kid="r").rpartition(".")[0] + "."


def forged_with_the_public_key() -> str:
    """The public key as the secret of an HMAC, which a checker that believes the header would accept."""
    import hashlib
    import hmac

    public = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    head, body, _ = with_header(signed(), alg="HS256", typ="JWT", kid="r").split(".")
    mac = hmac.new(public, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (lambda: signed(STRANGER), "signature is wrong"),
        (lambda: signed(STRANGER, "enc"), "not one of the issuer"),
        (lambda: signed(STRANGER, "unheard-of"), "not one of the issuer"),
        (lambda: signed(kid=None), "not one of the issuer"),
        (lambda: signed(aud="other-service"), "another service"),
        (lambda: signed(aud=None), "missing"),
        (lambda: signed(iss="https://evil.example/"), "another issuer"),
        (lambda: signed(exp=int(time.time()) - 120), "expired"),
        (lambda: signed(exp=None), "missing"),
        (lambda: signed(nbf=int(time.time()) + 120), "not valid yet"),
        (lambda: signed(sub=None), "missing"),
        (lambda: signed(sub="two words"), "does not say who"),
        (lambda: signed(sub=""), "does not say who"),
        (lambda: signed(project="../../etc"), "does not say who"),
        (lambda: signed(algorithm="RS512"), "algorithm is not allowed"),
        (unsigned, "not valid here"),
        (forged_with_the_public_key, "algorithm is not allowed"),
        (lambda: jwt.encode(claims(), "a shared secret of enough bytes!", "HS256", headers={"kid": "s"}), "not valid"),
        (lambda: "a.b.c", "not valid here"),
        (lambda: "x" * 20_000, "too long"),
        (lambda: signed() + "x", "not valid here"),
    ],
)
def test_any_other_token_is_refused_and_not_repeated(token: Any, said: str) -> None:
    text = token()
    with pytest.raises(NotSignedIn, match=said) as caught:
        organisation().principal(text)
    assert text not in str(caught.value)


def test_clocks_may_differ_a_little() -> None:
    late = signed(exp=int(time.time()) - 20)
    assert organisation().principal(late).name == "alice@example.org"
    with pytest.raises(NotSignedIn, match="expired"):
        organisation(leeway_s=0.0).principal(late)


def test_key_named_in_the_token_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `jku` or `jwk` in the header would let a stranger bring the key that fits the signature."""
    asked: list[str] = []

    def read(place: str) -> bytes:
        asked.append(place)
        return json.dumps(KEYS).encode()

    own = Organisation(Issuer(issuer=ISSUER, audience=AUDIENCE, keys="keys.json"), read=read)
    header = {"kid": "x", "jku": "https://evil.example/keys", "jwk": jwk(STRANGER, "x", ALGORITHMS.RSAAlgorithm)}
    with pytest.raises(NotSignedIn, match="not one of the issuer"):
        own.principal(jwt.encode(claims(), STRANGER, "RS256", headers=header))
    assert asked == ["keys.json"]


class Keys:
    """A key set that changes, and fails, as a test wants; and how often it was read."""

    def __init__(self) -> None:
        self.body = KEYS
        self.fails = False
        self.reads = 0
        self.now = 0.0

    def __call__(self, _: str) -> bytes:
        self.reads += 1
        if self.fails:
            raise OSError("no way there")
        return json.dumps(self.body).encode()


def test_new_keys_are_found_and_strangers_do_not_make_us_ask_for_ever() -> None:
    keys = Keys()
    own = Organisation(Issuer(issuer=ISSUER, audience=AUDIENCE, keys="k"), read=keys, clock=lambda: keys.now)
    own.principal(signed())
    for _ in range(50):
        with pytest.raises(NotSignedIn):
            own.principal(signed(STRANGER, "unheard-of"))
    assert keys.reads == 1
    keys.body = {"keys": [jwk(STRANGER, "new", ALGORITHMS.RSAAlgorithm)]}
    keys.now += 31
    assert own.principal(signed(STRANGER, "new")).name == "alice@example.org"
    with pytest.raises(NotSignedIn, match="not one of the issuer"):
        own.principal(signed())  # the old key is gone
    assert keys.reads == 2


def test_last_keys_serve_on_for_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys()
    own = Organisation(Issuer(issuer=ISSUER, audience=AUDIENCE, keys="k"), read=keys, clock=lambda: keys.now)
    own.principal(signed())
    keys.fails = True
    keys.now += 1800
    own.principal(signed())
    assert "the last ones serve on" in caplog.text
    keys.now += 1801
    with pytest.raises(NotSignedIn):
        own.principal(signed())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"algorithms": ("HS256",)}, "HS256 is not among"),
        ({"algorithms": ("none",)}, "none is not among"),
        ({"algorithms": ()}, "none is not among"),
        ({"audience": ""}, "--jwt-audience"),
        ({"issuer": ""}, "--jwt-issuer"),
        ({"leeway_s": 3600.0}, "--jwt-leeway"),
        ({"keys": "http://login.example.org/keys"}, "https address"),
        ({"keys": "file:///etc/passwd"}, "https address"),
    ],
)
def test_settings_that_let_anybody_in_are_refused(changed: Any, said: str) -> None:
    given: Any = {"issuer": ISSUER, "audience": AUDIENCE, "keys": "k", **changed}
    with pytest.raises(QueryError, match=said):
        Issuer(**given)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "x"}]}', b"\xff"])
def test_keys_that_are_none_are_said_at_the_start(body: bytes, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(body)
    with pytest.raises(ConfigError, match="--jwt-keys"):
        Organisation(Issuer(issuer=ISSUER, audience=AUDIENCE, keys=str(file))).check()
    with pytest.raises(ConfigError, match="--jwt-keys"):
        Organisation(Issuer(issuer=ISSUER, audience=AUDIENCE, keys=str(tmp_path / "none"))).check()


@pytest.mark.network
def test_address_of_the_keys_leads_nowhere_else() -> None:
    """Whoever can redirect the address could otherwise name keys of their own."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/keys")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(KEYS).encode() + b" " * (2 << 20 if self.path == "/large" else 0))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the library's names
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert json.loads(read_keys(f"{base}/keys")) == KEYS
        for path, error in (("/moved", OSError), ("/large", ValueError)):
            with pytest.raises(error) as caught:
                read_keys(base + path)
            if isinstance(caught.value, OSError):
                caught.value.close()  # type: ignore[attr-defined]  # an HTTPError holds its answer open
        server.shutdown()
        thread.join()


def test_a_token_that_was_over_is_not_valid_again_by_a_clock_that_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old token, copied from a log, worked again once the machine's clock was two days behind."""
    now, day = int(time.time()), 86_400
    over = signed(iat=now - 3 * day, exp=now - day)
    lasting = signed(iat=now - 3 * day, exp=now + 30 * day)
    own = organisation()
    own.principal(signed())

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(now - 2 * day, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)
    with pytest.raises(NotSignedIn, match="by the time of a later one"):
        own.principal(over)
    assert own.principal(lasting).name == "alice@example.org"
