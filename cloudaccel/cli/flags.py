"""The flags that several verbs have, each defined once: its name, its value and its words are the same everywhere."""

from typing import Any, Protocol

from cloudaccel.errors import QueryError


class Group(Protocol):
    """A parser, or a group of its flags."""

    def add_argument(self, *names: str, **words: Any) -> Any:
        """Take one more flag."""
        ...


def rows(text: str) -> int | None:
    """The number of rows of ``--limit``; None for ``all``. Raises `QueryError`."""
    if text.strip().lower() == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise QueryError(f"--limit: {text!r} is no number. Write a number of rows, or 'all'.") from None


def _flag(**words: Any) -> dict[str, Any]:
    """Words of a flag, as ``add_argument`` takes them."""
    return words


def _switch(**words: Any) -> dict[str, Any]:
    return {"action": "store_true", **words}


def _many(**words: Any) -> dict[str, Any]:
    """A flag that is given several times."""
    return {"action": "append", **words}


FLAGS: dict[str, dict[str, Any]] = {
    # which offers
    "--accel": _flag(metavar="ACCEL", help="accelerators, such as H100-SXM:8, A100-80GB, 80GB+:8x2"),
    "--provider": _many(metavar="NAME", help="seller, such as aws, gcp, azure, lambda"),
    "--region": _many(metavar="NAME", help="the provider's own name of a region or zone, such as us-east-1"),
    "--country": _many(metavar="CODE", help="country of the machines: DE,FR or a name"),
    "--residency": _flag(metavar="AREA", help="EU, EEA, a continent, or countries; unknown places are left out"),
    "--market": _many(
        metavar="NAME",
        help="on-demand (default), spot, reserved-1y, reserved-3y, reserved, savings-plan, capacity-block, flex, any",
    ),
    "--interconnect": _flag(metavar="LINK", help="how the accelerators of a machine are linked"),
    "--require-available": _switch(help="only what a source says is really sold there"),
    "--price-file": _flag(metavar="CSV", help="your own prices, laid over the catalog"),
    "--dry-run": _flag(action="store_true", help="only say what would be done"),
    "--policy": _flag(metavar="A,B", help="packs to judge by: ids of 'policy list', or files"),
    "--max-age": _flag(metavar="TIME", help="older prices are stale: 24h, 30d"),
    # what for
    "--model": _flag(metavar="NAME", help="name in the registry, or a config.json; such as llama-3-70b"),
    "--dtype": _flag(metavar="TYPE", help="number format of the weights at work; such as bf16"),
    "--context": _flag(metavar="TOKENS", help="longest context in tokens; such as 8192"),
    "--input-tokens": _flag(metavar="TOKENS", help="tokens of one prompt; such as 2000"),
    "--output-tokens": _flag(metavar="TOKENS", help="tokens of one answer; such as 300"),
    "--seq": _flag(metavar="TOKENS", help="sequence length in tokens; such as 4096"),
    "--measured": _flag(type=float, metavar="N", help="tokens per second and accelerator"),
    "--disk": _flag(metavar="SIZE", help="disk of that size beside the machines; such as 500GB"),
    "--inventory": _flag(metavar="CSV", help="machines that you own"),
    "--reservation": _flag(metavar="ID", help="use this reservation or capacity block"),
    # money and time
    "--budget": _flag(metavar="MONEY", help="most that it may cost in all; such as 300 USD"),
    "--max-hourly": _flag(metavar="MONEY", help="most that all machines may cost per hour"),
    "--max-total": _flag(metavar="MONEY", help="most that the whole run may cost"),
    "--disk-price": _flag(metavar="MONEY", help="of disks, per GB and month (default 0.08 USD, estimated)"),
    "--currency": _flag(metavar="CODE", help="currency to show, by the rates of --fx-file"),
    "--fx-file": _flag(metavar="FILE", help="euro reference rates of the ECB (CSV or XML) to convert by"),
    "--tax": _flag(metavar="PERCENT", help="show your tax, such as 19%%, beside what stays without it"),
    "--lease": _flag(metavar="TIME", help="how long machines may live"),
    "--wait": _flag(metavar="TIME", help="wait for so long"),
    # the answer
    "--limit": _flag(type=rows, metavar="N", help="most rows to show, or all"),
    "--explain": _switch(help="where every figure comes from"),
    "--strict": _switch(help="exit 6"),
    "--samples": _flag(type=int, metavar="N", help="random draws"),
    "--seed": _flag(type=int, metavar="N", help="where the random draws start"),
    "--html": _flag(metavar="FILE", help="also write the answer as one page that needs no network, for paper too"),
    "--png": _flag(metavar="FILE", help="also write its charts as one picture"),
    # doing it
    "--all": _switch(help="all"),
    "--yes": _switch(help="do not ask"),
    "--project": _flag(metavar="NAME", help="project that runs count for (default default)"),
    "--note": _flag(metavar="TEXT", help="anything to remember"),
    "--private": _switch(help="the address may be one of a private network"),
}


def add(group: Group, name: str, more: str = "", **words: Any) -> None:
    """Give a verb one of the shared flags; `more` goes on after the words that it has everywhere."""
    shared = FLAGS[name]
    group.add_argument(name, **{**shared, "help": shared["help"] + more, **words})


def job_help(key: str) -> str:
    """What a key of a job file means, with an example, for the flag of that name."""
    from cloudaccel.workloads.job_keys import JOB_KEYS  # the room of sizing is heavy, and quote needs none of it

    meaning, example = JOB_KEYS[key]
    return (meaning if example in meaning else f"{meaning}; such as {example}").replace("%", "%%")


def add_places(group: Group) -> None:
    """The filters that say where: each may be given several times, but the area."""
    for name in ("--provider", "--region", "--country", "--residency"):
        add(group, name)


def count(text: str) -> int:
    """A whole number as a job file has it: 4096, or 4e3. For argparse, which names the flag."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)
