"""Offers that two price tables make together: accelerators attached to a host, and estimated spot prices."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from cloudaccel.catalog.ingest_rows import RowRefusedError, add_note, offer_row, plain
from cloudaccel.catalog.ingest_sources import Sources
from cloudaccel.catalog.rows import Row, amount_fault
from cloudaccel.facts.loader import read_table
from cloudaccel.model import Source

ATTACHED = "attach/"  # instance types that begin so are accelerators without a host
_ATTACHMENT = re.compile(r"attach/(?P<type>.+)x(?P<count>\d+)\Z")
_COLUMNS = (
    "provider", "attachment", "count", "zones", "host_pattern", "min_vcpus", "max_vcpus", "max_memory_gib", "source",
    "as_of", "note",
)  # fmt: skip
_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Limit:
    """Which hosts may carry `count` accelerators of one type: a name pattern and bounds on vCPUs and memory (GiB)."""

    zones: frozenset[str]
    host: re.Pattern[str]
    min_vcpus: float
    max_vcpus: float
    max_memory_gib: float


@dataclass(frozen=True, slots=True)
class Host:
    """One priced host: instance type, size, price per hour as text, and the date and source of that price."""

    instance: str
    vcpus: str
    memory_gib: str
    price: str
    as_of: str
    source: Source


Limits = Mapping[tuple[str, str, str], Sequence[Limit]]
HostKey = tuple[str, str, str]  # provider, region, price_kind


@cache
def attachable() -> Limits:
    """Host limits by (provider, attachment, count), from the ``attachable_gpus.csv`` of every provider package."""
    limits: dict[tuple[str, str, str], list[Limit]] = {}
    for path in _data_files("attachable_gpus.csv"):
        for row in read_table(str(path), _COLUMNS):
            limit = Limit(
                zones=frozenset(row["zones"].split("|")) if row["zones"] else frozenset(),
                host=re.compile(row["host_pattern"]),
                min_vcpus=float(row["min_vcpus"]),
                max_vcpus=float(row["max_vcpus"]),
                max_memory_gib=float(row["max_memory_gib"]),
            )
            limits.setdefault((row["provider"], row["attachment"], row["count"]), []).append(limit)
    return limits


def attached_offers(
    table: Mapping[str, str], hosts: Mapping[HostKey, Sequence[Host]], limits: Limits, sources: Sources
) -> Iterator[Row]:
    """The offers of an accelerator that is sold with a host: one for each host that may carry it, parts kept by name.

    When no allowed host has a price there, one row with an unknown price says so.

    Raises
    ------
    RowRefusedError
        If the row names no attachment, or no table says which hosts may carry it.
    """
    match = _ATTACHMENT.match(table["instance_type"])
    if match is None:
        raise RowRefusedError("attach/ without a type and a count")
    allowed = limits.get((table["provider"], match["type"], match["count"]))
    if not allowed:
        raise RowRefusedError("no table says which hosts may carry the accelerator")
    bare = offer_row({**table, "vcpus": "", "memory_gib": ""}, sources)
    limit = next((limit for limit in allowed if table["zone"] in limit.zones), None)
    limit = limit or next(limit for limit in allowed if not limit.zones)
    fitting = [
        host
        for host in hosts.get((table["provider"], table["region"], table["price_kind"]), ())
        if limit.host.match(host.instance)
        and limit.min_vcpus <= float(host.vcpus) <= limit.max_vcpus
        and float(host.memory_gib) <= limit.max_memory_gib
    ]
    own = table["source_repo"], table["source_path"], table["source_commit"]
    for host in fitting:
        yield _with_host(bare, host, match, sources, sources.of(*own))
    if not fitting:
        row = {**bare, "instance": f"host+{match['type']}x{match['count']}", "price_per_hour": "", "status": "unknown"}
        row["parts"] = f"{_accelerator_part(match, bare['price_per_hour'])};host=1*?"
        add_note(row, "no host price for this region and market")
        yield row


def _with_host(bare: Row, host: Host, match: re.Match[str], sources: Sources, own: Source) -> Row:
    row = {
        **bare,
        "instance": f"{host.instance}+{match['type']}x{match['count']}",
        "vcpus": host.vcpus,
        "memory_gib": host.memory_gib,
        "source": sources.stricter(own, host.source).id,
    }
    if bare["price_per_hour"]:
        row["price_per_hour"] = plain(Decimal(bare["price_per_hour"]) + Decimal(host.price))
        row["parts"] = f"{_accelerator_part(match, bare['price_per_hour'])};{host.instance}=1*{host.price}"
    if host.as_of < row["as_of"]:
        row["as_of"], row["as_of_until"] = host.as_of, ""
    add_note(row, f"host price of {host.as_of} from {host.source.id}")
    return row


def _accelerator_part(match: re.Match[str], price: str) -> str:
    count = match["count"]
    each = Decimal(price) / Decimal(count)
    if plain(each * Decimal(count)) == plain(Decimal(price)) and len(plain(each).partition(".")[2]) <= 9:
        return f"{match['type']}={count}*{plain(each)}"
    return f"{match['type']}x{count}=1*{price}"


def host_of(table: Mapping[str, str], sources: Sources) -> Host:
    """The host in one row of a table of hosts.

    Raises
    ------
    RowRefusedError
        If its size or price is no number above 0, or it has no date.
    """
    for column in ("vcpus", "memory_gib", "price_usd_per_hour"):
        if not table[column] or amount_fault(table[column]):
            raise RowRefusedError(f"host without a usable {column}")
    if not table["as_of"]:
        raise RowRefusedError("host price without a date")
    return Host(
        instance=table["instance_type"],
        vcpus=table["vcpus"],
        memory_gib=table["memory_gib"],
        price=table["price_usd_per_hour"],
        as_of=table["as_of"],
        source=sources.of(table["source_repo"], table["source_path"], table["source_commit"]),
    )


def estimated_spot(advised: Mapping[str, str], base: Row, sources: Sources, by_id: Mapping[str, Source]) -> Row:
    """A spot offer estimated from advice on savings: the on-demand price of `base` x (1 - savings).

    Raises
    ------
    RowRefusedError
        If the savings are no percentage from 0 to below 100.
    """
    if not re.fullmatch(r"\d{1,2}(?:\.\d+)?", advised["savings_pct"]):
        raise RowRefusedError("savings_pct is no percentage below 100")
    share = 1 - Decimal(advised["savings_pct"]) / 100
    own = sources.of(advised["source_repo"], advised["source_path"], advised["source_commit"])
    row = {
        **base,
        "market": "spot",
        "price_per_hour": plain((Decimal(base["price_per_hour"]) * share).quantize(_MICRO)),
        "status": "estimated",
        "effective_at": "",
        "parts": "",
        "source": sources.stricter(own, by_id[base["source"]]).id,
        "note": f"on-demand {base['price_per_hour']} less {advised['savings_pct']} %, interrupted "
        f"{advised['interruption_range']} of the time, advice of {advised['as_of']}",
    }
    if advised["as_of"] < base["as_of"]:
        row["as_of"], row["as_of_until"] = advised["as_of"], ""
    return row


def _data_files(name: str) -> list[Path]:
    """`name` in the data folder of every provider package, installed or beside this checkout."""
    checkout = Path(__file__).parents[2] / "providers"
    roots = {Path(entry).resolve() for entry in sys.path if entry} | {checkout}
    return sorted({path for root in roots for path in root.glob(f"cloudaccel_*/data/{name}")})
