"""``cloudaccel advise``: build, adapt or call; rent or own: a recommendation with reasons and what would change it."""

import argparse
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from cloudaccel.api import deciding as api
from cloudaccel.cli import answers, common, flags
from cloudaccel.decide.advise import questions
from cloudaccel.errors import ConfigError
from cloudaccel.model.advice import Advice, Choice, Question
from cloudaccel.output.advise_json import text
from cloudaccel.output.columns import amount_in, plain
from cloudaccel.untrusted import json_of

EXAMPLES = """\
  cloudaccel advise --data-may-leave yes --need facts --skills none --tokens-per-month 50e6 --api-price 0.60
  cloudaccel advise --data-may-leave no --own-data yes --need behaviour --data-tokens 200e6 --skills some
  cloudaccel advise --policy de-vsa --headquarters DE --need facts --skills team --site-kw 60
  cloudaccel advise answers.json --json
"""
_METAVARS = {"USD": "MONEY", "tokens": "TOKENS", "share": "SHARE"}  # of the units of the questions
_HEADS = {"model": "The model", "machines": "The machines"}


def parser() -> argparse.ArgumentParser:
    """The parser of the verb: a flag for each question of the table."""
    p = common.verb_parser(
        "advise", "Call an API, adapt an open model or build one; rent or own: with reasons.", EXAMPLES
    )
    p.add_argument("file", nargs="?", metavar="FILE", help="answers as .json: {question: answer}; flags go over it")
    q = p.add_argument_group("questions; what is not answered is listed as open")
    for question in questions().values():
        metavar = "|".join(question.words) or _METAVARS.get(question.unit.partition("/")[0], "N")
        q.add_argument(f"--{question.name}", metavar=metavar, help=question.question.replace("%", "%%"))
    m = p.add_argument_group("open models")
    flags.add(m, "--context", "; models that take less are left out", type=flags.count, default=0)
    m.add_argument("--max-params", type=float, metavar="N", help="most parameters that they may have")
    common.add_rules(p)
    flags.add(p, "--residency", "; of these places the rules are asked")
    flags.add(p, "--explain", ", and every rule that spoke")
    common.add_money(p)
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Advise and show; exit 0, or 3 when every way is ruled out."""
    typed = {name: value for name in questions() if (value := getattr(a, name.replace("-", "_"))) is not None}
    given = {**(_read(Path(a.file)) if a.file else {}), **typed}
    found = api.advise(
        given, context=a.context, max_params=a.max_params, currency=a.currency, fx_file=a.fx_file, tax=a.tax,
        rules=common.asked_rules(a), residency=a.residency,
    )  # fmt: skip
    for said in found.notes:
        common.note(f"rules: {said}", quiet=a.quiet)
    if a.output == "json":
        answers.write_text(a, text(found))
    else:
        common.write(render(found, explain=a.explain))
    return 0 if found.best("model") is not None else 3


def _read(path: Path) -> dict[str, str]:
    try:
        loaded = json_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Name a file of answers in JSON.") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not answers in JSON ({error}). Write {{question: answer}}.") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: write {{question: answer}}.")
    return {str(key): str(value) for key, value in cast(dict[Any, Any], loaded).items()}


def render(found: Advice, *, explain: bool) -> str:
    """The text of the answer."""
    lines: list[str] = []
    for decision, head in _HEADS.items():
        best = found.best(decision)
        if decision == "machines" and (model := found.best("model")) is not None and model.way == "api":
            lines += ["The machines: none, while an API is called. If that changes:"]
        lines += [f"{head}: {best.text if best else 'every way is ruled out'}."]
        lines += _reasons(found.choices[decision], explain)
        lines.append("")
    lines += _from_rules(found)
    lines += _bill(found)
    lines += _flips(found)
    if found.models:
        lines.append(
            "Open models whose licence, size and context fit (the table does not say which languages they know):"
        )
        lines += [
            f"  {m.id}  {m.params_b} B, context {m.context:,}, {m.licence} ({m.commercial_use})" for m in found.models
        ]
    elif (model := found.best("model")) is not None and model.way not in ("api", "pretrain"):
        lines.append("Open models that fit: name the largest size you can run with --max-params, and --context.")
    if found.open:
        lines.append("Not answered, and it matters:")
        lines += [f"  --{q.name} {'|'.join(q.words) or q.unit}: {q.question}" for q in found.open]
    for q in found.assumed:
        lines.append(f"Assumed   {q.name} = {_valued(found, q, q.default)} ({q.source}, {q.as_of}); --{q.name}")
    people = sorted({person.strip() for choice in _spoke(found) for r in choice.rules for person in r.ask.split(";")})
    if people:
        lines.append(f"Decide it with: {', '.join(people)}.")
    lines += [f"Next      {command}" for command in found.next_steps]
    return "\n".join(lines) + "\n"


def _spoke(found: Advice) -> list[Choice]:
    return [choice for choices in found.choices.values() for choice in choices if choice.rules]


def _reasons(choices: tuple[Choice, ...], explain: bool) -> list[str]:
    lines: list[str] = []
    for number, choice in enumerate(choices):
        if number and not explain and not choice.forbidden and not choice.points:
            continue
        state = "ruled out" if choice.forbidden else f"{choice.points:+d}"
        for rule in choice.rules:
            mark = "" if rule.verified else " (not verified)"
            source = f"  [{rule.source}, {rule.as_of}]" if explain else ""
            lines.append(f"  {choice.way:<9} {state:>9}  {rule.reason}{mark} ({rule.id}){source}")
    return lines or ["  no rule speaks for or against any of them: answer a question below"]


def _flips(found: Advice) -> list[str]:
    if not found.flips:
        return []
    lines = ["What would change it (each answer tried alone):"]
    for f in found.flips:
        answer = _valued(found, questions()[f.question], f.answer)
        lines.append(f"  {f.question} = {answer}  →  {_HEADS[f.decision].lower()}: {f.way}")
    return [*lines, ""]


def _valued(found: Advice, question: Question, answer: str) -> str:
    """An answer with its unit, its thousands apart, and money in the other currency too."""
    if question.kind == "word":
        return answer
    text = f"{Decimal(answer):,f} {question.unit}"
    shown = found.shown
    if shown is None or shown.source is None or not question.unit.startswith("USD"):
        return text
    unit = question.unit.replace("USD", shown.currency, 1)
    return f"{text} ({amount_in(shown.amount(Decimal(answer)), shown.currency)} {unit})"


def _from_rules(found: Advice) -> list[str]:
    """What the rules answer, by which, and that the user says otherwise."""
    lines: list[str] = []
    for d in found.derived:
        lines.append(f"By your rules: {d.question} = {d.answer}, not asked: {d.why}.")
        lines += [f"  {f.rule}: {f.why} [{f.cite}]" for f in d.by]
        if d.conflict:
            packs = ", ".join(dict.fromkeys(f.pack for f in d.by))
            lines.append(
                f"  CONFLICT: you answer --{d.question} {d.given}. The rules hold: leave out {packs}, or the answer."
            )
    return [*lines, ""] if lines else []


def _bill(found: Advice) -> list[str]:
    """The sums behind the rules on volume: the API's month, and that of the machines."""
    bill, shown = found.bill, found.shown
    lines: list[str] = []
    if bill is not None:
        other = "" if bill.machines is None else f", against {bill.machines:,.2f} of machines (--machines-per-month)"
        millions, price = plain(bill.tokens / 1_000_000), plain(bill.price_per_million)
        sums = f"{millions} M tokens × {price} = {bill.amount:,.2f} USD a month"
        lines.append(f"The API's bill: {sums}{other}.")
    if bill is not None and shown is not None and shown.source is not None:
        amounts = [amount_in(shown.amount(a), shown.currency) for a in (bill.amount, bill.machines) if a is not None]
        lines.append(f"  in {shown.currency}: {' against '.join(amounts)}")
    if bill is not None and shown is not None and shown.tax_percent is not None:
        tax = amount_in(shown.tax(bill.amount), shown.currency)
        lines.append(
            f"  tax of {plain(shown.tax_percent)}% (as you state) on the API's bill: {tax} {shown.currency}, in no sum"
        )
    if shown is not None and shown.source is not None:
        rate = f"1 USD = {plain(shown.rate)} {shown.currency}, {shown.source} of {shown.as_of}"
        lines.append(f"{shown.currency} at {rate}; the rules are in USD.")
    return [*lines, ""] if lines else []
