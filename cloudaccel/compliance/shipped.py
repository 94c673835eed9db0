"""The packs that ship with the product."""

from collections.abc import Sequence
from datetime import date

from cloudaccel.compliance.packs import Pack

ALWAYS_ON = ("us-ear", "us-ofac", "eu-ai-act-gpai")


def load_packs(
    names_or_files: Sequence[str], *, allow_status: Sequence[str] = (), today: date | None = None
) -> tuple[Pack, ...]:
    """Packs by id or file, each once, in the order given."""
    raise NotImplementedError


def always_on() -> tuple[Pack, ...]:
    """The packs that every plan is judged by."""
    return load_packs(ALWAYS_ON)
