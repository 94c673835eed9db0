"""What a plan for serving says beside the price: the load, what carries it, how fast it answers, what a token costs."""

from cloudaccel.model.plan import Option, Plan
from cloudaccel.model.workload import ServeDemand, Serving
from cloudaccel.workloads.serving import asked_output_per_s
from cloudaccel.workloads.serving_cost import cost_per_million_served, token_costs

HEADINGS = ("1ST TOKEN", "THEN", "$/MTOK")


def load_words(demand: ServeDemand) -> str:
    """The load as it was asked for: requests or tokens, how long they are, how long machines run."""
    asked = "no load stated: one replica"
    if demand.concurrency is not None:
        asked = f"{demand.concurrency:,} requests at once"
    if demand.requests_per_s is not None:
        asked = f"{demand.requests_per_s:g} requests/s"
    elif demand.tokens_per_month is not None:
        asked = f"{demand.tokens_per_month:,.0f} tokens a month"
    each = f"{demand.input_tokens:,} tokens in and {demand.output_tokens:,} out a request"
    return f"{asked} · {each} · on for {demand.hours_on_per_month:g} h a month"


def serves_lines(option: Option, demand: ServeDemand) -> list[str]:
    """How option 1 carries the load, and how fast it answers."""
    serving = option.fit.serving
    if serving is None or not serving.batch:
        return []
    cards = serving.accelerators_per_replica
    shape = f"each on {cards} accelerators" if cards > 1 else "each on 1 accelerator"
    stages = option.fit.shape.pp if option.fit.shape else 1
    shape += f" in a pipeline of {stages} stages" if stages > 1 else ""
    count = serving.replicas or (option.fit.shape.dp if option.fit.shape else 1)
    between = f"{serving.output_tokens_per_s_low:,.0f} to {serving.output_tokens_per_s_high:,.0f}"
    rate = f"{serving.output_tokens_per_s:,.0f} output tokens/s ({between}) with {serving.batch:,} requests at once"
    lines = [f"Serves   {count} replica{'' if count == 1 else 's'}, {shape}: {rate}"]
    if demand.ttft_s is None and demand.tpot_s is None:
        lines.append("         how long an answer may take was not said: --ttft, --tpot")
    return lines


def cells(option: Option, demand: ServeDemand) -> list[str]:
    """Of one option, under `HEADINGS`: time to the first token, for each further one, and the cost of a million."""
    serving, cost = option.fit.serving, cost_per_million_served(option.total, demand, option.fit)
    if serving is None or not serving.batch:
        return ["—", "—", "—"]
    return [seconds(serving.ttft_s), seconds(serving.tpot_s), "—" if cost is None else f"{cost:,.2f}"]


def seconds(value: float) -> str:
    """A latency as people say it: ``45 ms``, ``1.2 s``."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def explained(plan: Plan, option: Option) -> list[str]:
    """The sums behind replicas and the cost of a token."""
    demand, serving = plan.workload.serve, option.fit.serving
    if demand is None or serving is None or not serving.batch:
        return []
    lines = [f"  one replica: {_made(option, demand, serving)} = {serving.output_tokens_per_s:,.0f} output tokens/s"]
    asked = asked_output_per_s(demand)
    if asked is not None:
        lines.append(
            f"  replicas: {asked:,.1f} output tokens/s ÷ ({serving.output_tokens_per_s:,.0f} × "
            f"{demand.utilisation:g} used) → {serving.replicas}, on {option.nodes} × {option.offer.count} accelerators"
        )
    return lines + _costs(option, demand, serving)


def _made(option: Option, demand: ServeDemand, serving: Serving) -> str:
    measured = next((a.value for a in option.fit.assumptions if a.name == "measured"), None)
    if measured is not None:
        return f"{serving.accelerators_per_replica} accelerators × {measured:g} measured"
    stages = option.fit.shape.pp if option.fit.shape else 1
    through = f" ÷ {stages} stages" if stages > 1 else ""
    batch_s = f"{serving.batch} × {serving.ttft_s:.3f} s of prefill{through}"
    steps_s = f"{demand.output_tokens} × {serving.tpot_s:.4f} s a step"
    return f"{serving.batch} × {demand.output_tokens} tokens ÷ ({batch_s} + {steps_s})"


def _costs(option: Option, demand: ServeDemand, serving: Serving) -> list[str]:
    cost = cost_per_million_served(option.total, demand, option.fit)
    price, there = option.offer.price.amount, option.offer.count
    if cost is None or price is None or not there:
        return []
    each = token_costs(price * serving.accelerators_per_replica / int(there), serving, demand)
    busy = f"{each.input:,.3f} of input, {each.output:,.3f} of output"
    text = f"  a million tokens, in and out: {cost:,.3f} {option.offer.price.currency}; of time at work {busy}"
    return [text]
