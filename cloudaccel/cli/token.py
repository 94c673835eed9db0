"""``cloudaccel token``: who may use the service, what a project may spend, and what was done."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudaccel import units
from cloudaccel.access.people import DEFAULT_PROJECT, SCOPES, local_principal, scopes_of
from cloudaccel.cli import answers, common, flags
from cloudaccel.errors import QueryError

EXAMPLES = """\
  cloudaccel token create alice@example.org --scope provision --project vision --expires 30d
  cloudaccel token list
  cloudaccel token revoke 7f3a9c21
  cloudaccel token project vision --budget '5000 USD' --approve-above '500 USD'
  cloudaccel token project                                   what every project may spend
  cloudaccel token audit                                     who did what, and whether the log is whole
"""
ACTIONS = ("create", "list", "revoke", "project", "audit")
_DEFAULT_LIFE = "90d"


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "token",
        "Who may use the service: tokens by scope, budgets of projects, and the audit log. "
        "Works on the database of the service (CLOUDACCEL_DATABASE_URL); whoever can write that is its administrator.",
        EXAMPLES,
    )
    p.add_argument("action", choices=ACTIONS, help="what to do")
    p.add_argument("name", nargs="?", metavar="NAME", help="for create the person, for revoke the id, for project it")
    t = p.add_argument_group("a token")
    t.add_argument(
        "--scope", action="append", metavar="NAME",
        help=f"what it may do: {', '.join(SCOPES)} (default read; each of the first three includes those before it, "
        "admin reads, sees all projects and the audit log, and approves)",
    )  # fmt: skip
    flags.add(t, "--project")
    t.add_argument("--expires", metavar="TIME", help=f"how long it lasts, at most 400d (default {_DEFAULT_LIFE})")
    flags.add(t, "--note", ": what it is for", default="")
    b = p.add_argument_group("a project")
    flags.add(b, "--budget", "; of all runs of the project together")
    b.add_argument("--approve-above", metavar="MONEY", help="a run that may cost more waits for a second person")
    flags.add(p, "--limit", ", of the audit log, newest (default 50)", default=50)
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Do what the action says."""
    _check(a)
    from cloudaccel import state  # opens the database; other verbs never do

    actions: Mapping[str, Callable[[argparse.Namespace, Any], int]] = {
        "create": _create, "list": _list, "revoke": _revoke, "project": _project, "audit": _audit,
    }  # fmt: skip
    with state.opened() as engine:
        return actions[a.action](a, engine)


_FLAGS_OF = {
    "create": ("scope", "project", "expires", "note"), "list": (), "revoke": (), "project": ("budget", "approve_above"),
    "audit": (),
}  # fmt: skip


def _check(a: argparse.Namespace) -> None:
    for name in ("scope", "project", "expires", "note", "budget", "approve_above"):
        if getattr(a, name) and name not in _FLAGS_OF[a.action]:
            raise QueryError(f"--{name.replace('_', '-')} is not for token {a.action}.")
    if a.action in ("create", "revoke") and not a.name:
        raise QueryError(f"token {a.action}: name {'a person or program' if a.action == 'create' else 'a token id'}.")
    if a.action in ("list", "audit") and a.name:
        raise QueryError(f"token {a.action} takes no name.")
    if a.limit is not None and not 1 <= a.limit <= 10_000:
        raise QueryError("--limit: 1 to 10000, or all.")


def _now() -> datetime:
    return datetime.now(UTC)


def _create(a: argparse.Namespace, engine: Any) -> int:
    from cloudaccel.access.tokens import Tokens

    secret, token = Tokens(engine, _now).create(
        a.name, scopes_of(" ".join(a.scope or ["read"])), project=a.project or DEFAULT_PROJECT, by=local_principal(),
        note=a.note, lasts_s=units.parse_duration_s(a.expires or _DEFAULT_LIFE, "--expires"),
    )  # fmt: skip
    if a.output == "json":
        answers.write(a, "token.create", {"token": secret, **_token_json(token, _now())}, kept=True)
        return 0
    common.write(secret + "\n")
    common.note(
        f"token {token.id} for {token.principal}: {', '.join(sorted(token.scopes))}, project {token.project}, until "
        f"{_day(token.expires_at)}. It is shown this once; only its hash is kept.",
        quiet=a.quiet,
    )
    return 0


def _list(a: argparse.Namespace, engine: Any) -> int:
    from cloudaccel.access.tokens import Tokens

    known = Tokens(engine, _now)
    tokens, now = known.all(), known.now()
    if a.output == "json":
        answers.write(a, "token.list", {"tokens": [_token_json(t, now) for t in tokens]})
        return 0
    rows = [
        [t.id, t.principal, t.project, " ".join(sorted(t.scopes)), t.state(now), _day(t.expires_at),
         _day(t.last_used_at), t.note]
        for t in tokens
    ]  # fmt: skip
    head = ["TOKEN", "FOR", "PROJECT", "SCOPES", "STATE", "UNTIL", "LAST USED", "NOTE"]
    _table(head, rows, frozenset(), "No token was made yet: cloudaccel token create PERSON --scope read")
    return 0


def _revoke(a: argparse.Namespace, engine: Any) -> int:
    from cloudaccel.access.tokens import Tokens

    token = Tokens(engine, _now).revoke(a.name, local_principal())
    if a.output == "json":
        answers.write(a, "token.revoke", _token_json(token, _now()), kept=True)
    else:
        common.write(f"token {token.id} for {token.principal} is revoked; services refuse it within 10 seconds\n")
    return 0


def _project(a: argparse.Namespace, engine: Any) -> int:
    from cloudaccel.access.projects import Projects

    projects = Projects(engine, _now)
    if a.budget or a.approve_above:
        if not (a.name and a.budget):
            raise QueryError("token project: a name and --budget are needed: project vision --budget '5000 USD'.")
        budget, currency = units.parse_money(a.budget, "--budget")
        above, other = units.parse_money(a.approve_above, "--approve-above") if a.approve_above else (None, None)
        if other is not None and other != (currency or "USD"):
            raise QueryError("--budget and --approve-above are in two currencies; none is converted.")
        shown = (projects.put(a.name, budget, above, currency or "USD", by=local_principal()),)
    else:
        shown = (projects.get(a.name),) if a.name else projects.all()
    if a.output == "json":
        answers.write(a, "token.project", {"projects": [_project_json(p) for p in shown]})
        return 0
    rows = [
        [p.name, f"{p.budget:,}", "—" if p.approve_above is None else f"{p.approve_above:,}", p.currency,
         _day(p.changed_at), p.changed_by]
        for p in shown
    ]  # fmt: skip
    head = ["PROJECT", "BUDGET", "APPROVE ABOVE", "CUR", "SINCE", "BY"]
    _table(head, rows, frozenset({1, 2}), "No project has a budget yet: cloudaccel token project NAME --budget MONEY")
    return 0


def _audit(a: argparse.Namespace, engine: Any) -> int:
    from cloudaccel.access import audit

    rows, broken = audit.entries(engine, limit=a.limit), audit.broken_at(engine)
    if a.output == "json":
        answers.write(a, "token.audit", {"broken_at": broken, "entries": list(rows)})
    else:
        cells = [
            [str(r["number"]), r["at"][:19].replace("T", " "), r["principal"], r["project"], r["action"], r["subject"],
             r["outcome"]]
            for r in reversed(rows)
        ]  # fmt: skip
        head = ["NO", "AT (UTC)", "WHO", "PROJECT", "DID", "TO", "OUTCOME"]
        _table(head, cells, frozenset({0}), "Nothing was done yet.")
    if broken is not None:
        common.note(
            f"error: the audit log was changed or has a gap at row {broken}: compare with a backup, and with the log "
            "of the service, which has the hash of each row."
        )
        return 6
    if rows:
        common.note(f"the chain is whole up to row {rows[0]['number']}, hash {rows[0]['hash']}", quiet=a.quiet)
    return 0


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int], nothing: str) -> None:
    lines = common.table(head, rows, right, common.screen_width()) if rows else [nothing]
    common.write("\n".join(lines) + "\n")


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%MZ}"


def _token_json(token: Any, now: datetime) -> dict[str, Any]:
    names = (
        "id",
        "principal",
        "project",
        "note",
        "created_at",
        "created_by",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    values: dict[str, Any] = {name: getattr(token, name) for name in names}
    times = {k: v.isoformat().replace("+00:00", "Z") for k, v in values.items() if isinstance(v, datetime)}
    return {**values, **times, "scopes": sorted(token.scopes), "state": token.state(now)}


def _project_json(project: Any) -> dict[str, Any]:
    return {
        "name": project.name, "budget": str(project.budget), "currency": project.currency,
        "approve_above": None if project.approve_above is None else str(project.approve_above),
        "changed_at": project.changed_at.isoformat().replace("+00:00", "Z"), "changed_by": project.changed_by,
    }  # fmt: skip
