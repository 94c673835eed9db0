"""Tokens, budgets and the audit log: shown once, never kept, ended for sure; and a log that shows what was changed."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support import run

sa: Any = pytest.importorskip("sqlalchemy", reason="needs cloudaccel[service]")

from cloudaccel import state  # noqa: E402 - after the skip
from cloudaccel.access import audit  # noqa: E402
from cloudaccel.access.people import Principal, scopes_of  # noqa: E402
from cloudaccel.access.projects import Projects  # noqa: E402
from cloudaccel.access.tokens import Tokens, is_token  # noqa: E402
from cloudaccel.errors import LimitExceeded, QueryError, UnknownName  # noqa: E402

START = datetime(2026, 11, 1, tzinfo=UTC)


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    made = state.open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(engine: Any, clock: Clock) -> Tokens:
    return Tokens(engine, clock)


def create(tokens: Tokens, scope: str = "read", lasts_s: float = 3600, who: str = "alice@example.org") -> str:
    return tokens.create(who, scopes_of(scope), project="vision", lasts_s=lasts_s, by="test")[0]


def test_token_is_not_in_the_database(tokens: Tokens, tmp_path: Path) -> None:
    secret = create(tokens)
    assert is_token(secret)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in kept
    assert secret.rpartition("_")[2].encode() not in kept


def test_token_says_who_for_what(tokens: Tokens) -> None:
    found = tokens.principal(create(tokens, "plan"))
    assert found is not None
    assert (found.name, found.project, found.scopes) == ("alice@example.org", "vision", {"plan"})
    assert [found.may(scope) for scope in ("read", "plan", "provision", "admin")] == [True, True, False, False]


def test_admin_watches_and_starts_nothing() -> None:
    """Otherwise one person could both spend and approve."""
    admin = Principal(name="root", project="", scopes=frozenset({"admin"}))
    assert [admin.may(scope) for scope in ("read", "plan", "provision", "admin")] == [True, False, False, True]


def test_token_ends_with_its_time_and_when_taken_back(tokens: Tokens, clock: Clock) -> None:
    one, other = create(tokens, lasts_s=60), create(tokens)
    tokens.revoke(other.split("_")[1], "test")
    assert tokens.principal(other) is None
    assert tokens.principal(one) is not None
    clock.at += timedelta(seconds=60)
    assert tokens.principal(one) is None
    assert [t.state(clock.at) for t in tokens.all()] == ["expired", "revoked"]


@pytest.mark.parametrize("change", ["end", "case", "space"])
def test_nearly_the_token_is_not_the_token(tokens: Tokens, change: str) -> None:
    secret = create(tokens)
    end = "0" if secret[-1] != "0" else "1"
    nearly = {"end": secret[:-1] + end, "case": secret.upper(), "space": secret + " "}[change]
    assert tokens.principal(nearly) is None


def test_last_use_is_noted_to_the_minute(tokens: Tokens, clock: Clock) -> None:
    secret = create(tokens)
    for passed, noted in ((0, 0), (30, 0), (90, 90)):
        clock.at = START + timedelta(seconds=passed)
        tokens.principal(secret)
        assert tokens.all()[0].last_used_at == START + timedelta(seconds=noted)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"who": "two words"}, "without spaces"),
        ({"who": "x\nlog: forged"}, "without spaces"),
        ({"who": ""}, "person"),
        ({"lasts_s": 401 * 86_400}, "at most 400 days"),
        ({"scope": "all"}, "none of read, plan"),
        ({"scope": ""}, "none of read, plan"),
    ],
)
def test_token_that_cannot_be_is_refused(tokens: Tokens, values: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        create(tokens, **values)
    assert tokens.all() == ()


def test_unknown_token_cannot_be_taken_back(tokens: Tokens) -> None:
    with pytest.raises(UnknownName, match="no token has the id"):
        tokens.revoke("00000000", "test")


def test_project_without_budget_may_spend_nothing(engine: Any, clock: Clock) -> None:
    """No budget is no limit nowhere: that nobody said one must not mean that there is none."""
    projects = Projects(engine, clock)
    with pytest.raises(LimitExceeded, match="has no budget"):
        projects.get("vision")
    projects.put("vision", Decimal(500), Decimal(50), "EUR", by="test")
    assert projects.put("vision", Decimal("12.50"), None, "EUR", by="test").approve_above is None
    assert [(p.budget, p.currency) for p in projects.all()] == [(Decimal("12.50"), "EUR")]


def test_audit_log_has_what_was_done_and_no_secret(tokens: Tokens, engine: Any) -> None:
    secret = create(tokens)
    tokens.revoke(secret.split("_")[1], "boss")
    tokens.revoke(secret.split("_")[1], "boss")  # it was already; nothing was done
    rows = audit.entries(engine)
    assert [(r["number"], r["principal"], r["action"]) for r in rows] == [
        (2, "boss", "token.revoke"), (1, "test", "token.create"),
    ]  # fmt: skip
    assert secret.rpartition("_")[2] not in json.dumps(rows)
    assert [r["number"] for r in audit.entries(engine, before=2)] == [1]


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("UPDATE audit SET principal = 'nobody' WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("UPDATE audit SET detail = '{}' WHERE number = 600", 600),
    ],
)
def test_what_was_changed_behind_our_back_shows(engine: Any, clock: Clock, change: str, row: int) -> None:
    with engine.begin() as db:
        for number in range(700):
            entry = audit.Entry(principal="alice", action="test", subject=str(number), detail={"n": number})
            audit.append(db, entry, clock())
    assert audit.broken_at(engine) is None
    with engine.begin() as db:  # as somebody with a shell on the database could
        for name in ("audit_keeps_update", "audit_keeps_delete"):
            db.execute(sa.text(f"DROP TRIGGER {name}"))
        db.execute(sa.text(change))
    assert audit.broken_at(engine) == row


# -- the verb ----------------------------------------------------------------------------------------------------------


def test_verb_shows_the_token_once() -> None:
    made = run("token", "create", "alice@example.org", "--scope", "plan", "--project", "vision", "--expires", "7d")
    assert made.code == 0, made.err
    assert re.fullmatch(r"cloudaccel_[0-9a-f]{8}_[0-9a-f]{48}\n", made.out)  # so that $(…) holds it and nothing else
    secret = made.out.strip()
    listed = run("token", "list")
    assert "alice@example.org" in listed.out
    assert "valid" in listed.out
    for answer in (listed, run("token", "list", "--json"), run("token", "audit"), run("token", "audit", "--json")):
        assert secret.rpartition("_")[2] not in answer.out + answer.err
    revoked = run("token", "revoke", secret.split("_")[1], "--json")
    assert revoked.json["state"] == "revoked"


def test_verb_keeps_budgets_and_the_log() -> None:
    assert run("token", "project", "vision", "--budget", "5000 EUR", "--approve-above", "500").code == 0
    (project,) = run("token", "project", "--json").json["projects"]
    assert (project["budget"], project["approve_above"], project["currency"]) == ("5000", "500", "EUR")
    log = run("token", "audit", "--json").json
    assert log["broken_at"] is None
    assert [entry["action"] for entry in log["entries"]] == ["project.budget"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create"], 2, "name a person"),
        (["create", "a", "--scope", "all"], 2, "none of read"),
        (["create", "a", "--expires", "2"], 2, "no duration"),
        (["create", "a", "--project", "No Such"], 2, "small letters"),
        (["create", "a", "--budget", "3"], 2, "not for token create"),
        (["list", "a"], 2, "takes no name"),
        (["revoke", "cafe0000"], 5, "no token has the id"),
        (["project", "vision"], 4, "no budget"),
        (["project", "--budget", "3"], 2, "a name and --budget"),
        (["project", "x", "--budget", "3", "--approve-above", "4"], 2, "more than the budget"),
        (["project", "x", "--budget", "3 USD", "--approve-above", "1 EUR"], 2, "two currencies"),
        (["audit", "--limit", "0"], 2, "--limit"),
    ],
)
def test_verb_says_what_is_wrong(words: list[str], code: int, said: str) -> None:
    answer = run("token", *words)
    assert (answer.code, answer.err.count("\n")) == (code, 1)
    assert said in answer.err
