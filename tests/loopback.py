"""The fakes of the clouds for programs: on loopback, found by the variables of the real cloud's SDK."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

CANARIES = ("AKIACANARY000000", "canary-secret-value")  # the credentials for AWS: nothing may show them
_NEEDED = {
    "aws": ("boto3", "moto"), "azure": ("azure.mgmt.compute", "azure.mgmt.network"),
    "gcp": ("google.cloud.compute_v1", "google.cloud.tpu_v2"),
}  # fmt: skip
_DESCRIPTIONS: dict[str, Any] = {}  # what botocore knows of each service, by file: megabytes


@contextmanager
def on_loopback(name: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Generator[Any]:
    """An empty fake of `name` that the SDK of this process and of its children talks to; `options` are the fake's."""
    for module in _NEEDED[name]:
        pytest.importorskip(module)
    # Imported here: the SDK tries a socket when it is imported, which only a test marked for it may.
    found: Any = import_module(f"cloudaccel_{name}.fake")
    fake = {"aws": "FakeAws", "azure": "FakeAzure", "gcp": "FakeGcp"}[name]
    made = getattr(found, fake)(**options)
    if name == "aws":
        made.forget()  # moto keeps one world for the whole process
        _share_descriptions(monkeypatch)
    with found.Server(made) as server:
        for variable, value in _environment(name, found, server.url).items():
            monkeypatch.setenv(variable, value)
        yield made


def _environment(name: str, fake: Any, url: str) -> dict[str, str]:
    if name == "aws":
        return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": CANARIES[0], "AWS_SECRET_ACCESS_KEY": CANARIES[1]}
    if name == "gcp":
        return {"CLOUDACCEL_GCP_ENDPOINT": url}
    return {
        "CLOUDACCEL_AZURE_ENDPOINT": url, "CLOUDACCEL_AZURE_RESOURCE_GROUP": fake.GROUP,
        "AZURE_SUBSCRIPTION_ID": fake.SUBSCRIPTION,
    }  # fmt: skip


def _share_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the description of a service once, where botocore reads it for each session: every command has a new one."""
    from botocore.loaders import JSONFileLoader

    read = JSONFileLoader.load_file

    def shared(loader: JSONFileLoader, path: str) -> Any:
        if path not in _DESCRIPTIONS:
            _DESCRIPTIONS[path] = read(loader, path)
        return _DESCRIPTIONS[path]

    monkeypatch.setattr(JSONFileLoader, "load_file", shared)
