"""`renew`: read the sellers' own price lists, judge them, and put what can be believed into the catalog."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cloudaccel import registry, settings
from cloudaccel.catalog import fetch, guard, renew, store
from cloudaccel.catalog.compact import compact, keep_days
from cloudaccel.catalog.locking import locked
from cloudaccel.catalog.notebook import Notebook
from cloudaccel.catalog.rows import Row
from cloudaccel.catalog.scratch import scratch
from cloudaccel.catalog.signing import signer_of
from cloudaccel.catalog.spool import Shared, spooled, sweep
from cloudaccel.catalog.web import Asked, Connection, HttpWeb
from cloudaccel.errors import (
    AuthError,
    CloudAccelError,
    ConfigError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    StorageError,
)
from cloudaccel.model import Source
from cloudaccel.protocols import Prices, Scope

LIVE = "the sellers' own price lists"
NO_KEY = "no-key"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRenewal:
    """What became of one provider.

    Attributes
    ----------
    status
        ``ok``; ``partly``: some scopes were read, the others keep their rows; ``refused``: the guard does not believe
        the list; ``failed``: it could not be read; ``skipped``: its key is not set, and nobody named it.
    offers
        Current offers of the provider afterwards.
    added, gone, moved
        Offers that are new, gone, or have another price or availability.
    held
        Prices that moved too far: shown without an amount until they are seen on another day.
    kept_as_of
        Newest date of the rows that stay, where something was refused or failed; None when there are none.
    """

    provider: str
    status: str
    offers: int
    added: int = 0
    gone: int = 0
    moved: int = 0
    held: int = 0
    messages: tuple[str, ...] = ()
    kept_as_of: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What a refresh from the sellers' lists did. `catalog_id` None: no price changed.

    `warnings`: what was wrong with the catalog that it started from, each one sentence.
    `exported`: `target` is a snapshot, which is written whether or not one did.
    """

    providers: tuple[ProviderRenewal, ...]
    changes: tuple[guard.Change, ...]
    target: Path | None
    catalog_id: str | None
    exported: bool = False
    warnings: tuple[str, ...] = ()

    def exit_code(self, *, strict: bool) -> int:
        """0 when at least one list was taken, else the code of the first failure; `strict`: 6 when any was not."""
        tried = [p for p in self.providers if p.status != "skipped"]
        if tried and all(p.status in ("failed", "refused") for p in tried):
            return 6 if strict else next((p.exit_code for p in tried if p.exit_code), 0)
        return 6 if strict and any(p.status != "ok" or p.held for p in tried) else 0


@dataclass(slots=True)
class _Work:
    """What is being put together: where the rows of now are, and where the new file goes."""

    cache: Path
    target: Path
    notes: Notebook
    now: datetime
    believe: bool
    write: bool
    still: Callable[[], None]
    keep_days: int | None = None
    changes: list[guard.Change] = field(default_factory=list[guard.Change])
    catalog_id: str | None = None
    warnings: list[str] = field(default_factory=list[str])

    def thin(self, db: sqlite3.Connection) -> None:
        """Drop what the policy on past prices lets go."""
        if self.keep_days is not None:
            compact(db, self.keep_days, self.now.date())

    def current(self) -> store.Catalog:
        named = str(self.target) if self.target.parent != self.cache and self.target.exists() else None
        opened = store.open_catalog(named, self.cache)
        late = store.clock_warning(opened.meta["as_of_until"], self.now.date().isoformat())
        found = (*opened.warnings, late) if late else opened.warnings
        self.warnings += [warning for warning in found if warning not in self.warnings]
        return opened


def renew_prices(
    providers: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    diff: bool = False,
    believe: bool = False,
    sign_with: str | None = None,
    progress: Progress = lambda _: None,
    now: datetime | None = None,
    still: Callable[[], None] = lambda: None,
) -> Renewed:
    """Read the price lists of `providers` (none: of all) into the user's catalog.

    Each list is read whole or not at all; one that fails leaves the others alone, and its old rows with their date.

    Parameters
    ----------
    out
        Write a snapshot with the new prices there; the user's catalog stays as it is.
    diff
        Only say what would change.
    believe
        Take lists and prices that the guard would refuse.
    still
        Asked right before prices are put in place; what it raises keeps them out, and is raised here.
    sign_with
        Sign the snapshot of `out` with this private key (PEM): a file, or ``env:NAME``.

    Raises
    ------
    UnknownName
        If no price list of a named provider can be read.
    ConfigError
        If a setting of the connection is wrong, or urllib3 is missing.
    StorageError
        If nothing can be written.
    """
    sign = signer_of(sign_with) if sign_with else None  # before anybody is asked
    kept = keep_days(settings.load_settings()["history_days"])
    names = list(dict.fromkeys(providers)) or list(registry.price_lists())
    lists = {name: registry.price_list(name) for name in names}
    cache = settings.cache_dir()
    if not (out or diff):
        store.check_ours(cache / "catalog.sqlite")
    sweep(cache)
    with scratch(cache) as working:
        target = working / "catalog.sqlite" if out or diff else cache / "catalog.sqlite"
        work = _Work(cache, target, Notebook(cache), now or _now(), believe, not diff, still, keep_days=kept)
        done = [_settled(work, name, reads, bool(providers)) for name, reads in _read(work, lists, progress)]
        if out:
            from cloudaccel.api.refreshing import export_snapshot

            export_snapshot(work.current(), Path(out), sign)
    return Renewed(
        providers=tuple(sorted(done, key=lambda p: p.provider)), changes=tuple(work.changes),
        target=Path(out) if out else None if diff else target, catalog_id=work.catalog_id, exported=bool(out),
        warnings=tuple(work.warnings),
    )  # fmt: skip


def check_reading() -> None:
    """Raise `ConfigError` where no price list can be read: urllib3 is missing, or a setting of the connection is wrong.

    For who will read them later, again and again: what is wrong now would be wrong each time.
    """
    HttpWeb("", connection_of(settings.load_settings()))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _read(work: _Work, lists: Mapping[str, Prices], progress: Progress) -> Iterable[tuple[str, list[fetch.Read]]]:
    """Each provider with all its scopes, as soon as the last of them is back."""
    connection = connection_of(settings.load_settings())
    shared = {name: Shared() for name in lists}
    scopes: list[Scope] = []
    with ExitStack() as stack:
        webs = {name: stack.enter_context(HttpWeb(name, connection, shared=shared[name])) for name in lists}
        asked = [fetch.Task(name, prices.over(webs[name]).scopes) for name, prices in lists.items()]
        for number, found in fetch.run_all(asked, deadline_s=fetch.DEADLINE_S):
            name = asked[number].provider
            if isinstance(found, CloudAccelError):
                yield name, [fetch.Read(scope=Scope(provider=name, partition=""), error=found)]
            else:
                scopes.extend(found)
    waiting = {name: sum(scope.provider == name for scope in scopes) for name in lists}
    reads: dict[str, list[fetch.Read]] = {}
    taken = _taken(work, scopes)
    tasks = [
        fetch.Task(
            scope.provider,
            partial(
                _whole,
                lists[scope.provider],
                scope,
                connection,
                taken.get(scope, ()),
                work.cache,
                shared[scope.provider],
            ),
        )
        for scope in scopes
    ]
    for count, (number, outcome) in enumerate(fetch.run_all(tasks), start=1):
        scope = scopes[number]
        progress(f"read {count} of {len(scopes)} lists: {scope.provider} {scope.region or scope.partition}")
        read = fetch.Read(scope=scope, error=outcome) if isinstance(outcome, CloudAccelError) else outcome
        reads.setdefault(scope.provider, []).append(read)
        if len(reads[scope.provider]) == waiting[scope.provider]:
            yield scope.provider, reads.pop(scope.provider)


def _taken(work: _Work, scopes: Sequence[Scope]) -> dict[Scope, tuple[Asked, ...]]:
    """What answered when a scope was last taken, where the catalog still holds exactly those rows."""
    if work.believe:
        return {}
    current = work.current()
    try:
        found: dict[Scope, tuple[Asked, ...]] = {}
        for scope in scopes:
            note = work.notes.entry(scope)
            known: Mapping[str, Any] = note.get("asked", {})
            if known and not note["held"] and known["rows"] == len(_own(current, scope, known["sources"])):
                found[scope] = tuple(Asked(str(url), str(how), str(value)) for url, how, value in known["answers"])
        return found
    finally:
        current.close()


def _own(current: store.Catalog, scope: Scope, sources: Sequence[str]) -> list[Row]:
    rows = renew.current_rows(current.db, scope)
    return [row for row in rows if row["source"] in sources and row["availability"] != "not_seen"]


def _whole(
    prices: Prices, scope: Scope, connection: Connection, taken: Sequence[Asked], cache: Path, shared: Shared
) -> fetch.Read:
    with HttpWeb(scope.provider, connection) as web:
        if web.unchanged(taken):
            return fetch.Read(scope=scope, unchanged=True)
    with spooled(cache, scope) as spool:
        try:
            with HttpWeb(scope.provider, connection, spool=spool, shared=shared) as web:
                read = _read_whole(prices, scope, web)
        except (ProviderUnavailable, RateLimited):
            raise  # what was read so far is kept for the next time
        except ProviderError:
            resumed = spool is not None and spool.used
            if spool is not None:
                spool.clear()
            if not resumed:
                raise
            # A page that names the next by a token which no longer holds, or pages that do not fit together.
            with HttpWeb(scope.provider, connection, spool=spool) as web:
                read = _read_whole(prices, scope, web)
        if spool is not None:
            spool.end()
        return read


def _read_whole(prices: Prices, scope: Scope, web: HttpWeb) -> fetch.Read:
    end = time.monotonic() + fetch.DEADLINE_S
    read = fetch.read_scope(prices.over(web), scope, past=lambda: time.monotonic() > end)
    return replace(read, asked=tuple(web.asked))


def _settled(work: _Work, name: str, reads: Sequence[fetch.Read], named: bool) -> ProviderRenewal:
    """Judge the scopes of one provider and publish what is believed."""
    # Two at once would start from the same file, and one's prices would be lost.
    with locked(work.cache / "refresh.lock"):
        work.notes = Notebook(work.cache)
        current = work.current()
        try:
            found = _judged(work, current, reads)
            segments = renew.differing(current.db, {k: v for j in found.values() for k, v in j.segments.items()})
            kept_as_of = _newest(current, name)
            offers = _count(current, name)
        finally:
            current.close()
        failed = [read for read in reads if read.error]
        if work.write and segments:
            if current.path is None:
                raise StorageError(
                    f"{work.cache} cannot be written, so prices cannot be kept. Make it writable, or name another with "
                    "CLOUDACCEL_CACHE_DIR."
                )
            sources: list[Source] = [source for read in reads for source in read.sources.values()]
            work.catalog_id = renew.publish(
                work.target, current.path, segments, sources, LIVE, work.still, thin=work.thin
            )
        if work.write and work.target.parent == work.cache:
            work.notes.save()
    changes = [change for judged in found.values() for change in judged.changes]
    work.changes.extend(changes)
    summary = _summary(name, reads, found, changes)
    summary = replace(summary, offers=offers + summary.added - summary.gone)
    if summary.status in ("refused", "failed", "partly"):
        summary = replace(summary, kept_as_of=kept_as_of)
    missing = failed and all(isinstance(r.error, AuthError) and r.error.raw_code == NO_KEY for r in failed)
    return replace(summary, status="skipped") if missing and not named else summary


def _judged(work: _Work, current: store.Catalog, reads: Sequence[fetch.Read]) -> dict[Scope, guard.Judged]:
    found: dict[Scope, guard.Judged] = {}
    for read in reads:
        if read.error:
            work.notes.note(read.scope, work.now, error=str(read.error))
            continue
        if read.unchanged:
            work.notes.note(read.scope, work.now, held={})
            found[read.scope] = _confirmed(work, current, read.scope)
            continue
        judged = guard.judge(
            renew.current_rows(current.db, read.scope),
            _dated(read.rows, work.now),
            known=renew.believed(current.db, read.scope),
            confirmed=work.notes.confirmed(read.scope, work.now),
            believe=work.believe,
        )
        asked = {
            "answers": [[one.url, one.condition, one.validator] for one in read.asked],
            "sources": sorted(read.sources), "rows": len(read.rows),
        }  # fmt: skip
        work.notes.note(
            read.scope, work.now, error=judged.refused, held=judged.held, asked=None if judged.refused else asked
        )  # fmt: skip
        found[read.scope] = judged
    return found


def _confirmed(work: _Work, current: store.Catalog, scope: Scope) -> guard.Judged:
    """The rows of a list that says today what it said last, as of today."""
    sources = work.notes.entry(scope)["asked"]["sources"]
    segments: dict[guard.Segment, list[Row]] = {}
    for row in renew.current_rows(current.db, scope):
        seen = row["source"] in sources and row["availability"] != "not_seen"
        today = {**row, "as_of": work.now.date().isoformat()} if seen else row
        segments.setdefault((row["provider"], row["partition"], row["region"]), []).append(today)
    return guard.Judged(segments=segments)


def _dated(rows: Sequence[Row], now: datetime) -> Sequence[Row]:
    """Rows with a price are as old as their reading, whatever an adapter says of the future."""
    today = now.date().isoformat()
    return [row if row["as_of"] and row["as_of"] <= today else {**row, "as_of": today} for row in rows]


def _summary(
    name: str,
    reads: Sequence[fetch.Read],
    found: Mapping[Scope, guard.Judged],
    changes: Sequence[guard.Change],
) -> ProviderRenewal:
    errors = [read.error for read in reads if read.error]
    refused = [(scope, judged.refused) for scope, judged in found.items() if judged.refused]
    messages = [*dict.fromkeys(str(error) for error in errors)]
    messages += [f"{name} {scope.region or scope.partition}: {why}; the old rows stay." for scope, why in refused]
    unknown = sorted({a for judged in found.values() for a in judged.unknown_accelerators})
    if unknown:
        messages.append(f"{name}: no table knows the accelerator of {', '.join(unknown)[:300]}.")
    if vague := sorted({row["instance"] for read in reads for row in read.rows if _is_vague(row)}):
        messages.append(
            f"{name}: nobody says how many accelerators, or of which memory, are in {', '.join(vague)[:200]}; filters "
            "on them leave these out."
        )
    taken = len(found) - len(refused)
    status = "ok" if taken == len(reads) else "partly" if taken else "refused" if refused else "failed"
    return ProviderRenewal(
        provider=name, status=status, offers=0, messages=tuple(messages),
        added=sum(c.before is None for c in changes), gone=sum(c.after is None for c in changes),
        moved=sum(c.before is not None and c.after is not None for c in changes),
        held=sum(len(j.held) for j in found.values() if not j.refused),
        exit_code=_exit_code(errors[0]) if errors else 0,
    )  # fmt: skip


def _is_vague(row: Row) -> bool:
    """Whether an offer lacks its count, or the memory of an accelerator that no table knows."""
    return not row["count"] or not (row["accelerator_id"] or row["accelerator_memory_gib"])


def _exit_code(error: CloudAccelError) -> int:
    """That of `error`; whatever a seller answers, it is not the user who asked wrongly."""
    return 8 if isinstance(error, ProviderError) and not isinstance(error, AuthError) else error.exit_code


def _newest(current: store.Catalog, provider: str) -> str | None:
    found = current.db.execute(
        "SELECT max(COALESCE(as_of_until, as_of)) FROM segment WHERE provider = ?", (provider,)
    ).fetchone()
    return found[0] if found else None


def _count(current: store.Catalog, provider: str) -> int:
    found = current.db.execute("SELECT COALESCE(sum(rows), 0) FROM segment WHERE provider = ?", (provider,)).fetchone()
    return int(found[0])


def connection_of(values: Mapping[str, str]) -> Connection:
    """How price lists are asked, from the settings ``mirrors``, ``proxy`` and ``ca_file``. Raises `ConfigError`."""
    mirrors: dict[str, str] = {}
    pairs = filter(None, (word.strip() for word in values["mirrors"].split(",")))
    for number, pair in enumerate(pairs, 1):
        published, separator, mirror = pair.partition("=")
        if not (separator and published.startswith("https://") and mirror.startswith(("https://", "http://"))):
            raise ConfigError(
                f"mirrors: number {number} is not PUBLISHED=MIRROR with two addresses, as in "
                "https://prices.acme.example=https://mirror.example/acme."
            )
        mirrors[published] = mirror
    ca_file = values["ca_file"] or None
    if ca_file and not Path(ca_file).is_file():
        raise ConfigError(f"ca_file: {ca_file} is no file. Name the file with your company's certificates (PEM).")
    proxy = values["proxy"] or None
    if proxy and not proxy.startswith(("http://", "https://")):
        raise ConfigError("proxy: an address as in http://proxy.example:3128 is needed.")
    return Connection(mirrors=mirrors, proxy=proxy, ca_file=ca_file)
