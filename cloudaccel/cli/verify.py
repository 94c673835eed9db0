"""``cloudaccel verify``: a lock is proved again from the file alone, by a checker that shares no code with `plan`."""

import argparse
from pathlib import Path
from typing import Any, cast

from cloudaccel.cli import answers, common
from cloudaccel.decide.check_lock import Checked, NotALock, check
from cloudaccel.errors import ConfigError
from cloudaccel.untrusted import json_of

EXAMPLES = """\
  cloudaccel verify plan.lock.json
  cloudaccel verify plan.lock.json --json
"""
_SHOWN = 10
_NOT_PROVED = (
    "Taken as given: the prices of the catalog named in it, the sizing, and what was stated. "
    "To check prices and sizing, plan again."
)


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "verify", "Prove the total, the verdicts and the choice of a plan again, from its lock alone.", EXAMPLES
    )
    p.add_argument("lock", metavar="LOCK", help="a plan.lock.json")
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Prove and show; exit 0 when everything holds, 6 when a statement of the lock is false."""
    lock = _read(Path(a.lock))
    try:
        found = check(lock)
        if lock["packs"]:
            from cloudaccel.api.rejudging import judged_again  # only a lock that was judged pays for the tables

            for holds, otherwise in judged_again(lock):
                found.that("rules", holds, otherwise)
    except (NotALock, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{a.lock} cannot be checked: {error}. Write it anew with 'cloudaccel plan'.") from error
    if a.output == "json":
        body = {"holds": not found.wrong, "proved": found.proved, "wrong": found.wrong, "not_proved": _NOT_PROVED}
        answers.write(a, "verify", body)
    else:
        common.write(_text(found, lock))
    if found.wrong:
        common.note(f"error: {a.lock} does not hold: {len(found.wrong)} of its statements are false. Plan again.")
    return 6 if found.wrong else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded: object = json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a lock ({error}). Make one with 'cloudaccel plan'.") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} is no lock: it holds no object. Make one with 'cloudaccel plan'.")
    return cast(dict[str, Any], loaded)


def _text(found: Checked, lock: dict[str, Any]) -> str:
    if found.wrong:
        more = len(found.wrong) - _SHOWN
        lines = [f"wrong    {text}" for text in found.wrong[:_SHOWN]]
        return "\n".join([*lines, *([f"         and {more} more"] if more > 0 else [])]) + "\n"
    proved = ", ".join(f"{count:,} {kind}" for kind, count in found.proved.items())
    chosen = lock["chosen"]
    lines = [f"Proved   {proved}"]
    if chosen is not None:
        where = f"{chosen['provider']} {chosen['region']} {chosen['instance']} ×{chosen['nodes']}"
        lines.append(
            f"Choice   {where}, total {chosen['total']} {chosen['price']['currency']}: none considered comes before"
        )
    lines.append(_NOT_PROVED)
    return "\n".join(lines) + "\n"
