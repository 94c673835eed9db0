"""What a killed ``terraform apply`` leaves behind: ``python -m tests.benchmarks.orphans_terraform``.

The plan's own Terraform export is applied on the fake that `tests.benchmarks.orphans` uses, through the real aws
provider, and everything is killed (SIGKILL) before or after each call that changes the account; then ``terraform
destroy`` has the last word. Listings show everything at once, which is kinder than the other benchmark is.

An orphan is a machine, disk, group or launch template that is still there after that. Interfaces are not counted: the
fake keeps those that a launch template describes. Needs a terraform binary and the aws plugin in a folder
(CLOUDACCEL_TERRAFORM_PLUGINS, /opt/tf-plugins); says so and ends where they are not.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cloudaccel.catalog.session import accelerator_table
from cloudaccel.export import deployment_of, export

PLUGINS = Path(os.environ.get("CLOUDACCEL_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
LOCK: dict[str, Any] = {
    "schema": "cloudaccel-lock/1", "catalog_id": "sha256:00", "failover": [], "hours": {"high": 4},
    "request": {"job": {}},
    "chosen": {
        "offer_id": "0123456789abcdef", "provider": "aws", "partition": "aws", "region": "us-east-1", "zone": None,
        "country": "US", "instance": "g5.xlarge", "accelerator": {"id": "nvidia-a10g", "count": "1"}, "nodes": 2,
        "market": {"type": "on_demand", "term": None}, "price": {"price_per_hour": "1.006", "currency": "USD"},
    },
}  # fmt: skip


class Killing:
    """The fake as a WSGI application that kills a process group at the change numbered `at`; None: never."""

    def __init__(self, at: int | None, after: bool) -> None:
        from cloudaccel_aws.fake import FakeAws

        self.fake = FakeAws()
        self.fake.forget()
        self.at, self.after = at, after
        self.group: int | None = None
        self.changes: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        import io

        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        here = self._is_it(body)
        if here and not self.after:
            self._kill()
            start("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        answer = self.fake(environ, start)
        if here:
            self._kill()
        return answer

    def _is_it(self, body: bytes) -> bool:
        action = next((p[7:] for p in body.decode("utf-8", "replace").split("&") if p.startswith("Action=")), "")
        if self.group is None or not action or action.startswith(("Describe", "Get")):
            return False
        with self._lock:
            self.changes.append(action)
            return self.at == len(self.changes) - 1

    def _kill(self) -> None:
        if self.group is not None:
            os.killpg(self.group, signal.SIGKILL)


def left_after(at: int | None, *, after: bool) -> tuple[list[str], list[str]]:
    """Calls that changed the account until the kill, and what was left when ``terraform destroy`` was done."""
    from cloudaccel_aws.fake import Server

    killing = Killing(at, after)
    folder = Path(tempfile.mkdtemp())
    try:
        with Server(killing) as server:  # pyright: ignore[reportArgumentType] - any application will do
            environment = prepare(folder, server.url)
            terraform(folder, environment, "init")
            process = subprocess.Popen(
                ["terraform", "apply", "-auto-approve", "-input=false"], cwd=folder, env=environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            killing.group = process.pid
            process.wait(timeout=300)
            if at is None and process.returncode:
                raise RuntimeError("the undisturbed apply failed")
            killing.group = None
            terraform(folder, environment, "destroy", "-auto-approve", "-input=false", may_fail=at is not None)
            return killing.changes, left_in(killing.fake)
    finally:
        shutil.rmtree(folder)


def prepare(folder: Path, url: str) -> dict[str, str]:
    """Write the export into `folder`; the environment in which terraform talks to the fake at `url`."""
    import boto3

    (folder / "main.tf.json").write_text(
        export("terraform", deployment_of(LOCK, accelerator_table())).text, encoding="utf-8"
    )
    (folder / "rc").write_text(f'provider_installation {{ filesystem_mirror {{ path = "{PLUGINS}" }} }}\n')
    keys = {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_ENDPOINT_URL": url}
    session: Any = boto3.session.Session(aws_access_key_id="fake", aws_secret_access_key="fake")  # noqa: S106
    ec2: Any = session.client("ec2", region_name="us-east-1", endpoint_url=url)
    subnet = str(ec2.describe_subnets()["Subnets"][0]["SubnetId"])
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TF_CLI_CONFIG_FILE": str(folder / "rc"),
        "CHECKPOINT_DISABLE": "1", "TF_VAR_subnet_id": subnet, **keys,
    }  # fmt: skip


def terraform(folder: Path, environment: dict[str, str], *words: str, may_fail: bool = False) -> str:
    """Run terraform; what it said."""
    command = ["terraform", *words, "-no-color"]
    answer = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    if answer.returncode and not may_fail:
        raise RuntimeError(f"terraform {words[0]}: {answer.stderr}")
    return answer.stdout


def left_in(fake: Any) -> list[str]:
    """What still stands in the account of the fake."""
    live = [f"{thing['kind']} {thing['id']}" for thing in fake.live() if thing["kind"] != "interface"]
    templates = fake.templates("us-east-1")
    return [*live, *(f"launch template {name}" for name in templates)]


def main(argv: Sequence[str] | None = None) -> int:
    """Kill at every point, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.orphans_terraform", description=__doc__)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first change to kill at")
    first: int = parser.parse_args(argv).first
    if not shutil.which("terraform") or not list(PLUGINS.glob("*/*/aws")):
        print(f"not measured: no terraform here, or no aws plugin in {PLUGINS}")
        return 0
    changes, left = left_after(None, after=True)
    assert not left, left
    crashes = orphans = 0
    for at, action in list(enumerate(changes))[first:]:
        for after in (False, True):
            seen, left = left_after(at, after=after)
            crashes += len(seen) > at  # calls in flight may follow
            orphans += len(left)
            print(f"{at:>3}  {'after' if after else 'before':<6} {action:<32} left: {', '.join(left) or 'nothing'}")
            sys.stdout.flush()
    print(f"{crashes} crashes  orphans {orphans}  per 1,000 crashes {1000 * orphans / crashes:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
