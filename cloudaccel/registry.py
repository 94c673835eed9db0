"""Providers by name. Ours come with the package; a stranger's is loaded only when it is on an explicit list."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import Distribution, EntryPoint, EntryPoints, entry_points
from typing import cast

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.model.deployment import Deployment, Exported
from cloudaccel.protocols import Prices, Provider

GROUP = "cloudaccel.providers"
PRICES = "cloudaccel.prices"
EXPORTS = "cloudaccel.exports"  # entry points of the form ``export.provider``
ALLOWED_ENV = "CLOUDACCEL_PROVIDERS"
_OURS = "cloudaccel"


def names() -> tuple[str, ...]:
    """Names of the providers that may be loaded, sorted. Loads none of them."""
    return tuple(sorted(_entries()))


def load(name: str) -> Provider:
    """The provider `name`; its cloud's SDK is imported when a call is made, not now.

    Raises
    ------
    UnknownName
        If no installed provider has that name, or it is a third party's and not allowed.
    ConfigError
        If it is there and cannot be imported.
    """
    entries = _entries()
    if name not in entries:
        raise UnknownName(f"no provider {name!r} can start machines. {_hint(name)}", choices=sorted(entries))
    return cast("Callable[[], Provider]", _imported(name, entries[name]))()


def price_lists() -> tuple[str, ...]:
    """Names of the providers whose price list can be read, sorted. Loads none of them."""
    return tuple(sorted(_entries(PRICES)))


def price_list(name: str) -> Prices:
    """The price list of provider `name`, not yet over a web. Raises `UnknownName`, or `ConfigError` as `load` does."""
    entries = _entries(PRICES)
    if name not in entries:
        raise UnknownName(
            f"no price list of {name!r} can be read. {_hint(name, PRICES)}", choices=sorted(entries)
        )  # fmt: skip
    return cast("Callable[[], Prices]", _imported(name, entries[name]))()


def starts(name: str) -> bool:
    """Whether provider `name` can start machines. Loads its package, and no cloud's SDK.

    A package that cannot be imported starts nothing; `load` says what it lacks.
    """
    if name not in _entries():
        return False
    try:
        return load(name).instances is not None
    except ConfigError:
        return False


def refusal(name: str, instance_type: str, market: str, count: int) -> str | None:
    """Why provider `name` never starts `count` machines of the type in the market; None: it may. Asks nobody."""
    if not starts(name):
        return "machines of this provider cannot be started from here"
    instances = load(name).instances
    return None if instances is None else instances.refusal(instance_type, market, count)


def keeps_deadline(name: str, instance_type: str) -> bool:
    """Whether machines of provider `name` end at their deadline although nobody is left to end them."""
    instances = load(name).instances if starts(name) else None
    return instances is not None and instances.keeps_deadline(instance_type)


def exports() -> tuple[tuple[str, str], ...]:
    """Pairs of export and provider whose packages write them, sorted. Loads none of them."""
    pairs = (name.rpartition(".") for name in _entries(EXPORTS))
    return tuple(sorted((export, provider) for export, _, provider in pairs if export))


def exporter(name: str, provider: str) -> Callable[[Deployment], Exported]:
    """The function that writes export `name` for `provider`. Raises `UnknownName` when there is none."""
    entries = _entries(EXPORTS)
    if f"{name}.{provider}" not in entries:
        raise UnknownName(f"no export {name!r} for {provider!r}.", choices=sorted(entries))
    return cast("Callable[[Deployment], Exported]", entries[f"{name}.{provider}"].load())


def _imported(name: str, entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ImportError as error:
        raise ConfigError(f"provider {name}: {error}. Install it with: pip install 'cloudaccel[{name}]'.") from error


def _entries(group: str = GROUP) -> Mapping[str, EntryPoint]:
    """Entry points by name; ours win over a stranger's of the same name."""
    allowed = {word.strip() for word in os.environ.get(ALLOWED_ENV, "").split(",")} - {""}
    found: dict[str, EntryPoint] = {}
    for entry, ours in _installed(group):
        if ours:
            found[entry.name] = entry
        elif entry.name.rpartition(".")[2] in allowed:
            found.setdefault(entry.name, entry)
    return found


def _installed(group: str) -> tuple[tuple[EntryPoint, bool], ...]:
    """Entry points of a group, and whether they are ours."""
    return tuple((entry, entry.dist is not None and _is_ours(entry.dist)) for entry in _all_installed()[group])


@cache
def _all_installed() -> Mapping[str, EntryPoints]:
    """Entry points by group. They take 7 ms to read, and what is installed stays while we run."""
    every = entry_points()
    return {group: every.select(group=group) for group in (GROUP, PRICES, EXPORTS)}


@cache
def _is_ours(dist: Distribution) -> bool:
    return dist.name.lower() == _OURS  # read from a file each time


def _hint(name: str, group: str = GROUP) -> str:
    if any(entry.name == name for entry, _ in _installed(group)):
        return f"A package of a third party offers it; allow it with {ALLOWED_ENV}={name}."
    return "Prices of more providers are in 'cloudaccel quote'."
