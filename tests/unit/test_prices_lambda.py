"""Lambda's instance types; every answer here is assembled from the documented shape."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cloudaccel.errors import AuthError, MalformedResponse
from cloudaccel.model import Offer
from cloudaccel.protocols import Scope
from cloudaccel_lambda.prices import LambdaPrices
from tests.support import Canned

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", "canary-7c")


def test_the_key_goes_into_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def body(url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        sent.extend((url, *query.values(), headers["Authorization"]))
        return answer()

    scope = Scope(provider="lambda", partition="lambda")
    assert list(LambdaPrices(Canned(body), now=lambda: NOW).offers(scope))
    assert [text for text in sent if "canary" in text] == ["Bearer canary-7c"]
    for bad in ("", "two\nlines"):
        monkeypatch.setenv("LAMBDA_API_KEY", bad)
        with pytest.raises(AuthError, match="LAMBDA_API_KEY") as refused:
            list(LambdaPrices(Canned(body)).offers(scope))
        assert "two" not in str(refused.value)


def answer(
    cents: object = 2399, *, regions: tuple[str, ...] = (), gpu: str = "H100 (80 GB SXM5)", gpus: int = 8
) -> bytes:
    kind = {
        "gpu_description": gpu,
        "price_cents_per_hour": cents,
        "specs": {"vcpus": 208, "memory_gib": 1800, "gpus": gpus},
    }
    entry = {"instance_type": kind, "regions_with_capacity_available": [{"name": region} for region in regions]}
    return json.dumps({"data": {"gpu_8x_h100_sxm5": entry}}).encode()


def offers(body: bytes, region: str | None = None) -> list[Offer]:
    scope = Scope(provider="lambda", partition="lambda", region=region)
    return list(LambdaPrices(Canned(body), now=lambda: NOW).offers(scope))


def test_cents_of_the_machine_become_dollars_of_the_machine() -> None:
    (offer,) = offers(answer(regions=("us-east-1",)))
    assert (offer.price.amount, offer.price.currency, offer.region) == (Decimal("23.99"), "USD", "us-east-1")
    assert (offer.accelerator_id, offer.count, offer.sold_per) == ("nvidia-h100-sxm-80gb", 8, "instance")


def test_sold_out_is_not_unpriced() -> None:
    (offer,) = offers(answer())
    assert (offer.region, offer.price.amount) == ("global", Decimal("23.99"))


def test_a_region_is_picked_out() -> None:
    body = answer(regions=("us-east-1", "us-west-2"))
    assert [offer.region for offer in offers(body, "us-west-2")] == ["us-west-2"]


def test_an_unknown_accelerator_and_a_price_of_zero_stay_unknown() -> None:
    (offer,) = offers(answer(0, gpu="Z9000"))
    assert (offer.accelerator_id, offer.accelerator_name, offer.price.amount) == (None, "Z9000", None)


def test_a_machine_without_accelerators_is_left_out() -> None:
    assert offers(answer(gpus=0)) == []


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": {"a": 1}}', answer(-1), answer("x"), answer(True)])
def test_a_hostile_answer_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="Prices stay as they were"):
        offers(body)
