"""Packs and verdicts as plain JSON values."""

from dataclasses import asdict
from typing import Any

from cloudaccel.compliance import Pack
from cloudaccel.model.verdict import Verdict


def pack_json(pack: Pack) -> dict[str, Any]:
    """What a pack is, as plain JSON values; not its rules."""
    return {
        "id": pack.id, "title": pack.title, "version": pack.version, "status": pack.status, "kind": pack.kind,
        "jurisdiction": pack.jurisdiction, "rules": len(pack.rules), "always_on": pack.always_on,
        "review_by": pack.review_by, "digest": pack.digest,
    }  # fmt: skip


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain JSON values, with every finding and its evidence."""
    return {
        "place": verdict.placement, "state": verdict.state, "deciding": list(verdict.deciding),
        "asks": list(verdict.asks), "findings": [asdict(f) for f in verdict.findings],
        "packs": [list(p) for p in verdict.packs], "assumptions": list(verdict.assumptions),
        "warnings": list(verdict.warnings), "disclaimer": verdict.disclaimer,
    }  # fmt: skip
