"""Who may come in where: one table of all routes, and the layer that asks for a token before anything is looked at."""

import base64
import binascii
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from anyio.to_thread import run_sync
from sqlalchemy import exc
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudaccel.access.organisation import Organisation
from cloudaccel.access.people import NotSignedIn, Principal
from cloudaccel.access.tokens import Tokens, is_token
from cloudaccel.errors import StorageError
from cloudaccel.service.around import refuse

_LOG = logging.getLogger("cloudaccel.service")
PUBLIC = "public"  # says nothing but whether the service lives
# Every route and the scope that it needs. One that is not here does not exist; a test compares with the application.
NEEDS: Mapping[tuple[str, str], str] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/"): "read",
    ("GET", "/offers.csv"): "read",
    ("GET", "/static/{name}"): "read",
    ("GET", "/metrics"): "read",
    ("GET", "/openapi.json"): "read",
    ("GET", "/v1/offers"): "read",
    ("GET", "/v1/offers/{offer_id}"): "read",
    ("GET", "/v1/accelerators"): "read",
    ("GET", "/v1/accelerators/{name}"): "read",
    ("GET", "/v1/providers"): "read",
    ("GET", "/v1/regions"): "read",
    ("GET", "/v1/catalog"): "read",
    ("GET", "/v1/catalog/file"): "read",
    ("GET", "/v1/history"): "read",
    ("POST", "/v1/plan"): "plan",
    ("POST", "/v1/compare"): "plan",
    ("POST", "/v1/advise"): "plan",
    # Only where `serve --enable-provision` says so.
    ("POST", "/v1/runs"): "provision",
    ("GET", "/v1/runs"): "read",
    ("GET", "/v1/runs/{run_id}"): "read",
    ("POST", "/v1/runs/{run_id}/extend"): "provision",
    ("POST", "/v1/runs/{run_id}/down"): "provision",
    ("GET", "/v1/approvals"): "read",
    ("GET", "/v1/approvals/{approval_id}"): "read",
    ("POST", "/v1/approvals/{approval_id}"): "provision or admin",
    ("GET", "/v1/audit"): "admin",
}
KNOWN_FOR_S = 10.0  # a token that was taken back is refused after at most that
_REMEMBERED = 10_000
_MOST_HEADER_BYTES = 20_000
_BEARER = b'Bearer realm="cloudaccel"'
_BASIC = b'Basic realm="cloudaccel: a token as the password", charset="UTF-8"'


_PATTERNS = tuple(
    (method, re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/"))), s)
    for (method, path), s in NEEDS.items()
)


def need_of(method: str, path: str) -> str | None:
    """The scope that the table asks for at `path`; "" when the path has no such method, None when there is no path."""
    matching = {m: scope for m, pattern, scope in _PATTERNS if pattern.fullmatch(path)}
    return matching.get(method, "") if matching else None


class SignIn:
    """Tells who holds a credential: a token of ours, or one of the organisation's. What is found is known for 10 s."""

    def __init__(
        self,
        tokens: Tokens | None,
        organisation: Organisation | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._organisation = organisation
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Principal | None]] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, credential: str) -> Principal | None:
        """Who holds it, when that was found a moment ago; None: ask `principal`."""
        return self._recall(sha256(credential.encode()).digest())[1]

    def _recall(self, key: bytes) -> tuple[bool, Principal | None]:
        with self._lock:
            until, found = self._known.get(key, (0.0, None))
        return (True, found) if until > self._clock() else (False, None)

    def principal(self, credential: str) -> Principal:
        """Who holds it. Raises `NotSignedIn`, or `StorageError` when the database does not answer."""
        key = sha256(credential.encode()).digest()
        is_known, found = self._recall(key)
        if not is_known:
            found = self._found(credential)
            self._remember(key, found)
        if found is None:
            raise NotSignedIn("the token is not valid: never made, taken back, or over.")
        return found

    def _found(self, credential: str) -> Principal | None:
        if self._tokens is not None and is_token(credential):
            try:
                return self._tokens.principal(credential)
            except (exc.SQLAlchemyError, StorageError) as error:
                _LOG.error("the database of tokens does not answer: %s", type(error).__name__)
                raise StorageError("the database of tokens does not answer.") from None
        return None if self._organisation is None else self._organisation.principal(credential)

    def _remember(self, key: bytes, found: Principal | None) -> None:
        with self._lock:
            self._known[key] = (self._clock() + KNOWN_FOR_S, found)
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


class Doors:
    """Lets a request on to `app` when who sends it may do that. `sign_in` None: nobody is asked."""

    def __init__(self, app: ASGIApp, sign_in: SignIn | None) -> None:
        self._app = app
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "http" and self._sign_in is not None:
            refusal = await self._refusal(self._sign_in, scope)
            if refusal is not None:
                await refuse(send, scope["state"]["request_id"], *refusal)
                return
        await self._app(scope, receive, send)

    async def _refusal(
        self, sign_in: SignIn, scope: Scope
    ) -> tuple[int, str, str, Sequence[tuple[bytes, bytes]]] | None:
        need = need_of(scope["method"], scope["path"])
        if need == PUBLIC:
            return None
        try:
            credential = credential_of(scope)
            found = sign_in.remembered(credential) or await run_sync(sign_in.principal, credential)
        except NotSignedIn as error:
            return 401, error.code, f"{error} Send 'Authorization: Bearer TOKEN'.", _asks(scope["method"])
        except StorageError:
            return 503, "busy", "who you are cannot be checked now. Ask again in a few seconds.", ()
        scope["state"]["principal"] = found
        if need is None:
            return 404, "not_found", "Not Found. What there is: /openapi.json.", ()
        if need and not any(found.may(one) for one in need.split(" or ")):
            held = ", ".join(sorted(found.scopes)) or "none"
            return 403, "not_allowed", f"this needs the scope {need}, and your token has {held}. Ask for another.", ()
        return None


def _asks(method: str) -> tuple[tuple[bytes, bytes], ...]:
    """The ways to sign in, for the header of a 401; a browser then asks for the token as a password."""
    ways = (_BEARER, _BASIC) if method == "GET" else (_BEARER,)
    return tuple((b"www-authenticate", way) for way in ways)


def credential_of(scope: Scope) -> str:
    """The token that a request carries in ``Authorization``, and nowhere else.

    As a password (Basic) it counts for GET only: a browser sends it again by itself, also when a stranger's page makes
    it ask, and what only reads does no harm then.

    Raises
    ------
    NotSignedIn
        If there is none, or more than one.
    """
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1 or len(given[0]) > _MOST_HEADER_BYTES:
        raise NotSignedIn("nobody is signed in." if not given else "there must be one Authorization header.")
    way, _, rest = given[0].decode("latin-1").partition(" ")
    if way.lower() == "bearer" and rest.strip():
        return rest.strip()
    if way.lower() == "basic" and scope["method"] == "GET":
        return _password(rest)
    raise NotSignedIn("the Authorization header is not one that this service takes here.")


def _password(text: str) -> str:
    try:
        return base64.b64decode(text.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise NotSignedIn("the Authorization header cannot be read.") from None
