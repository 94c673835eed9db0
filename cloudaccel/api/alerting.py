"""Alerts: defining them, asking whether there is news, and sending it as JSON, to a chat, or by mail."""

import json
import os
import smtplib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from cloudaccel import settings, units
from cloudaccel.api.quoting import quote
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.jobs.alerts import KINDS, Alert, Alerts, Message, signed_headers
from cloudaccel.jobs.outbound import NotDelivered, Undeliverable, check_url, post
from cloudaccel.model import Offer

_SMTP_WAIT_S = 20
FILTERS = ("provider", "region", "country", "residency", "market")


@contextmanager
def open_alerts() -> Generator[Alerts]:
    """The alerts of the state store that the environment names. Raises as `cloudaccel.state.open_state`."""
    from cloudaccel import state  # opens the database; most verbs never do

    with state.opened() as engine:
        yield Alerts(engine)


def price_question(accelerators: str, below: str, filters: Mapping[str, Any]) -> dict[str, Any]:
    """What a price alert asks, in a form that can be kept: tried once, so that a wrong name is said now.

    Raises
    ------
    QueryError
        If the question cannot be asked.
    """
    units.parse_money(below, "--below")
    question = {"accelerators": accelerators, "below": below, **{k: v for k, v in filters.items() if v}}
    cheapest(question)
    return question


def cheapest(question: Mapping[str, Any], catalog: str | None = None) -> Offer | None:
    """The cheapest offer that a price alert is about; None when none is at or under its limit."""
    filters: dict[str, Any] = {key: question[key] for key in FILTERS if key in question}
    found = quote(question["accelerators"], max_price=question["below"], limit=1, catalog=catalog, **filters).offers
    return next((offer for offer in found if not offer.apart), None)


def tell_prices(alerts: Alerts, catalog: str | None = None) -> int:
    """Queue what price alerts have to say now; how many messages. The same offer at the same price is told once."""
    queued = 0
    for alert in alerts.all():
        if alert.kind != "price":
            continue
        offer = cheapest(alert.question, catalog)
        key = None if offer is None else f"{offer.id} {offer.price.amount}"
        body: dict[str, Any] = {} if offer is None else _price_body(alert.question, offer)
        queued += alerts.changed(alert, key, body)
    return queued


def tell(alerts: Alerts, kind: str, key: str, text: str, facts: Mapping[str, Any]) -> int:
    """Queue a piece of news for every alert of `kind`; how many messages."""
    return sum(alerts.tell(alert, key, {"text": text, **facts}) for alert in alerts.all() if alert.kind == kind)


def _price_body(question: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    price = offer.price
    each = offer.price_per_accelerator_hour
    where = f"{offer.provider} {offer.zone or offer.region}"
    text = (
        f"{question['accelerators']}: {each:.4f} {price.currency} per accelerator-hour, at or under "
        f"{question['below']}: {offer.instance} at {where}, {offer.market.replace('_', '-')}. "
        f"List price of {price.as_of or 'no date'} from {price.source.name}, tax excluded."
    )
    facts = {
        "id": offer.id, "provider": offer.provider, "region": offer.region, "zone": offer.zone,
        "instance": offer.instance, "market": offer.market, "price_per_accelerator_hour": str(each),
        "price_per_hour": str(price.amount), "currency": price.currency, "as_of": price.as_of,
        "source": price.source.name,
    }  # fmt: skip
    return {"text": text, "offer": facts}


def style_of(target: str, style: str | None, *, private: bool) -> str:
    """How a target is spoken to: ``mail`` for ``mailto:``, else ``json`` unless said. Raises `QueryError`."""
    if target.lower().startswith("mailto:"):
        if style not in (None, "mail"):
            raise QueryError(f"--style {style}: a mailto: address gets mail.")
        _recipient(target)
        return "mail"
    if style == "mail":
        raise QueryError("--style mail needs --to mailto:NAME@EXAMPLE.ORG.")
    try:
        check_url(target, private=private)
    except Undeliverable as error:
        raise QueryError(f"--to: {error}") from None
    return style or "json"


def _recipient(target: str) -> str:
    address = unquote(target[len("mailto:") :])
    name, at, domain = address.partition("@")
    bad = any(character in "\r\n,;<>?" or character.isspace() for character in address)
    if not (name and at and domain) or bad or "@" in domain:
        raise QueryError("--to: mailto: must be followed by one address, as in mailto:ops@example.org.")
    return address


def sender(*, private: bool = False, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Callable[..., None]:
    """A function that sends one message of an alert; it raises `NotDelivered` or `Undeliverable`."""

    def send(alert: Alert, message: Message) -> None:
        body = json.loads(message.body)
        if alert.style == "mail":
            _mail(_recipient(alert.target), body)
            return
        sent = message.body if alert.style == "json" else json.dumps({"text": body["text"]}, ensure_ascii=False)
        raw = sent.encode()
        headers = {
            "Content-Type": "application/json", "User-Agent": "cloudaccel",
            **signed_headers(alert, message.id, raw, now()),
        }  # fmt: skip
        post(alert.target, raw, headers, private=private)

    return send


def _mail(to: str, body: Mapping[str, Any]) -> None:
    """One mail over the server of the setting ``smtp``; its password, if any, is in CLOUDACCEL_SMTP_PASSWORD."""
    text = settings.load_settings()["smtp"]
    if not text:
        raise Undeliverable("no mail server is set. Set CLOUDACCEL_SMTP, as in smtp://mail.example.org:587.")
    server = _server(text)
    mail = EmailMessage()
    mail["Subject"] = f"cloudaccel: {str(body['text']).splitlines()[0][:120]}"
    mail["From"] = server.from_address
    mail["To"] = to
    mail["Message-ID"] = f"<{body['id']}@cloudaccel>"
    mail.set_content(f"{body['text']}\n\n{json.dumps(body, indent=1, ensure_ascii=False)}\n")
    try:
        with server.connect() as connection:
            connection.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        raise Undeliverable(f"the mail server refuses the address: {error}.") from error
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(f"the mail server did not take the mail: {error or type(error).__name__}.") from error


class _server:  # noqa: N801 - made and used in one place
    """A mail server as the setting says: ``smtps://user@host:port`` or ``smtp://…``, with ``?from=ADDRESS``."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.password:
            raise ConfigError(
                "smtp: an address as in smtps://user@mail.example.org:465?from=prices@example.org is needed; the "
                "password goes into CLOUDACCEL_SMTP_PASSWORD."
            )
        self._host, self._port, self._tls = parts.hostname, parts.port, parts.scheme == "smtps"
        self._user = unquote(parts.username or "")
        given = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
        self.from_address = unquote(given.get("from", "")) or f"cloudaccel@{self._host}"

    def connect(self) -> smtplib.SMTP:
        """A session, encrypted where the server can, signed in where a user is named."""
        if self._tls:
            session: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port or 465, timeout=_SMTP_WAIT_S)
        else:
            session = smtplib.SMTP(self._host, self._port or 25, timeout=_SMTP_WAIT_S)
        try:
            self._sign_in(session)
        except BaseException:
            session.close()
            raise
        return session

    def _sign_in(self, session: smtplib.SMTP) -> None:
        if not self._tls:
            session.ehlo()
            if session.has_extn("starttls"):
                session.starttls()
        if self._user:
            if not self._tls and not session.has_extn("starttls"):
                raise ConfigError("smtp: the server offers no encryption, and a password is never sent without it.")
            session.login(self._user, os.environ.get("CLOUDACCEL_SMTP_PASSWORD", ""))


__all__ = ["KINDS", "cheapest", "open_alerts", "price_question", "sender", "style_of", "tell", "tell_prices"]
