"""Frozen values that pass between the rooms; no value here knows a cloud by name.

The values of a quote are imported with the package; the others come when they are first named, since a dataclass costs
about a millisecond to make and a quote has forty for everything.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.money import NANO, from_nano, parse_amount, to_nano
from cloudaccel.model.offer import (
    HOURS_PER_MONTH,
    MARKETS,
    OFFER_KEY,
    Availability,
    Offer,
    Price,
    PricePart,
    Source,
    identified,
    offer_id,
)
from cloudaccel.model.request import AcceleratorTerm, Hidden, PlaceZone, Query, QueryResult

if TYPE_CHECKING:
    from cloudaccel.model.place import Country, Provider, Region
    from cloudaccel.model.unknown import Unknown
    from cloudaccel.model.verdict import Evidence, Finding, Verdict
    from cloudaccel.model.workload import (
        Assumption,
        Fit,
        Memory,
        ModelShape,
        Parallelism,
        PublishedRun,
        Reason,
        ServeDemand,
        Serving,
        Support,
        Workload,
    )

# Where the values live that are imported on first use.
_LATER = {
    "Country": "place",
    "Provider": "place",
    "Region": "place",
    "Unknown": "unknown",
    "Evidence": "verdict",
    "Finding": "verdict",
    "Verdict": "verdict",
    "Assumption": "workload",
    "Fit": "workload",
    "Memory": "workload",
    "ModelShape": "workload",
    "Parallelism": "workload",
    "PublishedRun": "workload",
    "Reason": "workload",
    "ServeDemand": "workload",
    "Serving": "workload",
    "Support": "workload",
    "Workload": "workload",
}

__all__ = [
    "HOURS_PER_MONTH",
    "MARKETS",
    "NANO",
    "OFFER_KEY",
    "Accelerator",
    "AcceleratorTerm",
    "Assumption",
    "Availability",
    "Country",
    "Evidence",
    "Finding",
    "Fit",
    "Hidden",
    "Memory",
    "ModelShape",
    "Offer",
    "Parallelism",
    "PlaceZone",
    "Price",
    "PricePart",
    "Provider",
    "PublishedRun",
    "Query",
    "QueryResult",
    "Reason",
    "Region",
    "ServeDemand",
    "Serving",
    "Source",
    "Support",
    "Unknown",
    "Verdict",
    "Workload",
    "from_nano",
    "identified",
    "offer_id",
    "parse_amount",
    "to_nano",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"cloudaccel.model.{_LATER[name]}"), name)
    raise AttributeError(f"module 'cloudaccel.model' has no attribute {name!r}")
