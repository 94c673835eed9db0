"""Tokens: made once, shown once, kept as a hash, with an end, and taken back at any time."""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cloudaccel import state
from cloudaccel.access import audit
from cloudaccel.access.people import Principal, checked_principal, checked_project
from cloudaccel.errors import QueryError, UnknownName

_LOG = logging.getLogger("cloudaccel.service")
_FORM = re.compile(r"cloudaccel_([0-9a-f]{8})_[0-9a-f]{48}")
_USE_NOTED_EVERY = timedelta(minutes=1)
LONGEST = timedelta(days=400)
# Of all tokens that still stand; read with the one that is asked about, for every request asks.
_STANDING = state.token.alias()
_LAST_USE = (
    sa.select(sa.func.max(_STANDING.c.last_used_at))
    .where(_STANDING.c.revoked_at.is_(None))
    .scalar_subquery()
    .label("last_use")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of a token; the token itself is not. Times are UTC; `last_used_at` is true to about a minute."""

    id: str
    principal: str
    project: str
    scopes: frozenset[str]
    note: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= now else "valid"


class Tokens:
    """The tokens of one installation. `now` gives the time, aware.

    A token ends by that, or by the time at which another one that still stands was last used, if that is later: a clock
    that is set back makes no token valid again that was over. A use that was noted under a clock that was ahead counts
    until that token is revoked.
    """

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def now(self) -> datetime:
        """The time that tokens end by."""
        with self._engine.connect() as db:
            return _later(self._now(), db.execute(sa.select(_LAST_USE)).scalar())

    def create(
        self, principal: str, scopes: frozenset[str], *, project: str, lasts_s: float, by: str, note: str = ""
    ) -> tuple[str, Token]:
        """A new token, which nobody can read again, and what is kept of it. Raises `QueryError`."""
        checked_principal(principal)
        checked_project(project)
        if not 0 < lasts_s <= LONGEST.total_seconds():
            raise QueryError(f"a token lasts at most {LONGEST.days} days, so that a forgotten one ends by itself.")
        if len(note) > 255:
            raise QueryError("note: at most 255 characters.")
        now = self._now()
        self._check_lasting(now + timedelta(seconds=lasts_s))
        token_id = secrets.token_hex(4)
        secret = f"cloudaccel_{token_id}_{secrets.token_hex(24)}"
        values = {
            "id": token_id, "hash": _hash(secret), "principal": principal, "project": project,
            "scopes": " ".join(sorted(scopes)), "note": note, "created_at": state.utc_text(now), "created_by": by,
            "expires_at": state.utc_text(now + timedelta(seconds=lasts_s)),
        }  # fmt: skip
        detail = {"for": principal, "scopes": values["scopes"], "until": values["expires_at"]}
        with self._engine.begin() as db:
            db.execute(state.token.insert().values(**values))
            entry = audit.Entry(
                principal=by, project=project, action="token.create", subject=token_id, detail=detail
            )  # fmt: skip
            audit.append(db, entry, now)
        return secret, self.get(token_id)

    def _check_lasting(self, until: datetime) -> None:
        used = [token for token in self.all() if token.revoked_at is None and (token.last_used_at or until) > until]
        if used:
            raise QueryError(
                f"it would be over at once: token {used[0].id} was used at {used[0].last_used_at:%Y-%m-%d %H:%MZ}, "
                "after that. Set this machine's clock if it is behind; if it was ahead then, revoke that token."
            )

    def all(self) -> tuple[Token, ...]:
        """Every token that was ever made, oldest first."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(state.token).order_by(state.token.c.created_at)).mappings().all()
        return tuple(_token(row) for row in rows)

    def get(self, token_id: str) -> Token:
        """One token by its id. Raises `UnknownName`."""
        with self._engine.connect() as db:
            row = db.execute(sa.select(state.token).where(state.token.c.id == token_id)).mappings().first()
        if row is None:
            raise UnknownName(
                f"no token has the id {token_id!r}. 'cloudaccel token list' shows them.",
                choices=[token.id for token in self.all()],
            )
        return _token(row)

    def revoke(self, token_id: str, by: str) -> Token:
        """Take a token back; one that was taken back already stays so. Raises `UnknownName`."""
        found, now = self.get(token_id), self._now()
        here = sa.and_(state.token.c.id == token_id, state.token.c.revoked_at.is_(None))
        with self._engine.begin() as db:
            if db.execute(state.token.update().where(here).values(revoked_at=state.utc_text(now))).rowcount:
                entry = audit.Entry(
                    principal=by, project=found.project, action="token.revoke", subject=token_id,
                    detail={"for": found.principal},
                )  # fmt: skip
                audit.append(db, entry, now)
        return self.get(token_id)

    def principal(self, secret: str) -> Principal | None:
        """Who holds the token, as it is kept; None when it was never made, was taken back, or is over."""
        form = _FORM.fullmatch(secret)
        if form is None:
            return None
        with self._engine.connect() as db:
            asked = sa.select(state.token, _LAST_USE).where(state.token.c.id == form[1])
            row = db.execute(asked).mappings().first()
        # Compared even when there is none, so that the time to answer does not tell which ids exist.
        is_known = hmac.compare_digest("0" * 64 if row is None else row["hash"], _hash(secret))
        if row is None or not is_known:
            return None
        token, now = _token(row), self._now()
        if token.state(now) != "valid":
            return None
        if token.state(_later(now, row["last_use"])) != "valid":
            _LOG.warning("token %s is over by the last use of another: this machine's clock was set back", token.id)
            return None
        if token.last_used_at is None or token.last_used_at + _USE_NOTED_EVERY <= now:
            used = state.token.update().where(state.token.c.id == token.id).values(last_used_at=state.utc_text(now))
            with self._engine.begin() as db:
                db.execute(used)
        return Principal(name=token.principal, project=token.project, scopes=token.scopes, token=token.id)


def is_token(text: str) -> bool:
    """Whether the text has the form of a token of ours."""
    return _FORM.fullmatch(text) is not None


def _hash(secret: str) -> str:
    # One round is enough: what is hashed is random, 192 bits, and no word that a person chose.
    return hashlib.sha256(secret.encode()).hexdigest()


def _later(now: datetime, last_use: str | None) -> datetime:
    return now if last_use is None else max(now, state.parse_utc(last_use))


def _token(row: Any) -> Token:
    times = {
        name: None if row[name] is None else state.parse_utc(row[name])
        for name in ("created_at", "expires_at", "last_used_at", "revoked_at")
    }
    plain = {name: row[name] for name in ("id", "principal", "project", "note", "created_by")}
    return Token(**plain, **times, scopes=frozenset(row["scopes"].split()))  # pyright: ignore[reportArgumentType]
