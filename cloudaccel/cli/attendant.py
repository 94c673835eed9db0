"""The process beside a service that does what comes round: it answers nobody, so that no answer waits for it."""

import logging
import multiprocessing
import multiprocessing.connection
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

from cloudaccel.api.attending import Tasks, attend
from cloudaccel.errors import CloudAccelError

_LOG = logging.getLogger("cloudaccel.jobs")
_AGAIN_S = 5.0  # after it has died
_END_S = 30.0  # how long work under way may take when the service ends


@contextmanager
def attending(tasks: Tasks, *, catalog: str | None, quiet: bool) -> Generator[None]:
    """Have `tasks` done while entered; the process is started again when it dies.

    Raises
    ------
    ConfigError, StorageError
        If the state store cannot be opened.
    """
    if not tasks:
        yield
        return
    if tasks.shared:
        from cloudaccel import state  # SQLAlchemy, for who keeps jobs

        state.open_state().dispose()  # a store that cannot be used is said now, not by another process again and again
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(tasks, catalog, quiet, stop))
    try:  # a signal may come while it starts, and what nobody told to end would keep the program for ever
        keeper.start()
        yield
    finally:
        stop.set()
        if keeper.is_alive():
            keeper.join()


def _keep(tasks: Tasks, catalog: str | None, quiet: bool, stop: threading.Event) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would carry the service's threads and sockets along
    while not stop.is_set():
        process = context.Process(target=_run, args=(tasks, catalog, quiet), name="jobs")
        process.start()
        while process.is_alive() and not stop.wait(0.2):
            pass
        if stop.is_set():
            process.terminate()
            process.join(_END_S)
            if process.is_alive():  # what it holds runs out by itself
                process.kill()
                process.join()
            return
        process.join()
        if not stop.wait(_AGAIN_S):
            _LOG.error("the process of the jobs ended with %s; it is started again", process.exitcode)


def _run(tasks: Tasks, catalog: str | None, quiet: bool) -> None:
    """The process itself: until SIGTERM, or until the service is gone, however it went."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    _LOG.setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each try of a connection, with the whole address
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service too, which then ends this one
    threading.Thread(target=_until_alone, args=(stop,), daemon=True).start()
    try:
        attend(tasks, catalog=catalog, stop=stop)
    except CloudAccelError as error:
        _LOG.error("error: %s", error)
        sys.exit(error.exit_code)


def _until_alone(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        stop.set()
