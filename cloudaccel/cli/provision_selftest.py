"""``provision selftest``: prove on an account, for cents, that runs start once, end in time and leave nothing."""

import argparse
from collections.abc import Callable
from dataclasses import asdict

from cloudaccel import units
from cloudaccel.cli import answers, common, flags
from cloudaccel.cli.provision_wait import WaitLine, stoppable, waiting
from cloudaccel.errors import LimitExceeded, QueryError
from cloudaccel.protocols import Provider
from cloudaccel.provision import money
from cloudaccel.provision.clock import SystemClock
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.proofs import Record, Step, proved, write_record
from cloudaccel.provision.selftest import SelfTest

DEFAULT_MOST = "0.20 USD"


def add(p: argparse.ArgumentParser) -> None:
    """The action's own flags."""
    p.add_argument("cloud", metavar="CLOUD", help="aws, azure, gcp: whose machines are started")
    flags.add(p, "--region", " (default: the cloud's cheapest)", action="store")
    flags.add(p, "--max-total", f" (default {DEFAULT_MOST})", default=DEFAULT_MOST)
    flags.add(p, "--lease", ", where their end is waited for (default 4m)", default="4m")
    flags.add(p, "--yes")


def run(a: argparse.Namespace, journal: Journal, load: Callable[[str], Provider]) -> int:
    """Do the steps and keep their record. 10 when one failed and all is removed, 11 when something may still bill."""
    with stoppable("interrupted: all that was started is being ended."), waiting(quiet=a.quiet) as line:
        return _prove(a, journal, load, line)


def _prove(a: argparse.Namespace, journal: Journal, load: Callable[[str], Provider], line: WaitLine) -> int:
    lease_s = units.parse_duration_s(a.lease, "--lease")
    test = SelfTest(
        journal, load(a.cloud), SystemClock(), region=a.region, short_lease_s=lease_s,
        log=lambda step: line.note(_line(step)), say=line.say,
    )  # fmt: skip
    most, currency = units.parse_money(a.max_total, "--max-total")
    if currency not in (None, test.trial.currency):
        raise QueryError(f"--max-total is in {currency}, the machines in {test.trial.currency}; none is converted.")
    if test.most > most:
        raise LimitExceeded(
            f"the self-test may cost {money.amount(test.most)} {test.trial.currency}, over --max-total "
            f"{money.amount(most)}. A shorter --lease costs less."
        )
    _confirm(a, test)
    record = test.run()
    line.clear()
    file = write_record(record)
    if a.output == "json":
        body = {**asdict(record), "ok": record.ok, "proved": dict(proved(record))}
        answers.write(a, "provision.selftest", body, kept=True)
    else:
        common.write(f"{_summary(record)} Record: {file}\n")
    if record.may_bill:
        common.note(f"error: MAY STILL BE BILLING: {'; '.join(record.may_bill)}")
        return 11
    return 0 if record.ok else 10


def _confirm(a: argparse.Namespace, test: SelfTest) -> None:
    said = (
        f"Starts up to 4 machines {test.trial.instance_type} in {a.cloud} {test.region}, one after the other, and ends "
        f"them; at most {money.amount(test.most)} {test.trial.currency} ({test.trial.source})."
    )
    common.note(said, quiet=a.quiet and a.yes)
    if not a.yes:
        common.confirm("Start it?", alone="a self-test starts machines", refused="not started: nothing was created.")


def _line(step: Step) -> str:
    return f"  {step.name:<12} {step.state:<8} {step.seconds:>5.0f} s  {step.detail}"


def _summary(record: Record) -> str:
    failed = [step.name for step in record.steps if step.state == "failed"]
    if failed:
        return f"FAILED on {_whose(record)}: {', '.join(failed)}."
    if not record.real:
        return f"All held on a FAKE {record.provider}: nothing is proved of the real one."
    return f"All held on the real {record.provider} ({record.began_at[:10]}, {record.region})."


def _whose(record: Record) -> str:
    return f"the real {record.provider}" if record.real else f"a fake {record.provider}"
