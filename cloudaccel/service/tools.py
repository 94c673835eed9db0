"""The read-only verbs as tools of an assistant: what each is asked, and its answer as JSON. No protocol in here."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloudaccel.api import quoting
from cloudaccel.api.explaining import explain
from cloudaccel.decide.advise import questions
from cloudaccel.errors import QueryError
from cloudaccel.model.workload import METHODS, PRECISIONS, TASKS
from cloudaccel.output.explain_json import explanation_json
from cloudaccel.output.quote_json import SCHEMA, envelope
from cloudaccel.service.asked import (
    AdviseRequest,
    CompareRequest,
    OfferQuestion,
    PlanRequest,
    RuleFields,
    Text,
    advise_text,
    asked_rules,
    compare_text,
    plan_text,
    rules_of,
)
from cloudaccel.workloads.job_keys import JOB_KEYS

_MOST_OFFERS = 50  # of a quote; a longer list is for a person's table, not for an assistant's memory
_FAULTS = 5  # wrong arguments that are named at once

_Catalog = str | Path | None


class QuoteQuestion(OfferQuestion, RuleFields):
    """Filters of a quote, and what to judge by."""

    limit: int = Field(default=10, ge=1, le=_MOST_OFFERS, description="offers in the answer, best first")


class ShortPlan(PlanRequest):
    """A plan with fewer alternatives than over HTTP."""

    limit: int = Field(default=3, ge=1, le=50, description="plans in the answer, best first")


class NameQuestion(BaseModel):
    """A name to explain."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(description="accelerator, a cloud's spelling of one, instance type, or id of an offer")
    provider: Text | None = Field(default=None, description="also show how this seller spells the accelerator")


class PackQuestion(BaseModel):
    """Which packs to list."""

    model_config = ConfigDict(extra="forbid")

    status: Text | None = Field(default=None, description="only those in_force, draft, proposed …")


class PlaceQuestion(RuleFields):
    """Places to judge."""

    places: Annotated[list[Text], Field(min_length=1, max_length=5)] = Field(description="each as PROVIDER:REGION")
    accelerator: Text | None = Field(default=None, description="such as H100-SXM:8; none: the place alone")


def _quote(asked: QuoteQuestion, catalog: _Catalog) -> Any:
    given: dict[str, Any] = asked.model_dump(exclude={"accelerator", *RuleFields.model_fields})
    return envelope(quoting.quote(asked.accelerator, catalog=catalog, rules=asked_rules(asked), **given))


def _plan(asked: ShortPlan, catalog: _Catalog) -> Any:
    lock = json.loads(plan_text(asked, catalog))
    # Thousands of lines that serve to prove the plan from its file, which an assistant does not have.
    return {**{key: value for key, value in lock.items() if key != "considered"},
            "considered_count": len(lock["considered"])}  # fmt: skip


def _compare(asked: CompareRequest, catalog: _Catalog) -> Any:
    return json.loads(compare_text(asked, catalog))


def _advise(asked: AdviseRequest, _: _Catalog) -> Any:
    return json.loads(advise_text(asked))


def _explain(asked: NameQuestion, catalog: _Catalog) -> Any:
    found = explain(asked.name, provider=asked.provider, catalog=catalog)
    return {"schema": SCHEMA, "kind": "explain", "names": [explanation_json(found)]}


def _policy_list(asked: PackQuestion, _: _Catalog) -> Any:
    from cloudaccel.compliance import shipped_packs  # the tables of facts, only for who is judged
    from cloudaccel.output.policy_json import pack_json

    packs = [pack_json(pack) for pack in shipped_packs().values()]
    packs = [p for p in packs if asked.status is None or p["status"] == asked.status]
    return {"schema": SCHEMA, "kind": "policy.list", "packs": packs}


def _policy_explain(asked: PlaceQuestion, _: _Catalog) -> Any:
    from cloudaccel.api.judging import explain_place, judge_by  # the tables of facts, only for who is judged
    from cloudaccel.output.policy_json import verdict_json

    judge = judge_by(rules_of(asked))
    return {
        "schema": SCHEMA,
        "kind": "policy.explain",
        "verdicts": [verdict_json(explain_place(judge, p, asked.accelerator)) for p in asked.places],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A verb: its name, what it is for, what it is asked, and what answers."""

    name: str
    use: str
    asked: type[BaseModel]
    work: Callable[[Any, _Catalog], Any]

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        schema = self.asked.model_json_schema()
        schema.pop("description", None)
        for name, described in _DESCRIBED.items():
            if name in schema["properties"]:
                schema["properties"][name].update(described())
        return schema

    def answer(self, arguments: Mapping[str, Any], catalog: _Catalog) -> str:
        """The answer as JSON on one line.

        Raises
        ------
        CloudAccelError
            As the verb does; `QueryError` names the arguments that are wrong.
        """
        try:
            asked = self.asked.model_validate(arguments)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()[:_FAULTS])
            raise QueryError(f"{said}. Arguments of {self.name}: {', '.join(self.asked.model_fields)}.") from error
        return json.dumps(self.work(asked, catalog), ensure_ascii=False, default=dict)


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="quote", asked=QuoteQuestion, work=_quote,
            use="Prices of accelerators over many clouds, cheapest per accelerator-hour first, each with its date and "
            "source; what filters hid is counted with the reason. A price that nobody knows is null, never 0.",
        ),
        Tool(
            name="plan", asked=ShortPlan, work=_plan,
            use="What to rent for a training or serving job, cheapest first, with memory, hours and the sums. "
            "`chosen` null: nothing fits, and `near`, `rejected` and `relaxations` say why. All that was considered "
            "is counted only.",
        ),
        Tool(
            name="compare", asked=CompareRequest, work=_compare,
            use="Ways of getting the same result side by side, with totals and break-even points: call an API, rent, "
            "use a managed service, own, train.",
        ),
        Tool(
            name="advise", asked=AdviseRequest, work=_advise,
            use="Call an API, adapt an open model or build one; rent or own: a recommendation with the rules that "
            "spoke, what would change it, and the questions still open.",
        ),
        Tool(
            name="explain", asked=NameQuestion, work=_explain,
            use="What a name of an accelerator or instance type means, with its hardware, or where the price of "
            "one offer comes from.",
        ),
        Tool(
            name="policy_list", asked=PackQuestion, work=_policy_list,
            use="The packs of rules that ship, by the id that `policy` takes: title, jurisdiction, status, number of "
            "rules, and the day by which each is to be read again.",
        ),
        Tool(
            name="policy_explain", asked=PlaceQuestion, work=_policy_explain,
            use="What rules such as eu-gdpr say about places, with findings, citations and what would settle an open "
            "question. `unknown` is not allowed. Not legal advice.",
        ),
    )
}  # fmt: skip


def _job_schema() -> dict[str, Any]:
    keys: dict[str, dict[str, Any]] = {
        key: {"description": f"{meaning}, such as {example}"} for key, (meaning, example) in JOB_KEYS.items()
    }
    keys["model"] = {
        "description": "name in the registry, such as llama-3-70b; otherwise shape or params",
        "type": "string",
    }
    for key, words in (("task", TASKS), ("method", METHODS), ("dtype", PRECISIONS)):
        keys[key]["enum"] = list(words)
    text = "task, a model (model, shape or params) and, unless it serves, tokens are needed"
    return {"description": text, "properties": keys, "required": ["task"], "additionalProperties": False}


def _answers_schema() -> dict[str, Any]:
    asked = {
        name: {"description": q.question, **({"enum": list(q.words)} if q.words else {"type": ["number", "string"]})}
        for name, q in questions().items()
    }
    return {
        "description": "what is known; the rest is listed as open",
        "properties": asked,
        "additionalProperties": False,
    }


def _said(text: str) -> dict[str, Any]:
    return {"description": text}


# Argument -> what its type does not say. Made when asked for, since the tables are read then.
_DESCRIBED: Mapping[str, Callable[[], dict[str, Any]]] = {
    "job": _job_schema,
    "answers": _answers_schema,
    "options": partial(
        _said,
        "each kind:what@provider,key=value,… with kind api, rent, vm, managed, own, pretrain, adapt, finetune or lora: "
        "api:price=0.90/Mtok, rent:H100-SXM:8,throughput=6000tok/s, own:8xH100",
    ),
    "demand": partial(_said, "such as 400M-tokens/month"),
}
