"""A recommendation as the versioned JSON envelope."""

import json
from dataclasses import asdict
from typing import Any

from cloudaccel.model.advice import Advice
from cloudaccel.output.columns import plain


def text(found: Advice) -> str:
    """The answer as the versioned JSON envelope."""
    body: dict[str, Any] = {
        "schema": "cloudaccel/v1",
        "kind": "advise",
        "answers": dict(found.answers),
        "recommended": {d: (best.way if (best := found.best(d)) else None) for d in found.choices},
        "choices": {
            decision: [
                {"way": c.way, "points": c.points, "forbidden": c.forbidden, "rules": [asdict(r) for r in c.rules]}
                for c in choices
            ]
            for decision, choices in found.choices.items()
        },
        "derived": [
            {
                "question": d.question,
                "answer": d.answer,
                "given": d.given,
                "conflict": d.conflict,
                "why": d.why,
                "by": [
                    {"rule": f.rule, "pack": f.pack, "why": f.why, "cite": f.cite, "remedy": f.remedy} for f in d.by
                ],
            }
            for d in found.derived
        ],
        "notes": list(found.notes),
        "flips": [f._asdict() for f in found.flips],
        "bill": _bill(found),
        "shown": None if found.shown is None else found.shown.plain(),
        "open": [q.name for q in found.open],
        "models": [{**m._asdict(), "params_b": f"{m.params_b}"} for m in found.models],
        "next": list(found.next_steps),
    }
    return json.dumps(body, ensure_ascii=False, indent=1) + "\n"


def _bill(found: Advice) -> dict[str, Any] | None:
    """The month of the API and of the machines, as text in USD, and as they are shown."""
    bill, shown = found.bill, found.shown
    if bill is None:
        return None
    body: dict[str, Any] = {name: None if v is None else plain(v) for name, v in bill._asdict().items()}
    if shown is not None:
        body["shown"] = {"amount": shown.of(bill.amount), "machines": shown.of(bill.machines)}
    return {"currency": "USD", **body}
