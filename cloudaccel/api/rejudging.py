"""The rules of a lock, asked again: the same packs, the same statements, the facts and the day of now."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from cloudaccel.api.judging import Rules, judge_by, judgement_of, rules_of_lock
from cloudaccel.compliance import Judge, Placement
from cloudaccel.compliance.placement import deployment_of, service_of
from cloudaccel.errors import CloudAccelError, ConfigError
from cloudaccel.facts import places

_GROUPS = ("options", "near", "failover")


def judged_again(lock: Mapping[str, Any], *, today: date | None = None) -> Iterator[tuple[bool, str]]:
    """For each pack and each place of a lock: whether it still holds, and in words what is otherwise.

    Nothing for a lock whose plan was judged by no pack.

    Raises
    ------
    ConfigError
        If the rules in the lock cannot be read.
    """
    stated: Mapping[str, str] = lock["packs"]
    if not stated:
        return
    rules, judge = _judge(lock, today)
    now = {name: digest for name, _version, digest in judge.identities}
    for name in sorted({*stated, *now}):
        yield stated.get(name) == now.get(name), f"pack {name} is another than the plan was judged by"
    for option, name in _options(lock):
        was = option["policy"]["state"]
        found = judgement_of(judge.verdict(_placement(option)), named=rules.named)
        is_now = f"{found.state}{' (' + ', '.join(found.rules) + ')' if found.rules else ''}"
        yield was == found.state, f"{name}, {option['provider']} {option['region']}, is said to be {was}, is {is_now}"


def _judge(lock: Mapping[str, Any], today: date | None) -> tuple[Rules, Judge]:
    try:
        rules = rules_of_lock(lock["request"]["rules"])
        return rules, judge_by(rules, training_flop=training_flop(lock), today=today)
    except (KeyError, TypeError, ValueError, CloudAccelError) as error:
        raise ConfigError(f"the rules of the lock cannot be read: {error}. Plan again.") from error


def training_flop(lock: Mapping[str, Any]) -> float | None:
    """Operations of a pre-training, as `plan` counts them."""
    job, params = lock["request"]["job"], lock["model"]["params_active"]
    if job.get("task") != "pretrain" or "tokens" not in job:
        return None
    return 6.0 * float(params) * float(job["tokens"])


def _options(lock: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    if lock["chosen"] is not None:
        yield lock["chosen"], "chosen"
    for group in _GROUPS:
        for number, option in enumerate(lock[group], 1):
            yield option, f"{group} {number}"


def _placement(option: Mapping[str, Any]) -> Placement:
    """The place of an option; where it is comes from the tables when they know the region, whatever the file says."""
    provider, partition, tier = option["provider"], option["partition"], option["class"]
    known = places.region(provider, option["region"])
    accelerator = option["accelerator"]["id"]
    return Placement(
        provider=provider,
        partition=partition,
        region=option["region"],
        country=known.country if known is not None and known.country else option["country"],
        tier=tier if tier in ("secure", "community") else "",
        deployment=deployment_of(provider, partition, option["market"]["type"]),
        service=service_of(option["service"], accelerator),
        accelerator=accelerator,
    )
