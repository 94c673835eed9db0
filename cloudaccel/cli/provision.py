"""``cloudaccel provision``: start what was asked for and nothing else, and be sure that it ends."""

import argparse
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime

from cloudaccel import registry, units
from cloudaccel.access.people import DEFAULT_PROJECT, checked_project, local_principal
from cloudaccel.cli import (
    answers,
    common,
    flags,
    provision_disks,
    provision_end,
    provision_money,
    provision_render,
    provision_request,
    provision_selftest,
    provision_ssh,
    provision_watch,
)
from cloudaccel.cli.provision_wait import Rounds, stoppable, waiting
from cloudaccel.errors import CloudAccelError, ConfigError, LimitExceeded, ProviderError
from cloudaccel.output import runs as out
from cloudaccel.protocols import Instances, Provider
from cloudaccel.provision import lease, money, standing
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import SystemClock
from cloudaccel.provision.cost import Cost, cost
from cloudaccel.provision.disks import address_lines, disk_lines
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.launch import NEXT_ROUND, Launcher
from cloudaccel.provision.places import Places, Preview
from cloudaccel.provision.reports import read_report
from cloudaccel.provision.values import (
    ON_INTERRUPTION,
    OVER,
    UNFINISHED,
    Candidate,
    Outcome,
    Run,
    Spec,
    Tracked,
)
from cloudaccel.provision.waiting import Waits

_STOPPED = "interrupted: what was begun is being ended. Once more leaves it as it is, which may bill."
EXAMPLES = """\
  cloudaccel provision up plan.lock.json --dry-run           what would be created, and what it may cost
  cloudaccel provision up H100-SXM:8 --region us-east-1 --lease 6h --max-hourly 60
  cloudaccel provision up g5.xlarge --market spot,on-demand --yes --wait 30m --max-total 20
  cloudaccel provision list
  cloudaccel provision show 7f3a9c21
  cloudaccel provision cost                                  of every run, machines and disks
  cloudaccel provision ssh 7f3a9c21 -- nvidia-smi -L
  cloudaccel provision extend 7f3a9c21 2h
  cloudaccel provision watch                                 keeps leases and budgets until it is stopped
  cloudaccel provision down 7f3a9c21                         waits until it is proved gone
  cloudaccel provision selftest CLOUD                        says what it may cost, and asks
  cloudaccel provision reap --reconcile                      what the clouds have with our tag; deletes with --yes
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb and its own verbs."""
    p = common.verb_parser(
        "provision", "Start machines under a lease, and end them with proof. Never buys prepaid capacity.", EXAMPLES
    )
    verbs = p.add_subparsers(dest="action", metavar="ACTION", required=True)
    _up(verbs)
    for name, text in (
        ("list", "runs that are open"),
        ("show", "one run: attempts, resources, and what the cloud says now"),
    ):
        sub = _action(verbs, name, text)
        if name == "list":
            flags.add(sub, "--all", ": also runs that ended")
        else:
            sub.add_argument("run", metavar="RUN", help="id, or its beginning")
    sub = _action(verbs, "cost", "what runs have cost, at the prices of their launch")
    sub.add_argument("run", metavar="RUN", nargs="*", help="ids; all runs when left out")
    flags.add(sub, "--disk-price")
    common.add_money(sub)
    sub = _action(verbs, "extend", "make a lease longer, inside the deadline of its launch")
    sub.add_argument("run", metavar="RUN", help="id, or its beginning")
    sub.add_argument("by", metavar="TIME", help="how much longer: 2h, 30m")
    flags.add(sub, "--yes", " (nothing is asked here)")
    provision_end.add_down(
        _action(verbs, "down", "end runs, and prove it: machines, disks, interfaces, addresses, groups")
    )
    reap = "find what nobody ended: leases that are over, lost answers, orphans; lists, and deletes with --yes"
    provision_end.add_reap(_action(verbs, "reap", reap))
    provision_selftest.add(
        _action(verbs, "selftest", "start and end a cheap machine in every way that can go wrong, and keep the record")
    )
    ssh = _action(verbs, "ssh", "a shell on a machine, by the way in that its network leaves open")
    provision_ssh.add(ssh)
    ssh.rest = "command"
    provision_watch.add(_action(verbs, "watch", "end what is over its lease or budget, and say what must be known"))
    return p


def _action(verbs: common.Actions, name: str, text: str) -> common.Parser:
    return common.action_parser(verbs, "provision", name, text, EXAMPLES)


def _up(verbs: common.Actions) -> None:
    p = _action(verbs, "up", "start a run from a lock file or an accelerator expression")
    p.add_argument(
        "what", nargs="+", metavar="LOCK|ACCEL", help="plan.lock.json, or such as H100-SXM:8, H100-SXM:8x2, g5.xlarge"
    )
    w = p.add_argument_group("where and how")
    flags.add_places(w)
    flags.add(w, "--market", "; can be started: on-demand, spot, flex, capacity-block, tried in the order given")
    w.add_argument("--any-variant", action="store_true", help="any accelerator that the name covers will do")
    w.add_argument(
        "--places",
        type=int,
        default=provision_request.DEFAULT_PLACES,
        metavar="N",
        help="try at most so many offers (default 5)",
    )
    flags.add(w, "--price-file")
    flags.add(w, "--reservation", "; nothing is ever bought")
    w.add_argument("--image", metavar="ID", help="machine image (default: the cloud's own for the accelerator)")
    flags.add(w, "--disk", "; the root disk has at least that")
    w.add_argument("--key-name", metavar="NAME", help="key pair that the cloud has already")
    w.add_argument(
        "--ssh-cidr",
        action="append",
        metavar="NETWORK",
        help="let port 22 be reached from here, such as 203.0.113.7/32 (default: nothing inbound)",
    )
    w.add_argument("--ssh-key", metavar="FILE", help="public SSH key that may come in, where there is a way in")
    flags.add(w, "--project", default=DEFAULT_PROJECT)
    w.add_argument("--owner", metavar="NAME", help="for the tag cloudaccel-owner (default: the user's name)")
    common.add_rules(p)
    _up_limits(p)


def _up_limits(p: argparse.ArgumentParser) -> None:
    m = p.add_argument_group("limits")
    flags.add(m, "--max-hourly")
    flags.add(m, "--max-total", "; what it pays for is also the machines' own deadline")
    m.add_argument("--allow-unpriced", action="store_true", help="start although the price is unknown")
    flags.add(m, "--lease", " (default: the plan's high estimate and a margin, or 4h)")
    m.add_argument(
        "--accept-no-deadline",
        action="store_true",
        help="start also where the cloud ends no machine by itself: if this program is gone, it runs on and bills",
    )
    m.add_argument(
        "--end-idle",
        metavar="TIME",
        help="let 'provision watch' end it when the accelerators did nothing for so long, such as 1h (default: never)",
    )
    m.add_argument(
        "--on-interruption",
        choices=ON_INTERRUPTION,
        default="end",
        help="when the cloud takes a machine back, 'provision watch' ends the rest (default), or starts it all again "
        "elsewhere for what is left of lease and budget",
    )
    flags.add(m, "--wait", " for capacity that is missing")
    d = p.add_argument_group("doing it")
    flags.add(d, "--dry-run", ": check prices, permission and quota; create nothing")
    flags.add(d, "--yes")
    d.add_argument(
        "--new", action="store_true", help="start another run, also when an unfinished one of the same request exists"
    )


def run(a: argparse.Namespace) -> int:
    """Do the action; see CLI help for the exit codes."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "up": _run_up, "list": _on(_run_list), "show": _on(_run_show), "cost": _on(_run_cost),
        "extend": _on(_run_extend), "down": _over(provision_end.down), "reap": _over(provision_end.sweep),
        "selftest": _over(provision_selftest.run), "ssh": _over(provision_ssh.run),
        "watch": _over(provision_watch.run),
    }  # fmt: skip
    return actions[a.action](a)


def _on(action: Callable[[argparse.Namespace, Journal], int]) -> Callable[[argparse.Namespace], int]:
    """An action on the journal of this installation."""

    def run_it(a: argparse.Namespace) -> int:
        with _open_journal() as journal:
            return action(a, journal)

    return run_it


def _over(
    action: Callable[[argparse.Namespace, Journal, Callable[[str], Provider]], int],
) -> Callable[[argparse.Namespace], int]:
    """An action of another module, over the journal and the providers of this installation."""
    return _on(lambda a, journal: action(a, journal, _Providers(a.offline)))


class _Providers:
    """Providers by name, made once; none under --offline."""

    def __init__(self, offline: bool) -> None:
        self._offline = offline
        self._made: dict[str, Provider] = {}

    def __call__(self, name: str) -> Provider:
        if self._offline:
            raise ConfigError("--offline was given, and starting or ending machines needs the network.")
        if name not in self._made:
            self._made[name] = registry.load(name)
        return self._made[name]


@contextmanager
def _open_journal() -> Generator[Journal]:
    from cloudaccel import state  # opens the database; quote never does

    with state.opened() as engine:
        yield Journal(engine, SystemClock())


# -- up ----------------------------------------------------------------------------------------------------------------


def _run_up(a: argparse.Namespace) -> int:
    request = provision_request.build(a)
    project = checked_project(a.project)
    wait_s = units.parse_duration_s(a.wait, "--wait") if a.wait else 0.0
    for note in request.notes:
        common.note(f"note: {note.rstrip('.')}.", quiet=a.quiet)
    load = _Providers(a.offline)
    limits = standing.of_settings()
    if limits.is_set:
        with _open_journal() as journal:
            guard = standing.Guard(limits, journal, SystemClock().now())
            _check_any_allowed(request.spec, guard.check)
    if a.dry_run:
        return _dry_run(a, request, load)
    _check_any_allowed(request.spec, lambda s, c: money.check_limits(c, s.limits, s.lease_s))
    _confirm(a, request)
    with _open_journal() as journal:
        outcome = _start(a, request, journal, load, limits=limits, project=project, wait_s=wait_s)
    return _report(a, outcome)


def _start(
    a: argparse.Namespace, request: provision_request.Request, journal: Journal, load: _Providers,
    *, limits: standing.Standing, project: str, wait_s: float,
) -> Outcome:  # fmt: skip
    """Begin the run, or go on with one of the same request that was not finished."""
    unfinished = None if a.new else journal.abandoned(request.spec)
    if unfinished is not None:
        common.note(
            f"run {unfinished.id} of the same request was not finished; going on with it (--new starts another)."
        )
    for run in journal.not_gone(request.spec):
        common.note(
            f"warning: run {run.id} of the same request is not proved gone ({run.state.replace('_', ' ')}) and may "
            f"still bill; another is started beside it. End it: cloudaccel provision down {run.id}"
        )
    with stoppable(_STOPPED), waiting(quiet=a.quiet) as line:
        rounds = Rounds(line.note)

        def say(what: str, until: datetime | None) -> None:
            if what == NEXT_ROUND:
                rounds.over()
            line.say(what, until)

        run = unfinished or journal.open_run(request.spec, principal=local_principal(), project=project)
        launcher = Launcher(journal, load, SystemClock(), log=rounds.attempt, standing=limits, say=say)
        try:
            outcome = launcher.up(request.spec, wait_s=wait_s, resume=run)
            rounds.over()
        except KeyboardInterrupt:  # the second: what was begun is left to a later ending
            ending = provision_end.not_proved(journal, run)
            outcome = Outcome(
                run=ending.run, attempts=(), exit_code=11 if ending.remaining else 130, reason="interrupted twice.",
                may_bill=ending.remaining,
            )  # fmt: skip
    return outcome


def _dry_run(a: argparse.Namespace, request: provision_request.Request, load: "_Providers") -> int:
    clock = SystemClock()
    now = clock.now()
    with waiting(quiet=a.quiet) as line:
        places = Places(load, clock, Calls(Waits(clock, line.say), patience_s=10))
        previews = places.preview(request.spec)
    if a.output == "json":
        answers.write(a, "provision.preview", out.preview_json(request.spec, previews, now))
    else:
        common.write(provision_render.preview_text(request.spec, previews, request.said, now))
    return _worst([p for p in previews if p.problem is not None], len(previews))


def _worst(problems: Sequence[Preview], total: int) -> int:
    """0 when some place is permitted; else the exit code of the first place's problem."""
    if len(problems) < total or problems[0].problem is None:
        return 0
    return problems[0].problem.exit_code


def _check_any_allowed(spec: Spec, check: Callable[[Spec, Candidate], None]) -> None:
    """Refuse before asking, when no place is inside the limits."""
    refusals: list[LimitExceeded] = []
    for candidate in spec.candidates:
        try:
            check(spec, candidate)
            money.check_window(spec.limits, SystemClock().now())
            return
        except LimitExceeded as error:
            refusals.append(error)
    raise refusals[0]


def _confirm(a: argparse.Namespace, request: provision_request.Request) -> None:
    now = SystemClock().now()
    spec = request.spec
    first = spec.candidates[0]
    dearest = max(spec.candidates, key=lambda c: c.request_price_per_hour or 0)
    deadline = money.deadline(first, spec.limits, spec.lease_s, now)
    place = f"{first.provider} {first.zone or first.region}, {first.market.replace('_', '-')}"
    lines = [f"Create {provision_render.what(first)} in {place}."]
    lines += provision_render.promise(spec, first, deadline, now)
    if len(spec.candidates) > 1:
        lines.append(
            f"If there is none: {units.counted(len(spec.candidates) - 1, 'more place')}, up to "
            f"{money.amount(dearest.request_price_per_hour)} {dearest.currency}/h."
        )
    if a.yes:
        return
    common.note("\n".join(lines))
    common.confirm("Start it?", alone="a start costs money", refused="not started: nothing was created.")


def _report(a: argparse.Namespace, outcome: Outcome) -> int:
    if a.output == "json":
        answers.write(a, "provision.run", out.outcome_json(outcome), kept=True)
    run = outcome.run
    if outcome.exit_code == 0:
        if a.output != "json" and run.lease_until is not None:
            left = provision_render.span((run.lease_until - SystemClock().now()).total_seconds())
            common.write(
                f"run {run.id}  RUNNING  {run.nodes} × {run.instance} in {run.provider} {run.zone}  lease {left}\n"
            )
            common.write(f"  end it: cloudaccel provision down {run.id}\n")
        return 0
    if outcome.may_bill:
        common.note(f"error: run {run.id} failed and MAY STILL BE BILLING: {'; '.join(outcome.may_bill)}")
        common.note(f"  why: {outcome.reason}\n  try: cloudaccel provision down {run.id}")
    else:
        common.note(f"error: run {run.id} was not started: {outcome.reason}\n  Nothing of it is left.")
    return outcome.exit_code


# -- looking -----------------------------------------------------------------------------------------------------------


def _row(journal: Journal, run: Run) -> tuple[Run, str, str, Cost]:
    live = [r for r in journal.resources(run.id, live=True) if r.kind == "machine"]
    lost = journal.operations(run.id, states=("sent",))
    abandoned = run.state in UNFINISHED and journal.is_free(run)
    bills = out.billing(run, len(live), len(lost))
    return run, provision_render.state_of(run, abandoned), bills, cost(journal, run, SystemClock().now())


def _run_list(a: argparse.Namespace, journal: Journal) -> int:
    rows = [_row(journal, run) for run in journal.runs() if a.all or run.state not in OVER]
    if a.output == "json":
        runs = [out.run_json(run, spent, bills) for run, _, bills, spent in rows]
        answers.write(a, "provision.list", {"runs": runs})
    else:
        common.write(provision_render.list_text(rows, SystemClock().now()))
    return 0


def _run_show(a: argparse.Namespace, journal: Journal) -> int:
    run = journal.run(a.run)
    operations, resources = journal.operations(run.id), journal.resources(run.id)
    if a.output == "json":
        answers.write(a, "provision.show", out.show_json(run, operations, resources))
        return 0
    with waiting(quiet=a.quiet) as line:
        calls = Calls(Waits(SystemClock(), line.say), patience_s=5)
        live = ["now: not asked (--offline)"] if a.offline else _now(journal, run, calls)
    common.write(provision_render.show_text(run, _row(journal, run)[1], operations, resources, live))
    return 0


def _now(journal: Journal, run: Run, calls: Calls) -> list[str]:
    """What the cloud says of the run's machines at this moment."""
    lines = ["now"]
    load = _Providers(offline=False)
    for tracked in journal.resources(run.id, live=True):
        if tracked.kind == "machine":
            try:
                instances = machines(load(tracked.provider))
                found = calls.read(lambda i=instances, t=tracked: i.get(t.id, region=t.region))
                address = f"  {found.private_address} (private)" if found.private_address else ""
                lines.append(f"  {tracked.id}  {found.state}{address}{_use(instances, tracked, calls)}")
            except CloudAccelError as error:
                lines.append(f"  {tracked.id}  not known: {error}")
    return lines if len(lines) > 1 else []


def _use(instances: Instances, tracked: Tracked, calls: Calls) -> str:
    """What the machine says of its accelerators; that it says nothing is said as well."""
    try:
        console = calls.read(lambda: instances.console(tracked.id, region=tracked.region))
    except ProviderError:
        console = None
    report = read_report(console, SystemClock().now())
    if report is None:
        return "  use not known"
    busy = "use not known" if report.use_percent is None else f"{report.use_percent} % busy"
    answer = "answers" if report.accelerators == 1 else "answer"
    return f"  {units.counted(report.accelerators or 0, 'accelerator')} {answer}, {busy}"


def _run_cost(a: argparse.Namespace, journal: Journal) -> int:
    runs = provision_end.named(journal, a.run) if a.run else list(journal.runs())
    now = SystemClock().now()
    costs = [cost(journal, run, now) for run in runs]
    asked = provision_money.read(a)
    price = provision_money.disk_price(a, asked)
    disks = {run.id: disk_lines(journal, run, now, price) for run in runs}
    addresses = {run.id: address_lines(journal, run, now) for run in runs}
    if a.output == "json":
        told = [
            {
                **out.cost_json(c),
                **provision_money.to_json(c, asked),
                "disks": provision_disks.to_json(disks[c.run.id]),
                "addresses": provision_disks.addresses_json(addresses[c.run.id]),
            }
            for c in costs
        ]
        answers.write(a, "provision.cost", {"costs": told})
    else:
        beside = provision_disks.text(disks, price, a.disk_price is None) + provision_disks.addresses_text(addresses)
        common.write(provision_render.cost_text(costs, asked) + beside)
    return 0


def _run_extend(a: argparse.Namespace, journal: Journal) -> int:
    run = lease.extend(journal, journal.run(a.run), units.parse_duration_s(a.by, "TIME"))
    if a.output == "json":
        answers.write(a, "provision.run", {"run": out.run_json(run)}, kept=True)
    else:
        common.write(
            f"run {run.id}: lease until {out.moment(run.lease_until)}; "
            f"switches itself off at {out.moment(run.deadline_at)}\n"
        )
    return 0
