"""The other read-only verbs over HTTP: plan, compare, advise, history, places and the catalog."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cloudaccel.api import deciding, planning
from cloudaccel.api.explaining import explain
from cloudaccel.catalog.session import Session, open_session
from cloudaccel.cli import advise as advise_output
from cloudaccel.cli import compare_json
from cloudaccel.cli.explain import history_json
from cloudaccel.cli.quote_json import SCHEMA
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.facts import places
from cloudaccel.service.guard import Heavy, job_without_files, known_packs, option_without_files, registry_model
from cloudaccel.service.offers import Text, Texts
from cloudaccel.workloads.job import parse_job

_T = TypeVar("_T")
_MOST_SAMPLES = 10_000  # draws of a comparison: a second of this machine's time
_AT_ONCE = 4  # plans and comparisons; more are told to come again


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RuleFields(_Body):
    """What to judge every place by: packs that ship with the product, and what is stated."""

    policy: Texts = Field(default=[], description="ids of packs that ship with the product; never a file")
    headquarters: Text | None = Field(default=None, description="country of the ultimate parent")
    users: Text | None = Field(default=None, description="countries of the users, or none")
    sector: Text | None = None
    data_class: Texts | None = None
    stated: Texts = []


class PlanFilters(_Body):
    """The filters of ``cloudaccel plan``."""

    provider: Texts = []
    region: Texts = []
    country: Texts = []
    residency: Text | None = None
    market: Texts = ["on-demand"]
    interconnect: Text | None = None
    require_available: bool = False


class PlanRequest(RuleFields):
    """A job with the keys of ``job.yaml``, and what narrows the choice."""

    job: Annotated[dict[str, Any], Field(max_length=60)] = Field(description="a mapping; never the name of a file")
    accelerators: Text | None = None
    filters: PlanFilters = PlanFilters()
    rank: Text = Field(default="cost", description="cost, time or carbon")
    mfu: float | None = None
    measured: float | None = None
    max_nodes: int = Field(default=64, ge=1, le=1024)
    setup: Text | None = None
    disk_price: Text | None = None
    transfer_price: Text | None = None
    limit: int = Field(default=10, ge=1, le=50)
    startable: bool = False


class CompareRequest(_Body):
    """The options and flags of ``cloudaccel compare``."""

    options: Annotated[list[Annotated[str, Field(max_length=500)]], Field(min_length=1, max_length=20)]
    demand: Text | None = None
    hours: Text | None = None
    years: Text = "1"
    model: Text | None = None
    dtype: Text | None = None
    mix: Text | None = None
    rents: Text = ""
    people: Text | None = None
    data: Text | None = None
    country: Text | None = None
    fx: Text | None = None
    scope: Text = "full"
    sensitivity: bool = False
    samples: int = Field(default=0, ge=0, le=_MOST_SAMPLES)
    seed: int = Field(default=0, ge=0, le=2**31)


class AdviseRequest(_Body):
    """Answers by question, as ``cloudaccel advise`` takes them."""

    answers: Annotated[dict[Text, str | float | bool], Field(max_length=100)] = {}
    context: int = Field(default=0, ge=0, le=10**9)
    max_params: float | None = Field(default=None, gt=0)


def add_verbs(app: FastAPI, catalog: str | Path | None) -> None:
    """The verbs that reckon: each takes JSON and answers with the JSON of the command line."""
    heavy = Heavy(_AT_ONCE)

    def plan(body: PlanRequest) -> Response:
        """The lock of the cheapest plan for a job; ``chosen`` is null when nothing fits, and says why."""
        with heavy:
            return Response(planning.lock_text(_planned(body, catalog)), media_type="application/json")

    def compare(body: CompareRequest) -> Response:
        """Ways of getting the same result, costed side by side."""
        given = body.model_dump()
        options = [_mended(lambda text=text: option_without_files(text)) for text in given.pop("options")]
        if body.model is not None:
            given["model"] = registry_model(body.model)
        with heavy:
            found = _mended(lambda: deciding.compare(options, catalog=catalog, **given))
        return Response(compare_json.text(found), media_type="application/json")

    def advise(body: AdviseRequest) -> Response:
        """Call an API, adapt an open model or build one; rent or own: what the rules recommend."""
        answers = {name: _word(value) for name, value in body.answers.items()}
        found = _mended(lambda: deciding.advise(answers, context=body.context, max_params=body.max_params))
        return Response(advise_output.text(found), media_type="application/json")

    app.post("/v1/plan", response_class=JSONResponse)(plan)
    app.post("/v1/compare", response_class=JSONResponse)(compare)
    app.post("/v1/advise", response_class=JSONResponse)(advise)


def _word(value: str | float | bool) -> str:
    """An answer as the command line has it: ``yes`` and ``no`` for the two of JSON."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _planned(body: PlanRequest, catalog: str | Path | None) -> Any:
    job = _mended(lambda: job_without_files(body.job))
    _mended(lambda: parse_job(job))  # what cannot be read is the caller's to mend; what fails later is not
    rules = None
    if body.policy:
        from cloudaccel.api.judging import Rules  # only a plan that is judged pays for the tables of facts

        rules = Rules(
            packs=known_packs(body.policy), headquarters=body.headquarters, users=body.users, sector=body.sector,
            data=None if body.data_class is None else tuple(body.data_class), stated=tuple(body.stated),
        )  # fmt: skip
    filters: Any = body.filters.model_dump()
    return planning.plan(
        job, accelerators=body.accelerators, rank_by=body.rank, mfu=body.mfu, measured=body.measured,
        max_nodes=body.max_nodes, setup=body.setup, disk_price=body.disk_price, transfer_price=body.transfer_price,
        options=body.limit, startable=body.startable, catalog=catalog, rules=rules, **filters,
    )  # fmt: skip


def _mended(work: Callable[[], _T]) -> _T:
    """The result of `work`; what it says of the caller's own mapping is the caller's to mend, not the machine's."""
    try:
        return work()
    except ConfigError as error:
        raise QueryError(str(error), choices=error.choices) from error


def add_tables(app: FastAPI, catalog: str | Path | None) -> None:
    """What the catalog and the tables hold: sellers, regions, dates, and prices over time."""

    def providers() -> dict[str, Any]:
        """Every seller with rows in the catalog or in the tables, and the dates of its prices."""
        with open_session(catalog) as session:
            return _envelope(session, "providers", providers=_sellers(session))

    def regions(provider: Annotated[Text | None, Query(description="one seller")] = None) -> dict[str, Any]:
        """Every region of the tables: where it stands, who runs it, the carbon of its grid, and the source of that."""
        seller = None if provider is None else places.resolve_provider(provider)
        rows = [_region(row) for row in places.regions().values() if seller in (None, row.provider)]
        with open_session(catalog) as session:
            return _envelope(session, "regions", regions=rows)

    def catalog_state() -> dict[str, Any]:
        """Which catalog answers, how old each seller's prices are, and which sources it was made from."""
        with open_session(catalog) as session:
            sql = "SELECT name, path, revision, licence, url FROM source ORDER BY name, path"
            names = ("name", "path", "revision", "licence", "url")
            sources = [
                dict(zip(names, row, strict=True)) for row in session.read(lambda db: db.execute(sql).fetchall())
            ]
            return _envelope(session, "catalog", providers=_sellers(session), sources=sources)

    def history(offer: Annotated[Texts, Query(min_length=1, max_length=20, description="ids of offers")]) -> Any:
        """Every known price of some offers, oldest first; between two of them nobody looked."""
        found: list[dict[str, Any]] = []
        for offer_id in dict.fromkeys(offer):
            if len(offer_id) != 16 or not set(offer_id) <= set("0123456789abcdef"):
                raise QueryError(f"offer: {offer_id!r} is no id of an offer. /v1/offers has them.")
            one = explain(offer_id, catalog=catalog)
            price = one.offers[0].price
            found.append({"offer": offer_id, "currency": price.currency, "versions": history_json(one.history)})
        with open_session(catalog) as session:
            return _envelope(session, "history", histories=found)

    app.get("/v1/providers")(providers)
    app.get("/v1/regions")(regions)
    app.get("/v1/catalog")(catalog_state)
    app.get("/v1/history")(history)


def _envelope(session: Session, kind: str, **content: Any) -> dict[str, Any]:
    meta = session.catalog.meta
    stamp = {"id": meta["catalog_id"], "as_of": meta["as_of"] or None, "as_of_until": meta["as_of_until"] or None}
    return {"schema": SCHEMA, "kind": kind, "catalog": stamp, **content}


def _sellers(session: Session) -> list[dict[str, Any]]:
    today = datetime.now(UTC).date()
    dates = seller_dates(session)
    return [_seller(name, dates.get(name), today) for name in sorted({*dates, *places.providers()})]


def seller_dates(session: Session) -> dict[str, tuple[int, str | None, str | None]]:
    """By seller: rows in the catalog, and the oldest and the newest date of its prices (ISO; None: undated)."""
    sql = "SELECT provider, sum(rows), min(as_of), max(COALESCE(as_of_until, as_of)) FROM segment GROUP BY provider"
    return {
        row[0]: (row[1], row[2] or None, row[3] or None) for row in session.read(lambda db: db.execute(sql).fetchall())
    }


def _seller(name: str, dates: tuple[int, str | None, str | None] | None, today: date) -> dict[str, Any]:
    row = places.providers().get(name)
    rows, first, last = dates or (0, None, None)
    return {
        "id": name,
        "title": row.title if row else None,
        "operator": row.operator if row else None,
        "operator_country": row.operator_country if row else None,
        "kind": row.kind if row else None,
        "source": row.source if row else None,
        "rows": rows,
        "as_of": first,
        "as_of_until": last,
        "age_days": None if first is None else max(0, (today - date.fromisoformat(first[:10])).days),
    }


_REGION = ("provider", "partition", "name", "title", "country", "city", "operator", "operator_country", "latitude",
           "longitude", "carbon_g_per_kwh", "carbon_scope", "pue", "source", "as_of", "note")  # fmt: skip


def _region(row: Any) -> Mapping[str, Any]:
    return {name: getattr(row, name) if getattr(row, name) != "" else None for name in _REGION}
