"""Whether the rules of a lock allow what is about to be started: asked of the facts, statements and day of now."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from cloudaccel.api.judging import ALLOWED, UNANSWERED, Rules, judge_by, judgement_of, rules_of_lock
from cloudaccel.api.rejudging import training_flop
from cloudaccel.compliance import placement_of
from cloudaccel.errors import CloudAccelError, ConfigError, LimitExceeded
from cloudaccel.model import Offer
from cloudaccel.model.verdict import UNKNOWN, Verdict
from cloudaccel.settings import load_settings

_FACTS = ("headquarters", "sector", "users")
_FLAGS = {"headquarters": "--headquarters", "users": "--users", "sector": "--sector", "data-class": "--data-class"}


def gate_of_lock(body: Mapping[str, Any], said: Rules, *, today: date | None = None) -> Callable[[Offer], None]:
    """What refuses an offer that the rules of a lock, and those `said` beside it, do not allow on the facts of now.

    A lock is an untrusted file. Its packs are kept and `said` adds to them; a fact about the organisation comes from
    `said`, else from the settings, and from the lock only when neither has it; the file of statements is the
    organisation's own, never the copy in the lock; the packs that are always on cannot be switched off.

    Raises
    ------
    ConfigError
        If the rules in the lock cannot be read.
    """
    try:
        rules = _together(body, said)
        judge = judge_by(rules, training_flop=training_flop(body), today=today)
    except KeyError as error:
        raise ConfigError(f"the lock has no {error} and its rules cannot be asked again. Plan again.") from error
    except (TypeError, ValueError, AttributeError, CloudAccelError) as error:
        raise ConfigError(f"the rules of the lock cannot be read: {error}. Plan again.") from error

    def check(offer: Offer) -> None:
        verdict = judge.verdict(placement_of(offer))
        if verdict.state not in ALLOWED:
            raise LimitExceeded(_refusal(offer, verdict))

    return check


def gate_of_words(said: Rules) -> Callable[[Offer], str]:
    """The same for a request without a plan: by the packs of `said` and those that are always on.

    Without a pack that was named, an open question about the organisation stops nothing: it is what the gate returns,
    in words, and "" when nothing is open.
    """
    rules = said.settled()
    judge = judge_by(rules)

    def check(offer: Offer) -> str:
        verdict = judge.verdict(placement_of(offer))
        if verdict.state in ALLOWED:
            return ""
        if judgement_of(verdict, named=rules.named).state != UNANSWERED:
            raise LimitExceeded(_refusal(offer, verdict))
        return f"not assessed: {', '.join(verdict.deciding)}. What may settle it: {how_to_answer(verdict.asks)}"

    return check


def warnings_of(said: Rules) -> tuple[str, ...]:
    """What the rules warn of at any place: packs that do not apply, statements that no rule hears."""
    return judge_by(said).warnings


def _together(body: Mapping[str, Any], said: Rules) -> Rules:
    lock = rules_of_lock(body["request"]["rules"])
    own = load_settings()
    facts = {name: getattr(said, name) or own[name] or getattr(lock, name) for name in _FACTS}
    return replace(
        lock,
        **facts,
        packs=_both(lock.packs, said.packs),
        data=said.data if lock.data is None else _both(lock.data, said.data or ()),
        stated=_both(lock.stated, said.stated),
        allow_status=_both(lock.allow_status, said.allow_status),
        operator_jurisdiction=said.operator_jurisdiction or lock.operator_jurisdiction,
        require_cert=_both(lock.require_cert, said.require_cert),
        always=True,
        file=None,
    )


def _both(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _refusal(offer: Offer, verdict: Verdict) -> str:
    place = f"{offer.provider} {offer.region} {offer.instance}"
    rules = ", ".join(verdict.deciding)
    if verdict.state != UNKNOWN:
        why = next((f.why for f in verdict.findings if f.rule in verdict.deciding and f.value == "F"), "")
        return f"{place} is not allowed by {rules}{f': {why}' if why else ''}. Nothing was created. Plan again."
    if not verdict.asks:
        return f"{place} is unknown under {rules}, and no statement of yours would settle it. Plan again without it."
    settle = how_to_answer(verdict.asks)
    return f"{place} is unknown under {rules}, and what is unknown is not started. What may settle it: {settle}."


def how_to_answer(asks: Iterable[str]) -> str:
    """The flags and settings that answer what a verdict asks."""
    flags: list[str] = []
    settings: list[str] = []
    needs: list[str] = []
    for ask in dict.fromkeys(asks):
        name, is_fact, form = ask.partition("=")
        if is_fact and name in _FLAGS:
            flags.append(f"{_FLAGS[name]} {form}")
            settings += [name] if name in _FACTS else []
        elif is_fact:
            flags.append(f"--stated {ask}")
        else:
            needs.append(ask)
    parts = [", ".join(flags) + (f" ({', '.join(settings)} in the configuration file)" if settings else "")] * bool(
        flags
    )
    if needs:
        parts.append(", ".join(f"--stated {need}" for need in needs) + " ('policy assert' writes it down)")
    return "; ".join(parts)
