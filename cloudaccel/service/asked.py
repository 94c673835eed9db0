"""What can be asked, over HTTP or by an assistant: typed questions that never name a file, and their answers."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from cloudaccel.api import deciding, planning, quoting
from cloudaccel.api.energy import read_energy
from cloudaccel.api.unheard import FACTS, refuse_unheard
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.output import advise_json as advise_output
from cloudaccel.output import compare_json
from cloudaccel.service.guard import job_without_files, known_packs, option_without_files, registry_model

if TYPE_CHECKING:
    from cloudaccel.api.judging import Rules

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)
_MOST_SAMPLES = 10_000  # draws of a comparison: a second of this machine's time
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
MOST_TOKENS = 10_000_000
MAX_PAGE = 500
Text = Annotated[str, Field(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=50)]


_CURRENCY = "show sums in this currency too, by the rates that the service was given"
_TAX = "show this tax, such as 19%, beside sums, which stay without it"


_OFFERED_CURRENCY = "rank rows of that list currency; others are converted where the service was given rates"


class Money(NamedTuple):
    """The money that answers are shown in where a question names none: ``serve --currency --tax``."""

    currency: str | None = None
    tax: str | None = None

    def of(self, question: _Model) -> _Model:
        """The question with the currency and the tax that it left open."""
        left = {name: value for name, value in self._asdict().items() if value and getattr(question, name) is None}
        return question.model_copy(update=left) if left else question


class OfferQuestion(BaseModel):
    """The filters of ``cloudaccel quote``, with underscores."""

    model_config = ConfigDict(extra="forbid")

    accelerator: Text | None = Field(default=None, description="such as H100:8, A100-80GB:8x2, 80GB+:8")
    instance: Text | None = Field(default=None, description="one instance type instead of an accelerator")
    kind: Texts = Field(default=[], description="kind of accelerator: gpu, tpu, neuron, hpu")
    provider: Texts = Field(default=[], description="seller")
    region: Texts = Field(default=[], description="the provider's own name of a region")
    country: Texts = Field(default=[], description="country of the region: a code or a name")
    residency: Text | None = Field(
        default=None, description="EU, EEA, a continent, or countries; unknown places are hidden"
    )
    market: Texts = Field(
        default=["on-demand"], description="on-demand, spot, reserved-1y, capacity-block, flex, any …"
    )
    min_mem: Text | None = Field(default=None, description="memory of each accelerator, nominal GB")
    min_total_mem: Text | None = Field(default=None, description="accelerator memory of the machine, nominal GB")
    host_mem: Text | None = Field(default=None, description="memory of the host")
    vcpu: Text | None = Field(default=None, description="vCPUs of the host")
    interconnect: Text | None = Field(default=None, description=f"one of {', '.join(quoting.LINKS)}")
    max_price: Text | None = Field(default=None, description="per accelerator-hour")
    max_hourly: Text | None = Field(default=None, description="per hour for the whole request")
    max_age: Text | None = Field(default=None, description="mark older prices as stale: 24h, 30d")
    require_available: bool = Field(default=False, description="only what a source says is really sold there")
    allow_fraction: bool = Field(default=False, description="include shares of an accelerator")
    currency: Text | None = Field(default=None, description=_OFFERED_CURRENCY)
    tax: Text | None = Field(default=None, description=_TAX)
    sort: Text = Field(default="price", description="price, hourly, memory, age, provider")


class OfferFilters(OfferQuestion):
    """The same in pages; lists may be repeated or have commas."""

    limit: int = Field(default=100, ge=1, le=MAX_PAGE, description="offers on a page")
    cursor: Annotated[str, Field(max_length=400)] | None = Field(
        default=None, description="next_cursor of the page before"
    )


class Body(BaseModel):
    """A body in which a key that nobody reads is refused."""

    model_config = ConfigDict(extra="forbid")


class RuleFields(Body):
    """What to judge every place by: packs that ship with the product, and what is stated."""

    policy: Texts = Field(default=[], description="ids of packs that ship with the product; never a file")
    headquarters: Text | None = Field(default=None, description="country of the ultimate parent")
    users: Text | None = Field(default=None, description="countries of the users, or none")
    sector: Text | None = None
    data_class: Texts | None = None
    stated: Texts = []
    operator_jurisdiction: Text | None = Field(default=None, description="seated in and owned from: EU, or a country")
    require_cert: Texts = Field(default=[], description="attestations that the seller must hold")


class PlanFilters(Body):
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
    conservative: bool = Field(default=False, description="plan with the upper end of the estimated hours")
    max_nodes: int = Field(default=64, ge=1, le=1024)
    setup: Text | None = None
    disk_price: Text | None = None
    power_load: float | None = Field(
        default=None, gt=0, le=1, description="share of the rated power that is drawn (0.8)"
    )
    pue: float | None = Field(default=None, ge=1, le=5, description="of the site, in place of the tables")
    grid: float | None = Field(default=None, ge=0, le=5000, description="g CO2e of a kWh, in place of the tables")
    transfer_price: Text | None = None
    currency: Text | None = Field(default=None, description=_CURRENCY)
    tax: Text | None = Field(default=None, description=_TAX)
    limit: int = Field(default=10, ge=1, le=50)
    startable: bool = False


class CompareRequest(RuleFields):
    """The options and flags of ``cloudaccel compare``."""

    options: Annotated[list[Annotated[str, Field(max_length=500)]], Field(min_length=1, max_length=20)]
    demand: Text | None = None
    hours: Text | None = None
    years: Text = "1"
    model: Text | None = None
    dtype: Text | None = None
    mix: Text | None = Field(
        default=None, description="in=0.7,cached=0.2,out=0.1: shares of the tokens, adding up to 1"
    )
    input_tokens: int | None = Field(
        default=None, ge=1, le=MOST_TOKENS, description="of a request, to size machines for (1024)"
    )
    output_tokens: int | None = Field(
        default=None, ge=1, le=MOST_TOKENS, description="of a request, to size machines for (256)"
    )
    rents: Text = ""
    people: Text | None = None
    data_work: Text | None = None
    country: Text | None = None
    fx: Text | None = None
    currency: Text | None = Field(default=None, description=_CURRENCY)
    tax: Text | None = Field(default=None, description=_TAX)
    counted: Text = "full"
    sensitivity: bool = False
    samples: int = Field(default=0, ge=0, le=_MOST_SAMPLES)
    seed: int = Field(default=0, ge=0, le=2**31)


class AdviseRequest(RuleFields):
    """Answers by question, as ``cloudaccel advise`` takes them."""

    answers: Annotated[dict[Text, str | float | bool], Field(max_length=100)] = {}
    context: int = Field(default=0, ge=0, le=10**9)
    max_params: float | None = Field(default=None, gt=0)
    residency: Text | None = Field(default=None, description="EU, or countries: of these places the rules are asked")
    currency: Text | None = Field(default=None, description=_CURRENCY)
    tax: Text | None = Field(default=None, description=_TAX)


def plan_text(body: PlanRequest, catalog: str | Path | None) -> str:
    """The lock of the cheapest plan; raises as `plan` does, and `QueryError` for what the caller can mend."""
    return planning.lock_text(_planned(body, catalog))


def compare_text(body: CompareRequest, catalog: str | Path | None) -> str:
    """The JSON of a comparison; raises `QueryError` for what the caller can mend."""
    given = body.model_dump(exclude=set(RuleFields.model_fields))
    rules = asked_rules(body)
    options = [_mended(lambda text=text: option_without_files(text)) for text in given.pop("options")]
    if body.model is not None:
        given["model"] = registry_model(body.model)
    return compare_json.text(_mended(lambda: deciding.compare(options, catalog=catalog, rules=rules, **given)))


def advise_text(body: AdviseRequest) -> str:
    """The JSON of a recommendation; raises `QueryError` for what the caller can mend."""
    answers = {name: _word(value) for name, value in body.answers.items()}
    more: dict[str, Any] = body.model_dump(include={"context", "max_params", "currency", "tax", "residency"})
    rules = asked_rules(body)
    return advise_output.text(_mended(lambda: deciding.advise(answers, rules=rules, **more)))


def _word(value: str | float | bool) -> str:
    """An answer as the command line has it: ``yes`` and ``no`` for the two of JSON."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _planned(body: PlanRequest, catalog: str | Path | None) -> Any:
    # What cannot be read is the caller's to mend; what fails later is not.
    job = _mended(lambda: job_without_files(body.job)).given
    filters: Any = body.filters.model_dump()
    return planning.plan(
        job, accelerators=body.accelerators, rank_by=body.rank, mfu=body.mfu, measured=body.measured,
        conservative=body.conservative, max_nodes=body.max_nodes, setup=body.setup, disk_price=body.disk_price,
        transfer_price=body.transfer_price,
        options=body.limit, startable=body.startable, catalog=catalog, rules=rules_of(body),
        currency=body.currency, tax=body.tax, energy=read_energy(body.power_load, body.pue, body.grid), **filters,
    )  # fmt: skip


def rules_of(body: RuleFields) -> "Rules":
    """What to judge by, without a file.

    Raises
    ------
    UnknownName
        If a pack does not ship with the product.
    """
    from cloudaccel.api.judging import Rules  # only who is judged pays for the tables of facts

    return Rules(
        packs=known_packs(body.policy), headquarters=body.headquarters, users=body.users, sector=body.sector,
        data=None if body.data_class is None else tuple(body.data_class), stated=tuple(body.stated),
        operator_jurisdiction=body.operator_jurisdiction, require_cert=tuple(body.require_cert),
    )  # fmt: skip


def asked_rules(body: RuleFields) -> "Rules | None":
    """The rules of a question when one of its fields asks to be judged, else None; as the flags of the command line."""
    if not (body.policy or body.operator_jurisdiction or body.require_cert):
        refuse_unheard(body.model_dump(include=set(FACTS)))
        return None
    return replace(rules_of(body), always=bool(body.policy))


def _mended(work: Callable[[], _T]) -> _T:
    """The result of `work`; what it says of the caller's own mapping is the caller's to mend, not the machine's."""
    try:
        return work()
    except ConfigError as error:
        raise QueryError(str(error), choices=error.choices) from error


def without_flags(message: str) -> str:
    """The message with the names of query parameters in place of flags: ``--max-price`` is ``max_price`` here."""
    return _FLAG.sub(lambda found: found[1].replace("-", "_"), message)
