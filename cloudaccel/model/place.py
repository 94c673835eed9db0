"""Places: who runs a region, and where it stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One seller of capacity. `operator_country` is the country of its ultimate parent; None when unknown."""

    name: str
    title: str
    operator: str | None
    operator_country: str | None
    kind: str  # hyperscaler, specialised, marketplace, serverless, owned
    aliases: tuple[str, ...]
    source: str
    as_of: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region of one provider. `country` is ISO 3166-1 alpha-2; None when the provider does not say.

    `carbon_g_per_kwh` is grams of CO2e per kWh in the scope that `carbon_scope` names.
    """

    provider: str
    partition: str
    name: str
    title: str
    country: str | None
    city: str | None
    operator: str | None
    operator_country: str | None
    latitude: float | None
    longitude: float | None
    carbon_g_per_kwh: float | None
    carbon_scope: str | None
    pue: float | None
    aliases: tuple[str, ...]
    source: str
    as_of: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """One country and the groups that a residency filter can name."""

    code: str
    name: str
    continent: str
    eu: bool
    eea: bool
    source: str
