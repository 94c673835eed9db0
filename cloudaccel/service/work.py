"""The threads that start and end runs for whoever asked: when their process dies, another goes on with them."""

import logging
import threading
from collections.abc import Callable

from cloudaccel.access.people import is_local
from cloudaccel.protocols import Provider
from cloudaccel.provision import standing
from cloudaccel.provision.clock import Clock
from cloudaccel.provision.journal import HoldLost, Journal
from cloudaccel.provision.launch import Launcher
from cloudaccel.provision.teardown import Ender
from cloudaccel.provision.values import UNFINISHED, Run
from cloudaccel.service.guard import Busy

_LOG = logging.getLogger("cloudaccel.service")
_MOST_AT_ONCE = 32  # launches and endings of one process
_LOOK_EVERY_S = 60.0
_LAST_LOOK_S = 5.0  # how long a look under way may take when the service ends


class Work:
    """Launches and endings under way in this process. `load` gives a provider by name."""

    def __init__(self, journal: Journal, load: Callable[[str], Provider], clock: Clock) -> None:
        self._journal = journal
        self._load = load
        self._clock = clock
        self._at_work: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    def keep(self, every_s: float = _LOOK_EVERY_S) -> None:
        """Go on with launches that a dead process left, until `close`. What must end, a watch ends."""

        def always() -> None:
            while not self._stop.is_set():
                try:
                    self.look()
                except Exception:  # the boundary of the thread: one bad look must not be the last
                    _LOG.exception("a look over the runs failed")
                self._stop.wait(every_s)

        self._keeper = threading.Thread(target=always, name="runs", daemon=True)
        self._keeper.start()

    def close(self) -> None:
        """End what `keep` began. Runs at work are not waited for: another process finds them in the journal."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join(_LAST_LOOK_S)

    def look(self) -> None:
        """One look for launches that nobody is at work on."""
        for run in self._journal.runs(states=UNFINISHED):
            # A local one waits for its person, and a restart for the watcher, which knows what is left of its lease.
            ours = run.principal is not None and not is_local(run.principal) and run.spec.restart_of is None
            if ours and run.id not in self._at_work and self._journal.is_free(run, believing=True):
                claimed = self._journal.claim(run)
                if claimed is not None:
                    self.launch(claimed)

    def launch(self, run: Run) -> None:
        """Let a thread start it, or go on with that."""
        self._begin(run.id, lambda: self._launch(run))

    def end(self, held: Run) -> None:
        """Let a thread remove everything of a run that is held, and prove it."""
        self._begin(f"{held.id} down", lambda: self._end(held))

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until no thread is at work; for tests."""
        for thread in list(self._at_work.values()):
            thread.join(timeout_s)

    def check_room(self) -> None:
        """Raises `Busy` where this process is at work on as many runs as it may be."""
        if len(self._at_work) >= _MOST_AT_ONCE:
            raise Busy("too many runs are being started and ended. Ask again in a few seconds.")

    def _launch(self, run: Run) -> None:
        launcher = Launcher(self._journal, self._load, self._clock, standing=standing.of_settings())
        outcome = launcher.up(run.spec, resume=run)
        said = "running" if outcome.exit_code == 0 else outcome.reason
        _LOG.info("run %s: %s", run.id, said)

    def _end(self, held: Run) -> None:
        try:
            Ender(self._journal, self._load, self._clock).end(held, note="ended over HTTP")
        finally:
            self._journal.let_go(held)

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        def working() -> None:
            try:
                work()
            except HoldLost:
                pass  # somebody else has taken the run, and goes on with it
            except Exception:  # the boundary of the thread: the journal has what was done, and the next look goes on
                _LOG.exception("%s", name)
            finally:
                with self._lock:
                    self._at_work.pop(name, None)

        # Not waited for at the end of the process: whenever it dies, the journal knows all that was sent.
        thread = threading.Thread(target=working, name=f"run {name}", daemon=True)
        with self._lock:
            self._at_work[name] = thread
        thread.start()


__all__ = ["Work"]
