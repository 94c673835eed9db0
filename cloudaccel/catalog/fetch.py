"""Reads price lists, many scopes at once: each is read whole or not at all, and none can hold up or empty another."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cloudaccel.catalog.offers import row_of
from cloudaccel.catalog.rows import Row, offer_checker
from cloudaccel.catalog.web import Asked
from cloudaccel.errors import CloudAccelError, MalformedResponse, ProviderError, ProviderUnavailable
from cloudaccel.model import Source
from cloudaccel.protocols import Prices, Scope

WORKERS = 8  # calls that wait for a network; one host sees at most as many
DEADLINE_S = 1800.0  # of one scope: AWS's largest region is some 400 MB
_MAX_OFFERS = 2_000_000  # of one scope; more is no price list

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What reading one scope gave: rows and their sources, or the error for which none of it is used.

    `unchanged`: every source said that its list is the one that was taken last. `asked`: what answered.
    """

    scope: Scope
    rows: tuple[Row, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source])
    error: CloudAccelError | None = None
    unchanged: bool = False
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """Something to be done in a thread, for `provider`."""

    provider: str
    work: Callable[[], T]


def read_scope(prices: Prices, scope: Scope, *, past: Callable[[], bool] = lambda: False) -> Read:
    """Every offer of `scope` as a checked row. `past` says when to give up.

    Raises
    ------
    ProviderError
        If the list cannot be had or understood, or an offer breaks the format: nothing of the scope is used then.
    """
    check = offer_checker()
    rows: list[Row] = []
    sources: dict[str, Source] = {}
    for offer in prices.offers(scope):
        if past():
            raise _late(scope.provider)
        row = row_of(offer)
        fault = check(row) or _stray(row, scope)
        if fault is None and len(rows) >= _MAX_OFFERS:
            fault = f"more than {_MAX_OFFERS} offers"
        if fault:
            raise MalformedResponse(
                f"{scope.provider}: {_shown(offer.instance)} cannot be used: {fault}. Prices stay as they were; "
                "report it to whoever wrote the adapter.",
                provider=scope.provider, operation="prices",
            )  # fmt: skip
        rows.append(row)
        sources[offer.price.source.id] = offer.price.source
    return Read(scope=scope, rows=tuple(rows), sources=sources)


def run_all(
    tasks: Sequence[Task[T]], *, workers: int = WORKERS, deadline_s: float = DEADLINE_S
) -> Iterator[tuple[int, T | CloudAccelError]]:
    """Results of `tasks` by their number, as they come; what a task raises is its result.

    A task that is not back `deadline_s` after it began is given up, whatever it hangs on: threads are daemons, so
    neither Ctrl-C nor the end of the program waits for them.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, T | CloudAccelError]] = queue.SimpleQueue()
    begun: dict[int, float] = {}
    for number in range(len(tasks)):
        waiting.put(number)

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            begun[number] = time.monotonic()
            done.put((number, _outcome(tasks[number])))

    def start() -> None:
        threading.Thread(target=work, daemon=True, name="cloudaccel-read").start()

    for _ in range(min(workers, len(tasks))):
        start()
    missing = set(range(len(tasks)))
    while missing:
        try:
            number, outcome = done.get(timeout=0.2)
        except queue.Empty:
            for late in _overdue(missing, begun, deadline_s):
                missing.discard(late)
                start()  # in place of the thread that hangs
                yield late, _late(tasks[late].provider)
            continue
        if number in missing:
            missing.discard(number)
            yield number, outcome


def _overdue(missing: set[int], begun: Mapping[int, float], deadline_s: float) -> list[int]:
    now = time.monotonic()
    return [number for number in sorted(missing) if number in begun and now - begun[number] > deadline_s]


def _outcome(task: Task[T]) -> T | CloudAccelError:
    try:
        return task.work()
    except CloudAccelError as error:
        return error
    except Exception as error:
        kind = type(error).__name__  # its text may hold an address with a key
        return ProviderError(
            f"{task.provider}: its adapter failed ({kind}). Prices stay as they were; report it to whoever wrote it.",
            provider=task.provider, operation="prices", code=kind,
        )  # fmt: skip


def _shown(name: str) -> str:
    """A name as it may stand on a terminal, whatever a source sent."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:80])


def _stray(row: Row, scope: Scope) -> str | None:
    where = (row["provider"], row["partition"])
    if where != (scope.provider, scope.partition) or scope.region not in (None, row["region"]):
        return f"it is of {row['provider']} {row['partition']} {row['region']}, asked was another place"
    return None


def _late(provider: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"{provider}: the price list took longer than its deadline. Prices stay as they were; try again later.",
        provider=provider, operation="prices", code="deadline",
    )  # fmt: skip
