"""``cloudaccel refresh``: read the sellers' price lists, carry prices in and out, show what the catalog holds."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from cloudaccel.api import refreshing as api
from cloudaccel.api.quoting import AHEAD
from cloudaccel.api.renewing import ProviderRenewal, Renewed, renew_prices
from cloudaccel.api.scheduling import ScheduleStatus, keep_fresh, schedule_status
from cloudaccel.catalog.download import is_address
from cloudaccel.catalog.guard import Change
from cloudaccel.catalog.signing import Signature
from cloudaccel.cli import answers, common, flags
from cloudaccel.errors import CloudAccelError, ConfigError, QueryError

EXAMPLES = """\
  cloudaccel refresh                               read the price lists of every seller whose list can be read
  cloudaccel refresh NAME NAME --diff              what these would change; nothing is written
  cloudaccel refresh --schedule 6h                 for ever, every six hours; SIGTERM or Ctrl-C ends it
  cloudaccel refresh --status                      what the catalog holds, and how old it is
  cloudaccel refresh --from snap.zip               take in a snapshot that was carried here
  cloudaccel refresh --from snap.zip --verify      only if a key that you trust signed it
  cloudaccel refresh --verify                      whether what is stored is as it was written
  cloudaccel refresh --out snap.zip                write the catalog in use as a snapshot
  cloudaccel refresh --from tables/ --out snap/    turn price tables into a snapshot
  cloudaccel refresh --coverage > coverage.md      the same by region and accelerator, with sources and licences
  cloudaccel refresh --compare catalogs/v8         our prices beside those of SkyPilot's catalog, carried here
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("refresh", "Read the sellers' price lists, or carry prices into a closed network.", EXAMPLES)
    p.add_argument("provider", nargs="*", metavar="PROVIDER", help="whose price list to read (default: all)")
    p.add_argument(
        "--from", dest="source", metavar="PATH", help="a snapshot (folder, .zip, or its https address), or price tables"
    )
    p.add_argument(
        "--out",
        metavar="PATH",
        help="write a snapshot to this folder or .zip instead of the user's catalog; "
        "without PROVIDER and --from: of the catalog in use",
    )
    p.add_argument("--status", action="store_true", help="what the catalog holds, by provider")
    p.add_argument("--diff", action="store_true", help="show what the lists would change, and write nothing")
    p.add_argument(
        "--coverage",
        action="store_true",
        help="what the catalog holds by provider, region and accelerator, how old, from which source and licence",
    )
    p.add_argument(
        "--compare",
        metavar="PATH",
        help="show where the catalog in use differs from hosted files carried here (CLOUD/vms.csv below PATH); "
        "nothing is fetched; exit 6 with --strict",
    )
    p.add_argument(
        "--verify",
        action="store_true",
        help="check every checksum of what is stored; with --from: take it only if a trusted key signed it",
    )
    p.add_argument("--trusted-key", metavar="FILE", help="public keys (PEM, Ed25519) of whom snapshots are taken from")
    p.add_argument("--sign-with", metavar="KEY", help="private key that signs --out: a file (PEM), or env:NAME")
    p.add_argument("--schedule", metavar="WHEN", help="for ever: every 6h, or in UTC as cron says, '15 6 * * *'")
    p.add_argument("--accept", action="store_true", help="take lists and prices that moved too far to be believed")
    flags.add(p, "--strict", " when a list or row was refused or could not be read")
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Refresh, or show the status."""
    if a.coverage and a.compare is None:
        from cloudaccel.cli.refresh_coverage import show

        return show(a)
    if a.compare is not None:
        from cloudaccel.cli.refresh_compare import compare

        return compare(a)
    if a.status and (a.source or a.out or a.provider or a.diff or a.schedule or a.verify):
        raise QueryError("--status only shows; leave PROVIDER, --from, --out and --diff out, or leave --status out.")
    if a.status:
        return _show_status(api.status(a.catalog), a)
    if a.verify and not a.source:
        return _verify(a)
    if a.provider or not (a.source or a.out):
        return _renew(a)
    if a.diff or a.accept or a.schedule:
        raise QueryError(
            "--diff, --accept and --schedule are for the sellers' price lists; leave --from and --out out."
        )
    if a.offline and a.source and is_address(a.source):
        raise ConfigError(
            "--offline was given, and --from names an address. Carry the file in, or leave --offline out."
        )
    done = api.refresh(
        a.source, out=a.out, catalog=a.catalog, trusted_key=a.trusted_key, verify=a.verify, sign_with=a.sign_with
    )
    refused = sum((done.report or {}).get("refused", {}).values())
    if a.output == "json":
        body = {**asdict(done), "source": _text(done.source), "target": str(done.target)}
        answers.write(a, "refresh", body, kept=True)
    else:
        common.write(_sentence(done))
        if done.signature is not None:
            common.note(f"note: the snapshot is {Signature(done.signature, done.signed_by).words()}.", quiet=a.quiet)
        for line in _report_lines(done.report or {}):
            common.note(line, quiet=a.quiet)
    return 6 if a.strict and refused else 0


def _verify(a: argparse.Namespace) -> int:
    if a.provider or a.out or a.diff or a.accept or a.schedule or a.sign_with:
        raise QueryError("--verify alone checks what is stored; with it go only --from, --trusted-key and --catalog.")
    from cloudaccel.cli.refresh_verify import verify

    return verify(a)


def _renew(a: argparse.Namespace) -> int:
    if a.trusted_key or (a.sign_with and not a.out):
        raise QueryError("--trusted-key goes with --verify or --from, and --sign-with with --out. Leave it out.")
    if a.source or a.catalog:
        raise QueryError("PROVIDER reads a seller's price list; leave --from and --catalog out, or leave PROVIDER out.")
    if a.diff and a.out:
        raise QueryError("--diff writes nothing; leave --out out, or leave --diff out.")
    if a.offline:
        raise ConfigError(
            "--offline was given, and price lists are read over the network. Take prices in with "
            "'cloudaccel refresh --from SNAPSHOT', or leave --offline out."
        )
    if a.schedule:
        return _keep_fresh(a)
    terminal = sys.stderr.isatty() and not a.quiet
    done = renew_prices(
        a.provider, out=a.out, diff=a.diff, believe=a.accept, sign_with=a.sign_with,
        progress=_progress if terminal else lambda _: None,
    )  # fmt: skip
    if terminal:
        sys.stderr.write("\r\x1b[K")
    _tell(done, a)
    return done.exit_code(strict=a.strict)


def _tell(done: Renewed, a: argparse.Namespace) -> None:
    if a.output == "json":
        answers.write(a, "refresh", _renewal(done, with_changes=a.diff), kept=not a.diff)
    else:
        common.write("".join(f"{line}\n" for line in renewal_lines(done, with_changes=a.diff)))
    for warning in done.warnings:
        common.note(f"warning: {warning}", quiet=a.quiet)
    for message in _together([m for p in done.providers for m in p.messages]):
        common.note(f"note: {message}", quiet=a.quiet)


def _together(messages: Iterable[str]) -> Iterator[str]:
    """What is said of several sellers in the same words (``seller: words``) is said once."""
    sellers: dict[str, list[str]] = {}
    for message in messages:
        seller, _, words = message.partition(": ")
        sellers.setdefault(words, []).append(seller)
    return (f"{', '.join(names)}: {words}" for words, names in sellers.items())


def _keep_fresh(a: argparse.Namespace) -> int:
    if a.out or a.diff or a.accept or a.strict:
        raise QueryError("--schedule refreshes the user's catalog; leave --out, --diff, --accept and --strict out.")
    import signal
    import threading

    stop = threading.Event()

    def end(number: int, _frame: object) -> None:
        if stop.is_set():  # asked twice: the catalog is whole at any moment
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}

    def told(done: Renewed | CloudAccelError) -> None:
        if isinstance(done, CloudAccelError):
            common.note(f"error: {done}")
            return
        if a.output != "json":
            common.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M}Z\n")
        _tell(done, a)
        common.flush()
        if common.stdout.reader_left:
            stop.set()

    try:
        keep_fresh(a.schedule, a.provider, stop=stop, told=told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _progress(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text[:78]}")
    sys.stderr.flush()


def _renewal(done: Renewed, *, with_changes: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "target": _text(done.target),
        "catalog_id": done.catalog_id,
        "providers": [asdict(p) for p in done.providers],
        "warnings": done.warnings,
    }
    if with_changes:
        body["changes"] = [asdict(change) for change in done.changes]
    return body


def renewal_lines(done: Renewed, *, with_changes: bool = False) -> list[str]:
    """What a refresh says: a line for each provider, and with `with_changes` one for each offer that changes."""
    changes = [_change(change) for change in done.changes] if with_changes else []
    width = max((len(p.provider) for p in done.providers), default=0)
    lines = [
        f"{p.provider:<{width}}  {p.offers:>9,} offers  +{p.added:,} −{p.gone:,}  {p.moved:,} moved  {_verdict(p)}"
        for p in done.providers
    ]
    written = "Nothing was written." if done.target is None else _written(done)
    return [*changes, *lines, written]


def _written(done: Renewed) -> str:
    if done.catalog_id:
        return f"written to {done.target}, catalog {done.catalog_id[:19]}"
    return f"written to {done.target}; no price changed" if done.exported else "Nothing changed; nothing was written."


def _verdict(p: ProviderRenewal) -> str:
    kept = f", keeping {p.kept_as_of}" if p.kept_as_of else ""
    held = f", {p.held} not believed yet" if p.held else ""
    words = {
        "ok": "ok",
        "partly": f"partly read{kept}",
        "refused": f"rejected{kept}",
        "failed": f"failed{kept}",
        "skipped": "not set up",
    }
    return words[p.status] + held


def _change(change: Change) -> str:
    row = change.after or change.before or {}
    name = " ".join(
        filter(None, (row["provider"], row["region"], row["instance"], row["market"].replace("_", "-"), row["term"]))
    )
    if change.before is None:
        return f"+ {name}  {_price(row)}"
    if change.after is None:
        return f"− {name}  {_price(row)}"
    if change.before["price_per_hour"] == change.after["price_per_hour"]:
        return f"  {name}  {_price(row)}, {change.before['availability']} → {change.after['availability']}"
    return f"  {name}  {_price(change.before)} → {_price(change.after)}"


def _price(row: Mapping[str, str]) -> str:
    return f"{row['price_per_hour']} {row['currency']}/h" if row["price_per_hour"] else "—"


def _sentence(done: api.Refreshed) -> str:
    source = f"{done.source}: " if done.source else ""
    identity = f", catalog {done.catalog_id[:19]}" if done.catalog_id else ""
    if done.unchanged:
        return f"{source}unchanged since it was taken in; nothing was written{identity}\n"
    return f"{source}{done.offers:,} offers and {done.history:,} price versions written to {done.target}{identity}\n"


def _report_lines(report: dict[str, Any]) -> list[str]:
    refused: dict[str, int] = report.get("refused") or {}
    skipped: dict[str, str] = report.get("skipped") or {}
    return [
        *(f"note: {report[key]} offers {words}." for key, words in _WORDS.items() if report.get(key)),
        *(f"warning: {count} rows refused: {reason}." for reason, count in refused.items()),
        *(f"note: {file} left out: {reason}." for file, reason in skipped.items()),
    ]


_WORDS = {
    "quarantined": "have a price that must not be used (quarantined)",
    "unknown": "have no known price",
    "intervals": "are dated by an interval",
    "undated": "have no date",
}


def _show_status(status: api.Status, a: argparse.Namespace) -> int:
    today = datetime.now(UTC).date()
    if a.output == "json":
        process = schedule_status()
        schedule = asdict(process) if process else None
        answers.write(a, "refresh.status", {**asdict(status), "path": _text(status.path), "schedule": schedule})
        return 0
    where = status.path or "memory"
    common.write(f"catalog {status.catalog_id[:19]} in {where}, from {status.built_from}\n\n")
    rows = [
        [
            p.provider,
            str(p.regions),
            f"{p.offers:,}",
            f"{p.unpriced:,}",
            p.as_of or "—",
            p.as_of_until or "—",
            _age(p, today),
        ]
        for p in status.providers
    ]
    headings = ["PROVIDER", "REGIONS", "OFFERS", "UNPRICED", "OLDEST", "NEWEST", "NEWEST AGE"]
    common.write("\n".join(common.table(headings, rows, frozenset({1, 2, 3, 6}), common.screen_width())) + "\n")
    total = sum(p.offers for p in status.providers)
    common.write(f"\n{total:,} offers of {len(status.providers)} providers.\n")
    for line in _quarantine_lines(status.providers):
        common.write(f"{line}\n")
    if (process := schedule_status()) is not None:
        common.write(f"{_schedule_words(process)}\n")
    for line in _list_lines(status.lists):
        common.write(f"{line}\n")
    for warning in status.warnings:
        common.note(f"warning: {warning}", quiet=a.quiet)
    return 0


def _schedule_words(found: ScheduleStatus) -> str:
    who = "by whoever of the database's processes is first" if found.process is None else f"by process {found.process}"
    at_work = f"{found.owner} is at work" if found.owner else "at work"
    when = f"next at {found.next_at[:16]}Z" if found.next_at else at_work
    failed = f" The last run failed: {found.error}" if found.error else ""
    return f"Refreshed on the schedule {found.schedule!r} {who}, {when}.{failed}"


def _quarantine_lines(providers: Sequence[api.ProviderStatus]) -> Iterator[str]:
    """One line for each provider of which prices are held back, by the code of why."""
    for p in providers:
        if p.quarantined:
            parts = ", ".join(f"{count} {code}" for code, count in sorted(p.quarantined.items()))
            yield f"{p.provider}: prices in quarantine: {parts}. In 'quote --json' they have price.quarantine."


def _list_lines(lists: Sequence[api.ListStatus]) -> list[str]:
    """One line for each price list that was not taken when it was last read, or holds prices back."""
    found: list[str] = []
    for one in lists:
        if one.error:
            since = f"last taken {one.ok_at[:16]}Z" if one.ok_at else "never taken"
            found.append(f"{one.scope}: {since}; tried {one.tried_at[:16]}Z: {one.error}")
        if one.held:
            found.append(f"{one.scope}: {one.held} prices moved too far and wait for another day, or for --accept.")
    return ["", *found] if found else []


def _age(p: api.ProviderStatus, today: date) -> str:
    newest = p.as_of_until or p.as_of
    if not newest:
        return "?"
    days = (today - date.fromisoformat(newest)).days
    return f"{days} d" if days >= 0 else AHEAD


def _text(path: object) -> str | None:
    return None if path is None else str(path)
