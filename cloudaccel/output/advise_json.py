"""A recommendation as the versioned JSON envelope."""

import json
from dataclasses import asdict
from typing import Any

from cloudaccel.model.advice import Advice


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
        "flips": [f._asdict() for f in found.flips],
        "open": [q.name for q in found.open],
        "models": [{**m._asdict(), "params_b": f"{m.params_b}"} for m in found.models],
        "next": list(found.next_steps),
    }
    return json.dumps(body, ensure_ascii=False, indent=1) + "\n"
