"""How an option is got: started from here, written for another engine, or ordered at the seller."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from cloudaccel import export, registry
from cloudaccel.api import planning
from cloudaccel.errors import ConfigError
from cloudaccel.export import naming

JOB = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": 1e7}


def _takes_all(*_: object) -> None:
    return None


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """``aws`` starts machines, ``gcp`` has only an export, ``azure`` has neither, ``oci`` cannot be imported."""
    has = {"aws": SimpleNamespace(refusal=_takes_all), "gcp": None, "azure": None}

    def load(name: str) -> object:
        if name not in has:
            raise ConfigError(f"provider {name}: something is missing.")
        return SimpleNamespace(instances=has[name])

    entries = dict.fromkeys([*has, "oci"])
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(registry, "exports", lambda: (("terraform", "aws"), ("terraform", "gcp")))

    def never(*_: str) -> bool:
        return False

    monkeypatch.setattr(naming, "reaches", never)  # no engine that spans clouds


@pytest.mark.usefixtures("providers")
def test_a_channel_is_what_the_provider_package_can_do() -> None:
    found = planning.plan(JOB, options=60, market=["on-demand", "spot"])
    channels = {option.offer.provider: option.channel for option in found.considered}
    assert channels["aws"] == "startable"
    assert channels["gcp"] == "export-only"
    others = {name: channel for name, channel in channels.items() if name not in ("aws", "gcp")}
    assert others
    assert set(others.values()) == {"quote-only"}


@pytest.mark.usefixtures("providers")
def test_startable_leaves_out_what_only_another_engine_can_start() -> None:
    found = planning.plan(JOB, options=60, startable=True)
    assert {option.offer.provider for option in found.options} == {"aws"}
    assert all(option.startable for option in found.options)


@pytest.mark.usefixtures("providers")
def test_what_needs_capacity_bought_before_is_only_quoted() -> None:
    found = planning.plan(JOB, options=60, market="reserved", provider="aws")
    assert found.options
    assert {option.channel for option in found.options} == {"quote-only"}


def test_a_seller_that_an_engine_reaches_is_export_only_where_its_region_has_a_name() -> None:
    """ "Quote-only" would send the reader to a sales desk for a machine that a file can start."""
    found = planning.plan(JOB, options=60, market=["on-demand", "spot"])
    channels = {(o.offer.provider, o.offer.region == "global"): o.channel for o in found.considered}
    assert channels["lambda", False] == "export-only"
    assert channels["runpod", False] == "export-only"
    assert "skypilot" in export.starting("azure", "azure-public", "westeurope")
    assert "skypilot" not in export.starting("azure", "azure-gov", "usgovvirginia")
    assert {channel for (_, nowhere), channel in channels.items() if nowhere} == {"quote-only"}


def test_a_room_of_our_own_is_no_cloud_that_starts_machines() -> None:
    assert not registry.starts("onprem")
    assert registry.starts("aws")
    assert not registry.starts("a seller without a package")


def test_asking_how_machines_are_got_loads_no_sdk() -> None:
    code = (
        "import sys; from cloudaccel.api.planning import plan; "
        f"plan({JOB!r}); print([m for m in ('boto3', 'botocore', 'google.cloud', 'azure.mgmt') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_what_is_called_startable_is_what_up_would_not_refuse() -> None:
    """A lock for sixteen machines was called startable, and `up` said that it starts eight."""
    from cloudaccel import registry

    found = planning.plan(JOB, options=200, market="any")
    startable = [option for option in found.options if option.startable]
    assert startable
    for option in startable:
        assert option.nodes <= 8
        offer = option.offer
        assert registry.refusal(offer.provider, offer.instance, offer.market, option.nodes) is None


@pytest.mark.parametrize(
    ("instance", "market", "count", "word"),
    [
        ("n1-standard-8+nvidia-tesla-t4", "on_demand", 1, "cards"),
        ("ct5lp-hightpu-4t", "on_demand", 1, "Kubernetes"),
        ("tpu7x-8", "on_demand", 1, "Kubernetes"),
        ("a3-highgpu-8g", "flex_start", 2, "one machine"),
        ("g4-standard-48", "flex_start", 1, "no flex-start"),
        ("v6e-8", "flex_start", 1, "market"),
        ("v6e-8", "spot", 2, ""),
        ("a3-highgpu-8g", "flex_start", 1, ""),
        ("a3-highgpu-8g", "on_demand", 8, ""),
    ],
)
def test_what_google_cloud_never_starts_is_known_without_asking_it(
    instance: str, market: str, count: int, word: str
) -> None:
    from cloudaccel import registry

    assert word in (registry.refusal("gcp", instance, market, count) or "")
    assert bool(word) is (registry.refusal("gcp", instance, market, count) is not None)
