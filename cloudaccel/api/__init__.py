"""The verbs as Python functions: the same words and meanings as on the command line.

``None`` is unknown, money is `Decimal`, nothing is global, and nothing here opens a network connection. Each verb is
imported when it is first used, so that a quote does not pay for the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudaccel.api.explaining import Explanation, explain
    from cloudaccel.api.quoting import Notice, Quote, age_days, cost_of, quote

__all__ = ["Explanation", "Notice", "Quote", "age_days", "cost_of", "explain", "quote"]

_HOME = {"Explanation": "explaining", "explain": "explaining"}


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module(f"cloudaccel.api.{_HOME.get(name, 'quoting')}"), name)
    raise AttributeError(f"module 'cloudaccel.api' has no attribute {name!r}")
