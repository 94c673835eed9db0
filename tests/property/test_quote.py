"""What must hold for every catalog and every query; a twin in plain Python is asked the same question."""

from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudaccel.catalog.load import build_rows_in_memory
from cloudaccel.catalog.query import SORTS, order_key, run_query
from cloudaccel.catalog.rows import OFFER_COLUMNS, Row
from cloudaccel.catalog.session import Session, accelerator_table
from cloudaccel.facts.expressions import parse_expression
from cloudaccel.model import AcceleratorTerm, Offer, Query, QueryResult, Source

TABLE = accelerator_table()
SOURCE = Source(id="s", name="s", path="", revision=None, licence="MIT", url=None)
IDS = ("nvidia-h100-sxm-80gb", "nvidia-h100-pcie-80gb", "nvidia-l4", "google-tpu-v5e")
REGIONS = {"us-east-1": "aws", "eu-west-1": "aws", "europe-west4": "gcp", "eastus": "azure", "global": "lambda"}


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    found: list[Row] = []
    for number in range(draw(st.integers(0, 14))):
        region = draw(st.sampled_from(sorted(REGIONS)))
        price = draw(st.one_of(st.just(""), st.decimals("0.01", "99", places=2).map(str)))
        found.append({
            **dict.fromkeys(OFFER_COLUMNS, ""),
            "provider": REGIONS[region], "partition": REGIONS[region], "region": region,
            "service": "vm", "instance": f"i{number}", "accelerator_id": draw(st.sampled_from(IDS)),
            "accelerator_name": "x", "count": draw(st.sampled_from(["", "1/2", "1", "8", "16"])), "hosts": "1",
            "sold_per": draw(st.sampled_from(["instance", "instance", "accelerator"])),
            "vcpus": draw(st.sampled_from(["", "8", "64"])), "memory_gib": draw(st.sampled_from(["", "32", "512"])),
            "market": draw(st.sampled_from(["on_demand", "spot"])), "price_per_hour": price,
            "currency": draw(st.sampled_from(["USD", "USD", "EUR"])), "status": "exact" if price else "unknown",
            "availability": draw(st.sampled_from(["listed", "offered", "not_seen", "not_sold"])),
            "as_of": draw(st.sampled_from(["", "2026-01-01"])), "source": "s",
            "offering_class": draw(st.sampled_from(["", "community"])),
        })  # fmt: skip
    return found


FILTERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "providers": st.sampled_from([frozenset({("aws", "aws")}), frozenset({("gcp", "gcp")})]),
        "regions": st.sampled_from([frozenset({"us-east-1"}), frozenset({"eastus", "europe-west4"})]),
        "countries": st.sampled_from([frozenset({"US"}), frozenset({"IE", "NL"})]),
        "min_mem_gb": st.sampled_from([16.0, 24.0, 80.0]),
        "min_total_mem_gb": st.sampled_from([100.0, 640.0]),
        "min_host_mem_gb": st.just(64.0),
        "min_vcpus": st.just(32.0),
        "interconnect": st.sampled_from(["nvlink", "pcie", "ici"]),
        "max_price": st.sampled_from([Decimal(1), Decimal(20)]),
        "max_hourly": st.sampled_from([Decimal(5), Decimal(60)]),
        "require_available": st.just(True),
        "kinds": st.sampled_from([frozenset({"gpu"}), frozenset({"tpu"})]),
    },
)
EXPRESSIONS = st.sampled_from([None, "H100", "H100:8", "H100-SXM:8+", "L4:1", "H100:8,L4", "L4>H100", "tpu-v5e:8"])
MARKETS = st.sampled_from([(("on_demand", None),), (("spot", None),), (("on_demand", None), ("spot", None))])


def ask(found: Sequence[Row], expression: str | None, **filters: Any) -> QueryResult:
    terms = parse_expression(expression) if expression else ()
    with closing(build_rows_in_memory(found, [SOURCE], built_from="test")) as catalog:
        return run_query(catalog.db, Query(terms=terms, **filters), TABLE)


def ids(offers: Sequence[Offer]) -> list[str]:
    return [offer.id for offer in offers]


@settings(max_examples=60)
@given(rows(), EXPRESSIONS, MARKETS, FILTERS, FILTERS)
def test_one_more_filter_never_adds_rows(
    found: list[Row], expression: str | None, markets: Any, some: dict[str, Any], more: dict[str, Any]
) -> None:
    loose = ask(found, expression, markets=markets, limit=None, **some)
    tight = ask(found, expression, markets=markets, limit=None, **{**more, **some})
    assert set(ids(tight.offers)) <= set(ids(loose.offers))
    assert tight.total <= loose.total


@settings(max_examples=150)
@given(rows(), EXPRESSIONS, MARKETS, st.sampled_from(sorted(SORTS)), st.sampled_from(["USD", "EUR"]), st.integers(1, 6))
def test_a_limit_shows_the_start_of_every_order(
    found: list[Row], expression: str | None, markets: Any, sort: str, currency: str, limit: int
) -> None:
    asked: dict[str, Any] = {"markets": markets, "sort": sort, "currency": currency}
    whole = ask(found, expression, limit=None, **asked)
    part = ask(found, expression, limit=limit, **asked)
    assert part.offers == whole.offers[:limit]
    assert part.total == whole.total


@settings(max_examples=100)
@given(rows(), EXPRESSIONS, MARKETS, FILTERS, st.integers(1, 6))
def test_a_limit_shows_the_start_of_the_whole_order(
    found: list[Row], expression: str | None, markets: Any, filters: dict[str, Any], limit: int
) -> None:
    whole = ask(found, expression, markets=markets, limit=None, **filters)
    part = ask(found, expression, markets=markets, limit=limit, **filters)
    assert whole.total == part.total == len(whole.offers)
    assert len(set(ids(whole.offers))) == len(whole.offers)
    assert ids(part.offers) == ids(whole.offers[:limit])


@settings(max_examples=100)
@given(rows(), EXPRESSIONS, MARKETS)
def test_unknown_is_never_before_known_and_prices_rise(found: list[Row], expression: str | None, markets: Any) -> None:
    answer = ask(found, expression, markets=markets, limit=None)
    rank = {i: t.rank for t in (parse_expression(expression) if expression else ()) for i in t.accelerator_ids}
    keys = [(bool(o.apart), rank.get(o.accelerator_id or "", 0), order_key(o)) for o in answer.offers]
    assert keys == sorted(keys)
    assert all(o.market in {market for market, _ in markets} for o in answer.offers)  # ranked by the market asked for
    for offer in answer.offers:
        if not offer.apart:
            assert offer.price.amount is not None
            assert offer.price.as_of is not None
            assert offer.price.currency == "USD"
            assert offer.availability.state not in ("not_seen", "not_sold")
            assert offer.offering_class != "community"


@settings(max_examples=150)
@given(rows(), EXPRESSIONS, MARKETS, FILTERS, st.one_of(st.none(), st.integers(1, 6)))
def test_the_index_and_plain_python_agree(
    found: list[Row], expression: str | None, markets: Any, filters: dict[str, Any], limit: int | None
) -> None:
    terms = parse_expression(expression) if expression else ()
    answer = ask(found, expression, markets=markets, limit=limit, **filters)
    wanted: list[tuple[tuple[bool, int, tuple[object, ...]], str]] = []
    for offer in ask(found, None, markets=markets, limit=None, allow_fraction=True).offers:
        rank = _rank(offer, terms)
        if rank is not None and offer.availability.state != "not_sold" and _passes(offer, filters):
            wanted.append(((bool(offer.apart), rank, order_key(offer)), offer.id))
    wanted.sort()
    assert ids(answer.offers) == [identity for _, identity in wanted][:limit]
    assert answer.total == len(wanted)


def _rank(o: Offer, terms: Sequence[AcceleratorTerm]) -> int | None:
    """The place of the first term that the offer satisfies, in the plainest words; None when there is none."""
    if not terms:
        return 0 if o.count is None or o.count >= 1 else None
    for term in terms:
        if o.accelerator_id in term.accelerator_ids:
            if term.count is None:
                fits = o.count is None or o.count >= 1
            else:
                fits = o.count is not None and (o.count >= term.count if term.at_least else o.count == term.count)
            if fits:
                return term.rank
    return None


@settings(max_examples=60)
@given(rows(), EXPRESSIONS, MARKETS, FILTERS)
def test_what_is_hidden_and_what_is_shown_is_everything(
    found: list[Row], expression: str | None, markets: Any, filters: dict[str, Any]
) -> None:
    answer = ask(found, expression, markets=markets, limit=None, **filters)
    terms = parse_expression(expression) if expression else ()
    everything = ask(found, None, markets=markets, limit=None, allow_fraction=True, require_available=False)
    asked = sum(_rank(o, terms) is not None for o in everything.offers)
    unsold = sum(
        row["availability"] == "not_sold" and row["market"] in {m for m, _ in markets} for row in found
    )  # hidden everywhere, so they are not among the offers
    counted = answer.total + sum(h.rows for h in answer.hidden if h.reason != "per_accelerator")
    assert asked <= counted <= asked + unsold


@settings(max_examples=60)
@given(rows(), rows(), EXPRESSIONS, FILTERS, st.integers(1, 6))
def test_two_catalogs_in_one_order(
    listed: list[Row], own: list[Row], expression: str | None, filters: dict[str, Any], limit: int
) -> None:
    own = [{**row, "instance": f"own-{row['instance']}"} for row in own]
    terms = parse_expression(expression) if expression else ()
    query = Query(terms=terms, limit=limit, **filters)
    together = ask([*listed, *own], expression, limit=limit, **filters)
    with (
        closing(build_rows_in_memory(listed, [SOURCE], built_from="test")) as catalog,
        closing(build_rows_in_memory(own, [SOURCE], built_from="test")) as overlay,
    ):
        session = Session(catalog, Path())
        session.overlay = overlay
        merged = session.query(query)
    assert ids(merged.offers) == ids(together.offers)
    assert merged.total == together.total
    assert sorted(h[:2] for h in merged.hidden) == sorted(h[:2] for h in together.hidden)


def _passes(o: Offer, filters: dict[str, Any]) -> bool:
    accelerator = TABLE[o.accelerator_id or ""]
    memory = accelerator.memory_gib or 0
    usd = o.price.amount if o.price.currency == "USD" else None
    checks: dict[str, Callable[[Any], bool]] = {
        "providers": lambda wanted: (o.provider, o.partition) in wanted,
        "regions": lambda wanted: o.region in wanted,
        "countries": lambda wanted: o.country in wanted,
        "min_mem_gb": lambda least: memory >= least,
        "min_total_mem_gb": lambda least: o.count is not None and memory * o.count >= least,
        "min_host_mem_gb": lambda least: (o.memory_gib or 0) >= least,
        "min_vcpus": lambda least: (o.vcpus or 0) >= least,
        "interconnect": lambda link: accelerator.link == link,
        "max_price": lambda most: usd is not None and o.count is not None and usd / Decimal(float(o.count)) <= most,
        "max_hourly": lambda most: usd is not None and usd <= most,
        "require_available": lambda _: o.availability.state == "offered",
        "kinds": lambda kinds: accelerator.kind in kinds,
    }
    return all(checks[name](value) for name, value in filters.items())


@given(st.integers(1, 64), st.integers(1, 8))
def test_price_per_accelerator_times_count_is_the_price(numerator: int, denominator: int) -> None:
    count = Fraction(numerator, denominator)
    row = {
        **dict.fromkeys(OFFER_COLUMNS, ""), "provider": "aws", "partition": "aws", "region": "us-east-1",
        "service": "vm", "instance": "i", "accelerator_id": IDS[0], "accelerator_name": "x", "count": str(count),
        "sold_per": "instance", "market": "on_demand", "price_per_hour": "55.04", "currency": "USD", "status": "exact",
        "availability": "listed", "as_of": "2026-01-01", "source": "s",
    }  # fmt: skip
    (offer,) = ask([row], None, allow_fraction=True).offers
    each = offer.price_per_accelerator_hour
    assert each is not None
    assert abs(each * count.numerator / count.denominator - Decimal("55.04")) < Decimal("1e-20")
