"""What a request may not do: name a file of this machine. Names are looked up in the product's own tables only."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cloudaccel.errors import CloudAccelError, QueryError, UnknownName
from cloudaccel.facts.models import resolve_model
from cloudaccel.workloads.job import Job, parse_job

_PATIENCE_S = 2.0  # how long a request waits for a place


def registry_model(name: str) -> str:
    """The id of a model of the registry; a path or any other name is refused before a file could be looked at.

    Raises
    ------
    UnknownName
        If the registry has no such model.
    """
    return resolve_model(name).id


def job_without_files(job: Mapping[str, Any]) -> Job:
    """The job as read, its model by the registry's id and its packs those of the product: nothing is read as a path.

    Raises
    ------
    ConfigError, QueryError, UnknownName
        If it cannot be read; if the model is no text or not in the registry; if a pack does not ship with the product.
    """
    checked = {str(key): value for key, value in job.items()}
    for key in list(checked):
        if key.strip().lower() == "model" and checked[key] is not None:
            if not isinstance(checked[key], str):
                raise QueryError("model: a name of the registry is meant; other models are given by shape or params.")
            checked[key] = registry_model(checked[key])
    read = parse_job(checked)
    packs = dict(read.workload.policy).get("packs", "")
    known_packs([name.strip() for name in packs.split(",") if name.strip()])
    return read


def option_without_files(text: str) -> str:
    """An option of a comparison with its model, if it names one, by the registry's id.

    Raises
    ------
    UnknownName
        If the registry has no such model.
    """
    words = text.split(",")
    return ",".join(_word_without_files(word) for word in words)


def _word_without_files(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or key.strip().rpartition(":")[2].strip().lower() != "model":
        return word
    return f"{key}={registry_model(value.strip())}"


def known_packs(names: Sequence[str]) -> tuple[str, ...]:
    """The ids of packs that ship with the product; anything else could be a file of this machine.

    Raises
    ------
    UnknownName
        If none has such an id.
    """
    from cloudaccel.compliance import shipped_packs  # the tables of facts, only for who asks to be judged

    for name in names:
        if name not in shipped_packs():
            raise UnknownName(f"policy: no pack is called {name!r}.", choices=sorted(shipped_packs()))
    return tuple(names)


class Busy(CloudAccelError):
    """More work is under way than this machine does at once."""

    code = "busy"


class Heavy:
    """Lets a few pieces of work run at once; who comes beyond that is told so at once, instead of waiting in line."""

    def __init__(self, at_once: int) -> None:
        self._free = threading.Semaphore(at_once)

    def __enter__(self) -> None:
        """Take a place.

        Raises
        ------
        Busy
            If there is none.
        """
        if not self._free.acquire(timeout=_PATIENCE_S):
            raise Busy("too many plans and comparisons are being made. Ask again in a few seconds.")

    def __exit__(self, *_: object) -> None:
        """Give the place back."""
        self._free.release()
