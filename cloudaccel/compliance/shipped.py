"""Where packs come from: those that ship with the product (compiled to JSON, hashed), and files of the user."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from cloudaccel.compliance import yaml12
from cloudaccel.compliance.packs import NOT_LAW_YET, Pack
from cloudaccel.compliance.schema import parse_pack
from cloudaccel.errors import ConfigError, QueryError, UnknownName
from cloudaccel.untrusted import json_of

ALWAYS_ON = ("us-ear", "us-ofac", "eu-ai-act-gpai")
FOLDER = Path(__file__).parent / "shipped_packs"
COMPILED = FOLDER / "packs.json"
MANIFEST = FOLDER / "manifest.json"
_SUFFIXES = (".yaml", ".yml", ".json")


def load_packs(names_or_files: Sequence[str], *, allow_status: Sequence[str] = ()) -> tuple[Pack, ...]:
    """Packs by id or file, each once, in the order given, with the packs that they extend.

    Raises
    ------
    UnknownName
        If no pack has such an id.
    QueryError
        If a pack is no law in force (draft, proposed, …) and its status is not in `allow_status`.
    ConfigError
        If a file cannot be read as a pack.
    """
    found: dict[str, Pack] = {}
    for name in names_or_files:
        for pack in _from_file(Path(name)) if name.endswith(_SUFFIXES) else (shipped_pack(name),):
            _add(found, pack)
    for pack in found.values():
        if pack.status in NOT_LAW_YET and pack.status not in allow_status:
            raise QueryError(
                f"pack {pack.id} is {pack.status}, not in force. Pass --allow-status {pack.status} to judge by it."
            )
    return tuple(found.values())


def _add(found: dict[str, Pack], pack: Pack) -> None:
    old = found.get(pack.id)
    if old is not None and old.digest != pack.digest:
        raise ConfigError(f"two different packs are called {pack.id}. Give your own pack another id.")
    if old is None:
        found[pack.id] = pack
        for other in pack.extends:
            _add(found, shipped_pack(other))


def always_on() -> tuple[Pack, ...]:
    """The packs that every plan is judged by."""
    return load_packs(ALWAYS_ON)


def with_always_on(packs: Sequence[Pack]) -> tuple[Pack, ...]:
    """`packs`, and those that are always on where they are not among them."""
    have = {pack.id for pack in packs}
    return (*packs, *(pack for pack in always_on() if pack.id not in have))


def shipped_pack(name: str) -> Pack:
    """A pack of the product by its id.

    Raises
    ------
    UnknownName
        With the nearest ids as choices.
    """
    packs = shipped_packs()
    if name in packs:
        return packs[name]
    import difflib

    near = tuple(difflib.get_close_matches(name, packs, n=3, cutoff=0.4))
    raise UnknownName(f"no pack is called {name!r}. See 'cloudaccel policy list', or name a .yaml file.", choices=near)


@cache
def shipped_packs() -> dict[str, Pack]:
    """All packs of the product by id; the compiled file is checked against the manifest.

    Raises
    ------
    ConfigError
        If a file is missing or was changed after it was compiled.
    """
    body = _compiled()
    groups = cast(dict[str, object], body["groups"])
    packs = [parse_pack(data, f"pack {data['id']}", groups) for data in cast(list[dict[str, Any]], body["packs"])]
    return {pack.id: pack for pack in packs}


def _compiled() -> dict[str, Any]:
    try:
        raw = COMPILED.read_bytes()
        manifest = json.loads(MANIFEST.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"the rules of the product cannot be read ({error}). Reinstall cloudaccel.") from error
    if hashlib.sha256(raw).hexdigest() != manifest["sha256"]:
        raise ConfigError(f"{COMPILED} is not what its manifest says: it was changed or damaged. Reinstall cloudaccel.")
    return cast(dict[str, Any], json.loads(raw))


def _from_file(path: Path) -> tuple[Pack, ...]:
    data = _read(path)
    groups = cast(dict[str, object], _compiled()["groups"])
    bodies: Iterable[object] = cast(list[object], data) if isinstance(data, list) else [data]
    return tuple(parse_pack(body, str(path), groups) for body in bodies)


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"pack {path} cannot be read: {error}. Name another file, or the id of a pack.") from error
    if path.suffix != ".json":
        return yaml12.read(text, str(path))
    try:
        return json_of(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}. Mend it.") from error
