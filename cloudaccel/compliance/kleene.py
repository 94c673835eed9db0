"""Strong Kleene logic: true, false, and not known. What is not known is never taken for true."""

from collections.abc import Iterable
from typing import Literal

Truth = Literal["T", "F", "U", "NA"]
"""``NA``: does not apply. It drops out of every combination."""


def both(values: Iterable[Truth]) -> Truth:
    """And: F if any is F, else U if any is U, else T; NA when nothing applies."""
    seen = set(values)
    for value in ("F", "U", "T"):
        if value in seen:
            return value
    return "NA"


def either(values: Iterable[Truth]) -> Truth:
    """Or: T if any is T, else U if any is U, else F; NA when nothing applies."""
    seen = set(values)
    for value in ("T", "U", "F"):
        if value in seen:
            return value
    return "NA"


def negate(value: Truth) -> Truth:
    """Not: swaps T and F, leaves U and NA."""
    swapped: dict[Truth, Truth] = {"T": "F", "F": "T"}
    return swapped.get(value, value)


def given(condition: Truth, value: Truth) -> Truth:
    """`value` if `condition` holds.

    NA when the condition does not hold. When it is not known, T stays T (satisfied either way) and all else is U.
    """
    if condition == "F":
        return "NA"
    if condition == "U" and value == "F":
        return "U"
    return value


def truth(known: bool | None) -> Truth:
    """T, F, or U for None."""
    return "U" if known is None else "T" if known else "F"
