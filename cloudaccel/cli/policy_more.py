"""``cloudaccel policy ask``, ``assert`` and ``diff``: what to find out, what you have, what a new version changes."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from cloudaccel.api import policies as api
from cloudaccel.cli import answers, common, flags
from cloudaccel.compliance import Assertion, Pack, Waiver, load_packs, shipped_packs, vocabulary
from cloudaccel.compliance import statements as files
from cloudaccel.compliance.packs import NOT_LAW_YET
from cloudaccel.compliance.statements import Stated
from cloudaccel.errors import QueryError
from cloudaccel.model import Offer
from cloudaccel.output.columns import plain
from cloudaccel.settings import statements_path

STATEMENT = ("until", "evidence", "by", "note", "accept_unknown", "reason", "withdraw", "statements", "log")
ACTIONS = ("ask", "assert", "diff")
_EXAMPLES = 3
_TOGETHER = "What different rules ask is needed together; policy explain PROVIDER:REGION says what one rule takes."


def add_statement(p: argparse.ArgumentParser) -> None:
    """The flags of ``assert``."""
    s = p.add_argument_group("what assert writes down")
    s.add_argument("--until", metavar="DATE", help="last day on which it holds, such as 2027-06-30; must be said")
    s.add_argument("--evidence", metavar="TEXT", help="where it can be read: a file, an address, a number")
    s.add_argument("--by", metavar="NAME", help="who says so")
    flags.add(s, "--note")
    s.add_argument("--accept-unknown", metavar="RULE", help="accept the risk of a rule that is unknown; needs --reason")
    s.add_argument("--reason", metavar="TEXT", help="why the risk is accepted")
    s.add_argument("--withdraw", metavar="NAME", help="take back what was stated on a need or a rule")
    s.add_argument("--statements", metavar="FILE", help="the file of statements (default: that of the settings)")
    s.add_argument("--log", action="store_const", const=True, help="show who stated or withdrew what, and when")


def run(a: argparse.Namespace) -> int:
    """Ask, assert or diff; diff exits 4 when a verdict changes for an offer of --accel."""
    return {"ask": _ask, "assert": _assert, "diff": _diff}[a.action](a)


def _offer(offer: Offer) -> dict[str, Any]:
    price = offer.price_per_accelerator_hour
    return {
        "id": offer.id, "provider": offer.provider, "region": offer.region, "instance": offer.instance,
        "price_per_accelerator_hour": None if price is None else plain(price), "currency": offer.price.currency,
    }  # fmt: skip


def _named(offer: Offer) -> str:
    price = offer.price_per_accelerator_hour
    cost = "price unknown" if price is None else f"{price:.4g} {offer.price.currency} per accelerator-hour"
    return f"{offer.provider} {offer.region} {offer.instance}, {cost}"


# -- ask ---------------------------------------------------------------------------------------------------------------


def _ask(a: argparse.Namespace) -> int:
    if not a.accel or a.names:
        raise QueryError("policy ask: say for what, with --accel, such as --accel H100:8, and by which --policy.")
    found = api.questions(a.accel, common.rules_of(a), catalog=a.catalog, price_file=a.price_file)
    if a.output == "json":
        rows = [
            {"need": q.need, "offer": _offer(q.offer), "with": list(q.with_others), "rules": list(q.rules),
             "saves_per_accelerator_hour": None if q.saves is None else plain(q.saves)}
            for q in found
        ]  # fmt: skip
        answers.write(a, "policy.ask", {"questions": rows})
        return 0
    lines = [*_questions(found), _TOGETHER] if found else ["No answer of yours would change the cheapest choice."]
    closed = ", ".join(pack.id for pack in common.rules_of(a).loaded() if pack.forbids_public_cloud)
    if closed:
        place = f"own:{a.headquarters or 'COUNTRY'}"
        lines.append(f"{closed} leaves no public cloud. Machines of your own: cloudaccel policy explain {place} …")
    common.write("\n".join(lines) + "\n")
    return 0


def _questions(found: Sequence[api.Question]) -> Iterator[str]:
    """The questions of one offer after the other; what was asked for a cheaper one is named only."""
    width = max((len(q.need) for q in found), default=0)
    for _, group in groupby(found, key=lambda q: q.offer.id):
        asked = list(group)
        offer, saves = asked[0].offer, asked[0].saves
        gain = "nothing is allowed now" if saves is None else f"{plain(saves)} less than what is allowed now"
        yield f"{_named(offer)}: {gain}. It could be allowed by"
        yield from (f"    {q.need:<{width}}  {', '.join(q.rules)}" for q in asked)
        above = [need for need in asked[0].with_others if need not in [q.need for q in asked]]
        if above:
            yield f"    and from above: {', '.join(above)}"


# -- assert ------------------------------------------------------------------------------------------------------------


def _assert(a: argparse.Namespace) -> int:
    path = Path(a.statements) if a.statements else statements_path()
    entries = list(_entries(a))
    if a.log:
        if entries or a.withdraw is not None:
            raise QueryError("--log only shows what was noted. State or withdraw in a command of its own.")
        return _history(path, a)
    if not entries and a.withdraw is None:
        _list(files.read_statements(path), a)
        return 0

    withdrawn = vocabulary.canonical_need(a.withdraw or "", _packs(a.policy))

    def changed(stated: Stated) -> Stated:
        for entry in entries:
            stated = files.with_statement(stated, entry)
        return stated if a.withdraw is None else files.without(stated, withdrawn)

    from cloudaccel.access.people import logged_in  # only for who states something

    stated = files.change_statements(path, changed, now=datetime.now(UTC), login=logged_in())
    needs = [entry.need for entry in entries if isinstance(entry, Assertion)]
    for text in vocabulary.unheard(needs, _packs(a.policy)):
        common.note(f"warning: {text}", quiet=a.quiet)
    for entry in entries:
        what = entry.need if isinstance(entry, Assertion) else f"risk of {entry.rule} accepted"
        common.note(f"{what} until {entry.until}, written to {path}", quiet=a.quiet)
    if a.withdraw is not None:
        common.note(f"{withdrawn} withdrawn from {path}", quiet=a.quiet)
    if a.output == "json":
        _list(stated, a)
    return 0


def _packs(policy: str | None) -> tuple[Pack, ...]:
    """The packs that ship, and those that are named."""
    own = load_packs([name for name in (policy or "").split(",") if name], allow_status=NOT_LAW_YET)
    return (*shipped_packs().values(), *own)


def _history(path: Path, a: argparse.Namespace) -> int:
    lines = files.read_log(path)
    if a.output == "json":
        answers.write(a, "policy.assert", {"history": list(lines)})
        return 0
    rows: list[list[str]] = []
    for line in lines:
        entry: dict[str, str | None] = line.get("new", line.get("old"))
        rows.append(
            [line["at"], line["action"], line["name"], entry.get("until") or "", entry.get("by") or "", line["login"]]
        )
    headings = ["AT", "WHAT", "NAME", "UNTIL", "BY", "LOGIN"]
    table = common.table(headings, rows, frozenset(), common.screen_width()) if rows else ["Nothing was noted."]
    common.write("\n".join(table) + "\n")
    return 0


def _entries(a: argparse.Namespace) -> Iterator[Assertion | Waiver]:
    if not a.names and a.accept_unknown is None:
        return
    until = _day(a.until)
    if a.accept_unknown is not None:
        if not (a.reason and a.by):
            raise QueryError("--accept-unknown: say why with --reason, and who accepts it with --by.")
        _known_rule(a.accept_unknown, a.policy)
        yield Waiver(rule=a.accept_unknown, reason=a.reason, by=a.by, until=until)
    packs = _packs(a.policy)
    for need in (vocabulary.canonical_need(files.checked_need(name), packs) for name in a.names):
        yield Assertion(
            need=need, by=a.by or "", on=_today(), until=until, evidence=a.evidence or "", note=a.note or ""
        )


def _known_rule(name: str, policy: str | None) -> None:
    if not any(rule.id == name for pack in _packs(policy) for rule in pack.rules):
        raise QueryError(f"--accept-unknown: no pack that ships, or is named, has a rule {name!r}. Name its --policy.")


def _day(text: str | None) -> date:
    if text is None:
        raise QueryError("policy assert: say until when it holds, with --until, such as --until 2027-06-30.")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise QueryError(f"--until: {text!r} is no date. Write it as 2027-06-30.") from None
    if day < _today():
        raise QueryError(f"--until: {text} is over. Name a day that is to come.")
    return day


def _today() -> date:
    return datetime.now(UTC).date()


def _list(stated: Stated, a: argparse.Namespace) -> None:
    if a.output == "json":
        answers.write(a, "policy.assert", {key: v for key, v in files.to_json(stated).items() if key != "schema"})
        return
    today = _today()
    rows = [
        [s.need, str(s.until or ""), "holds" if s.holds(today) else "expired", s.by, s.evidence or s.note]
        for s in stated.statements
    ]
    rows += [
        [f"unknown {w.rule}", str(w.until), "accepted" if today <= w.until else "expired", w.by, w.reason]
        for w in stated.waivers
    ]
    if not rows:
        common.write("Nothing was stated.\n")
        return
    headings = ["STATED", "UNTIL", "STATE", "BY", "EVIDENCE OR REASON"]
    common.write("\n".join(common.table(headings, rows, frozenset(), common.screen_width())) + "\n")


# -- diff --------------------------------------------------------------------------------------------------------------


def _diff(a: argparse.Namespace) -> int:
    if len(a.names) != 2:
        raise QueryError("policy diff: name two packs, the old and the new, by id or file.")
    old, new = a.names
    found = api.difference(old, new, common.rules_of(a), expression=a.accel, catalog=a.catalog, price_file=a.price_file)
    if a.output == "json":
        body: dict[str, Any] = {
            "old": {"id": found.old.id, "version": found.old.version, "digest": found.old.digest},
            "new": {"id": found.new.id, "version": found.new.version, "digest": found.new.digest},
            "added": list(found.added), "removed": list(found.removed),
            "changed": {name: list(parts) for name, parts in found.changed.items()},
            "verdicts": [
                {"before": pair[0], "after": pair[1], "count": len(offers), "offers": [_offer(o) for o in offers]}
                for pair, offers in sorted(found.verdicts.items())
            ],
        }  # fmt: skip
        answers.write(a, "policy.diff", body)
    else:
        common.write("\n".join(_differences(found, a.accel)) + "\n")
    return 4 if found.verdicts else 0


def _differences(found: api.Difference, expression: str | None) -> Iterator[str]:
    yield f"{found.old.id} {found.old.version} → {found.new.id} {found.new.version}"
    yield from (f"  + {name}" for name in found.added)
    yield from (f"  - {name}" for name in found.removed)
    yield from (f"  ~ {name}: {', '.join(parts)}" for name, parts in found.changed.items())
    if found.same:
        yield "  the rules say the same"
    if expression is None:
        return
    if not found.verdicts:
        yield f"  no offer of {expression} changes its verdict"
    for (before, after), offers in sorted(found.verdicts.items()):
        words = f"{before.replace('_', ' ')} → {after.replace('_', ' ')}"
        yield f"  {len(offers)} offers of {expression}: {words}"
        yield from (f"      {_named(offer)}" for offer in offers[:_EXAMPLES])
