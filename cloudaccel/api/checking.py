"""`doctor`: what of the installation works, and what does not."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

from cloudaccel import __version__, registry, settings
from cloudaccel.catalog import snapshot, store
from cloudaccel.errors import CloudAccelError
from cloudaccel.facts.loader import read_table
from cloudaccel.provision import proofs

_EXTRAS = {"plan": "yaml", "provision": "sqlalchemy", "refresh": "apscheduler", "service": "fastapi"}
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_LOW_DISK_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `state` is ``ok``, ``note`` or ``bad``; `advice` says what to do about ``bad``."""

    name: str
    state: str
    text: str
    advice: str = ""


def doctor(*, catalog: str | Path | None = None) -> tuple[Check, ...]:
    """Every check, in the order in which trouble is best looked for. The values of secrets are never in the answer."""
    return tuple(_checks(catalog))


def _checks(catalog: str | Path | None) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("version", "ok", f"cloudaccel {__version__}, Python {version} on {sys.platform}")
    yield _terminal()
    yield _configuration()
    yield from _folders()
    yield from _prices(catalog)
    yield from _extras()
    yield from _environment()


def _terminal() -> Check:
    encoding = sys.stdout.encoding or "unknown"
    return Check("terminal", "ok" if "utf" in encoding.lower() else "note", f"output encoding {encoding}")


def _configuration() -> Check:
    path = settings.config_path()
    try:
        values = settings.load_settings()
    except CloudAccelError as error:
        return Check("configuration", "bad", str(error), "Mend the file, or remove it.")
    used = ", ".join(key for key, value in values.items() if value) or "nothing"
    there = "read" if os.access(path, os.R_OK) else "not there (none is needed), or not for this user to read"
    return Check("configuration", "ok", f"{path} {there}; sets {used}")


def _folders() -> Iterator[Check]:
    cache = settings.cache_dir()
    nearest = next(folder for folder in (cache, *cache.parents) if os.path.exists(folder))
    if not os.access(nearest, os.W_OK):
        yield Check(
            "cache", "note", f"{cache} is not writable; quotes are built in memory", "Set CLOUDACCEL_CACHE_DIR."
        )
        return
    free = shutil.disk_usage(nearest).free
    text = f"{cache}, {free // 2**20:,} MiB free"
    low = free < _LOW_DISK_BYTES
    yield Check("cache", "bad" if low else "ok", text, "Free some space, or set CLOUDACCEL_CACHE_DIR." if low else "")


def _prices(named: str | Path | None) -> Iterator[Check]:
    try:
        folder = store.bundled_snapshot()
        manifest = snapshot.verify(folder)
        yield Check("bundled prices", "ok", f"{folder}, written {manifest.created_at}, every hash and row checked")
    except CloudAccelError as error:
        yield Check("bundled prices", "bad", str(error), "Install cloudaccel again.")
    try:
        where = str(named or settings.load_settings()["catalog"]) or None
        catalog = store.open_catalog(where, settings.cache_dir())
    except CloudAccelError as error:
        yield Check("catalog", "bad", str(error))
        return
    meta, path, warnings = catalog.meta, catalog.path, catalog.warnings
    try:
        (state,) = catalog.db.execute("PRAGMA quick_check(1)").fetchone()
        (offers,) = catalog.db.execute("SELECT count(*) FROM offer WHERE current").fetchone()
    except sqlite3.DatabaseError as error:
        state, offers = str(error), 0
    finally:
        catalog.close()
    if state == "ok":
        text = ". ".join([f"{path or 'in memory'}, every page whole, {offers:,} offers", *warnings])
        yield Check("catalog", "note" if warnings else "ok", text)
    else:
        yield Check("catalog", "bad", f"{path} is damaged: {state}", "Remove the file; it is built again.")
    yield _age(meta["as_of_until"])


def _age(newest: str) -> Check:
    if not newest:
        return Check("age", "note", "no price has a date")
    days = (datetime.now(UTC).date() - date.fromisoformat(newest)).days
    if days < 0:
        return Check("clock", "bad", f"the newest price is of {newest}, after today", "Set this machine's clock.")
    return Check("age", "ok", f"the newest price is {days} days old ({newest}); see cloudaccel refresh --status")


def _extras() -> Iterator[Check]:
    for extra, module in _EXTRAS.items():
        there = _installed(module)
        text = "installed" if there else f"not installed: pip install 'cloudaccel[{extra}]'"
        yield Check(f"extra {extra}", "ok" if there else "note", text)
    for row in read_table("credentials.csv", ("provider", "extra", "module", "variables")):
        there = _installed(row["module"])
        text = "SDK installed" if there else f"SDK not installed: pip install 'cloudaccel[{row['extra']}]'"
        credentials = _credentials(row["variables"].split("|"))
        shown = f"; {_proved(row['provider'])}" if row["provider"] in registry.names() else ""
        yield Check(f"provider {row['provider']}", "ok" if there else "note", f"{text}; {credentials}{shown}")


def _proved(provider: str) -> str:
    """Where starting and ending machines was proved: in tests on a fake cloud, or by a self-test on the real one."""
    steps: dict[str, list[str]] = {}
    for step, where in proofs.proved(proofs.read_record(provider)).items():
        steps.setdefault(where, []).append(step.replace("_", " "))
    return "machines proved: " + "; ".join(f"{where}: {', '.join(names)}" for where, names in steps.items())


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _credentials(names: Sequence[str]) -> str:
    present = [name for name in names if os.environ.get(name)]
    return (
        f"{', '.join(present)} set (not shown)" if present else "no credentials in the environment (quotes need none)"
    )


def _environment() -> Iterator[Check]:
    for name in _PROXIES:
        if os.environ.get(name):
            yield Check(name, "note", "set (not shown)")
    ours = sorted(name for name in os.environ if name.startswith("CLOUDACCEL_"))
    if ours:
        yield Check("environment", "note", ", ".join(ours))
