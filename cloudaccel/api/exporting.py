"""A plan, or its lock, as a file for another engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cloudaccel import units
from cloudaccel.catalog.session import accelerator_table
from cloudaccel.errors import QueryError
from cloudaccel.model.deployment import Exported
from cloudaccel.untrusted import json_of

if TYPE_CHECKING:
    from cloudaccel.model.plan import Plan

MAX_BYTES = 10_000_000


def export_plan(found: "Plan | str | Path", name: str, *, lease: str | None = None) -> Exported:
    """The first option of a plan, or of a lock file, written for the engine `name`. Nothing is created or asked.

    Parameters
    ----------
    found
        A plan, or the path of a ``plan.lock.json``.
    name
        ``terraform``, ``kubernetes`` …: see ``cloudaccel.export.names()``.
    lease
        How long the machines may live, such as ``24h``; None: the plan's high estimate with start-up, x 1.2 + 0.5 h.

    Raises
    ------
    QueryError
        If the file is no lock, or the engine cannot express the plan.
    UnknownName
        If there is no such export, or none for the plan's cloud.
    """
    from cloudaccel.export import deployment_of
    from cloudaccel.export import export as write

    seconds = None if lease is None else units.parse_duration_s(lease, "--lease")
    if seconds is not None and seconds < 60:
        raise QueryError(f"--lease: {lease} is below a minute.")
    data = read(Path(found)) if isinstance(found, str | Path) else _lock(found)
    return write(name, deployment_of(data, accelerator_table(), lease_s=seconds))


def is_lock(path: str | Path) -> bool:
    """Whether a file says that it is a lock, so that a job file is not taken for one."""
    try:
        return "schema" in read(Path(path))
    except QueryError:
        return False


def read(path: Path) -> dict[str, Any]:
    """The object in a lock file. Raises `QueryError`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise QueryError(f"{path}: too large for a lock file.")
        data = json_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QueryError(f"{path} does not exist. 'cloudaccel plan' writes one.") from None
    except (OSError, ValueError) as error:
        raise QueryError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise QueryError(f"{path} is no lock file. Make one with 'cloudaccel plan'.")
    return cast(dict[str, Any], data)


def _lock(found: "Plan") -> dict[str, Any]:
    from cloudaccel.planner.lock import lock

    return lock(found)
