"""Alerts: what somebody wants to be told, and the messages on their way, kept in the state store.

A message is signed as the public Standard Webhooks scheme says (``webhook-id``, ``webhook-timestamp``,
``webhook-signature: v1,…``), so that a receiver can check it with a library and refuse what is old or forged.
"""

import base64
import hashlib
import hmac
import json
import random
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cloudaccel import state
from cloudaccel.errors import UnknownName
from cloudaccel.jobs.outbound import NotDelivered, Undeliverable

KINDS = ("price", "runs", "refresh")
STATES = ("waiting", "sent", "dead")  # of a message
STYLES = ("json", "slack", "mail")
MOST_ATTEMPTS = 10  # the last one about 17 hours after the first
_FIRST_WAIT_S = 60.0
_LONGEST_WAIT_S = 4 * 3600.0
_KEEP = timedelta(days=90)  # what was sent is forgotten after that; dead letters stay until they are removed
_KEPT = 1000  # messages that are not forgotten, however old
_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What it is about (`kind`), what is asked, where it goes, and the key of its signatures."""

    id: str
    kind: str
    question: Mapping[str, Any]
    target: str
    style: str
    secret: str
    created_at: datetime
    last_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `state` is ``waiting``, ``sent`` or ``dead``: it will not be tried again by itself."""

    id: str
    alert: str
    body: str
    state: str
    attempts: int
    next_at: datetime
    error: str | None
    created_at: datetime


Send = Callable[[Alert, Message], None]


class Alerts:
    """The alerts and messages of one state store."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._now = now

    def add(self, kind: str, question: Mapping[str, Any], target: str, style: str) -> Alert:
        """A new alert, with a key for its signatures."""
        key = _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        with self._engine.begin() as db:
            found = {
                "id": uuid.uuid4().hex[:8], "kind": kind, "question": json.dumps(dict(question), sort_keys=True),
                "target": target, "style": style, "secret": key, "created_at": state.utc_text(self._now()),
                "last_key": None,
            }  # fmt: skip
            db.execute(state.alert.insert().values(**found))
        return _alert(found)

    def all(self) -> tuple[Alert, ...]:
        """Every alert, oldest first."""
        query = sa.select(state.alert).order_by(state.alert.c.created_at, state.alert.c.id)
        with self._engine.begin() as db:
            return tuple(_alert(row) for row in db.execute(query).mappings())

    def get(self, alert_id: str) -> Alert:
        """The alert of that id. Raises `UnknownName`."""
        known = {alert.id: alert for alert in self.all()}
        if alert_id not in known:
            raise UnknownName(f"no alert {alert_id!r}. 'cloudaccel alert list' shows them.", choices=sorted(known))
        return known[alert_id]

    def remove(self, alert_id: str) -> None:
        """Forget an alert and its messages. Raises `UnknownName`."""
        found = self.get(alert_id)
        with self._engine.begin() as db:
            db.execute(state.delivery.delete().where(state.delivery.c.alert == found.id))
            db.execute(state.alert.delete().where(state.alert.c.id == found.id))

    def tell(self, alert: Alert, key: str, body: Mapping[str, Any]) -> bool:
        """Queue `body` unless `key` has been told already; whether it was queued. The same key is the same news."""
        identity = hashlib.sha256(f"{alert.id}\x1f{key}".encode()).hexdigest()[:32]
        with self._engine.begin() as db:
            if db.execute(sa.select(state.delivery.c.id).where(state.delivery.c.id == identity)).first():
                return False
            self._queue(db, alert, identity, body)
        return True

    def changed(self, alert: Alert, key: str | None, body: Mapping[str, Any]) -> bool:
        """Queue `body` when `key` differs from that of the last time; None: nothing to tell, so the next is news."""
        with self._engine.begin() as db:
            mine = state.alert.c.id == alert.id
            last = db.execute(sa.select(state.alert.c.last_key).where(mine)).scalar()
            if key == last:
                return False
            db.execute(state.alert.update().where(mine).values(last_key=key))
            if key is None:
                return False
            self._queue(db, alert, uuid.uuid4().hex, body)
        return True

    def messages(self, *states: str) -> tuple[Message, ...]:
        """Messages in `states` (all when none is given), oldest first."""
        query = sa.select(state.delivery).order_by(state.delivery.c.created_at, state.delivery.c.id)
        if states:
            query = query.where(state.delivery.c.state.in_(states))
        with self._engine.begin() as db:
            return tuple(_message(row) for row in db.execute(query).mappings())

    def counts(self) -> tuple[tuple[str, int], ...]:
        """Each state of messages, and how many are in it."""
        query = sa.select(state.delivery.c.state, sa.func.count()).group_by(state.delivery.c.state)
        with self._engine.begin() as db:
            found = {row[0]: row[1] for row in db.execute(query)}
        return tuple((name, found.get(name, 0)) for name in STATES)

    def retry(self) -> int:
        """Try dead letters again from now on; how many there are."""
        again = {"state": "waiting", "attempts": 0, "next_at": state.utc_text(self._now())}
        with self._engine.begin() as db:
            return db.execute(state.delivery.update().where(state.delivery.c.state == "dead").values(**again)).rowcount

    def deliver(self, send: Send, still: Callable[[], None] = lambda: None) -> int:
        """Send what is due; how many arrived. `still` is asked before each, and may raise that somebody else sends now.

        What does not arrive is tried again, later each time, and is a dead letter after `MOST_ATTEMPTS`.
        """
        known = {alert.id: alert for alert in self.all()}
        arrived = 0
        for message in self.messages("waiting"):
            # Later than any message is planned: that was under a clock that was ahead.
            if timedelta(0) < message.next_at - self._now() <= timedelta(seconds=_LONGEST_WAIT_S * 2):
                continue
            still()
            try:
                send(known[message.alert], message)
            except Undeliverable as error:
                self._settle(message, state="dead", error=str(error))
            except NotDelivered as error:
                self._settle(message, **self._later(message, str(error)))
            else:
                self._settle(message, state="sent", error=None, sent_at=state.utc_text(self._now()))
                arrived += 1
        with self._engine.begin() as db:
            sent = state.delivery.c.state == "sent"
            # A clock that is ahead makes all of them old, and what was told would be told again: the last ones stay.
            newest = sa.select(state.delivery.c.created_at).where(sent).order_by(state.delivery.c.created_at.desc())
            before = db.execute(newest.limit(1).offset(_KEPT)).scalar()
            if before is not None:
                old = min(before, state.utc_text(self._now() - _KEEP))
                db.execute(state.delivery.delete().where(sent, state.delivery.c.created_at < old))
        return arrived

    def _later(self, message: Message, error: str) -> dict[str, Any]:
        attempts = message.attempts + 1
        wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**message.attempts) * random.uniform(0.8, 1.2)  # noqa: S311
        due = state.utc_text(self._now() + timedelta(seconds=wait))
        return {"state": "dead" if attempts >= MOST_ATTEMPTS else "waiting", "next_at": due, "error": error}

    def _settle(self, message: Message, **values: Any) -> None:
        with self._engine.begin() as db:
            here = state.delivery.c.id == message.id
            db.execute(state.delivery.update().where(here).values(attempts=message.attempts + 1, **values))

    def _queue(self, db: sa.Connection, alert: Alert, identity: str, body: Mapping[str, Any]) -> None:
        now = state.utc_text(self._now())
        text = json.dumps(
            {"id": identity, "at": now, "alert": alert.id, "kind": alert.kind, **body}, ensure_ascii=False
        )
        db.execute(
            state.delivery.insert().values(
                id=identity, alert=alert.id, body=text, state="waiting", attempts=0, next_at=now, created_at=now
            )
        )


def signed_headers(alert: Alert, message_id: str, body: bytes, at: datetime) -> dict[str, str]:
    """The headers that let a receiver tell that a message is ours, whole and recent."""
    moment = str(int(at.timestamp()))
    key = base64.b64decode(alert.secret.removeprefix(_PREFIX))
    said = f"{message_id}.{moment}.".encode() + body
    signature = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}


def _alert(row: Mapping[str, Any] | sa.RowMapping) -> Alert:
    values: dict[str, Any] = {name: row[name] for name in Alert.__dataclass_fields__}
    values |= {"question": json.loads(values["question"]), "created_at": state.parse_utc(values["created_at"])}
    return Alert(**values)


def _message(row: sa.RowMapping) -> Message:
    values: dict[str, Any] = {name: row[name] for name in Message.__dataclass_fields__}
    values |= {name: state.parse_utc(values[name]) for name in ("next_at", "created_at")}
    return Message(**values)
