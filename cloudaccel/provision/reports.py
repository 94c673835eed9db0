"""What a machine says of itself on its serial console: accelerators that answer, their use, a notice of the cloud.

The console can be read with the account's rights alone, so nothing inside the machine needs rights, and no port is
open. It is text that whoever is inside may write: it is believed of this one run only, and never as proof of an end.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FRESH = timedelta(minutes=10)  # the machine writes every minute; an older line says nothing of now
AHEAD = timedelta(minutes=2)  # how far its clock may be before ours
_LINE = re.compile(
    r"^cloudaccel-report 1 at=(\d{9,11}) accelerators=(\d{1,3}|-) use=(\d{1,3}|-) busy=(\d{9,11}) notice=(yes|no)\s*$",
    re.MULTILINE,
)
_HOST_KEY = re.compile(r"^cloudaccel-hostkey (ssh-ed25519 [A-Za-z0-9+/=]{40,})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One line of a machine, fresh enough to speak of now.

    Attributes
    ----------
    accelerators
        How many answer their driver's tool; None: there is no such tool, or it does not answer.
    use_percent
        Of the busiest accelerator over the last minute; None: not known, which is not idle.
    busy_at
        When one was last in use; since the boot, when none was. Only with `use_percent`.
    notice
        Whether the cloud has announced that it takes the machine back.
    """

    at: datetime
    accelerators: int | None
    use_percent: int | None
    busy_at: datetime | None
    notice: bool


def read_report(console: str | None, now: datetime) -> Report | None:
    """The newest report on the console; None when there is none, or it is too old (or too new) to speak of now."""
    found = list(_LINE.finditer((console or "").replace("\r", "")))
    if not found:
        return None
    at, accelerators, use, busy, notice = found[-1].groups()
    report = Report(
        at=_moment(at),
        accelerators=None if accelerators == "-" else int(accelerators),
        use_percent=None if use == "-" else int(use),
        busy_at=None if use == "-" else _moment(busy),
        notice=notice == "yes",
    )
    return report if now - FRESH <= report.at <= now + AHEAD else None


def host_key(console: str | None) -> str | None:
    """The machine's own SSH key, as ``ssh-ed25519 AAAA…``: what ssh must meet at its address. None: not said (yet)."""
    found = _HOST_KEY.findall((console or "").replace("\r", ""))
    return found[-1] if found else None


def idle_since(reports: Sequence[Report | None]) -> datetime | None:
    """Since when all machines have been idle; None: one is in use, or does not say."""
    times = [report.busy_at for report in reports if report is not None and report.use_percent is not None]
    if not reports or len(times) < len(reports):
        return None
    newest = max(moment for moment in times if moment is not None)
    busy = any(report is not None and (report.use_percent or 0) >= 2 for report in reports)
    return None if busy else newest


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
