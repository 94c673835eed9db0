"""Who may come in to ``cloudaccel serve``: its flags, and what they mean."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudaccel import units
from cloudaccel.cli import flags
from cloudaccel.errors import QueryError

if TYPE_CHECKING:
    from cloudaccel.access.organisation import Issuer
    from cloudaccel.service.doors import SignIn

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_JWT_FLAGS = ("jwt_issuer", "jwt_audience", "jwt_keys", "jwt_algorithms", "jwt_leeway", "jwt_person", "jwt_project",
              "jwt_scopes")  # fmt: skip


def add_sign_in(p: argparse.ArgumentParser) -> None:
    """The flags that say who is asked, and how."""
    w = p.add_argument_group("who may come in")
    w.add_argument(
        "--auth", metavar="WAYS",
        help="token: those of 'cloudaccel token'; jwt: those of your identity provider; token,jwt: either; "
        "proxy: nobody is asked here, since a proxy in front does (default: nobody is asked; refused off loopback)",
    )  # fmt: skip
    w.add_argument("--jwt-issuer", metavar="URL", help="claim iss of the tokens that are taken")
    w.add_argument("--jwt-audience", metavar="NAME", help="claim aud that makes a token one for this service")
    w.add_argument("--jwt-keys", metavar="FILE|URL", help="the issuer's key set (JWKS)")
    w.add_argument(
        "--jwt-algorithms", metavar="A,B", help="signatures that are taken (default RS256,PS256,ES256,EdDSA)"
    )
    w.add_argument("--jwt-leeway", metavar="TIME", help="how far clocks may differ (default 30s)")
    w.add_argument("--jwt-person", metavar="CLAIM", help="claim that names the person (default sub)")
    w.add_argument("--jwt-project", metavar="CLAIM", help="claim that names the project (default project)")
    w.add_argument("--jwt-scopes", metavar="CLAIM", help="claim with words such as cloudaccel:plan (default scope)")


def add_runs(p: argparse.ArgumentParser) -> None:
    """The flags that let machines be started over HTTP."""
    r = p.add_argument_group("starting machines")
    r.add_argument(
        "--enable-provision", action="store_true",
        help="let who has the scope provision start machines from a lock, inside the budget of their project",
    )  # fmt: skip
    flags.add(r, "--policy", "; every such run must satisfy them, beside those of its lock")


def ways_of(a: argparse.Namespace) -> frozenset[str]:
    """The ways to sign in; none is for loopback only. Raises `QueryError`."""
    ways = frozenset(word.strip() for word in (a.auth or "").split(",") if word.strip())
    if not ways <= {"token", "jwt", "proxy"} or (a.auth is not None and not ways):
        raise QueryError(f"--auth: {a.auth!r} is none of token, jwt, proxy.")
    if "proxy" in ways and len(ways) > 1:
        raise QueryError("--auth: proxy means that nobody is asked here, so it stands alone.")
    if any(getattr(a, name) is not None for name in _JWT_FLAGS) != ("jwt" in ways):
        raise QueryError("--auth jwt and --jwt-issuer, --jwt-audience, --jwt-keys belong together.")
    if a.enable_provision and not ways & {"token", "jwt"}:
        raise QueryError("--enable-provision: who starts machines must be known. Add --auth token or --auth jwt.")
    if a.policy is not None and not a.enable_provision:
        raise QueryError("--policy is for runs: it needs --enable-provision.")
    if a.host in LOOPBACK:
        return ways
    if not ways:
        raise QueryError(
            f"--host {a.host} can be reached from other machines, and nobody would be asked who they are. Add --auth "
            "token (make tokens with 'cloudaccel token create'), --auth jwt, or --auth proxy when one in front asks."
        )
    if not a.allow_host:
        raise QueryError(
            f"--host {a.host} can be reached from other machines: say by which name, --allow-host NAME ('*' for any)."
        )
    return ways


def said(ways: frozenset[str], *, starts: bool) -> str:
    """The ways in words, for the line that tells the address."""
    what = "STARTS MACHINES" if starts else "read-only"
    if not ways:
        return "read-only, no sign-in"
    return "read-only, a proxy signs in" if "proxy" in ways else f"{what}, sign-in by {' or '.join(sorted(ways))}"


def packs_of(a: argparse.Namespace) -> tuple[str, ...] | None:
    """Packs that every run must satisfy; None: no machines are started. Raises `UnknownName`."""
    if not a.enable_provision:
        return None
    from cloudaccel.service.guard import known_packs

    return known_packs([word.strip() for word in (a.policy or "").split(",") if word.strip()])


def issuer_of(a: argparse.Namespace, ways: frozenset[str]) -> "Issuer | None":
    """The identity provider of the flags, whose keys can be read; None without one.

    Raises
    ------
    QueryError, ConfigError
        If it would let anybody in, or has no keys.
    """
    if "jwt" not in ways:
        return None
    from cloudaccel.access.organisation import Issuer, Organisation

    issuer = Issuer(**_given(a))
    Organisation(issuer).check()
    return issuer


def sign_in(ways: frozenset[str], issuer: "Issuer | None", engine: Any) -> "SignIn | None":
    """Who tells who asks; None when nobody is asked. `engine`: the state store, for tokens."""
    if not ways or "proxy" in ways:
        return None
    from cloudaccel.access.organisation import Organisation
    from cloudaccel.access.tokens import Tokens
    from cloudaccel.service.doors import SignIn

    tokens = Tokens(engine, lambda: datetime.now(UTC)) if "token" in ways else None
    return SignIn(tokens, None if issuer is None else Organisation(issuer))


def _given(a: argparse.Namespace) -> dict[str, Any]:
    if not (a.jwt_issuer and a.jwt_audience and a.jwt_keys):
        raise QueryError("--auth jwt needs --jwt-issuer, --jwt-audience and --jwt-keys.")
    if a.offline and "://" in a.jwt_keys:
        raise QueryError("--offline was given, and --jwt-keys is an address. Carry the key set in as a file.")
    given: dict[str, Any] = {
        "issuer": a.jwt_issuer, "audience": a.jwt_audience, "keys": a.jwt_keys, "person": a.jwt_person,
        "project": a.jwt_project, "scopes": a.jwt_scopes,
        "algorithms": tuple(w.strip() for w in a.jwt_algorithms.split(",")) if a.jwt_algorithms else None,
        "leeway_s": units.parse_duration_s(a.jwt_leeway, "--jwt-leeway") if a.jwt_leeway else None,
    }  # fmt: skip
    return {key: value for key, value in given.items() if value is not None}
