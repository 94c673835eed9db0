"""The verbs as Python functions: the same words and meanings as on the command line.

``None`` is unknown, money is `Decimal`, nothing is global, and only `renew_prices` opens a network connection. Each
verb is imported when it is first used, so that a quote does not pay for the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudaccel.api.calibrating import Calibration, calibrate
    from cloudaccel.api.checking import Check, doctor
    from cloudaccel.api.deciding import PricedMachine, advise, compare, price_file_text, price_inventory, roadmap
    from cloudaccel.api.explaining import Explanation, explain
    from cloudaccel.api.exporting import export_plan
    from cloudaccel.api.judging import Rules
    from cloudaccel.api.planning import plan
    from cloudaccel.api.quoting import Notice, Quote, age_days, cost_of, quote
    from cloudaccel.api.recalling import price_histories
    from cloudaccel.api.refreshing import Refreshed, Status, refresh, status
    from cloudaccel.api.renewing import ProviderRenewal, Renewed, renew_prices
    from cloudaccel.api.scheduling import ScheduleStatus, keep_fresh, schedule_status
    from cloudaccel.api.verifying import Verified, verify_prices

__all__ = [
    "Calibration",
    "Check",
    "Explanation",
    "Notice",
    "PricedMachine",
    "ProviderRenewal",
    "Quote",
    "Refreshed",
    "Renewed",
    "Rules",
    "ScheduleStatus",
    "Status",
    "Verified",
    "advise",
    "age_days",
    "calibrate",
    "compare",
    "cost_of",
    "doctor",
    "explain",
    "export_plan",
    "keep_fresh",
    "plan",
    "price_file_text",
    "price_histories",
    "price_inventory",
    "quote",
    "refresh",
    "renew_prices",
    "roadmap",
    "schedule_status",
    "status",
    "verify_prices",
]

_HOME = {
    "Calibration": "calibrating",
    "calibrate": "calibrating",
    "plan": "planning",
    "PricedMachine": "deciding",
    "compare": "deciding",
    "price_file_text": "deciding",
    "price_inventory": "deciding",
    "advise": "deciding",
    "roadmap": "deciding",
    "Check": "checking",
    "Explanation": "explaining",
    "ProviderRenewal": "renewing",
    "Refreshed": "refreshing",
    "price_histories": "recalling",
    "Renewed": "renewing",
    "Rules": "judging",
    "renew_prices": "renewing",
    "keep_fresh": "scheduling",
    "ScheduleStatus": "scheduling",
    "schedule_status": "scheduling",
    "Status": "refreshing",
    "doctor": "checking",
    "explain": "explaining",
    "export_plan": "exporting",
    "refresh": "refreshing",
    "status": "refreshing",
    "Verified": "verifying",
    "verify_prices": "verifying",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module(f"cloudaccel.api.{_HOME.get(name, 'quoting')}"), name)
    raise AttributeError(f"module 'cloudaccel.api' has no attribute {name!r}")
