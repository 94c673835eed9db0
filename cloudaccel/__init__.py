"""What an accelerator costs, where it may run, and which way of getting it is cheapest.

import cloudaccel as ca

answer = ca.quote("H100-SXM:8", residency="EU")
answer.offers[0].price.amount          # Decimal, per hour, or None when unknown

Whatever it cannot do is a kind of `CloudAccelError`, with the exit code of the command line as `exit_code`.
"""

from typing import TYPE_CHECKING

from cloudaccel.errors import CloudAccelError

if TYPE_CHECKING:
    from cloudaccel.api import (
        Calibration,
        Check,
        Explanation,
        Notice,
        PricedMachine,
        ProviderRenewal,
        Quote,
        Refreshed,
        Renewed,
        Rules,
        Status,
        Verified,
        advise,
        calibrate,
        compare,
        cost_of,
        doctor,
        explain,
        export_plan,
        plan,
        price_file_text,
        price_histories,
        price_inventory,
        quote,
        refresh,
        renew_prices,
        roadmap,
        status,
        verify_prices,
    )

__version__ = "0.1.0"
__all__ = [
    "Calibration",
    "Check",
    "CloudAccelError",
    "Explanation",
    "Notice",
    "PricedMachine",
    "ProviderRenewal",
    "Quote",
    "Refreshed",
    "Renewed",
    "Rules",
    "Status",
    "Verified",
    "__version__",
    "advise",
    "calibrate",
    "compare",
    "cost_of",
    "doctor",
    "explain",
    "export_plan",
    "plan",
    "price_file_text",
    "price_histories",
    "price_inventory",
    "quote",
    "refresh",
    "renew_prices",
    "roadmap",
    "status",
    "verify_prices",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    # The command line imports this package for its version alone; the verbs come when they are used.
    if name in __all__:
        from cloudaccel import api

        return getattr(api, name)
    raise AttributeError(f"module 'cloudaccel' has no attribute {name!r}")
