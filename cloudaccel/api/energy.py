"""Energy and carbon of a run: accelerator-hours, rated power, load, PUE and what a kWh of the grid emits."""

from dataclasses import dataclass
from decimal import Decimal

from cloudaccel.errors import QueryError
from cloudaccel.facts import places
from cloudaccel.model import Accelerator, Offer
from cloudaccel.model.place import Region
from cloudaccel.model.plan import Energy
from cloudaccel.model.workload import Assumption

# Share of the rated power that an accelerator draws over a training run, and what a place without a figure takes.
LOAD = Assumption("load", "0.8", "share of rated power", "estimate; no source", "2026-11-25", "--power-load")
DEFAULT_PUE = 1.2
_GIVEN = "given by you"
_MOST_PUE, _MOST_G = 5.0, 5000.0  # beyond these a typing mistake is likelier: lignite alone has about 1,100 g/kWh


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenEnergy:
    """Factors in place of those of the tables; None: not given. `grid` in g CO2e per kWh."""

    load: float | None = None
    pue: float | None = None
    grid: float | None = None

    def of(self, offer: Offer, accelerator: Accelerator, machines: int, hours: Decimal) -> Energy | None:
        """Every factor for an offer; None when the rated power, or what a kWh emits there, is not known."""
        place = places.region(offer.provider, offer.region)
        grid = self._grid(offer, place)
        if grid is None or accelerator.tdp_w is None or offer.count is None:
            return None
        pue, pue_source = self._pue(offer, place)
        load, load_source = (self.load, _GIVEN) if self.load is not None else (float(LOAD.value), LOAD.source)
        return Energy(
            accelerator_hours=float(offer.count) * machines * float(hours), rated_kw=accelerator.tdp_w / 1000,
            load=load, pue=pue, g_per_kwh=grid[0], scope=grid[1], load_source=load_source, pue_source=pue_source,
        )  # fmt: skip

    @property
    def said(self) -> dict[str, float]:
        """The factors that were given, for the lock."""
        named = {"power_load": self.load, "pue": self.pue, "grid": self.grid}
        return {name: value for name, value in named.items() if value is not None}

    def _grid(self, offer: Offer, place: Region | None) -> tuple[float, str] | None:
        if self.grid is not None:
            return self.grid, _GIVEN
        if place is not None and place.carbon_g_per_kwh is not None:
            return place.carbon_g_per_kwh, place.carbon_scope or "scope not stated"
        return places.country_grid(offer.country) if offer.market == "owned" and offer.country else None

    def _pue(self, offer: Offer, place: Region | None) -> tuple[float, str]:
        if self.pue is not None:
            return self.pue, _GIVEN
        if place is not None and place.pue is not None:
            return place.pue, "of the region"
        if offer.market != "owned":
            return DEFAULT_PUE, "assumed; no source for this region"
        from cloudaccel.facts.owned import owning  # only for machines of one's own

        row = owning()["pue"]
        return float(row.likely), f"{row.source}, {row.as_of}"


def read_energy(load: str | float | None, pue: str | float | None, grid: str | float | None) -> GivenEnergy:
    """The factors that the caller gives.

    Raises
    ------
    QueryError
        If one is no number, a load is no share, or a PUE is below 1.
    """
    return GivenEnergy(
        load=_number("--power-load", load, 0.0, 1.0, "a share of the rated power, such as 0.6 or 60%"),
        pue=_number("--pue", pue, 1.0, _MOST_PUE, "a ratio of 1 or more, such as 1.3"),
        grid=_number("--grid", grid, 0.0, _MOST_G, "grams of CO2e per kWh, such as 56"),
    )


def _number(flag: str, given: str | float | None, least: float, most: float, words: str) -> float | None:
    if given is None:
        return None
    text = str(given).strip()
    try:
        number = float(text.removesuffix("%")) / 100 if text.endswith("%") and most == 1.0 else float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most or (flag == "--power-load" and number == 0):
        raise QueryError(f"{flag}: {given!r} is not {words}, at most {most:g}.")
    return number
