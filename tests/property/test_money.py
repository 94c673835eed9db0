"""Money, sizes and durations: what is written can be read back, and nothing else is read."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudaccel.errors import QueryError
from cloudaccel.model import from_nano, parse_amount, to_nano
from cloudaccel.output.columns import plain
from cloudaccel.units import parse_duration_s, parse_minimum, parse_money, parse_size

AMOUNTS = st.decimals("0", "8999999999", places=9)
SPACE = st.sampled_from(["", " ", "  "])


@given(AMOUNTS)
def test_money_survives_the_file(amount: Decimal) -> None:
    assert from_nano(to_nano(amount)) == amount
    assert parse_amount(format(amount, "f")) == amount


@given(AMOUNTS, st.sampled_from(["USD", "EUR", "CNY"]), SPACE)
def test_money_that_is_written_is_read(amount: Decimal, currency: str, space: str) -> None:
    text = plain(amount)
    assert "E" not in text
    assert parse_money(text, "x") == (amount, None)
    assert parse_money(f"{text} {space}{currency.lower()}", "x") == (amount, currency)
    assert parse_money(f"{text}{currency}", "x") == (amount, currency)
    assert parse_money(f"{currency} {text}", "x") == (amount, currency)
    assert parse_money(f"${space}{text}", "x") == (amount, "USD")
    assert parse_money(f"{text}{space}€", "x") == (amount, "EUR")


@given(st.decimals("0.001", "999999", places=3), st.sampled_from(["", "GB", "gb", "GiB"]), SPACE, st.booleans())
def test_a_size_that_is_written_is_read(size: Decimal, unit: str, space: str, at_least: bool) -> None:
    value, binary = parse_size(f"{plain(size)}{space}{unit}{'+' if at_least else ''}", "x")
    assert value == float(size)
    assert binary == (unit == "GiB")


@given(st.integers(1, 1_000_000), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)]))
def test_a_duration_that_is_written_is_read(number: int, unit: tuple[str, int]) -> None:
    assert parse_duration_s(f"{number}{unit[0]}", "x") == number * unit[1]
    with pytest.raises(QueryError):
        parse_duration_s(str(number), "x")  # a bare number could be hours or days


@given(st.text(max_size=12))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for parse in (parse_money, parse_size, parse_duration_s, parse_minimum):
        with contextlib.suppress(QueryError):  # anything else would be a crash
            parse(text, "--flag")
