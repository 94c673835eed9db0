"""The columns of an offer: one value each, for CSV as plain text and for tables as people read it."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache

from cloudaccel.api import quoting as api
from cloudaccel.catalog.session import accelerator_table
from cloudaccel.model import HOURS_PER_MONTH, Accelerator, Offer, Price, PricePart

PER: Mapping[str, int] = {"hour": 1, "month": HOURS_PER_MONTH, "1000h": 1000}
NO_DECIMALS = frozenset({"JPY", "KRW"})  # ISO 4217 list one (2024-06): currencies sold in that have no minor unit


class View:
    """What a column needs besides the offer: the answer it is part of, and the hours that prices are for."""

    def __init__(self, answer: api.Quote, hours: int = 1) -> None:
        self.answer = answer
        self.hours = hours


Value = str | int | float | Decimal | None
Column = Callable[[Offer, View], Value]


@cache
def _table() -> Mapping[str, Accelerator]:
    return accelerator_table()


def accelerator_of(offer: Offer) -> Accelerator | None:
    """The row of the accelerator table; None when the offer's accelerator is not in it."""
    return _table().get(offer.accelerator_id or "")


def display_name(offer: Offer) -> str:
    """``H100-SXM 80GB``: family, form where it matters, memory of one accelerator or of the share."""
    accelerator = accelerator_of(offer)
    if accelerator is None:
        memory = offer.accelerator_memory_gib
        said = memory is None or "GB" in offer.accelerator_name.upper()
        return offer.accelerator_name if said else f"{offer.accelerator_name} {memory:g}GB"
    name = accelerator.family
    if accelerator.form in ("sxm", "pcie") and _has_forms(accelerator.family):
        name += f"-{_form_word(accelerator)}"
    memory = offer.accelerator_memory_gib or accelerator.memory_gib
    share = f"{offer.count} " if offer.count is not None and offer.count < 1 else ""
    return f"{share}{name}" + (f" {memory:g}GB" if memory else "")


def _form_word(accelerator: Accelerator) -> str:
    if "-nvl" in accelerator.id:
        return "NVL"
    return {"sxm": "SXM", "pcie": "PCIe"}.get(accelerator.form or "", "")


@cache
def _has_forms(family: str) -> bool:
    return len({_form_word(a) for a in _table().values() if a.family == family}) > 1


def times(amount: Decimal | None, factor: int) -> Decimal | None:
    """`amount` times `factor`, in plain digits; None stays None."""
    return None if amount is None else amount * factor


def _over(amount: Decimal | None, size: float | None) -> Decimal | None:
    """`amount` for one of `size`, to six digits after the point; None where either is unknown."""
    return None if amount is None or not size else round(amount / Decimal(str(size)), 6)


def _peak(offer: Offer) -> float | None:
    """Dense 16-bit TFLOP/s of one whole accelerator, BF16 or, without it, FP16."""
    row = accelerator_of(offer)
    return None if row is None else row.peak_tflops_bf16_dense or row.peak_tflops_fp16_dense


def _count(offer: Offer, _: View) -> Value:
    return None if offer.count is None else str(offer.count)


def _age(offer: Offer, view: View) -> Value:
    age = api.age_days(offer, view.answer.today)
    return None if age is None else age[0]


def _of_accelerator(field: str) -> Column:
    def column(offer: Offer, _: View) -> Value:
        accelerator = accelerator_of(offer)
        return None if accelerator is None else getattr(accelerator, field)

    return column


def _of_offer(field: str) -> Column:
    return lambda offer, _: getattr(offer, field)


def _of_price(field: str) -> Column:
    return lambda offer, _: getattr(offer.price, field)


def _tax(offer: Offer, view: View) -> Decimal | None:
    percent = view.answer.tax_percent
    if percent is None:
        return None
    from cloudaccel.cost.currency import tax_on  # only a quote with tax pays for it

    return tax_on(times(offer.price.amount, view.hours), percent)


def _with_tax(offer: Offer, view: View) -> Value:
    tax, price = _tax(offer, view), times(offer.price.amount, view.hours)
    return None if tax is None or price is None else price + tax


def listed_price(offer: Offer, view: View) -> Price:
    """The price as its source lists it: the offer's own, when nothing was converted."""
    conversion = view.answer.conversion
    return offer.price if conversion is None else conversion.listed.get(offer.id, offer.price)


def money_columns(answer: api.Quote) -> tuple[str, ...]:
    """Columns that an answer has when prices were converted, or tax was stated."""
    listed = ("list_price", "list_currency") if answer.conversion is not None else ()
    return (*listed, "tax", "price_with_tax") if answer.tax_percent is not None else listed


COLUMNS: Mapping[str, Column] = {
    "provider": _of_offer("provider"),
    "partition": _of_offer("partition"),
    "region": _of_offer("region"),
    "zone": _of_offer("zone"),
    "country": _of_offer("country"),
    "operator_country": _of_offer("operator_country"),
    "service": _of_offer("service"),
    "instance": _of_offer("instance"),
    "accelerator": lambda offer, _: display_name(offer),
    "accelerator_id": _of_offer("accelerator_id"),
    "kind": _of_accelerator("kind"),
    "count": _count,
    "count_unit": _of_accelerator("unit"),
    "memory_gib_each": _of_offer("accelerator_memory_gib"),
    "memory_gib_total": _of_offer("total_memory_gib"),
    "interconnect": _of_accelerator("link"),
    "hosts": _of_offer("hosts"),
    "nodes": lambda offer, view: view.answer.nodes(offer),
    "vcpus": _of_offer("vcpus"),
    "memory_gib": _of_offer("memory_gib"),
    "market": _of_offer("market"),
    "term": _of_offer("term"),
    "payment": _of_offer("payment"),
    "class": _of_offer("offering_class"),
    "sold_per": _of_offer("sold_per"),
    "price": lambda offer, view: times(offer.price.amount, view.hours),
    "price_per_accelerator": lambda offer, view: times(offer.price_per_accelerator_hour, view.hours),
    "price_per_gb": lambda offer, view: _over(times(offer.price.amount, view.hours), offer.total_memory_gib),
    "price_per_tflop": lambda offer, view: _over(times(offer.price_per_accelerator_hour, view.hours), _peak(offer)),
    "request_price": lambda offer, view: times(offer.price.amount, view.hours * view.answer.nodes(offer)),
    "currency": _of_price("currency"),
    "list_price": lambda offer, view: times(listed_price(offer, view).amount, view.hours),
    "list_currency": lambda offer, view: listed_price(offer, view).currency,
    "tax": _tax,
    "price_with_tax": _with_tax,
    "upfront": _of_price("upfront"),
    "status": _of_price("status"),
    "availability": lambda offer, _: offer.availability.state,
    "last_seen": lambda offer, _: offer.availability.last_seen,
    "as_of": _of_price("as_of"),
    "as_of_until": _of_price("as_of_until"),
    "age_days": _age,
    "source": lambda offer, _: offer.price.source.name,
    "licence": lambda offer, _: offer.price.source.licence,
    "note": _of_price("note"),
    "apart": lambda offer, _: " ".join(offer.apart) or None,
    "id": _of_offer("id"),
}

# Other words for the same column.
ALIASES = {
    "price_per_hour": "price",
    "hourly": "price",
    "price_per_accelerator_hour": "price_per_accelerator",
    "price_per_gb_hour": "price_per_gb",
    "price_per_tflop_hour": "price_per_tflop",
    "type": "instance",
    "age": "age_days",
}
PRICES = frozenset(
    {"price", "price_per_accelerator", "price_per_gb", "price_per_tflop", "request_price", "tax", "price_with_tax"}
)

DEFAULT_COLUMNS = (
    "provider", "partition", "region", "zone", "country", "instance", "accelerator", "accelerator_id", "count",
    "memory_gib_each", "vcpus", "memory_gib", "market", "term", "payment", "class", "price", "price_per_accelerator",
    "currency", "upfront", "status", "availability", "as_of", "as_of_until", "source", "apart", "note",
)  # fmt: skip


def heading(column: str, per: str) -> str:
    """The heading of a column in a CSV; prices carry their unit of time: ``price_per_hour``, ``price_per_month``."""
    if column not in PRICES and column != "list_price":
        return column
    return f"{column}_{per}" if column.startswith("price_per_") else f"{column}_per_{per}"


def part_text(part: PricePart) -> str:
    """One part of a price with its sum: ``host: 1 × 0.94 = 0.94``."""
    product = f"{plain(part.quantity)} × {plain(part.unit_price) or '?'}"
    return f"{part.name}: {product} = {plain(part.amount) or 'unknown'}"


def plain(value: Value) -> str:
    """A value for a machine: dot decimals, no thousands separators, empty for unknown."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value.normalize() if value != value.to_integral_value() else value.quantize(Decimal(1)), "f")
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def amount_in(amount: Decimal | None, currency: str) -> str:
    """A sum as a table has it: two decimals, or none where the currency has none; ``—`` when it is unknown."""
    return "—" if amount is None else f"{amount:,.{0 if currency in NO_DECIMALS else 2}f}"
