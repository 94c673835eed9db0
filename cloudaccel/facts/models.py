"""The model registry: shapes of published models, parameter counts recomputed, licences."""

from collections.abc import Mapping

from cloudaccel.model.workload import ModelShape


def models() -> Mapping[str, ModelShape]:
    """All models of the registry by id."""
    raise NotImplementedError  # the skeleton of the interface; the next commits fill it


def resolve_model(name: str) -> ModelShape:
    """The model that `name` means: its id, an alias, or the id without its owner.

    Raises
    ------
    UnknownName
        If there is none; `choices` are the nearest names.
    """
    raise NotImplementedError  # the skeleton of the interface; the next commits fill it
