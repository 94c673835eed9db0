"""Frozen values that pass between the rooms; no value here knows a cloud by name."""

from cloudaccel.model.accelerator import Accelerator
from cloudaccel.model.money import NANO, from_nano, parse_amount, to_nano
from cloudaccel.model.offer import (
    HOURS_PER_MONTH,
    MARKETS,
    Availability,
    Offer,
    Price,
    PricePart,
    Source,
)
from cloudaccel.model.place import Country, Provider, Region
from cloudaccel.model.request import AcceleratorTerm, Hidden, Query, QueryResult
from cloudaccel.model.unknown import Unknown

__all__ = [
    "HOURS_PER_MONTH",
    "MARKETS",
    "NANO",
    "Accelerator",
    "AcceleratorTerm",
    "Availability",
    "Country",
    "Hidden",
    "Offer",
    "Price",
    "PricePart",
    "Provider",
    "Query",
    "QueryResult",
    "Region",
    "Source",
    "Unknown",
    "from_nano",
    "parse_amount",
    "to_nano",
]
