"""``cloudaccel explain``: what a name means, what an instance type is, where an offer's price comes from."""

import argparse
from collections.abc import Iterator

from cloudaccel.api import explaining as api
from cloudaccel.cli import answers, common, flags
from cloudaccel.errors import UnknownName
from cloudaccel.model import Accelerator, Offer
from cloudaccel.output.columns import part_text, plain
from cloudaccel.output.explain_json import explanation_json
from cloudaccel.workloads.portability import features_of

EXAMPLES = """\
  cloudaccel explain H100                       the variants of a family
  cloudaccel explain v5p-8 v4-2048              how TPU names count
  cloudaccel explain "NVIDIA A100-SXM4-80GB"    a name as the driver prints it
  cloudaccel explain p5.48xlarge                an instance type: hardware and prices
  cloudaccel explain 9db841ad97629e87           one offer: the parts of its price and their history
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("explain", "What a name means, and where a price comes from.", EXAMPLES)
    p.add_argument("names", nargs="+", metavar="NAME", help="accelerator, cloud spelling, instance type, or offer id")
    flags.add(p, "--provider", "; also show how it spells the accelerator", action="store")
    flags.add(p, "--price-file")
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Explain each name; the first unknown one ends the command with exit 5, after the others were explained."""
    unknown: UnknownName | None = None
    explained: list[api.Explanation] = []
    for name in a.names:
        try:
            explained.append(api.explain(name, provider=a.provider, price_file=a.price_file, catalog=a.catalog))
        except UnknownName as error:
            unknown = unknown or error
    if a.output == "json":
        failed = {"error": common.error_json(unknown)} if unknown else {}
        answers.write(a, "explain", {"names": [explanation_json(e) for e in explained], **failed})
    else:
        common.write("\n".join(line for e in explained for line in (*_lines(e), "")))
    if unknown is None:
        return 0
    common.note_error(unknown)
    return unknown.exit_code


def _lines(e: api.Explanation) -> Iterator[str]:
    yield e.name
    if e.count is not None:
        unit = e.accelerators[0].unit if e.accelerators else "accelerator"
        hosts = f" on {e.hosts} machine{'s' if e.hosts != 1 else ''}" if e.hosts else ""
        yield f"  {e.count} {unit}{'s' if e.count > 1 else ''}{hosts}"
    if e.virtualized:
        yield (
            f"  a virtual share of the card, {e.memory_gib:g} GB of its memory" if e.memory_gib else "  a virtual share"
        )
    if e.note:
        yield f"  {e.note}"
    for identity, spelling in e.spellings.items():
        yield f"  spelled {spelling} there" + (f" ({identity})" if len(e.accelerators) > 1 else "")
    for accelerator in e.accelerators:
        yield from _accelerator(accelerator)
        yield from _software(accelerator, alone=len(e.accelerators) == 1)
    yield from _offers(e)


def _accelerator(x: Accelerator) -> Iterator[str]:
    yield f"  {x.id}: {x.name}, {x.vendor} {x.kind}, counted in {x.unit}s" + (
        f", {x.status}" if x.status != "ga" else ""
    )
    memory = f"{x.memory_gib:g} GB" if x.memory_gib else "memory unknown"
    if x.memory_mib_seen:
        memory += f" ({x.memory_mib_seen} MiB as reported)"
    speed = f", {x.memory_bandwidth_gb_per_s:g} GB/s" if x.memory_bandwidth_gb_per_s else ""
    yield f"      memory     {memory}{speed}"
    peaks = [
        f"{name} {value:g}"
        for name, value in (
            ("bf16", x.peak_tflops_bf16_dense),
            ("fp16", x.peak_tflops_fp16_dense),
            ("fp8", x.peak_tflops_fp8_dense),
        )
        if value
    ]
    yield f"      dense peak {', '.join(peaks) + ' TFLOP/s' if peaks else 'unknown'}"
    link = (
        f"{x.interconnect} {x.interconnect_gb_per_s:g} GB/s"
        if x.interconnect and x.interconnect_gb_per_s
        else x.interconnect
    )
    power = f"{x.tdp_w:g} W" if x.tdp_w else "unknown"
    yield f"      link       {link or 'unknown'}; power {power}"
    if x.derived_from:
        yield f"      export variant of {x.derived_from}"
    if x.note:
        yield f"      note       {x.note}"
    yield f"      source     {x.source} ({x.confidence}, {x.as_of})"


def _software(x: Accelerator, *, alone: bool) -> Iterator[str]:
    """What runs on it: dated facts, never a yes that nobody said."""
    known = features_of(x)
    said = [
        f"{word}{', '.join(name for name, found in known if found.answer is answer)}"
        for word, answer in (("", True), ("not ", False), ("unknown: ", None))
        if any(found.answer is answer for _, found in known)
    ]
    yield f"      runs       {'; '.join(said)}"
    for name, found in known:
        if alone and found.source and not (found.answer and found.reason.startswith(f"{name} works on")):
            yield f"                 {name}: {found.reason} ({found.source}, {found.as_of})"


def _offers(e: api.Explanation) -> Iterator[str]:
    if e.offers:
        yield "  prices"
    for o in e.offers:
        price = f"{plain(o.price.amount) or 'unknown'} {o.price.currency}/h ({o.price.status})"
        term = " ".join(filter(None, (o.market, o.term, o.offering_class, o.payment))).replace("_", "-")
        yield f"      {o.id}  {o.provider} {o.zone or o.region}  {term}  {price}"
        if len(e.offers) == 1:
            yield from _one_offer(o)
    if e.more:
        yield f"      and {e.more} more: cloudaccel quote --instance {e.instance} --market any --limit all"
    if e.history:
        yield "  history of that price"
        for v in e.history:
            yield f"      {v.from_at} to {v.until_at}  {plain(v.amount) or 'unknown'}  {v.source}"


def _one_offer(o: Offer) -> Iterator[str]:
    for part in o.price.parts:
        yield f"          part {part_text(part)}"
    seen = (
        f"between {o.price.as_of} and {o.price.as_of_until}"
        if o.price.as_of_until
        else o.price.as_of or "on an unknown day"
    )
    revision = f" @ {o.price.source.revision[:12]}" if o.price.source.revision else ""
    source = o.price.source
    yield f"          seen {seen} in {source.name} {source.path}{revision}; licence: {source.licence}"
    if o.price.note:
        yield f"          {o.price.note}"
