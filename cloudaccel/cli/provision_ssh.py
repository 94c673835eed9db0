"""``provision ssh``: the way into a machine that its cloud and network leave open. It opens none."""

import argparse
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudaccel import settings
from cloudaccel.cli import answers, common
from cloudaccel.cli.provision_wait import waiting
from cloudaccel.errors import InstanceNotFound, NothingFits, ProviderError, QueryError
from cloudaccel.files import replace_text
from cloudaccel.protocols import Instance, Instances, Provider, Way
from cloudaccel.provision.calls import Calls, machines
from cloudaccel.provision.clock import SystemClock
from cloudaccel.provision.journal import Journal
from cloudaccel.provision.reports import host_key
from cloudaccel.provision.values import Run
from cloudaccel.provision.waiting import Waits


def add(p: argparse.ArgumentParser) -> None:
    """The action's own flags."""
    p.add_argument("run", metavar="RUN", help="id, or its beginning")
    p.add_argument("command", metavar="COMMAND", nargs="*", help="after --: run this instead of a shell")
    p.add_argument("--node", metavar="N", type=int, default=1, help="which machine of the run, from 1 (default 1)")
    p.add_argument("--each", action="store_true", help="run COMMAND on every machine at once, lines marked by machine")
    p.add_argument("--print", action="store_true", help="print the command that would be run, and run nothing")
    p.add_argument("--user", metavar="NAME", help="user for plain ssh (default: that of the cloud's images)")
    p.add_argument("--identity", metavar="FILE", help="your private key, for ssh and Bastion; it is not read here")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """One machine: its number from 1, what the cloud says of it, and the console's host key (None: not seen)."""

    number: int
    machine: Instance
    host_key: str | None


def run(a: argparse.Namespace, journal: Journal, load: Callable[[str], Provider]) -> int:
    """Open a shell, or run a command; the exit code is its own."""
    found = journal.run(a.run)
    if a.each and not a.command:
        raise QueryError("--each needs a command after --, such as: provision ssh RUN --each -- nvidia-smi -L")
    if found.state != "ready" or found.provider is None:
        state = found.state.replace("_", " ")
        raise QueryError(f"run {found.id} is {state}: there is a way only into machines that run.")
    instances = machines(load(found.provider))
    with waiting(quiet=a.quiet) as line:
        nodes = _nodes(journal, found, instances, Calls(Waits(SystemClock(), line.say), patience_s=10))
    if not 1 <= a.node <= len(nodes):
        raise QueryError(f"--node {a.node}: run {found.id} has machines 1 to {len(nodes)}.")
    each: bool = a.each
    chosen = nodes if each else [nodes[int(a.node) - 1]]
    commands: dict[int, Sequence[str]] = {node.number: _command(a, found, instances, node, nodes) for node in chosen}
    if a.print or a.output == "json":
        return _print(a, found, commands)
    if a.each:
        return _run_each(commands)
    return _run_one(next(iter(commands.values())))


def _nodes(journal: Journal, found: Run, instances: Instances, calls: Calls) -> list[_Node]:
    tracked = [r for r in journal.resources(found.id, live=True) if r.kind == "machine"]
    nodes: list[_Node] = []
    for number, one in enumerate(sorted(tracked, key=lambda r: r.id), 1):
        try:
            machine = calls.read(lambda t=one: instances.get(t.id, region=t.region))
        except InstanceNotFound:
            raise NothingFits(f"{one.id} does not show in its cloud: 'provision show {found.id}' says more.") from None
        nodes.append(_Node(number=number, machine=machine, host_key=_host_key(instances, machine, calls)))
    return nodes


def _host_key(instances: Instances, machine: Instance, calls: Calls) -> str | None:
    try:
        return host_key(calls.read(lambda: instances.console(machine.id, region=machine.region)))
    except ProviderError:
        return None  # ssh then asks


def _command(
    a: argparse.Namespace, found: Run, instances: Instances, node: _Node, nodes: Sequence[_Node]
) -> Sequence[str]:
    """Program and arguments of the first way that is open and whose program is here. Raises `NothingFits`."""
    if node.machine.state != "running":
        raise NothingFits(f"{node.machine.id} is {node.machine.state}: there is a way only into machines that run.")
    text = _text(a.command, found, node, nodes)
    tried: list[str] = []
    for way in _ways(a, found, instances, node, text):
        if way.state == "open" and shutil.which(way.argv[0]) is None and not a.print:
            tried.append(f"{way.name}: needs the program {way.argv[0]!r}, which is not on this machine")
        elif way.state == "open":
            return way.argv
        else:
            tried.append(f"{way.name}: {'not known' if way.state == 'unknown' else 'closed'}, {way.why}")
    raise NothingFits(f"there is no way into {node.machine.id}, and none is opened. {'; '.join(tried)}.")


def _text(command: Sequence[str], found: Run, node: _Node, nodes: Sequence[_Node]) -> str | None:
    """The command as one line of the machine's shell, with what several machines need to find each other.

    The words of a person's command are joined as ssh joins them, so that a pipe or a ``$HEAD_NODE`` in them works.
    """
    if not command:
        return None
    known = {
        "RUN_ID": found.id,
        "NODES": str(len(nodes)),
        "NODE_RANK": str(node.number - 1),
        "HEAD_NODE": nodes[0].machine.private_address or "",
    }
    names = "; ".join(f"export {key}={shlex.quote(value)}" for key, value in known.items() if value)
    return f"{names}; {' '.join(command)}"


def _ways(a: argparse.Namespace, found: Run, instances: Instances, node: _Node, command: str | None) -> Sequence[Way]:
    access = instances.access
    if access is None:
        own: Sequence[Way] = ()
    else:
        own = access.ways_in(node.machine.id, region=node.machine.region, command=command, identity=a.identity)
    return (*own, _plain_ssh(a, found, node, command, access.login if access else ""))


def _plain_ssh(a: argparse.Namespace, found: Run, node: _Node, command: str | None, login: str) -> Way:
    """ssh to the machine's address, whose host key must be the one on its console."""
    user, address = a.user or login, node.machine.public_address or node.machine.private_address
    why = ""
    if not found.spec.options.ssh_cidrs:
        why = "nothing inbound is open; a new run with --ssh-cidr NETWORK would be reached from there"
    elif not user:
        why = "the cloud gives everybody a user of their own; name yours with --user"
    elif address is None:
        why = "the machine has no address"
    if why or address is None:
        return Way(name="ssh", direction="in", state="closed", why=why)
    argv = ["ssh", "-o", f"UserKnownHostsFile={_known_hosts(found, node, address)}"]
    argv += ["-o", f"StrictHostKeyChecking={'yes' if node.host_key else 'ask'}"]
    argv += ["-i", a.identity] if a.identity else []
    argv += ["--", f"{user}@{address}"] if command is None else ["--", f"{user}@{address}", command]
    return Way(name="ssh", direction="in", state="open", argv=tuple(argv))


def _known_hosts(found: Run, node: _Node, address: str) -> Path:
    """A file of this run's own: an address of today may have been another machine's yesterday."""
    file = settings.data_dir() / "known_hosts" / f"{found.id}-{node.number}"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if node.host_key is not None:
        replace_text(file, f"{address} {node.host_key}\n")
        file.chmod(0o600)
    return file


# -- doing it ----------------------------------------------------------------------------------------------------------


def _print(a: argparse.Namespace, found: Run, commands: Mapping[int, Sequence[str]]) -> int:
    if a.output == "json":
        body = [{"node": number, "argv": list(argv)} for number, argv in commands.items()]
        answers.write(a, "provision.ssh", {"run": found.id, "commands": body})
    else:
        common.write("".join(f"{shlex.join(argv)}\n" for argv in commands.values()))
    return 0


def _run_one(argv: Sequence[str]) -> int:
    """The program with this terminal; Ctrl-C is its own affair."""
    common.flush()
    before = signal.signal(signal.SIGINT, _ignore)  # not SIG_IGN, which the program would inherit
    try:
        return _code(subprocess.call(argv))  # noqa: S603 - a list of words, and no shell of this machine
    finally:
        signal.signal(signal.SIGINT, before)


def _ignore(_signal: int, _frame: object) -> None:
    """The program that was started has got the signal too."""


def _run_each(commands: Mapping[int, Sequence[str]]) -> int:
    """All at once; each line is marked with its machine. The worst exit code."""
    started = {number: _start(argv) for number, argv in commands.items()}
    readers = [threading.Thread(target=_copy, args=(n, p), daemon=True) for n, p in started.items()]
    try:
        for reader in readers:
            reader.start()
        codes = [_code(process.wait()) for process in started.values()]
        for reader in readers:
            reader.join()
    finally:
        for process in started.values():
            process.terminate()
    return max(codes)


def _start(argv: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - a list of words, and no shell of this machine
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def _copy(number: int, process: "subprocess.Popen[str]") -> None:
    if process.stdout is None:
        return
    with process.stdout as said:
        for line in said:
            common.write(f"[{number}] {line.rstrip()}\n")
            common.flush()


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned
