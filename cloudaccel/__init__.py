"""What an accelerator costs, where it may run, and which way of getting it is cheapest.

>>> import cloudaccel as ca
>>> ca.quote("H100-SXM:8", residency="EU").offers[0].price.amount  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudaccel.api import Explanation, Notice, Quote, cost_of, explain, quote

__version__ = "0.0.1"
__all__ = ["Explanation", "Notice", "Quote", "__version__", "cost_of", "explain", "quote"]


def __getattr__(name: str) -> object:
    # The command line imports this package for its version alone; the verbs come when they are used.
    if name in __all__:
        from cloudaccel import api

        return getattr(api, name)
    raise AttributeError(f"module 'cloudaccel' has no attribute {name!r}")
