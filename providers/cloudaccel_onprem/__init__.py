"""Machines that one owns: the inventory file as offers of market ``owned``. Nothing is started or asked of anybody.

The file is named by ``CLOUDACCEL_INVENTORY``; docs/how-to/own-hardware.md is its format. What an hour costs is worked
out by the core (``cloudaccel compare --inventory``); here only a price that the file itself states is passed on.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from cloudaccel.errors import ConfigError
from cloudaccel.facts.inventory import PROVIDER, offer_of, read_inventory
from cloudaccel.model import Offer
from cloudaccel.protocols import Instances, Quota, QuotaLine, Quotas, Scope, Sold, Web

INVENTORY_ENV = "CLOUDACCEL_INVENTORY"


class Inventory:
    """The machines of an inventory file, as offers, and how many there are."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def _file(self) -> Path:
        named = self._path or os.environ.get(INVENTORY_ENV)
        if not named:
            raise ConfigError(f"no inventory is named. Set {INVENTORY_ENV} to its path.")
        return Path(named)

    @property
    def sources(self) -> Sequence[str]:
        """None: a file is read."""
        return ()

    def over(self, web: Web) -> "Inventory":  # noqa: ARG002  # no network is needed
        """The same inventory."""
        return self

    def scopes(self) -> Sequence[Scope]:
        """One for each site."""
        sites = sorted({machine.site for machine in read_inventory(self._file())})
        return tuple(Scope(provider=PROVIDER, partition=PROVIDER, region=site) for site in sites)

    def offers(self, scope: Scope) -> Iterator[Offer]:
        """One offer for each kind of machine at a site; without a price unless the file states one."""
        path = self._file()
        for machine in read_inventory(path):
            if scope.region in (None, machine.site):
                yield offer_of(machine, path)

    def family(self, instance_type: str) -> str:
        """Each kind of machine is counted by itself."""
        return instance_type

    def remaining(self, region: str, family: str, market: str) -> Quota | None:
        """The machines there are: nobody lends more."""
        count = sum(m.machines for m in read_inventory(self._file()) if (m.site, m.machine) == (region, family))
        if not count or market != "owned":
            return None
        return Quota(
            name="machines owned", code="inventory", limit=Decimal(count), used=Decimal(0), unit="machines"
        )  # fmt: skip

    def needed(self, instance_type: str, count: int, region: str) -> Decimal | None:
        """A machine counts as one."""
        return Decimal(count) if instance_type and region else None

    def lines(self, sold: Sold, *, ask: bool) -> Sequence[QuotaLine]:
        """The machines there are; they are read from the inventory's file, so that nobody needs to be asked."""
        found = self.remaining(sold.region, sold.instance_type, sold.market) if ask else None
        limit, used = (None, None) if found is None else (found.limit, found.used)
        count = Decimal(sold.count)
        line = QuotaLine(name="machines owned", code="inventory", unit="machines", region=sold.region, needed=count)
        return (replace(line, limit=limit, used=used),)


class OnPremProvider:
    """Owned machines. `path` None: as the environment names it, when it is first needed."""

    def __init__(self, path: Path | None = None) -> None:
        self._inventory = Inventory(path)

    @property
    def name(self) -> str:
        """The entry-point name."""
        return "onprem"

    @property
    def quotas(self) -> Quotas | None:
        """How many machines there are."""
        return self._inventory

    @property
    def instances(self) -> Instances | None:
        """Starting them is the business of whoever runs the room."""
        return None


def provider() -> OnPremProvider:
    """The entry point."""
    return OnPremProvider()


__all__ = ["INVENTORY_ENV", "Inventory", "OnPremProvider", "provider"]
