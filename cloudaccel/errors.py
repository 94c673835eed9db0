"""The errors of cloudaccel, and the exit code that each becomes.

    CloudAccelError
      ConfigError  QueryError                 the caller can mend the request
        AmbiguousName  UnknownName
      PricingError
        SnapshotMissing  SnapshotStale  SnapshotCorrupt
      StorageError                            disk full, read-only folder

A message has three parts: what failed, the facts, and what to do next.
"""

from collections.abc import Sequence


class CloudAccelError(Exception):
    """Anything this program raises on purpose. `code` names the kind in JSON; `exit_code` is the process's."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, choices: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.choices = tuple(choices)


class ConfigError(CloudAccelError):
    """Settings or an input file cannot be used as they are."""

    code = "config"
    exit_code = 2


class QueryError(CloudAccelError):
    """The request is malformed: a wrong unit, a negative count, flags that contradict each other."""

    code = "usage"
    exit_code = 2


class NothingFits(CloudAccelError):
    """The request is well formed, and nothing satisfies it."""

    code = "nothing_fits"
    exit_code = 3


class UnknownName(QueryError):
    """No accelerator, instance type, provider or region has that name. `choices` are the nearest known ones."""

    code = "unknown_name"
    exit_code = 5


class AmbiguousName(QueryError):
    """The name covers several things, and the verb needs one. `choices` are those things."""

    code = "ambiguous_accelerator"
    exit_code = 5


class PricingError(CloudAccelError):
    """Prices cannot be given."""

    code = "pricing"
    exit_code = 6


class SnapshotMissing(PricingError):
    """There is no snapshot or catalog where one was expected."""

    code = "snapshot_missing"


class SnapshotStale(PricingError):
    """Data is older than the limit, and ``--strict`` was given."""

    code = "stale"


class SnapshotCorrupt(PricingError):
    """A snapshot or catalog is damaged, cut short, or not what its manifest says."""

    code = "snapshot_corrupt"


class StorageError(CloudAccelError):
    """Something cannot be written: disk full, folder read-only."""

    code = "storage"
    exit_code = 2
