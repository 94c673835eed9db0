"""Not knowing, as a value: it says why, and what would settle it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that nobody has told us. Never 0, never compliant, never "gone".

    Attributes
    ----------
    reason
        Why the fact is missing, as a short clause ("no price in the source").
    how_to_settle
        What the reader can do about it; empty when nothing is known to help.
    """

    reason: str
    how_to_settle: str = ""

    def __bool__(self) -> bool:
        return False
