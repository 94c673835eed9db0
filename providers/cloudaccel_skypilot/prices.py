"""Prices of clouds without a list that programs may read, from the catalogs that SkyPilot hosts.

A third party's: read only when the environment variable `WANTED` is set. The files carry no date and their repository
no licence file, so a price is dated by an interval and its licence said as unknown. Prices of a cloud whose own list is
read are never taken from here; ``refresh --compare`` sets them side by side.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import date
from typing import ClassVar

from cloudaccel.errors import AuthError
from cloudaccel.facts.hosted import HostedRow, hosted_rows
from cloudaccel.facts.listing import Line, LineList, Shape, Terms
from cloudaccel.model import Source

WANTED = "CLOUDACCEL_SKYPILOT_CATALOG"  # set to anything
# Where GitHub limits calls: its mirror skypilot-catalog.s3.us-east-1.amazonaws.com/catalogs, in CLOUDACCEL_MIRRORS.
BASE_URL = "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/v8"
SINCE = date(2025, 11, 1)  # the schema of these files is no older; nothing in them says when a price was seen


class SkypilotPrices(LineList):
    """One cloud's file; subclasses name the cloud and its folder."""

    operation = "vms.csv"
    folder: ClassVar[str]
    forms: ClassVar[Mapping[str, str]] = {}  # names without a form factor, as the seller's own page has them

    def __init_subclass__(cls) -> None:
        url = f"{BASE_URL}/{cls.folder}/vms.csv"
        cls.sources = (url,)
        cls.source = Source(
            id=f"skypilot-catalog-{cls.provider}", name="SkyPilot's hosted catalog",
            path=f"catalogs/v8/{cls.folder}/vms.csv", revision="master", licence="licence file not seen", url=url,
        )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every type with accelerators, on demand and, where it has a price, spot."""
        if not os.environ.get(WANTED, "").strip():
            raise AuthError(
                f"{self.provider}: read at second hand only, from the catalog that SkyPilot hosts and whose "
                f"licence nobody states. Set {WANTED}=yes to read that.",
                provider=self.provider, operation="prices", code="no-key",
            )  # fmt: skip
        # Asked with a header, so that it is never taken for seen today because the file is unchanged.
        with self.web.ask(self.sources[0], headers={"Accept": "text/csv"}) as answer:
            try:
                for row in hosted_rows(answer.lines()):
                    yield from self._lines(row)
            except ValueError as error:
                raise self.malformed(str(error)) from None

    def _lines(self, row: HostedRow) -> Iterator[Line]:
        shape = Shape(
            instance=row.instance, accelerator_id=self.forms.get(row.accelerator_name) or row.accelerator_id,
            accelerator_name=row.accelerator_name, count=row.count, vcpus=row.vcpus, memory_gib=row.memory_gib,
        )  # fmt: skip
        for market, price in row.prices.items():
            if price is not None or market != "spot":
                yield Line(
                    shape=shape, amount=price, regions=(row.region,), terms=Terms(market=market), seen_since=SINCE
                )


class CudoPrices(SkypilotPrices):
    """Cudo Compute."""

    provider = "cudo"
    folder = "cudo"


class JarvislabsPrices(SkypilotPrices):
    """Jarvislabs."""

    provider = "jarvis-labs"
    folder = "jarvislabs"
    # The seller's price page (read by tardellirs/gpu-pricing@8f09a68, 2026-05-24).
    forms = {"H100": "nvidia-h100-sxm-80gb", "RTXPRO6000": "nvidia-rtx-pro-6000-server"}  # noqa: RUF012


__all__ = ["WANTED", "CudoPrices", "JarvislabsPrices"]
