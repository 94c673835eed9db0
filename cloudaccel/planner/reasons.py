"""Why something is no answer, in words: a rule, the deadline, the budget, or that the hardware cannot do it."""

from decimal import Decimal

from cloudaccel.model.plan import Judgement, Rejected

# What is against an answer, as bits, in the order in which it is said.
POLICY, DEADLINE, BUDGET = 1, 2, 4
REASONS = {POLICY: "policy", DEADLINE: "deadline", BUDGET: "budget"}

LEFT_OUT = ("no_machine", "card_unknown", "not_ranked")  # offers that no plan is made on, whatever the job
EXAMPLES = 3
_YEAR_H, _LONG_H = 8760, 26_280  # three years: days mean nothing to anybody beyond


class Rejections:
    """Reasons with the number of hardware shapes, offers or options that each turned away: one unit to a count."""

    def __init__(self) -> None:
        self._examples: dict[tuple[str, str], dict[str, str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, reason: str, unit: str, name: str, text: str) -> None:
        """Count one `unit`, `name`, and say why with `text`."""
        self.more(reason, unit, 1)
        key = (reason, unit)
        examples = self._examples.setdefault(key, {})
        if len(examples) < EXAMPLES:  # one for each sentence: the same said of three sizes says it once
            examples.setdefault(text, f"{name} ({text})")

    def more(self, reason: str, unit: str, count: int) -> None:
        """Count `count` more without naming them."""
        key = (reason, unit)
        self._counts[key] = self._counts.get(key, 0) + count

    def counted(self) -> tuple[Rejected, ...]:
        """Most frequent first; what was never looked at comes last."""
        ordered = sorted(self._counts.items(), key=lambda item: (item[0][0] in LEFT_OUT, -item[1]))
        return tuple(Rejected(key[0], count, tuple(self._examples[key].values()), key[1]) for key, count in ordered)


def policy_words(judgement: Judgement) -> str:
    """A verdict with the rules that decided it."""
    return f"{(judgement.state or '').replace('_', ' ')}: {', '.join(judgement.rules) or 'no rule named'}"


def duration(hours: Decimal) -> str:
    """Hours as people say them: ``7 min``, ``9.2 h``, ``21.0 d``, ``13,255 years``."""
    if hours < 1:
        return f"{hours * 60:.0f} min"
    if hours < _LONG_H:
        return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:.1f} d"
    return f"{hours / _YEAR_H:,.0f} years"
