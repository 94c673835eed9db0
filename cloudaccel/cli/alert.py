"""``cloudaccel alert``: say what is worth a message, and where it goes; ``cloudaccel serve --alerts`` sends it."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cloudaccel.api import alerting
from cloudaccel.cli import answers, common, flags
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.jobs.alerts import STYLES, Alert, Message

EXAMPLES = """\
  cloudaccel alert add H100-SXM:8 --below '2.50 USD' --residency EU --to https://hooks.example.org/T1
  cloudaccel alert add H100 --below 2 --market spot --to https://chat.example.org/hook --style slack
  cloudaccel alert add --on runs --to mailto:ops@example.org
  cloudaccel alert list                                      and what waits or could not be delivered
  cloudaccel alert test 3fa2c1d0
  cloudaccel alert remove 3fa2c1d0
  cloudaccel alert retry                                     the dead letters once more
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb and its own verbs."""
    p = common.verb_parser("alert", "Messages when a price falls, a run needs you, or a refresh fails.", EXAMPLES)
    verbs = p.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _action(verbs, "add", "define an alert")
    add.add_argument("accelerator", nargs="?", metavar="ACCEL", help="such as H100:8; with --below")
    add.add_argument("--below", metavar="MONEY", help="per accelerator-hour; at or under it is news")
    flags.add_places(add)
    flags.add(add, "--market")
    add.add_argument("--on", choices=("runs", "refresh"), help="news of runs, or of price lists, in place of a price")
    add.add_argument("--to", required=True, metavar="URL", help="https://… or mailto:NAME@EXAMPLE.ORG")
    add.add_argument("--style", choices=STYLES, help='slack: only {"text": …}, as chats take it (default: json)')
    flags.add(add, "--private")
    listed = _action(verbs, "list", "alerts, and messages that wait or are dead")
    flags.add(listed, "--all", ": also messages that arrived")
    for name, text in (("test", "send a test message now"), ("remove", "forget an alert and its messages")):
        sub = _action(verbs, name, text)
        sub.add_argument("id", metavar="ID", help="of the alert")
        if name == "test":
            flags.add(sub, "--private")
    _action(verbs, "retry", "try dead letters again")
    return p


def _action(verbs: common.Actions, name: str, text: str) -> argparse.ArgumentParser:
    return common.action_parser(verbs, "alert", name, text, EXAMPLES)


def run(a: argparse.Namespace) -> int:
    """Add, list, test, remove or retry."""
    actions = {"add": _add, "list": _list, "test": _test, "remove": _remove, "retry": _retry}
    actions[a.action](a)
    return 0


def _add(a: argparse.Namespace) -> None:
    kind, question = _question(a)
    style = alerting.style_of(a.to, a.style, private=a.private)
    with alerting.open_alerts() as alerts:
        alert = alerts.add(kind, question, a.to, style)
    if a.output == "json":
        answers.write(a, "alert.add", {"alert": {**_alert_json(alert), "secret": alert.secret}}, kept=True)
        return
    common.write(f"alert {alert.id}: {_words(alert)} → {_masked(alert.target)}\n")
    if style == "json":
        common.write(f"Its messages are signed with {alert.secret} (shown only now; Standard Webhooks).\n")
    common.note("'cloudaccel serve --alerts' sends; 'cloudaccel alert test' tries it now.", quiet=a.quiet)


def _question(a: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    filters: dict[str, Any] = {name: getattr(a, name) for name in alerting.FILTERS}
    if a.on:
        if a.accelerator or a.below or any(filters.values()):
            raise QueryError(f"--on {a.on} has no accelerator, --below or filters. Make two alerts.")
        return a.on, {}
    if not a.accelerator or not a.below:
        raise QueryError("say ACCEL and --below MONEY for a price, or --on runs, or --on refresh.")
    return "price", alerting.price_question(a.accelerator, a.below, filters)


def _list(a: argparse.Namespace) -> None:
    with alerting.open_alerts() as alerts:
        messages = alerts.messages() if a.all else alerts.messages("waiting", "dead")
        defined = alerts.all()
    if a.output == "json":
        body = {"alerts": [_alert_json(alert) for alert in defined], "messages": [*map(_message_json, messages)]}
        answers.write(a, "alert.list", body)
        return
    rows = [[alert.id, _words(alert), alert.style, _masked(alert.target)] for alert in defined]
    if not rows:
        common.write("No alert is defined. 'cloudaccel alert add --help' shows how.\n")
        return
    width = common.screen_width()
    common.write("\n".join(common.table(["ID", "WHEN", "STYLE", "TO"], rows, frozenset(), width)) + "\n")
    if messages:
        told = [[m.alert, m.state, str(m.attempts), f"{m.created_at:%Y-%m-%d %H:%MZ}", m.error or ""] for m in messages]
        heads = ["ALERT", "MESSAGE", "TRIES", "OF", "REASON"]
        common.write("\n" + "\n".join(common.table(heads, told, frozenset({2}), width)) + "\n")


def _test(a: argparse.Namespace) -> None:
    if a.offline:
        raise ConfigError("--offline was given, and a message needs the network.")
    with alerting.open_alerts() as alerts:
        alert = alerts.get(a.id)
    now = datetime.now(UTC)
    body = {"id": f"test-{alert.id}-{int(now.timestamp())}", "alert": alert.id, "kind": "test",
            "text": f"A test of alert {alert.id} ({_words(alert)}). Nothing has happened."}  # fmt: skip
    message = Message(
        id=body["id"], alert=alert.id, body=json.dumps(body), state="waiting", attempts=0, next_at=now, error=None,
        created_at=now,
    )  # fmt: skip
    alerting.sender(private=a.private)(alert, message)
    if a.output == "json":
        answers.write(a, "alert.test", {"alert": alert.id, "delivered": True}, kept=True)
    else:
        common.write(f"{_masked(alert.target)} has taken the message.\n")


def _remove(a: argparse.Namespace) -> None:
    with alerting.open_alerts() as alerts:
        alerts.remove(a.id)
    if a.output == "json":
        answers.write(a, "alert.remove", {"alert": a.id}, kept=True)
    else:
        common.write(f"alert {a.id} and its messages are gone.\n")


def _retry(a: argparse.Namespace) -> None:
    with alerting.open_alerts() as alerts:
        number = alerts.retry()
    if a.output == "json":
        answers.write(a, "alert.retry", {"messages": number}, kept=True)
    else:
        common.write(f"{number} dead letters wait to be sent again.\n")


def _words(alert: Alert) -> str:
    if alert.kind == "runs":
        return "news of a run"
    if alert.kind == "refresh":
        return "a price list is not taken"
    asked = dict(alert.question)
    text = f"{asked.pop('accelerators')} at or under {asked.pop('below')}"
    narrowed = "; ".join(f"{key} {','.join(v) if isinstance(v, list) else v}" for key, v in sorted(asked.items()))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return text + (f" ({narrowed})" if narrowed else "")


def _masked(target: str) -> str:
    """The address without what may be a secret in it: the path of a chat's hook is its password."""
    if target.startswith("mailto:"):
        return target
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.netloc}/…"


def _alert_json(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id, "on": alert.kind, "question": dict(alert.question), "to": _masked(alert.target),
        "style": alert.style, "created_at": alert.created_at.isoformat(timespec="seconds"),
    }  # fmt: skip


def _message_json(message: Message) -> dict[str, Any]:
    return {**asdict(message), "body": json.loads(message.body), "next_at": message.next_at.isoformat(),
            "created_at": message.created_at.isoformat()}  # fmt: skip
