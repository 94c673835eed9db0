"""Cost of served tokens, as a function of the machine's price per hour and how much of it is used."""

from dataclasses import dataclass
from decimal import Decimal

from cloudaccel.errors import QueryError
from cloudaccel.model.workload import Fit, ServeDemand, Serving
from cloudaccel.workloads.serving import asked_output_per_s

_MILLION = Decimal(1_000_000)
_SECONDS = Decimal(3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of some requests. Cached reads and writes are parts of `input`, never on top of it.

    Raises
    ------
    QueryError
        If the cached parts are more than the input that they are parts of.
    """

    input: int
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.cache_read, self.cache_write) < 0:
            raise QueryError("token usage: a count is below 0")
        if self.cache_read + self.cache_write > self.input:
            raise QueryError(
                f"token usage: {self.cache_read} read from and {self.cache_write} written to the cache are more than "
                f"the {self.input} input tokens they are part of. Give all input tokens as input."
            )

    @property
    def uncached(self) -> int:
        """Input tokens that no cache answered; with `cache_read` they are the whole input."""
        return self.input - self.cache_read

    @property
    def billed(self) -> int:
        """Tokens in all, each counted once."""
        return self.input + self.output


def cost_per_million(price_per_hour: Decimal, tokens_per_s: float, utilisation: float) -> Decimal:
    """Price of a million tokens of a machine that makes `tokens_per_s` when full and is used at `utilisation`.

    Raises
    ------
    QueryError
        If the rate or the utilisation is 0 or less, or the utilisation above 1.
    """
    if tokens_per_s <= 0:
        raise QueryError("cost per token: the throughput must be above 0. Give a measured one.")
    if not 0 < utilisation <= 1:
        raise QueryError(f"cost per token: utilisation {utilisation:g} must be above 0 and at most 1.")
    tokens_per_hour = Decimal(str(tokens_per_s)) * _SECONDS * Decimal(str(utilisation))
    return price_per_hour / tokens_per_hour * _MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCosts:
    """Cost per million tokens by class, in the currency of the price. Input costs what its prefill keeps busy.

    The idle part of the rent is its own figure: `output` and `input` are of used time, `idle` per million of all
    tokens.
    """

    input: Decimal
    cached_input: Decimal
    output: Decimal
    total: Decimal
    idle: Decimal


def token_costs(price_per_hour: Decimal, serving: Serving, demand: ServeDemand) -> TokenCosts:
    """Split of a replica's rent over token classes; the classes add up to the rent of the used time.

    Parameters
    ----------
    price_per_hour
        Of all accelerators of one replica.
    """
    per_s = price_per_hour / _SECONDS
    batch_s = Decimal(str(serving.batch * demand.output_tokens / serving.output_tokens_per_s))
    prefill_s = batch_s * Decimal(str(serving.prefill_share))
    read = Decimal(serving.batch) * Decimal(str(demand.input_tokens * (1 - demand.cached_share)))
    made = Decimal(serving.batch * demand.output_tokens)
    everything = Decimal(serving.batch * (demand.input_tokens + demand.output_tokens))
    used = per_s * batch_s / everything * _MILLION
    full = used / Decimal(str(demand.utilisation))
    return TokenCosts(
        input=per_s * prefill_s / read * _MILLION if read else Decimal(0),
        cached_input=Decimal(0),
        output=per_s * (batch_s - prefill_s) / made * _MILLION,
        total=full,
        idle=full - used,
    )


def cost_per_million_served(month: Decimal | None, demand: ServeDemand, fit: Fit) -> Decimal | None:
    """What a million tokens, in and out, come to when machines cost `month` a month; None when a factor is unknown.

    The tokens are those of the stated load, or without one of all replicas at the stated utilisation.
    """
    output_per_s = asked_output_per_s(demand)
    if output_per_s is None and fit.tokens_per_s is not None:
        output_per_s = fit.tokens_per_s * demand.utilisation
    if month is None or not output_per_s:
        return None
    per_output = (demand.input_tokens + demand.output_tokens) / demand.output_tokens
    tokens = output_per_s * per_output * demand.hours_on_per_month * 3600
    return month / Decimal(str(tokens)) * _MILLION
