"""Projects: what all runs of one may cost together, and from which sum on a second person has to agree."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cloudaccel import state
from cloudaccel.access import audit
from cloudaccel.access.people import checked_project
from cloudaccel.errors import LimitExceeded, QueryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """`budget`: for all its runs together. `approve_above`: a run that may cost more waits for a second person."""

    name: str
    budget: Decimal
    approve_above: Decimal | None
    currency: str
    changed_at: datetime
    changed_by: str


class Projects:
    """The projects of one installation."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def put(self, name: str, budget: Decimal, approve_above: Decimal | None, currency: str, *, by: str) -> Project:
        """Make a project, or give it another budget. Raises `QueryError`."""
        checked_project(name)
        if approve_above is not None and approve_above > budget:
            raise QueryError("--approve-above is more than the budget: no run could ever be approved.")
        now = self._now()
        values: dict[str, Any] = {
            "budget": str(budget), "approve_above": None if approve_above is None else str(approve_above),
            "currency": currency, "changed_at": state.utc_text(now), "changed_by": by,
        }  # fmt: skip
        detail = {key: values[key] for key in ("budget", "approve_above", "currency")}
        with self._engine.begin() as db:
            if not db.execute(state.project.update().where(state.project.c.name == name).values(**values)).rowcount:
                db.execute(state.project.insert().values(name=name, **values))
            entry = audit.Entry(principal=by, project=name, action="project.budget", subject=name, detail=detail)
            audit.append(db, entry, now)
        return self.get(name)

    def all(self) -> tuple[Project, ...]:
        """Every project, by name."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(state.project).order_by(state.project.c.name)).mappings().all()
        return tuple(_project(row) for row in rows)

    def get(self, name: str) -> Project:
        """One project. Raises `LimitExceeded` when nobody gave it a budget: then nothing may be spent."""
        with self._engine.connect() as db:
            row = db.execute(sa.select(state.project).where(state.project.c.name == name)).mappings().first()
        if row is None:
            raise LimitExceeded(
                f"project {name!r} has no budget, so nothing may be spent. An administrator gives it one: "
                f"cloudaccel token project {name} --budget '500 USD'."
            )
        return _project(row)


def _project(row: Any) -> Project:
    above = row["approve_above"]
    return Project(
        name=row["name"], budget=Decimal(row["budget"]), approve_above=None if above is None else Decimal(above),
        currency=row["currency"], changed_at=state.parse_utc(row["changed_at"]), changed_by=row["changed_by"],
    )  # fmt: skip
