"""Any term survives being written and read again, and no name is found inside a longer one."""

import re
import string
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudaccel.errors import CloudAccelError, QueryError, UnknownName
from cloudaccel.facts.accelerators import all_accelerators, families
from cloudaccel.facts.expressions import format_term, parse_expression
from cloudaccel.facts.loader import read_table
from cloudaccel.facts.names import resolved_ids, short_name
from cloudaccel.model import AcceleratorTerm


def key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum()).removeprefix("nvidia")


SPELLED = sorted(
    {name for a in all_accelerators() for name in (a.id, a.family, a.name, short_name(a.id), *a.aliases)}
    | {f"{a.family}-{a.memory_gib:g}GB" for a in all_accelerators() if a.memory_gib}
    | {row["name"] for row in read_table("names.csv") if row["kind"] == "group"}
)
MACHINES = sorted(name for row in read_table("instance_names.csv") for name in row["names"].split("|"))
KEYS = {key(name) for name in SPELLED}
PREFIXES = ["", "nvidia:", "amd:", "gpu:", "neuron:", "tpu:", "hpu:", "npu:"]

counts = st.one_of(
    st.just(""),
    st.integers(1, 9216).map(lambda n: f":{n}"),
    st.integers(1, 9216).map(lambda n: f":{n}+"),
    st.fractions(Fraction(1, 99), 1).map(lambda f: f":{f.limit_denominator(99) or Fraction(1, 99)}"),
)
nodes = st.one_of(st.just(""), st.integers(1, 4096).map(lambda n: f"x{n}"))
amounts = st.tuples(counts, nodes).map(lambda pair: pair[0] + (pair[1] if pair[0] else ""))
sizes = st.one_of(st.integers(1, 141).map(str), st.decimals("0.5", "141", places=2).map(str))
needs = st.builds("{}{}{}+".format, st.sampled_from(PREFIXES), sizes, st.sampled_from(["GB", "GiB", ""]))
written = st.one_of(
    st.tuples(st.sampled_from(SPELLED), amounts).map("".join),
    st.tuples(needs, amounts).map("".join),
    st.tuples(st.sampled_from(MACHINES), nodes).map("".join),
)


def bare(term: AcceleratorTerm) -> AcceleratorTerm:
    return replace(term, text="", note="", canonical="")


@given(written)
def test_written_and_read_again(text: str) -> None:
    try:
        (term,) = parse_expression(text)
    except CloudAccelError:
        assert "+" in text  # a need may find nothing (neuron:141GB+); a known name never fails
        return
    (again,) = parse_expression(format_term(term))
    assert bare(again) == bare(term)
    assert again.canonical == term.canonical


@given(st.sampled_from(SPELLED), st.sampled_from(string.ascii_letters + string.digits), st.booleans())
def test_no_name_is_found_inside_a_longer_one(name: str, extra: str, in_front: bool) -> None:
    longer = extra + name if in_front else name + extra
    if key(longer) in KEYS or longer.lower().endswith(" hbm3e"):
        return  # L40 and S make L40S, which is a name of its own; HBM3 and e make another word that is passed over
    assert not set(resolved_ids(longer)) & set(resolved_ids(name))


def answer(text: str) -> tuple[AcceleratorTerm | None, str, bool]:
    """The term, or what was said in its place and whether that was of an unknown name."""
    try:
        return parse_expression(text)[0], "", False
    except QueryError as error:
        return None, str(error), isinstance(error, UnknownName)


TIMES = st.sampled_from(["{name}x{n}", "{name} x{n}", "{name}×{n}", "{n}x{name}", "{n} x {name}", "{name}:{n}"])


@given(st.sampled_from(SPELLED), st.integers(1, 999), TIMES)
def test_a_count_beside_a_name_is_a_count_or_refused_and_never_another_accelerator(
    name: str, n: int, times: str
) -> None:
    """A user who writes a count in another tool's way would have got prices of something else."""
    own = set(parse_expression(name)[0].accelerator_ids)
    text = times.format(name=name, n=n)
    term, said, _ = answer(text)
    if term is None:
        assert name in said or text in said
    else:
        assert set(term.accelerator_ids) <= own
        assert n in (term.count, term.nodes)


@given(st.from_regex(r"\A(RTX|GTX|DGX|X|RX|MX|TX|[a-z]{0,3}x)[ -]?[1-9][0-9]{0,3}(:8|:1x2|x2)?\Z"))
def test_the_x_of_a_name_counts_nothing(text: str) -> None:
    """A user who asks for an RTX 7000 would have been told that there is no "RT"."""
    _, said, unknown = answer(text)
    name = text.partition(":")[0]
    if unknown:  # behind a hyphen and a number, as of a slice, x2 may be left out
        assert repr(name) in said or repr(re.sub(r"(-\d+)x2$", r"\1", name)) in said
    elif said:  # a known name, wrongly counted
        assert resolved_ids(text.lower().rpartition("x")[0])
        assert text in said


@given(st.text(max_size=40))
@example("L40-4²Q")  # a digit to Unicode, and no part of a number
@example("a100-²g.5gb")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_expression(text)
    except CloudAccelError:
        return


@pytest.mark.parametrize("family", sorted(families()))
def test_every_family_reads_back(family: str) -> None:
    (term,) = parse_expression(f"{family}:2")
    assert parse_expression(term.canonical)[0].accelerator_ids == term.accelerator_ids
