"""``provision watch``: look over every run once, or again and again until it is stopped."""

import argparse
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from cloudaccel import units
from cloudaccel.cli import answers, common
from cloudaccel.cli.provision_wait import WaitLine
from cloudaccel.errors import CloudAccelError, QueryError
from cloudaccel.output import runs as out
from cloudaccel.protocols import Provider
from cloudaccel.provision.clock import SystemClock
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.watching import Look, Notice, Watcher, exit_code

SHORTEST_S = 10.0  # a look asks the cloud for each machine; more often would only be throttled


def add(p: argparse.ArgumentParser) -> None:
    """The action's own flags."""
    p.add_argument("--once", action="store_true", help="one look; exit 11 when something may still bill")
    p.add_argument("--interval", metavar="TIME", default="1m", help="from one look to the next (default 1m)")
    p.add_argument("--warn", metavar="TIME", default="30m", help="say so, this long before a lease ends (default 30m)")


def run(a: argparse.Namespace, journal: Journal, load: Callable[[str], Provider]) -> int:
    """Look once, or until SIGINT or SIGTERM, which let the look under way finish."""
    interval_s = units.parse_duration_s(a.interval, "--interval")
    if interval_s < SHORTEST_S:
        raise QueryError(f"--interval {a.interval}: at least {SHORTEST_S:.0f} s, so that no cloud is asked too often.")
    line = WaitLine(quiet=a.quiet)
    watcher = Watcher(
        journal, load, SystemClock(), warn_s=units.parse_duration_s(a.warn, "--warn"),
        next_look_s=0.0 if a.once else interval_s, say=line.say,
    )  # fmt: skip
    if a.once:
        look = watcher.look()
        line.clear()
        _say(a, look, look.notices)
        return exit_code(look.notices)
    _keep(a, watcher, line, interval_s)
    return 0


def _keep(a: argparse.Namespace, watcher: Watcher, line: WaitLine, interval_s: float) -> None:
    common.note(f"looking at the runs every {a.interval}; Ctrl-C ends it.", quiet=a.quiet)
    said: set[str] = set()
    with _stopping() as stopped:
        while not stopped() and not common.stdout.reader_left:
            try:
                look = watcher.look()
            except CloudAccelError as error:  # a database that is away: may be back at the next look
                common.note(f"error: {error}")
            else:
                line.clear()
                news = [notice for notice in look.notices if notice.key not in said]
                said = {notice.key for notice in look.notices}  # what has passed and comes again is news again
                if news:
                    _say(a, look, news)
            until = time.monotonic() + interval_s
            while not stopped() and not common.stdout.reader_left and time.monotonic() < until:
                time.sleep(0.2)


@contextmanager
def _stopping() -> Generator[Callable[[], bool]]:
    """Whether a signal has come; a second one ends the program at once, which the journal allows."""
    signals: list[int] = []

    def end(number: int, _frame: object) -> None:
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(a: argparse.Namespace, look: Look, news: Sequence[Notice]) -> None:
    if a.output == "json":
        answers.write(a, "provision.watch", _json(look, news), kept=True)
    else:
        for notice in news:
            common.write(f"{look.at:%Y-%m-%d %H:%M:%SZ}  run {notice.run}  {notice.kind:<14}  {notice.text}\n")
        if not news:
            held = f"; {look.held} held by a process at work" if look.held else ""
            common.write(f"Nothing to do: {units.counted(look.looked, 'open run')}{held}.\n")
    common.flush()


def _json(look: Look, news: Sequence[Notice]) -> dict[str, Any]:
    return {
        "at": out.moment(look.at),
        "looked": look.looked,
        "held": look.held,
        "notices": [
            {"kind": n.kind, "run": n.run, "text": n.text, "key": n.key, "may_bill": list(n.may_bill)} for n in news
        ],
    }
