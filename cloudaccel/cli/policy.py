"""``cloudaccel policy``: the rules, their facts, and what they say about a place."""

import argparse
from collections.abc import Iterator, Set
from dataclasses import asdict

from cloudaccel.api import judging as api
from cloudaccel.cli import answers, common, flags, policy_more
from cloudaccel.compliance import Pack, load_packs, shipped_packs
from cloudaccel.errors import QueryError
from cloudaccel.model.verdict import DISCLAIMER, NON_COMPLIANT, UNKNOWN, Evidence, Finding, Verdict
from cloudaccel.output.policy_json import pack_json, verdict_json

EXAMPLES = """\
  cloudaccel policy list                                     the packs that ship
  cloudaccel policy show fr-secnumcloud                      its rules, each with its citation
  cloudaccel policy explain lambda:us-east-1 --policy eu-gdpr --accel H100-SXM --headquarters FR --users none
  cloudaccel policy ask --accel H100:8 --policy eu-gdpr --data-class personal_eu --headquarters FR --users none
  cloudaccel policy assert dpa:lambda --until 2027-06-30 --evidence contracts/dpa.pdf --by legal
  cloudaccel policy assert                                   what was stated, and until when
  cloudaccel policy diff old.yaml new.yaml --accel H100:8    what a new version changes, and for which offers
  cloudaccel policy verify rules.yaml                        whether a pack of your own can be read
"""
ACTIONS = ("list", "show", "explain", "ask", "assert", "diff", "verify")
_WORDS = {"T": "satisfied", "F": "NOT satisfied", "U": "unknown", "NA": "does not apply"}


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "policy", "Rules about where work may run, the facts behind them, and what is missing.", EXAMPLES
    )
    p.add_argument("action", choices=ACTIONS, help="what to do")
    p.add_argument(
        "names", nargs="*", metavar="NAME",
        help="packs (ids or files); for explain PROVIDER:REGION or own:COUNTRY; for assert what you have: dpa:SELLER",
    )  # fmt: skip
    common.add_rules(p)
    flags.add(p, "--accel", "; for explain (or none), ask and diff")
    flags.add(p, "--price-file")
    policy_more.add_statement(p)
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Do what the action says; explain exits 4 unless the rules are satisfied on the facts given."""
    _check(a)
    if a.action == "list":
        packs = tuple(shipped_packs().values())
        if a.output == "json":
            answers.write(a, "policy.list", {"packs": [pack_json(p) for p in packs]})
        else:
            common.write(_list(packs))
        return 0
    if a.action in policy_more.ACTIONS:
        return policy_more.run(a)
    if not a.names:
        raise QueryError(f"policy {a.action}: name {'a place' if a.action == 'explain' else 'a pack'}.")
    if a.action == "explain":
        return _explain(a)
    packs = load_packs(a.names, allow_status=("draft", "proposed", "not_enforced", "withdrawn"))
    if a.output == "json":
        answers.write(a, f"policy.{a.action}", {"packs": [asdict(p) for p in packs]})
    elif a.action == "show":
        common.write("\n".join(line for pack in packs for line in _shown(pack)) + "\n")
    else:
        common.write("".join(f"{p.id} {p.version}: {len(p.rules)} rules read, sha256 {p.digest}\n" for p in packs))
    return 0


_RULES = ("policy", "headquarters", "users", "sector", "data_class", "stated", "operator_jurisdiction", "require_cert",
          "allow_status")  # fmt: skip
_FLAGS_OF = {  # beside those of every action
    "list": (), "show": (), "verify": (), "explain": (*_RULES, "accel"), "ask": (*_RULES, "accel", "price_file"),
    "diff": (*_RULES, "accel", "price_file"), "assert": ("policy", *policy_more.STATEMENT),
}  # fmt: skip


def _check(a: argparse.Namespace) -> None:
    """Refuse a flag or a word that the action would leave unread. Raises `QueryError`."""
    for name in (*_RULES, "accel", "price_file", *policy_more.STATEMENT):
        if getattr(a, name) is not None and name not in _FLAGS_OF[a.action]:
            raise QueryError(f"--{name.replace('_', '-')} is not for policy {a.action}. Leave it out.")
    if a.action == "list" and a.names:
        raise QueryError("policy list takes no name. For one pack: cloudaccel policy show NAME.")


def _explain(a: argparse.Namespace) -> int:
    judge = api.judge_by(common.rules_of(a))
    verdicts = [api.explain_place(judge, place, a.accel) for place in a.names]
    if a.output == "json":
        answers.write(a, "policy.explain", {"verdicts": [verdict_json(v) for v in verdicts]})
    else:
        common.write("\n".join(line for verdict in verdicts for line in _explained(verdict)) + "\n")
    common.warn_of(verdicts, quiet=a.quiet)
    return 4 if {v.state for v in verdicts} & {NON_COMPLIANT, UNKNOWN} else 0


def _list(packs: tuple[Pack, ...]) -> str:
    rows = [
        [p.id, p.status.replace("_", " "), p.kind.replace("_", " "), "always" if p.always_on else "", str(len(p.rules)),
         p.review_by, p.title]
        for p in packs
    ]  # fmt: skip
    headings = ["PACK", "STATUS", "KIND", "ON", "RULES", "REVIEW BY", "TITLE"]
    return "\n".join([*common.table(headings, rows, frozenset({4}), common.screen_width()), "", DISCLAIMER]) + "\n"


def _shown(pack: Pack) -> Iterator[str]:
    yield f"{pack.id} {pack.version}  {pack.title}"
    if pack.summary:
        yield f"  {pack.summary}"
    yield f"  {_in_force(pack)}, read {pack.as_of}, review by {pack.review_by}; {'; '.join(pack.sources)}"
    if pack.applies_if:
        yield "  applies if " + ", ".join(f"{name} has {' or '.join(v)}" for name, v in pack.applies_if.items())
    if pack.forbids_public_cloud:
        yield "  leaves no public cloud: owned machines are the candidates"
    for rule in pack.rules:
        room = ", a reading that counsel may override" if rule.interpretive else ""
        yield f"  {rule.id}  ({rule.effect}{room})"
        yield f"      {rule.cite}"
        if rule.text or rule.remedy:
            yield f"      {rule.text or rule.remedy}"
    yield f"  sha256 {pack.digest}"


def _in_force(pack: Pack) -> str:
    """The status with the days between which it holds."""
    since = f" from {pack.effective_from}" if pack.effective_from else ""
    until = f" to {pack.effective_to}" if pack.effective_to else ""
    return f"{pack.status.replace('_', ' ')}{since}{until}"


def _explained(verdict: Verdict) -> Iterator[str]:
    words = {"compliant": "rules satisfied on the facts given", "non_compliant": "not allowed by the rules"}
    shown: set[Evidence] = set()  # each fact once, where it is used first
    yield f"{verdict.placement}: {words.get(verdict.state, verdict.state.replace('_', ' '))}"
    for finding in sorted(verdict.findings, key=lambda f: ("FUT".find(f.value), f.rule)):
        if finding.value != "NA" and (finding.effect == "require" or finding.value == "T"):
            yield from _finding(finding, shown)
            shown.update(finding.evidence)
    if verdict.asks:
        yield "  would settle what is unknown: " + ", ".join(verdict.asks)
    yield from (f"  assumed: {text}" for text in verdict.assumptions)
    yield f"  {verdict.disclaimer}"


def _finding(finding: Finding, shown: Set[Evidence]) -> Iterator[str]:
    word = {"oblige": "duty", "advise": "advice"}.get(finding.effect) or _WORDS[finding.value]
    yield f"  {word:<13}  {finding.rule}: {finding.why}  [{finding.cite}]"
    for fact in (f for f in finding.evidence if finding.effect == "require" and f not in shown):
        yield f"      {fact.fact} = {fact.value} ({fact.source}, {fact.as_of or 'undated'}, grade {fact.grade})"
    if finding.value in ("F", "U") and finding.remedy:
        yield f"      to do: {finding.remedy}"
    if finding.accepted:
        yield f"      {finding.accepted}"
