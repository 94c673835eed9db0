"""What machines count against the quotas of an account: a report with the text to ask for more, and plans within one.

A limit that nobody could tell stays unknown: it is neither enough nor too little.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, cast

from cloudaccel import registry
from cloudaccel.errors import AuthError, CloudAccelError, ConfigError, ProviderError, QueryError
from cloudaccel.model import Offer
from cloudaccel.protocols import QuotaLine, Quotas, Sold
from cloudaccel.untrusted import json_of

KIND = "quota_report"
_INLINE = re.compile(r"(?P<provider>[a-z0-9-]+):(?P<region>[a-z0-9-]*):(?P<code>.+)=(?P<limit>[0-9.]+)")
_EXAMPLE = "PROVIDER:us-west-2:L-DB2E81BA=32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Some machines in one place, and every quota that counts them; no lines: nothing is known of quotas there."""

    provider: str
    region: str
    market: str
    instance: str
    nodes: int
    lines: tuple[QuotaLine, ...]

    @property
    def what(self) -> str:
        """For people: ``2 × p3.16xlarge``."""
        return f"{self.nodes} × {self.instance}"


@dataclass(frozen=True, slots=True)
class Given:
    """Limits that somebody wrote down: by provider, region (empty: everywhere) and code, with what was used."""

    source: str
    limits: Mapping[tuple[str, str, str], tuple[Decimal, Decimal]]
    words: Mapping[tuple[str, str, str], str] = field(default_factory=dict[tuple[str, str, str], str])
    met: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict[tuple[str, str], dict[str, str]])

    def of(self, provider: str, line: QuotaLine) -> QuotaLine:
        """`line` with its limit, if it is written down."""
        self.met.setdefault((provider, line.region), {})[line.code] = line.name
        for word in (line.code, line.name):
            found = self.limits.get((provider, line.region, word.lower()))
            if found is not None and word:
                return replace(line, limit=found[0], used=found[1], why="")
        return replace(line, why=line.why or f"not in {self.source}")

    def unused(self) -> Iterator[str]:
        """Limits that were typed and that counted nothing so far, each with what the quotas there are called."""
        for (provider, region, code), word in self.words.items():
            there = {k: v for (owner, place), lines in self.met.items() if (owner, place) == (provider, region)
                     for k, v in lines.items()}  # fmt: skip
            if code in {name.lower() for pair in there.items() for name in pair}:
                continue
            known = ", ".join(f"{k} ({v})" if k != v else k for k, v in sorted(there.items()))
            said = (
                f"what was looked at there counts against {known}" if there else "nothing that was looked at is there"
            )
            yield f"--quota {word} limits nothing: {said}"

    def most_by(self) -> Callable[[Offer], int | None]:
        """A function that says how many machines of an offer fit into the limits; None: none of them counts it."""
        quotas_of = cache(_quotas)

        def most(offer: Offer) -> int | None:
            quotas = quotas_of(offer.provider)
            if quotas is None:
                return None
            lines = [self.of(offer.provider, line) for line in quotas.lines(_sold(offer, 1), ask=False)]
            counts = [
                int(((line.limit - line.used) / line.needed).to_integral_value(ROUND_FLOOR))
                for line in lines
                if line.limit is not None and line.used is not None and line.needed
            ]
            return max(0, min(counts)) if counts else None

        return most


def report(wanted: Iterable[tuple[Offer, int]], given: Given | None = None) -> tuple[Counted, ...]:
    """What each of the machines counts as, and what the account has, in the order given and each once.

    `given`: limits in place of the account's, which is then not asked.
    """
    silent: dict[str, str] = {}
    quotas_of = cache(_quotas)
    found: dict[tuple[object, ...], Counted] = {}
    for offer, nodes in wanted:
        sold = _sold(offer, nodes)
        key = (offer.provider, sold)
        if key not in found:
            quotas = quotas_of(offer.provider)
            lines = () if quotas is None else _lines(offer.provider, quotas, sold, given, silent)
            found[key] = Counted(
                provider=offer.provider, region=offer.region, market=offer.market, instance=offer.instance,
                nodes=nodes, lines=tuple(lines),
            )  # fmt: skip
    return tuple(found.values())


def _lines(
    provider: str, quotas: Quotas, sold: Sold, given: Given | None, silent: dict[str, str]
) -> Sequence[QuotaLine]:
    """The lines of one provider; one that has refused to answer, which `silent` keeps, is not asked again."""
    if given is not None:
        return [given.of(provider, line) for line in quotas.lines(sold, ask=False)]
    why = silent.get(provider, "")
    if not why:
        try:
            return quotas.lines(sold, ask=True)
        except (ProviderError, ConfigError) as error:
            why = " ".join(str(error).split())
            if isinstance(error, AuthError | ConfigError):
                silent[provider] = why
    return [replace(line, why=line.why or why) for line in quotas.lines(sold, ask=False)]


def _quotas(provider: str) -> Quotas | None:
    if provider not in registry.names():
        return None
    try:
        return registry.load(provider).quotas
    except CloudAccelError:
        return None


def _sold(offer: Offer, nodes: int) -> Sold:
    return Sold(
        instance_type=offer.instance, count=nodes, region=offer.region, market=offer.market,
        vcpus=None if not offer.vcpus else Decimal(str(offer.vcpus)),
        accelerators=None if offer.count is None else Decimal(offer.count.numerator) / offer.count.denominator,
    )  # fmt: skip


def requests(report: Iterable[Counted]) -> Iterator[tuple[Counted, QuotaLine, str]]:
    """What to ask each seller for: the option that needs most of a quota, its line, and the text.

    Not of what is enough, nor where it is not known what the machines count as.
    """
    most: dict[tuple[str, str, str], tuple[Counted, QuotaLine]] = {}
    for counted in report:
        for line in counted.lines:
            key = (counted.provider, line.region, line.code)
            if line.enough or not line.needed or not line.code:
                continue
            if key not in most or line.needed > (most[key][1].needed or 0):
                most[key] = (counted, line)
    for counted, line in most.values():
        yield counted, line, request_text(counted, line)


def request_text(counted: Counted, line: QuotaLine) -> str:
    """The text to hand to the seller."""
    code = f" ({line.code})" if line.code and line.code != line.name else ""
    where = f" in {line.region}" if line.region else ""
    machines = f"{counted.what} ({counted.market.replace('_', '-')})"
    if line.wanted is None:
        return (
            f'Please see that the quota "{line.name}"{code}{where} leaves {number(line.needed)} {line.unit} '
            f"beside what is in use: we want to run {machines}."
        )
    return (
        f'Please raise the quota "{line.name}"{code}{where} from {number(line.limit)} to {number(line.wanted)} '
        f"{line.unit}: we want to run {machines}, which counts as {number(line.needed)}, beside the "
        f"{number(line.used)} in use."
    )


def number(value: Decimal | None) -> str:
    """A figure as people write it; ``?``: not known."""
    return "?" if value is None else f"{value.normalize():f}"


# -- limits that are written down --------------------------------------------------------------------------------------


def read_given(words: Sequence[str]) -> Given | None:
    """Limits from saved reports and from words such as ``PROVIDER:us-west-2:L-DB2E81BA=32``, later ones over earlier.

    Raises `QueryError` or `ConfigError` when one cannot be read.
    """
    if not words:
        return None
    limits: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    typed: dict[tuple[str, str, str], str] = {}
    for word in words:
        found = _INLINE.fullmatch(word)
        if found is None:
            limits.update(_from_file(word))
        else:
            where = (found["provider"], found["region"], found["code"].lower())
            limits[where] = (_figure(found["limit"], word), Decimal(0))
            typed[where] = word
    return Given(", ".join(words), limits, typed)


def _from_file(path: str) -> Iterator[tuple[tuple[str, str, str], tuple[Decimal, Decimal]]]:
    try:
        body: Any = json_of(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise QueryError(
            f"--quota {path} is no file that can be read ({error.strerror}), and no limit such as {_EXAMPLE}."
        ) from error
    except ValueError as error:
        raise _no_report(path) from error
    if not isinstance(body, dict) or cast("dict[str, Any]", body).get("kind") != KIND:
        raise _no_report(path)
    options = cast("list[dict[str, Any]]", cast("dict[str, Any]", body).get("options", []))
    try:
        for option in options:
            for row in cast("list[dict[str, Any]]", option["quotas"]):
                if row["limit"] is not None and row["used"] is not None:
                    where = (str(option["provider"]), str(row["region"] or ""), str(row["code"]).lower())
                    yield where, (_figure(row["limit"], path), _figure(row["used"], path))
    except (KeyError, TypeError) as error:
        raise _no_report(path) from error


def _no_report(path: str) -> ConfigError:
    return ConfigError(
        f"--quota {path} is no quota report. Make one where there are credentials: "
        "cloudaccel plan JOB --quota-report --json > quota.json"
    )


def _figure(text: object, where: str) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise ConfigError(f"--quota {where}: {text!r} is no limit. Write a number of 0 or more.")
    return value


def report_json(report: Sequence[Counted], now: datetime) -> dict[str, Any]:
    """The report as JSON values, made at `now`; `read_given` reads it back."""
    return {
        "schema": "cloudaccel/v1",
        "kind": KIND,
        "generated_at": now.isoformat(timespec="seconds"),
        "options": [
            {
                "provider": c.provider, "region": c.region, "market": c.market, "instance": c.instance,
                "nodes": c.nodes, "quotas": [_line_json(line) for line in c.lines],
            }
            for c in report
        ],
        "requests": [
            {
                "provider": c.provider, "region": line.region or None, "code": line.code, "name": line.name,
                "raise_to": None if line.wanted is None else number(line.wanted), "unit": line.unit, "text": text,
            }
            for c, line, text in requests(report)
        ],
    }  # fmt: skip


def _line_json(line: QuotaLine) -> dict[str, Any]:
    figures = {"needed": line.needed, "limit": line.limit, "used": line.used}
    return {
        "name": line.name, "code": line.code, "unit": line.unit, "region": line.region or None,
        **{key: None if value is None else number(value) for key, value in figures.items()},
        "enough": line.enough, "why": line.why or None,
    }  # fmt: skip


__all__ = ["Counted", "Given", "number", "read_given", "report", "report_json", "request_text", "requests"]
