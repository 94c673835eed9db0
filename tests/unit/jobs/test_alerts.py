"""Alerts: news is told once, what does not arrive is tried again and then kept as a dead letter; all is signed."""

import itertools
import json
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[provision]")

from cloudaccel import state
from cloudaccel.api import alerting
from cloudaccel.cli import main
from cloudaccel.errors import UnknownName
from cloudaccel.jobs.alerts import MOST_ATTEMPTS, Alert, Alerts, Message, signed_headers
from cloudaccel.jobs.leases import LeaseLost
from cloudaccel.jobs.outbound import NotDelivered, Undeliverable
from tests.support import price_file

HOOK = "https://hooks.example.org/T0/secret-path"


class Time:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def alerts(tmp_path: Path, clock: Time) -> Iterator[Alerts]:
    engine = state.open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield Alerts(engine, clock)
    engine.dispose()


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_DATABASE_URL", f"sqlite:///{tmp_path / 'own.db'}")


def test_the_same_news_is_told_once_and_again_after_it_had_passed(alerts: Alerts) -> None:
    alert = alerts.add("price", {}, HOOK, "json")
    told = [alerts.changed(alert, key, {"text": "news"}) for key in ("a 2", "a 2", "b 1", None, None, "b 1")]
    assert told == [True, False, True, False, False, True]
    assert len(alerts.messages("waiting")) == 3


def test_a_notice_is_told_once_for_each_alert(alerts: Alerts) -> None:
    first, _other = (alerts.add("runs", {}, HOOK, "json") for _ in range(2))
    alerts.add("price", {}, HOOK, "json")
    assert alerting.tell(alerts, "runs", "7f3a ended", "Run 7f3a ended.", {"run": "7f3a"}) == 2
    assert alerting.tell(alerts, "runs", "7f3a ended", "Run 7f3a ended.", {"run": "7f3a"}) == 0
    body = json.loads(next(m for m in alerts.messages() if m.alert == first.id).body)
    assert (body["text"], body["run"], body["kind"], body["alert"]) == ("Run 7f3a ended.", "7f3a", "runs", first.id)


def test_what_does_not_arrive_is_tried_later_and_later_and_then_kept_as_a_dead_letter(
    alerts: Alerts, clock: Time
) -> None:
    alert = alerts.add("price", {}, HOOK, "json")
    alerts.changed(alert, "a", {"text": "news"})
    tried: list[datetime] = []

    def away(_alert: Alert, _message: Message) -> None:
        tried.append(clock.now)
        raise NotDelivered("hooks.example.org did not answer.")

    while alerts.messages("waiting"):
        assert alerts.deliver(away) == 0
        clock.now += timedelta(seconds=20)
    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert len(tried) == MOST_ATTEMPTS
    assert waits[0] < timedelta(minutes=2)
    assert all(longer >= shorter for shorter, longer in itertools.pairwise(waits[:7]))
    (dead,) = alerts.messages("dead")
    assert (dead.attempts, dead.error) == (MOST_ATTEMPTS, "hooks.example.org did not answer.")
    assert alerts.retry() == 1
    seen: list[str] = []
    assert alerts.deliver(lambda _, message: seen.append(message.id)) == 1
    assert seen == [dead.id]  # under the same id, so that a receiver can tell it from another
    assert alerts.messages("waiting", "dead") == ()


def test_what_is_refused_is_not_tried_again(alerts: Alerts) -> None:
    alert = alerts.add("price", {}, HOOK, "json")
    alerts.changed(alert, "a", {"text": "news"})

    def refused(_alert: Alert, _message: Message) -> None:
        raise Undeliverable("hooks.example.org refuses the message (410).")

    alerts.deliver(refused)
    assert [message.state for message in alerts.messages()] == ["dead"]


def test_who_lost_the_lease_sends_nothing(alerts: Alerts) -> None:
    alerts.changed(alerts.add("price", {}, HOOK, "json"), "a", {"text": "news"})

    def lost() -> None:
        raise LeaseLost("another process sends now.")

    def sent(_alert: Alert, _message: Message) -> None:
        pytest.fail("sent")

    with pytest.raises(LeaseLost):
        alerts.deliver(sent, lost)
    assert [message.attempts for message in alerts.messages("waiting")] == [0]


def test_signature_is_that_of_standard_webhooks() -> None:
    """The example of the public specification (standardwebhooks.com, read by its libraries)."""
    alert = Alert(
        id="1", kind="price", question={}, target=HOOK, style="json", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # noqa: S106
        created_at=datetime.now(UTC), last_key=None,
    )  # fmt: skip
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers(alert, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', moment)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


def test_price_alert_tells_the_offer_its_date_and_its_source(alerts: Alerts, tmp_path: Path) -> None:
    row = "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on_demand,{},USD,2026-11-01,test"
    dear, cheap = (str(price_file(tmp_path, row.format(p), name=f"{p}.csv")) for p in ("40.00", "16.00"))
    alerts.add("price", {"accelerators": "H100-SXM:8", "below": "2.50 USD"}, HOOK, "json")
    assert [alerting.tell_prices(alerts, catalog) for catalog in (dear, cheap, cheap, dear, cheap)] == [0, 1, 0, 0, 1]
    body = json.loads(alerts.messages()[0].body)
    assert body["offer"]["price_per_accelerator_hour"] == "2.00" or body["offer"]["price_per_accelerator_hour"] == "2"
    assert body["offer"]["as_of"] == "2026-11-01"
    assert "2026-11-01" in body["text"]
    assert "tax excluded" in body["text"]


@pytest.mark.usefixtures("own_state")
def test_alerts_are_defined_listed_and_removed_and_no_secret_is_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alert", "add", "H100:8", "--below", "9 USD", "--residency", "EU", "--to", HOOK, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["alert"]
    assert made["secret"].startswith("whsec_")
    assert main(["alert", "list", "--json"]) == 0
    said = capsys.readouterr().out
    assert made["secret"] not in said
    assert "secret-path" not in said
    (listed,) = json.loads(said)["alerts"]
    assert (listed["id"], listed["question"]["residency"]) == (made["id"], "EU")
    assert main(["alert", "list"]) == 0
    assert "H100:8 at or under 9 USD (residency EU)" in capsys.readouterr().out
    assert main(["alert", "remove", made["id"]]) == 0
    assert main(["alert", "remove", made["id"]]) == 5
    assert made["id"] in capsys.readouterr().err


@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["H100:8", "--to", HOOK], 2, "--below"),
        (["--below", "3", "--to", HOOK], 2, "ACCEL"),
        (["H100:8", "--below", "cheap", "--to", HOOK], 2, "--below"),
        (["H1000:8", "--below", "3", "--to", HOOK], 5, "H1000"),
        (["H100:8", "--below", "3", "--residency", "Atlantis", "--to", HOOK], 5, "Atlantis"),
        (["--on", "runs", "--below", "3", "--to", HOOK], 2, "--on runs"),
        (["--on", "runs", "--to", "http://example.org/x"], 2, "https://"),
        (["--on", "runs", "--to", "https://me:pw@example.org/x"], 2, "password"),
        (["--on", "runs", "--to", "mailto:"], 2, "one address"),
        (["--on", "runs", "--to", "mailto:a@b.org,c@d.org"], 2, "one address"),
        (["--on", "runs", "--to", "mailto:a@b.org%0d%0aBcc:x@y.org"], 2, "one address"),
        (["--on", "runs", "--to", "mailto:a@b.org", "--style", "slack"], 2, "mail"),
        (["--on", "runs", "--to", HOOK, "--style", "mail"], 2, "mailto:"),
        (["--on", "weather", "--to", HOOK], 2, "--on"),
    ],
)
def test_what_cannot_be_an_alert_is_refused_in_one_line(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alert", "add", *words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_an_unknown_alert_is_named_with_those_that_are(alerts: Alerts) -> None:
    known = alerts.add("runs", {}, HOOK, "json")
    with pytest.raises(UnknownName) as raised:
        alerts.get("nope")
    assert raised.value.choices == (known.id,) or list(raised.value.choices) == [known.id]


class _Mailbox:
    """Stands in for a mail server's session."""

    sent: list[Any]

    def __init__(self, sent: list[Any]) -> None:
        self.sent = sent
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "_Mailbox":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ehlo(self) -> None:
        pass

    def has_extn(self, _name: str) -> bool:
        return False

    def send_message(self, mail: Any) -> None:
        self.sent.append(mail)


def _message(alert: Alert, clock: Time) -> Message:
    body = json.dumps({"id": "m1", "text": "H100 is cheap.\nToday."})
    return Message(
        id="m1", alert=alert.id, body=body, state="waiting", attempts=0, next_at=clock.now, error=None,
        created_at=clock.now,
    )  # fmt: skip


def test_a_mail_has_the_news_in_its_subject_and_goes_to_one_address(
    alerts: Alerts, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    asked: list[Any] = []

    def session(host: str, port: int, timeout: float) -> _Mailbox:
        asked.append((host, port))
        return _Mailbox(sent)

    monkeypatch.setattr("cloudaccel.api.alerting.smtplib.SMTP", session)
    monkeypatch.setenv(
        "CLOUDACCEL_SMTP", f"smtp://mail.example.org:2525?from={urllib.parse.quote('prices@example.org')}"
    )
    alert = alerts.add("runs", {}, "mailto:ops@example.org", "mail")
    alerting.sender()(alert, _message(alert, clock))
    assert asked == [("mail.example.org", 2525)]
    assert [(m["To"], m["From"], m["Subject"]) for m in sent] == [
        ("ops@example.org", "prices@example.org", "cloudaccel: H100 is cheap.")
    ]


def test_no_password_goes_to_a_mail_server_without_encryption(
    alerts: Alerts, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = _Mailbox([])

    def session(_host: str, _port: int, timeout: float) -> _Mailbox:
        return mailbox

    monkeypatch.setattr("cloudaccel.api.alerting.smtplib.SMTP", session)
    monkeypatch.setenv("CLOUDACCEL_SMTP", "smtp://me@mail.example.org")
    alert = alerts.add("runs", {}, "mailto:ops@example.org", "mail")
    with pytest.raises(Exception, match="never sent without it"):
        alerting.sender()(alert, _message(alert, clock))
    assert mailbox.closed
