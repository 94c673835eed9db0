"""From a few answers to a way: rules are rows with sources, and what would change the answer is tried, not told."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache

from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.facts.models import models
from cloudaccel.model.advice import (
    DECISIONS,
    Advice,
    AdviceRule,
    Bill,
    Choice,
    Condition,
    Derived,
    Flip,
    ModelFit,
    Question,
)

RULES_TABLE, QUESTIONS_TABLE = "advice_rules.csv", "advice_questions.csv"
_RULES = ("id", "decision", "when", "way", "effect", "reason", "ask", "source", "as_of", "verified")
_QUESTIONS = ("name", "kind", "unit", "words", "question", "default", "source", "as_of")
_CONDITION = re.compile(r"^([a-z-]+)\s*(<=|>=|!=|=|<|>)\s*(\S+)$")
_EFFECT = re.compile(r"^(forbid|favour (\d)|disfavour (\d))$")
# Worked out from answers: what they need, and how.
DERIVED = ("volume-ratio", "tokens-per-param")
_MILLION = Decimal(1_000_000)
_SHOWN_MODELS = 6


@cache
def questions() -> Mapping[str, Question]:
    """Every question by name, in the order in which it is asked."""
    found: dict[str, Question] = {}
    for _line, row in numbered_rows(QUESTIONS_TABLE, _QUESTIONS):
        words = tuple(filter(None, row["words"].split("|")))
        found[row["name"]] = Question(**{**row, "words": words})  # pyright: ignore[reportArgumentType]
    return found


@cache
def rules() -> tuple[AdviceRule, ...]:
    """Every rule; raises `ConfigError` with file and line for one that cannot be read."""
    found: list[AdviceRule] = []
    for line, row in numbered_rows(RULES_TABLE, _RULES):
        try:
            found.append(_rule(row))
        except ValueError as error:
            raise ConfigError(f"{table_path(RULES_TABLE)}, line {line}: {error}.") from error
    return tuple(found)


def _rule(row: dict[str, str]) -> AdviceRule:
    effect = _EFFECT.match(row["effect"])
    if effect is None or row["decision"] not in DECISIONS or row["way"] not in DECISIONS[row["decision"]]:
        raise ValueError(f"effect {row['effect']!r} on {row['decision']} {row['way']} is not known")
    if not row["source"] or not row["as_of"] or row["verified"] not in ("yes", "no"):
        raise ValueError("a rule needs its source, its date, and whether it is verified")
    when = tuple(_condition(text) for text in row["when"].split("&"))
    points = int(effect.group(2) or 0) - int(effect.group(3) or 0)
    texts = {key: row[key] for key in ("id", "decision", "way", "reason", "ask", "source", "as_of")}
    return AdviceRule(
        **texts, when=when, points=points, forbids=row["effect"] == "forbid", verified=row["verified"] == "yes"
    )


def _condition(text: str) -> Condition:
    match = _CONDITION.match(text.strip())
    if match is None or match.group(1) not in (*questions(), *DERIVED):
        raise ValueError(f"{text!r} is no condition on a question")
    return Condition(*match.groups())


def advise(
    given: Mapping[str, str],
    *,
    context: int = 0,
    most_params: float | None = None,
    derived: Sequence[Derived] = (),
) -> Advice:
    """The recommended way to the model and to the machines.

    Parameters
    ----------
    given
        Answers by question; what is left out is unknown, and rules that hang on it are listed as open.
    context, most_params
        Tokens that the open models must take, and parameters they may have.
    derived
        Answers that rules of compliance give: they hold against what is `given`, and are neither asked nor tried.

    Raises
    ------
    QueryError
        If a question or a word is unknown, or a number cannot be read.
    """
    answers = {name: _checked(name, value) for name, value in given.items()}
    assumed = tuple(q for name, q in questions().items() if q.default and name not in answers)
    fixed = {one.question: one.answer for one in derived}
    known = {**{q.name: q.default for q in assumed}, **answers, **fixed}
    choices = {decision: _choices(decision, known) for decision in DECISIONS}
    return Advice(
        answers=answers, choices=choices, flips=tuple(_flips(known, choices, fixed)), open=tuple(_open(known)),
        models=_models(choices, known, context, most_params), assumed=assumed,
        next_steps=tuple(_next(choices, known)), bill=_bill(known),
        derived=tuple(derived),
    )  # fmt: skip


def _checked(name: str, value: str) -> str:
    question = questions().get(name)
    if question is None:
        raise QueryError(f"{name}: no such question. Known: {', '.join(questions())}.")
    if question.kind == "word":
        if value.lower() not in question.words:
            raise QueryError(f"--{name}: {value!r} is none of {', '.join(question.words)}.")
        return value.lower()
    text = value.strip().removesuffix("USD").strip()
    try:
        number = Decimal(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        raise QueryError(f"--{name}: {value!r} is no number of {question.unit}.") from None
    if not number.is_finite() or number < 0:
        raise QueryError(f"--{name}: {value!r} must be 0 or more.")
    return f"{number:f}"


# -- rules -------------------------------------------------------------------------------------------------------------


def _value(name: str, known: Mapping[str, str]) -> str | None:
    """The answer to a question, or what follows from several; None when unknown."""
    if name == "volume-ratio":
        parts = [known.get(n) for n in ("tokens-per-month", "api-price", "machines-per-month")]
        if None in parts or not Decimal(parts[2] or 0):
            return None
        tokens, price, machines = (Decimal(part or 0) for part in parts)
        return f"{tokens / _MILLION * price / machines:f}"
    if name == "tokens-per-param":
        tokens, size = known.get("data-tokens"), known.get("params")
        return None if tokens is None or not size or not Decimal(size) else f"{Decimal(tokens) / Decimal(size):f}"
    return known.get(name)


def holds(rule: AdviceRule, known: Mapping[str, str]) -> bool | None:
    """Whether a rule applies: False as soon as one condition fails, None while one is unknown."""
    answers = [_holds(condition, known) for condition in rule.when]
    if False in answers:
        return False
    return None if None in answers else True


def _holds(condition: Condition, known: Mapping[str, str]) -> bool | None:
    value = _value(condition.name, known)
    if value is None:
        return None
    if condition.op in ("=", "!="):
        return (value == condition.value) == (condition.op == "=")
    left, right = Decimal(value), Decimal(condition.value)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[condition.op]


def _choices(decision: str, known: Mapping[str, str]) -> tuple[Choice, ...]:
    found: list[Choice] = []
    for way, text in DECISIONS[decision].items():
        applying = tuple(r for r in rules() if r.decision == decision and r.way == way and holds(r, known))
        points = sum(r.points for r in applying)
        found.append(Choice(way, text, points, any(r.forbids for r in applying), applying))
    order = list(DECISIONS[decision])
    return tuple(sorted(found, key=lambda c: (c.forbidden, -c.points, order.index(c.way))))


def _best(choices: tuple[Choice, ...]) -> str | None:
    return None if choices[0].forbidden else choices[0].way


def _flips(
    known: Mapping[str, str], choices: Mapping[str, tuple[Choice, ...]], fixed: Collection[str]
) -> Iterator[Flip]:
    """Answers, one at a time, that lead elsewhere: each is tried on the rules. Of numbers in a row, the nearest."""
    for name, question in questions().items():
        answers = [] if name in fixed else _other_answers(name, known)
        for decision, before in choices.items():
            now = _best(before)
            led = [(answer, _best(_choices(decision, {**known, name: answer}))) for answer in answers]
            for n, (answer, way) in enumerate(led):
                if way is None or way == now:
                    continue
                if question.kind == "word" or _is_turn(led, n, known.get(name)):
                    yield Flip(name, answer, decision, way)


def _is_turn(led: Sequence[tuple[str, str | None]], n: int, known: str | None) -> bool:
    """Whether the rising number before number `n`, on the way from what is known, leads elsewhere."""
    below = [known is not None and Decimal(answer) < Decimal(known) for answer, _ in led]
    before = n + 1 if below[n] else n - 1
    return not 0 <= before < len(led) or below[before] != below[n] or led[before][1] != led[n][1]


def _other_answers(name: str, known: Mapping[str, str]) -> list[str]:
    question = questions()[name]
    if question.kind == "word":
        return [word for word in question.words if word != known.get(name)]
    marks = {Decimal(c.value) for rule in rules() for c in rule.when if c.name == name}
    marks |= {turn for derived in DERIVED if (turn := _turning(name, derived, known)) is not None}
    tried = sorted({_short(mark * side) for mark in marks for side in (Decimal("0.999"), Decimal("1.001"))})
    return [f"{value:f}" for value in tried]


def _short(value: Decimal) -> Decimal:
    """Four digits of it: just below and just above a mark."""
    return Decimal(f"{value:.4g}")


def _turning(name: str, derived: str, known: Mapping[str, str]) -> Decimal | None:
    """The value of an answer at which a derived figure meets its mark, all else as known."""
    needs = {"volume-ratio": ("tokens-per-month", "api-price"), "tokens-per-param": ("data-tokens",)}[derived]
    value = _value(derived, known)
    if name not in needs or value is None or not Decimal(value) or name not in known:
        return None
    mark = next(Decimal(c.value) for rule in rules() for c in rule.when if c.name == derived)
    return Decimal(known[name]) * mark / Decimal(value)


def _bill(known: Mapping[str, str]) -> Bill | None:
    tokens, price, machines = (known.get(n) for n in ("tokens-per-month", "api-price", "machines-per-month"))
    if tokens is None or price is None:
        return None
    amount = Decimal(tokens) / _MILLION * Decimal(price)
    return Bill(Decimal(tokens), Decimal(price), amount, None if machines is None else Decimal(machines))


def _open(known: Mapping[str, str]) -> Iterator[Question]:
    """Questions without an answer on which a rule hangs that nothing else has decided yet."""
    needs = {"volume-ratio": ("tokens-per-month", "api-price"), "tokens-per-param": ("data-tokens", "params")}
    wanted: set[str] = set()
    for rule in rules():
        if holds(rule, known) is None:
            for condition in rule.when:
                wanted.update(n for n in needs.get(condition.name, (condition.name,)) if n not in known)
    yield from (question for name, question in questions().items() if name in wanted)


# -- what comes next ---------------------------------------------------------------------------------------------------


def _models(
    choices: Mapping[str, tuple[Choice, ...]], known: Mapping[str, str], context: int, most_params: float | None
) -> tuple[ModelFit, ...]:
    """Open models that may be adapted, the largest first: licence, size and context fit; none until a size is named.

    Which languages a model knows is in no table.
    """
    if _best(choices["model"]) in (None, "api", "pretrain") or most_params is None:
        return ()
    fitting = [
        m for m in models().values()
        if m.commercial_use in ("yes", "conditions") and m.context >= context
        and m.params <= most_params
        and not (known.get("place") == "eu" and "llama 4" in m.licence.lower())
    ]  # fmt: skip
    fitting.sort(key=lambda m: (m.commercial_use != "yes", -m.params, m.id))
    return tuple(
        ModelFit(m.id, Decimal(str(round(m.params / 1e9, 2))), m.context, m.licence, m.commercial_use)
        for m in fitting[:_SHOWN_MODELS]
    )


def _next(choices: Mapping[str, tuple[Choice, ...]], known: Mapping[str, str]) -> Iterator[str]:
    model, machines = _best(choices["model"]), _best(choices["machines"])
    tokens, price = known.get("tokens-per-month"), known.get("api-price")
    demand = f"--demand {Decimal(tokens):f}-tokens/month " if tokens else ""
    own = " --option own:8xH100" if machines == "own" else ""
    if known.get("cloud-allowed") == "no":  # nothing of others is worth comparing
        yield from [f"cloudaccel compare {demand}--option own:8xH100,throughput=MEASUREDtok/s"] if own else []
    elif model is not None:
        yield (
            f"cloudaccel compare {demand}--option api:{f'price={price}/Mtok' if price else 'NAME'} "
            f"--option rent:H100-SXM:8,throughput=MEASUREDtok/s{own}"
        )
    if model in ("lora", "finetune", "adapt", "pretrain"):
        task = {"lora": "finetune --method lora", "finetune": "finetune"}.get(model, "continued_pretrain")
        yield f"cloudaccel plan --task {'pretrain' if model == 'pretrain' else task} --model MODEL --tokens TOKENS"
    if machines in ("reserved", "own"):
        yield "cloudaccel roadmap roadmap.yaml"
