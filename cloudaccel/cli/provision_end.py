"""``provision down`` and ``provision reap``: end runs and what nobody ended, and say "gone" only with proof."""

import argparse
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cloudaccel import registry, units
from cloudaccel.cli import answers, common, flags, provision_render
from cloudaccel.cli.provision_wait import stoppable, waiting
from cloudaccel.errors import QueryError
from cloudaccel.output import runs as out
from cloudaccel.protocols import Provider
from cloudaccel.provision import money, reap
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import SystemClock
from cloudaccel.provision.cost import cost
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.teardown import Ender, may_bill
from cloudaccel.provision.values import OVER, Ending, Run
from cloudaccel.provision.waiting import Waits

_STOPPED = "interrupted: what is not proved gone yet is named, and stays as it is."
_NOT_WAITED = "interrupted before there was proof"


def add_down(p: argparse.ArgumentParser) -> None:
    """The flags of ``down``."""
    p.add_argument("run", metavar="RUN", nargs="*", help="ids, or their beginnings")
    flags.add(p, "--all", " runs that are not proved gone")
    flags.add(p, "--yes", " (only --all asks)")
    flags.add(p, "--wait", " for proof (default 15m)", default="15m")
    flags.add(p, "--dry-run", ": by the journal alone; ask no cloud, end nothing")


def add_reap(p: argparse.ArgumentParser) -> None:
    """The flags of ``reap``."""
    p.add_argument(
        "--reconcile", action="store_true", help="ask the clouds for our tag in every region that was ever used"
    )
    p.add_argument("--all-regions", action="store_true", help="with --reconcile: in every region of the account")
    flags.add(p, "--region", "; with --reconcile: there too")
    flags.add(p, "--provider", "; with --reconcile (default: all that were used)")
    p.add_argument(
        "--adopt", action="append", metavar="INSTALL", help="treat what this installation left as ours (a lost journal)"
    )
    flags.add(p, "--yes", ": delete what is ours")


# -- down --------------------------------------------------------------------------------------------------------------


def down(a: argparse.Namespace, journal: Journal, load: Callable[[str], Provider]) -> int:
    """End the runs that are named. 11 when something may still bill, also when it was interrupted."""
    if bool(a.run) == a.all:
        raise QueryError("name the runs to end, or --all; not both." if a.all else "name the runs to end, or --all.")
    runs = _not_proved_gone(journal) if a.all else named(journal, a.run)
    if not runs and a.output != "json":
        common.write("No run is open: nothing to end.\n")
    if a.dry_run:
        return _dry_run(a, journal, runs)
    if a.all and runs and not a.yes:
        question = f"End {units.counted(len(runs), 'run')}: {', '.join(run.id for run in runs)}?"
        common.confirm(question, alone="down --all ends every run", refused="nothing was ended.")
    wait_s = units.parse_duration_s(a.wait, "--wait")
    with stoppable(_STOPPED), waiting(quiet=a.quiet) as line:
        ender = Ender(journal, load, SystemClock(), wait_s=wait_s, say=line.say)
        endings = _end_all(journal, ender, runs)
    if a.output == "json":
        body = [
            {
                "run": e.run.id,
                "gone": not e.remaining,
                "may_still_bill": list(e.remaining),
                "problems": list(e.problems),
            }
            for e in endings
        ]
        answers.write(a, "provision.down", {"runs": body}, kept=True)
    for ending in endings:
        _say_ending(a, journal, ending)
    return 11 if any(e.remaining for e in endings) else 0


def _dry_run(a: argparse.Namespace, journal: Journal, runs: Sequence[Run]) -> int:
    """Say what would be ended, as far as the journal knows: no cloud is asked, so nothing is proved gone or there."""
    found = [(run, may_bill(journal, run)) for run in runs]
    if a.output == "json":
        body = [
            {"run": run.id, "state": run.state, "over": _is_over(run, left), "would_end": list(left)}
            for run, left in found
        ]
        answers.write(a, "provision.down", {"dry_run": True, "runs": body})
        return 0
    for run, left in found:
        if _is_over(run, left):
            common.write(
                f"run {run.id}  {run.state.replace('_', ' ')}: it is over, and nothing of it would be asked for.\n"
            )
            continue
        rest = "; ".join(left) or "nothing is known of it; its places would be asked for its tag"
        common.write(f"run {run.id}  {run.state.replace('_', ' ')}, would be ended: {rest}\n")
    if found:
        common.write("By the journal alone: no cloud was asked, nothing was ended, and nothing is proved.\n")
    return 0


def _is_over(run: Run, left: Sequence[str]) -> bool:
    return run.state in OVER and not left


def named(journal: Journal, names: Sequence[str]) -> list[Run]:
    """Each run once, in the order in which they were named."""
    return list({run.id: run for run in (journal.run(name) for name in names)}.values())


def _not_proved_gone(journal: Journal) -> list[Run]:
    """Open runs, and those that were over when something of theirs turned up."""
    live = {resource.run for resource in journal.resources(live=True)}
    return [run for run in journal.runs() if run.state not in OVER or run.id in live]


def _end_all(journal: Journal, ender: Ender, runs: Sequence[Run]) -> list[Ending]:
    """How each ended; after a Ctrl-C, that the others have not."""
    endings: list[Ending] = []
    for number, run in enumerate(runs):
        try:
            ending = _end(journal, ender, run)
        except KeyboardInterrupt:
            return endings + [not_proved(journal, one) for one in runs[number:]]
        endings.append(ending)
    return endings


def _end(journal: Journal, ender: Ender, run: Run) -> Ending:
    held = journal.take(run)
    try:
        return ender.end(held)
    finally:
        journal.let_go(held)


def not_proved(journal: Journal, run: Run) -> Ending:
    """What may be left of a run whose ending was interrupted, as far as the journal knows."""
    now = journal.run(run.id)
    gone = now.state in OVER and not may_bill(journal, now)
    remaining = () if gone else may_bill(journal, now) or ("nothing is known to, but nobody has looked",)
    return Ending(run=now, remaining=remaining, problems=() if gone else (_NOT_WAITED,))


def _say_ending(a: argparse.Namespace, journal: Journal, ending: Ending) -> None:
    run = ending.run
    if ending.remaining:
        common.note(f"error: run {run.id} MAY STILL BE BILLING: {'; '.join(ending.remaining)}")
        for problem in ending.problems:
            common.note(f"  {problem}")
        common.note(f"  try again: cloudaccel provision down {run.id}")
    elif a.output != "json":
        gone = [r.kind.replace("_", " ") for r in journal.resources(run.id) if r.state == "gone"]
        kinds = [units.counted(gone.count(kind), kind) for kind in dict.fromkeys(gone)]
        spent = _spent(journal, run)
        common.write(f"run {run.id}  GONE  verified: {', '.join(kinds) or 'nothing was made'}  spent {spent}\n")


def _spent(journal: Journal, run: Run) -> str:
    total = cost(journal, run, SystemClock().now())
    return f"{money.amount(total.total)} {run.currency or ''}".strip() if total.lines else "nothing"


# -- reap --------------------------------------------------------------------------------------------------------------


def sweep(a: argparse.Namespace, journal: Journal, load: Callable[[str], Provider]) -> int:
    """List what nobody ended, or delete it.

    11 when something of ours is left, 8 when a region did not answer or this machine's clock is wrong.
    """
    _check(a)
    with stoppable("interrupted: nothing more is asked for."), waiting(quiet=a.quiet) as line:
        reaper = reap.Reaper(journal, load, SystemClock(), adopt=a.adopt or (), say=line.say)
        findings = list(reaper.runs())
        if a.reconcile or a.adopt:
            calls = Calls(Waits(SystemClock(), line.say), patience_s=10)
            findings += reaper.reconcile(_places_to_ask(a, reaper, load, calls))
        findings = reap.in_order(findings)
        if a.yes:
            findings = list(_remove(reaper, findings))
    _say_findings(a, findings)
    if any(f.ours and not f.gone for f in findings):
        return 11
    return 8 if any(f.kind in ("unasked", "clock") for f in findings) else 0


def _check(a: argparse.Namespace) -> None:
    if not (a.reconcile or a.adopt) and (a.all_regions or a.region or a.provider):
        raise QueryError("--all-regions, --region and --provider say where to ask the clouds: add --reconcile.")
    for text in a.adopt or ():
        try:
            uuid.UUID(text)
        except ValueError:
            raise QueryError(
                f"--adopt {text}: no id of an installation. It is what the tag cloudaccel-install has in the cloud, "
                "and 'provision reap --reconcile' shows it of what it leaves alone."
            ) from None


def _remove(reaper: reap.Reaper, findings: Sequence[reap.Finding]) -> Iterator[reap.Finding]:
    """Each as it is afterwards; after a Ctrl-C, as it was."""
    stopped = False
    for finding in findings:
        if not stopped:
            try:
                yield reaper.remove(finding)
                continue
            except KeyboardInterrupt:
                stopped = True
        yield replace(finding, detail=_NOT_WAITED) if finding.ours else finding


def _places_to_ask(
    a: argparse.Namespace, reaper: reap.Reaper, load: Callable[[str], Provider], calls: Calls
) -> list[tuple[str, str]]:
    used = list(reaper.places())
    names = a.provider or list(dict.fromkeys(p for p, _ in used)) or _startable()
    asked = [place for place in used if place[0] in names]
    asked += [(name, region) for name in names for region in a.region or ()]
    if a.all_regions:
        if not asked:
            raise QueryError("--all-regions needs one region to begin with: --region NAME.")
        for name, region in list(dict(asked).items()):
            found = calls.read(lambda n=name, r=region: machines(load(n)).regions(region=r))
            asked += [(name, one) for one in found]
    if not asked:
        raise QueryError("no run has used any region yet: name one with --region.")
    return list(dict.fromkeys(asked))


def _startable() -> list[str]:
    return [name for name in registry.names() if registry.starts(name)]


def _say_findings(a: argparse.Namespace, findings: Sequence[reap.Finding]) -> None:
    if a.output == "json":
        body = {"deleted": a.yes, "findings": [out.finding_json(f) for f in findings]}
        answers.write(a, "provision.reap", body, kept=a.yes)
        return
    lines = [provision_render.finding_line(finding, a.yes) for finding in findings]
    common.write("\n".join(lines) + "\n" if lines else "Nothing is left over.\n")
    if not a.yes and any(f.ours for f in findings):
        common.note("nothing was deleted; add --yes to end what is ours.")
