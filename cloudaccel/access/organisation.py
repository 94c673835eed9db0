"""Sign-in by an organisation's own identity provider: its signed tokens (JWT), checked with its published keys."""

import json
import logging
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import jwt

from cloudaccel.access.people import SCOPES, NotSignedIn, Principal, checked_principal, checked_project
from cloudaccel.errors import ConfigError, QueryError

if TYPE_CHECKING:
    from jwt.types import Options  # pyjwt 2.10 has none

_LOG = logging.getLogger("cloudaccel.service")
# Signed with a private key that only the issuer has. What a shared secret signs (HS…) anybody who checks could forge.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_KEY_TYPES = ("RSA", "EC", "OKP")
_PREFIXES = ("cloudaccel:", "cloudaccel.")
_LONGEST_TOKEN = 16_384
_MOST_KEY_BYTES = 1 << 20
_ANEW_S = 600.0  # keys are read again after that
_NOT_SOONER_S = 30.0  # a token with an unknown key makes us look again, but not more often
_KEPT_S = 3600.0  # for how long old keys serve while the new ones cannot be read
_PATIENCE_S = 5.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whose tokens are taken. `keys`: file or https address of its key set (JWKS). `leeway_s`: clocks may differ so.

    `person`, `project`, `scopes`: the claims that say who it is, for which project, and with which scopes, written
    ``cloudaccel:plan`` or ``cloudaccel.plan``.
    """

    issuer: str
    audience: str
    keys: str
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    leeway_s: float = 30.0
    person: str = "sub"
    project: str = "project"
    scopes: str = "scope"

    def __post_init__(self) -> None:
        """Refuse what would let anybody in."""
        wrong = [name for name in self.algorithms if name not in ALGORITHMS]
        if wrong or not self.algorithms:
            raise QueryError(f"--jwt-algorithms: {', '.join(wrong) or 'none'} is not among {', '.join(ALGORITHMS)}.")
        if not self.issuer or not self.audience:
            raise QueryError("--jwt-issuer and --jwt-audience are needed: a token is for one service, by one issuer.")
        if not 0 <= self.leeway_s <= 300:
            raise QueryError("--jwt-leeway: clocks may differ by 0 to 300 seconds.")
        if "://" in self.keys:
            parts = urlsplit(self.keys)
            if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
                raise QueryError(f"--jwt-keys: {self.keys} must be a file or an https address.")


class Organisation:
    """Checks the tokens of one issuer. Nothing in a token says where its key is looked for."""

    def __init__(
        self,
        issuer: Issuer,
        *,
        read: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._read = read or read_keys
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._lock = threading.Lock()
        self._issued_s = 0.0  # when the latest token that was taken was issued, by the issuer's clock

    def principal(self, token: str) -> Principal:
        """Who the token speaks for.

        Raises
        ------
        NotSignedIn
            If it is not a valid token of the issuer for this service. The reason never repeats the token.
        """
        if len(token) > _LONGEST_TOKEN:
            raise NotSignedIn("the token is too long to be one.")
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid"))
            options: Options = {"require": ["exp", "iss", "aud", self._issuer.person], "strict_aud": False}
            claims = jwt.decode(
                token, key, algorithms=list(self._issuer.algorithms), audience=self._issuer.audience,
                issuer=self._issuer.issuer, leeway=self._issuer.leeway_s, options=options,
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise NotSignedIn(f"the token is not valid here: {_reason(error)}.") from None
        except (ValueError, TypeError, RecursionError):
            raise NotSignedIn("the token is not valid here: it cannot be read.") from None
        self._check_issued(claims)
        return self._principal_of(claims)

    def _check_issued(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token that had ended when the issuer signed a later one: this clock was set back since."""
        issued: object = claims.get("iat")
        with self._lock:
            if isinstance(issued, int | float):
                self._issued_s = max(self._issued_s, float(issued))
            latest_s = self._issued_s
        if float(claims["exp"]) + self._issuer.leeway_s <= latest_s:
            raise NotSignedIn("the token is not valid here: it has expired, by the time of a later one.")

    def check(self) -> None:
        """Read the keys once, so that a wrong address is said at the start. Raises `ConfigError`."""
        self._refresh(must=True)

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        try:
            name = checked_principal(str(claims.get(self._issuer.person, "")))
            project = claims.get(self._issuer.project)
            return Principal(
                name=name, project="" if project is None else checked_project(str(project)),
                scopes=_scopes(claims.get(self._issuer.scopes)),
            )  # fmt: skip
        except QueryError as error:
            raise NotSignedIn(f"the token does not say who it is for: {error}") from None

    def _key(self, kid: Any) -> jwt.PyJWK:
        with self._lock:
            known = self._found(kid)
            if known is None or self._is_old(_ANEW_S):
                self._refresh(must=False)
                known = self._found(kid)
        if known is None:
            raise jwt.InvalidKeyError
        return known

    def _found(self, kid: Any) -> jwt.PyJWK | None:
        if self._is_old(_KEPT_S):
            return None
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None

    def _is_old(self, limit_s: float) -> bool:
        return self._read_at is None or self._clock() - self._read_at > limit_s

    def _refresh(self, *, must: bool) -> None:
        now = self._clock()
        if not must and self._tried_at is not None and now - self._tried_at < _NOT_SOONER_S:
            return
        self._tried_at = now
        try:
            self._keys = _parsed(self._read(self._issuer.keys))
            self._read_at = now
        except (OSError, ValueError, jwt.PyJWTError) as error:
            if must:
                raise ConfigError(
                    f"--jwt-keys: {self._issuer.keys} cannot be read as a key set ({type(error).__name__}: {error})."
                ) from error
            _LOG.warning("the keys of the issuer cannot be read (%s); the last ones serve on", type(error).__name__)


def read_keys(place: str) -> bytes:
    """The key set in a file or at an address, without following it elsewhere. Raises OSError, ValueError."""
    if "://" not in place:
        with Path(place).open("rb") as file:
            return _bounded(file.read(_MOST_KEY_BYTES + 1))
    context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Stay())
    with opener.open(place, timeout=_PATIENCE_S) as answer:
        return _bounded(answer.read(_MOST_KEY_BYTES + 1))


def _bounded(data: bytes) -> bytes:
    if len(data) > _MOST_KEY_BYTES:
        raise ValueError("it is larger than a key set can be")
    return data


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: who can redirect could otherwise name keys of their own."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """No other request; urllib then raises for the answer itself."""


def _parsed(data: bytes) -> dict[str | None, jwt.PyJWK]:
    """Keys by their id; those for encryption and shared secrets are left out."""
    body = json.loads(data)
    listed = cast("dict[str, Any]", body).get("keys") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise ValueError('it has no list "keys"')
    found: dict[str | None, jwt.PyJWK] = {}
    for item in cast("list[Any]", listed):
        if not isinstance(item, dict):
            continue
        row = cast("dict[str, Any]", item)
        if row.get("kty") not in _KEY_TYPES or row.get("use", "sig") != "sig":
            continue
        try:
            found[row.get("kid")] = jwt.PyJWK(row)
        except jwt.PyJWTError:
            continue  # of a kind that this program does not know
    if not found:
        raise ValueError("it has no key that could check a signature")
    return found


def _scopes(claim: Any) -> frozenset[str]:
    words = claim.split() if isinstance(claim, str) else cast("list[Any]", claim) if isinstance(claim, list) else []
    named = (str(word).removeprefix(prefix) for word in words for prefix in _PREFIXES if str(word).startswith(prefix))
    return frozenset(name for name in named if name in SCOPES)


def _reason(error: jwt.PyJWTError) -> str:
    known: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
        (jwt.ExpiredSignatureError, "it has expired"),
        (jwt.ImmatureSignatureError, "it is not valid yet"),
        (jwt.InvalidAudienceError, "it is for another service"),
        (jwt.InvalidIssuerError, "it is from another issuer"),
        (jwt.MissingRequiredClaimError, "a claim is missing"),
        (jwt.InvalidAlgorithmError, "its algorithm is not allowed"),
        (jwt.InvalidKeyError, "its key is not one of the issuer"),
        (jwt.InvalidSignatureError, "its signature is wrong"),
    )
    return next((text for kind, text in known if isinstance(error, kind)), "it cannot be read")
