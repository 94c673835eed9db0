"""What a request may not do: name a file of this machine. Names are looked up in the product's own tables only."""

from collections.abc import Mapping
from typing import Any

from cloudaccel.errors import QueryError
from cloudaccel.facts.models import resolve_model


def registry_model(name: str) -> str:
    """The id of a model of the registry; a path or any other name is refused before a file could be looked at.

    Raises
    ------
    UnknownName
        If the registry has no such model.
    """
    return resolve_model(name).id


def job_without_files(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job with its model named by the registry's id, so that nothing in it is ever read as a path.

    Raises
    ------
    QueryError, UnknownName
        If the model is no text, or not in the registry.
    """
    checked = {str(key): value for key, value in job.items()}
    for key in list(checked):
        if key.strip().lower() == "model" and checked[key] is not None:
            if not isinstance(checked[key], str):
                raise QueryError("model: a name of the registry is meant; other models are given by shape or params.")
            checked[key] = registry_model(checked[key])
    return checked
