"""The money that ``provision cost`` is read in: each run's sum in another currency, with the tax, and all of them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cloudaccel import units
from cloudaccel.api.money import Money, read_money
from cloudaccel.cost.currency import shown_in
from cloudaccel.cost.lines import CURRENCY, DISK_PRICE
from cloudaccel.errors import QueryError
from cloudaccel.model.shown import Shown
from cloudaccel.output.columns import amount_in, plain
from cloudaccel.provision.cost import Cost


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags ask for: the currency to show (None: none), the tax (None: none), and the rates."""

    currency: str | None
    tax: str | None
    money: Money

    def shown(self, listed: str) -> Shown | str | None:
        """How a sum in `listed` is shown; why it cannot be; None when nothing is asked for."""
        if self.currency is None and self.tax is None:
            return None
        try:
            return shown_in(self.currency or listed, self.money.rates, self.tax, listed)
        except QueryError:
            source = "no exchange rate" if self.money.rates is None else self.money.rates.source
            return f"unknown: {source} has none from {listed}"


def read(a: argparse.Namespace) -> Asked:
    """The money of the flags; raises `QueryError` for a currency, a file or a tax that cannot be read."""
    return Asked(a.currency, a.tax, read_money(a.currency, a.fx_file, a.tax))


def disk_price(a: argparse.Namespace, asked: Asked) -> Decimal:
    """The price of ``--disk-price`` in the currency of the sums of disks."""
    amount, code = units.parse_money(a.disk_price or str(DISK_PRICE.value), "--disk-price")
    return asked.money.in_sums(amount, code or CURRENCY, "--disk-price")


def lines_of(total: Decimal | None, listed: str, asked: Asked) -> list[str]:
    """The sum of a run in the currency that was asked for, by which rate, and the tax on it."""
    shown = asked.shown(listed)
    if shown is None:
        return []
    if isinstance(shown, str):
        return [f"  {f'in {asked.currency}':<22} {shown}"]
    amount, tax = shown.amount(total), shown.tax(total)
    lines: list[str] = []
    if shown.source is not None:
        rate = f"1 {listed} = {plain(shown.rate)} {shown.currency}, {shown.source} of {shown.as_of}"
        lines.append(f"  {f'in {shown.currency}':<22} {'':>22}   {amount_in(amount, shown.currency):>10}  ({rate})")
    if shown.tax_percent is not None:
        both = None if amount is None or tax is None else amount + tax
        stated = f"({plain(shown.tax_percent)}% as you state; with it {amount_in(both, shown.currency)})"
        lines.append(f"  {f'tax, {shown.currency}':<22} {'':>22}   {amount_in(tax, shown.currency):>10}  {stated}")
    return lines


def together(costs: Sequence[Cost], asked: Asked) -> list[str]:
    """The sums of all runs by currency, with how many have no known price and are in none; nothing for one run."""
    if len(costs) < 2:
        return []
    sums: dict[str, Decimal] = {}
    for cost in costs:
        if cost.total is not None and cost.lines:
            listed = cost.run.currency or CURRENCY
            sums[listed] = sums.get(listed, Decimal(0)) + cost.total
    unknown = sum(cost.total is None for cost in costs)
    tail = f"; {unknown} with a price that nobody knows not in it" if unknown else ""
    lines = [f"all {len(costs)} runs{tail}"]
    for listed, total in sums.items():
        lines.append(f"  {f'total, {listed}':<22} {'':>22}   {amount_in(total, listed):>10}")
        lines += lines_of(total, listed, asked)
    return lines


def to_json(cost: Cost, asked: Asked) -> dict[str, Any]:
    """How the sum of a run is shown, as plain JSON values; empty when nothing was asked for."""
    shown = asked.shown(cost.run.currency or CURRENCY)
    if shown is None:
        return {}
    if isinstance(shown, str):
        return {"shown": {"currency": asked.currency, "total": None, "reason": shown}}
    return {"shown": {**shown.plain(), "total": shown.of(cost.total)}}
