"""The certificate of a plan for people, and as JSON."""

from dataclasses import asdict
from typing import Any

from cloudaccel.model.certificate import Certificate

_WINNERS = 4


def render(found: Certificate, *, explain: bool) -> str:
    """How sure the first option is, what flips it, and what is worth knowing."""
    chances = f"{_share(found.chance_first)} that option 1 is the cheapest; "
    chances += f"{_share(found.chance_within_limits)} that it keeps deadline and budget"
    lines = ["", f"Certain  {chances} ({found.samples:,} draws, seed {found.seed})"]
    lines += [f"         else {label} ({_share(share)})" for label, share in _others(found)]
    if found.chance_none:
        lines.append(f"         {_share(found.chance_none)} that nothing keeps them")
    if not found.speed_sampled:
        lines.append("         without a load the speed of serving costs nothing: only prices and rules are drawn")
    for flip in found.flips:
        lines.append(f"Flips    {flip.name}: {flip.value:,.2f} {flip.unit}, at {flip.at:,.2f}: {flip.to}")
    if found.facts:
        fact = found.facts[0]
        lines.append(f"Worth    {fact.saving:,.2f} USD is what knowing the {fact.name} is expected to save: {fact.how}")
    else:
        lines.append("Worth    no single fact is expected to change the choice")
    if explain:
        lines += [f"  {f.name}: {f.saving:,.2f} USD ({f.how})" for f in found.facts]
        lines += [f"  {a.name} = {a.value} {a.unit}  ({a.source}, {a.as_of})" for a in found.assumptions]
    return "\n".join(lines) + "\n"


def _others(found: Certificate) -> list[tuple[str, float]]:
    return [(label, share) for label, share in found.winners if label != found.first and share >= 0.005][:_WINNERS]


def _share(chance: float) -> str:
    """A percentage that never rounds to certainty: draws prove none."""
    if chance >= 0.995:
        return "over 99 %"
    return "under 1 %" if chance < 0.005 else f"{100 * chance:.0f} %"


def to_json(found: Certificate) -> dict[str, Any]:
    """The certificate as plain values."""
    body = asdict(found)
    body["flips"] = [flip._asdict() for flip in found.flips]
    body["facts"] = [fact._asdict() for fact in found.facts]
    body["winners"] = [{"option": label, "share": share} for label, share in found.winners]
    return body
