"""``cloudaccel serve``: the read-only verbs over HTTP, for this machine or for who signs in."""

import argparse
import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from cloudaccel import settings as user_settings
from cloudaccel import units
from cloudaccel.api.attending import Tasks, source_of
from cloudaccel.api.money import read_money
from cloudaccel.api.renewing import check_reading
from cloudaccel.catalog.scratch import scratch
from cloudaccel.catalog.session import open_session
from cloudaccel.cli import common, flags, serve_sign_in
from cloudaccel.cli.attendant import attending
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.jobs import parse_schedule
from cloudaccel.settings import load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cloudaccel.access.organisation import Issuer

EXAMPLES = """\
  cloudaccel serve                                         http://127.0.0.1:8080, read-only
  cloudaccel serve --port 9000 --max-age 30d               /readyz fails when the prices are older
  cloudaccel serve --host 0.0.0.0 --allow-host gpu.example.org --auth token
  cloudaccel serve --auth token,jwt --jwt-issuer https://login.example.org/ --jwt-audience cloudaccel \\
      --jwt-keys https://login.example.org/keys
  cloudaccel serve --auth token --enable-provision         runs from a lock, inside budgets
  cloudaccel serve --currency JPY --fx-file eurofxref.csv --tax 10%
  cloudaccel serve --workers 4                             four processes behind the one port
  cloudaccel serve --refresh 6h --watch 1m --alerts        keep prices, runs and people up to date
"""
_DAY_S = 86_400
_CONNECTIONS = 256  # at once; more are answered with 503 instead of being queued without end
_DRAIN_S = 10
_SILENT_S = 30  # after which a process that does not answer is started anew; on a busy machine it takes long to begin
_MOST_WORKERS = 64


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser(
        "serve",
        "Prices over HTTP, read-only: the filters and the JSON of quote. Connects to nothing unless it is asked to.",
        EXAMPLES,
    )
    s = p.add_argument_group("service")
    s.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default 127.0.0.1)")
    s.add_argument("--port", default="8080", metavar="N", help="port to listen on (default 8080); 0 takes a free one")
    s.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        help="name that clients call this service by; needed off loopback",
    )
    flags.add(s, "--max-age", "; /readyz then says no")
    s.add_argument(
        "--rate", metavar="N",
        help="requests a second that one address may make; with --workers N each process counts for itself, so up to N "
        "times that (default: any number)",
    )  # fmt: skip
    flags.add(s, "--currency", ", where a question names none")
    flags.add(s, "--tax", ", where a question names none")
    flags.add(s, "--fx-file")
    s.add_argument(
        "--workers", default="1", metavar="N", help="processes that answer (default 1); one per core is enough"
    )
    j = p.add_argument_group("by itself (in a process of its own; several services on one database share the work)")
    j.add_argument("--refresh", metavar="WHEN", help="read the sellers' price lists: every 6h, or as cron says in UTC")
    j.add_argument("--catalog-from", metavar="URL", help="take the catalog of this other service when it changes")
    j.add_argument("--watch", metavar="TIME", help="end runs that are over their lease or budget, look this often: 1m")
    j.add_argument(
        "--reap", action="store_true",
        help="with --watch: also end what has this installation's tag, no run, and a deadline in its tag that is over "
        "(default: it is told only)",
    )  # fmt: skip
    j.add_argument("--alerts", action="store_true", help="send what 'cloudaccel alert' defines")
    j.add_argument("--alert-private", action="store_true", help="alerts may go to addresses of private networks")
    serve_sign_in.add_sign_in(p)
    serve_sign_in.add_runs(p)
    s.add_argument("-q", "--quiet", action="store_true", help="no warnings on stderr, and no line per request")
    return p


def run(a: argparse.Namespace) -> int:
    """Serve until interrupted; exit 2 when it cannot listen."""
    port = _port(a.port)
    ways = serve_sign_in.ways_of(a)
    max_age = units.parse_duration_s(a.max_age, "--max-age") / _DAY_S if a.max_age else None
    rate = None if a.rate is None else units.parse_minimum(a.rate, "--rate")
    if rate is not None and rate <= 0:
        raise QueryError(f"--rate: {a.rate} must be above 0. Leave it out for any number.")
    workers = _workers(a.workers)
    tasks = _tasks(a)
    currency = _currency(a)
    import uvicorn  # after the flags, so that a wrong one is said at once

    from cloudaccel.service.app import LOOPBACK_NAMES

    hosts = (*LOOPBACK_NAMES, *(a.allow_host or ()))
    issuer = serve_sign_in.issuer_of(a, ways)
    if "token" in ways:
        _check_store()
    packs = serve_sign_in.packs_of(a)
    app = partial(
        make_app, quiet=a.quiet, ways=ways, issuer=issuer, packs=packs, jobs=tasks.shared, catalog=a.catalog,
        max_age_days=max_age, hosts=hosts, rate=rate, currency=currency, tax=a.tax,
    )  # fmt: skip
    settings = uvicorn.Config(
        app, factory=True, host=a.host, port=port, log_config=None, access_log=False, server_header=False,
        limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=_DRAIN_S, timeout_worker_healthcheck=_SILENT_S,
        workers=workers,
    )  # fmt: skip
    with open_session(a.catalog):  # prices that cannot be read are said now, not at the first request
        pass
    # uvicorn ends its work on SIGTERM and then sends it once more, to whom it was for: what is around it is to end too.
    signal.signal(signal.SIGTERM, _leave)
    # Python's own handler would be replaced by that of asyncio, which loses a Ctrl-C that comes before uvicorn listens.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    with _listening(a.host, port) as listener:
        host, real_port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        said = serve_sign_in.said(ways, starts=a.enable_provision)
        common.note(f"serving http://{shown}:{real_port}/ ({said}; stop with Ctrl-C)")
        with attending(tasks, catalog=a.catalog, quiet=a.quiet):
            if workers == 1:
                uvicorn.Server(settings).run(sockets=[listener])
            else:
                _run_workers(settings, listener)
    return 0


def _currency(a: argparse.Namespace) -> str | None:
    """What to answer in; the rates are for every process that answers, as the setting of that name."""
    if a.fx_file:
        os.environ["CLOUDACCEL_FX_FILE"] = os.path.abspath(a.fx_file)
    read_money(a.currency, a.fx_file, a.tax)  # what cannot be read is said now
    return a.currency.upper() if a.currency else None


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _tasks(a: argparse.Namespace) -> Tasks:
    """What to do by itself; checked now, since it is done in another process."""
    watch = a.watch or ("1m" if a.enable_provision else None)  # who starts machines sees to it that they end
    tasks = Tasks(
        refresh=a.refresh, watch=watch, reap=a.reap, alerts=a.alerts, private=a.alert_private, source=a.catalog_from
    )
    if tasks.reap and not tasks.watch:
        raise QueryError("--reap is about runs that are watched; add --watch 1m.")
    if tasks.private and not tasks.alerts:
        raise QueryError("--alert-private is about messages; add --alerts.")
    if tasks and a.offline:
        raise ConfigError(
            "--offline was given, and --refresh, --catalog-from, --watch, --alerts and --enable-provision need the "
            "network."
        )
    if tasks.refresh and tasks.source:
        raise QueryError("--refresh and --catalog-from both write the user's own catalog; leave one out.")
    if (tasks.refresh or tasks.source) and (a.catalog or load_settings()["catalog"]):
        raise QueryError("--refresh and --catalog-from write the user's own catalog; leave --catalog out.")
    if tasks.refresh:
        check_reading()
    if tasks.source:
        source_of(tasks.source)
    for flag, when in (("--refresh", tasks.refresh), ("--watch", tasks.watch)):
        if when is not None:
            try:
                parse_schedule(when)
            except QueryError as error:
                raise QueryError(str(error).replace("--schedule", flag)) from None
    return tasks


def make_app(
    *, quiet: bool, ways: frozenset[str], issuer: "Issuer | None", packs: tuple[str, ...] | None, jobs: bool,
    currency: str | None, tax: str | None, **options: Any,
) -> "FastAPI":  # fmt: skip
    """The application in the process that answers; `options` are those of `cloudaccel.service.app.create_app`.

    `packs` None: it starts no machines. `jobs`: a process beside it does some that it shares with other services.
    """
    from cloudaccel.service.app import create_app
    from cloudaccel.service.asked import Money

    _log_to_stderr(quiet=quiet)
    engine = runs = stored = None
    opened = ExitStack()
    try:
        if packs is not None or "token" in ways or jobs:
            from cloudaccel import state  # SQLAlchemy, for who uses the state store
            from cloudaccel.service.stored import Stored

            engine = opened.enter_context(state.opened())
            if packs is not None:
                from cloudaccel.service.runs import Runs

                runs = Runs(engine, catalog=options["catalog"], packs=packs)
                opened.callback(runs.work.close)
                runs.work.keep()
            stored = Stored(engine, None if runs is None else runs.spent)
        return create_app(
            sign_in=serve_sign_in.sign_in(ways, issuer, engine), runs=runs, stored=stored, money=Money(currency, tax),
            closing=opened.close, **options,
        )  # fmt: skip
    except BaseException:
        opened.close()
        raise


def _check_store() -> None:
    """Say now that the state store cannot be used. Raises `ConfigError`, `StorageError`."""
    from cloudaccel import state  # SQLAlchemy, for who uses the state store

    with state.opened():
        pass


def _run_workers(settings: Any, listener: socket.socket) -> None:
    """Several processes that take connections from one port; one that dies is started again."""
    from uvicorn.supervisors import Multiprocess

    # Each process counts its own requests; /metrics of any of them adds up what all have written here.
    with scratch(user_settings.cache_dir()) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        Multiprocess(settings, sockets=[listener]).run()


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WORKERS:
        raise QueryError(f"--workers: {text!r} is no number of processes. Write 1 to {_MOST_WORKERS}.")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise QueryError(f"--port: {text!r} is no port. Write a number from 0 to 65535.")
    return int(text)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
        # Connections inherit it. asyncio sets it only on sockets that name their protocol, which these do not; without
        # it the head and the body of an answer wait 40 ms for each other.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. Name another with --port or --host."
        ) from error


def _log_to_stderr(*, quiet: bool) -> None:
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("cloudaccel.service").setLevel(level)
