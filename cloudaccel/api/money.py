"""In which money a plan or a comparison is read: rates, the currency and tax that are shown, budgets in other money."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

from cloudaccel.cost.currency import Rates, read_rates, shown_in
from cloudaccel.cost.lines import CURRENCY
from cloudaccel.errors import QueryError
from cloudaccel.model.shown import Shown
from cloudaccel.settings import load_settings
from cloudaccel.workloads.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Rates (None: nothing is converted), their file, and how sums are shown beside themselves (None: not)."""

    rates: Rates | None
    file: Path | None
    shown: Shown | None

    @property
    def convert(self) -> Callable[[sqlite3.Connection], None] | None:
        """What turns a copy of the catalog into the currency of sums; None where nothing is converted."""
        return None if self.rates is None else partial(_convert, rates=self.rates)

    def in_sums(self, amount: Decimal, currency: str, what: str) -> Decimal:
        """`amount` in the currency of the sums.

        Raises
        ------
        QueryError
            If there is no rate; `what` says whose amount it is.
        """
        if currency == CURRENCY:
            return amount
        rate = None if self.rates is None else self.rates.rate(currency, CURRENCY)
        if rate is None:
            lacking = "no exchange rate is loaded" if self.rates is None else f"{self.rates.source} has no rate for it"
            raise QueryError(
                f"{what}: it is in {currency}, sums are in {CURRENCY}, and {lacking}. Write it in {CURRENCY}, "
                "or name the ECB's table with --fx-file."
            )
        return amount * rate


def read_money(currency: str | None, fx_file: str | Path | None, tax: str | None, *, foreign: bool = False) -> Money:
    """The rates of `fx_file`, else those of the settings when a `currency` is named or something is `foreign`.

    Raises
    ------
    QueryError
        If the file, the currency or the tax cannot be read.
    """
    path = str(fx_file or (load_settings()["fx_file"] if currency or foreign else ""))
    rates = read_rates(Path(path)) if path else None
    return Money(rates=rates, file=Path(path) if path else None, shown=shown_in(currency, rates, tax, CURRENCY))


def job_money(job: Job, currency: str | None, fx_file: str | Path | None, tax: str | None) -> tuple[Job, Money]:
    """The job with its budget in the currency of the sums, and the money of its plan; raises as `read_money`."""
    work = job.workload
    if work.budget is None:
        return job, read_money(currency, fx_file, tax)
    money = read_money(currency, fx_file, tax, foreign=work.budget_currency != CURRENCY)
    budget = money.in_sums(work.budget, work.budget_currency, "budget")
    return replace(job, workload=replace(work, budget=budget, budget_currency=CURRENCY)), money


def _convert(db: sqlite3.Connection, *, rates: Rates) -> None:
    from cloudaccel.catalog.converting import convert  # only where there are rates

    convert(db, CURRENCY, lambda listed: rates.rate(listed, CURRENCY), f"{rates.source} of {rates.as_of}")
