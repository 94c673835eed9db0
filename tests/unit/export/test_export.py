"""Plans written for other engines: the text as golden files, what real validators say of it, and what is refused.

``REWRITE_GOLDEN=1 pytest tests/unit/export`` writes the files again.
"""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudaccel.catalog.session import accelerator_table
from cloudaccel.errors import CloudAccelError, QueryError, UnknownName
from cloudaccel.export import deployment_of, export
from cloudaccel_aws.export_guardrail import MAX_CHARACTERS
from tests.support import run

GOLDEN = Path(__file__).parents[2] / "golden" / "export"
# Where a machine may hold provider plugins of Terraform; nothing is fetched.
PLUGINS = Path(os.environ.get("CLOUDACCEL_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
WORLD = ("0.0.0.0/0", "::/0")


def option(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "offer_id": "0123456789abcdef", "provider": "aws", "partition": "aws", "region": "eu-north-1", "zone": None,
        "country": "SE", "instance": "p5.48xlarge", "accelerator": {"id": "nvidia-h100-sxm-80gb", "count": "8"},
        "nodes": 1, "market": {"type": "on_demand", "term": None},
        "price": {"price_per_hour": "55.04", "currency": "USD"},
    }  # fmt: skip
    return {**base, **changes}


def lock(*, high: float | None = 10.0, disk: str | None = None, failover: Any = (), **changes: Any) -> dict[str, Any]:
    return {
        "schema": "cloudaccel-lock/1", "catalog_id": "sha256:00", "chosen": option(**changes),
        "failover": [option(**{**changes, **other}) for other in failover], "hours": {"high": high},
        "request": {"job": {"disk": disk} if disk else {}},
    }  # fmt: skip


T4: dict[str, Any] = {
    "provider": "gcp",
    "partition": "gcp",
    "region": "europe-west4",
    "accelerator": {"id": "nvidia-t4", "count": "1"},
}
TRN: dict[str, Any] = {"instance": "trn1.32xlarge", "accelerator": {"id": "aws-trainium1", "count": "16"}}
A100: dict[str, Any] = {**T4, "accelerator": {"id": "nvidia-a100-sxm-40gb", "count": "8"}}
PLANS: dict[str, dict[str, Any]] = {
    "one": lock(),
    "gang": lock(
        nodes=4, disk="1TB", failover=[{"region": "eu-west-1"}, {"region": "eu-north-1", "zone": "eu-north-1b"}]
    ),
    "spot": lock(market={"type": "spot"}, instance="g6e.12xlarge", accelerator={"id": "nvidia-l40s", "count": "4"}),
    "serving": lock(high=None, instance="g5g.xlarge", accelerator={"id": "nvidia-t4g", "count": "1"}),
    "neuron": lock(**TRN),
    "elsewhere": lock(
        **A100,
        instance="a2-highgpu-8g",
        nodes=2,
        zone="europe-west4-a",
        market={"type": "spot"},
    ),
    "blue": lock(
        provider="azure",
        partition="azure",
        region="westeurope",
        country="NL",
        instance="Standard_ND96isr_H100_v5",
        failover=[{"region": "francecentral"}, {"provider": "aws", "partition": "aws", "region": "eu-west-1"}],
    ),
    "attached": lock(instance="n1-standard-4+nvidia-tesla-t4x1", **T4),
}
MADE = [
    *((name, plan) for name in ("kubernetes", "jobset") for plan in PLANS),
    *(
        (name, plan)
        for name in ("terraform", "karpenter")
        for plan in PLANS
        if plan not in ("attached", "elsewhere", "blue")
    ),
    *(("guardrail", plan) for plan in ("gang", "elsewhere", "blue")),
    ("terraform", "attached"),
    ("terraform", "elsewhere"),
]


def written(name: str, plan: str) -> str:
    return export(name, deployment_of(PLANS[plan], accelerator_table())).text


@pytest.mark.parametrize(("name", "plan"), MADE)
def test_text(name: str, plan: str) -> None:
    made = export(name, deployment_of(PLANS[plan], accelerator_table()))
    path = GOLDEN / f"{name}-{plan}.txt"
    text = made.text + "".join(f"# {warning}\n" for warning in made.warnings)
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_file_is_made_by_a_test() -> None:
    stems = {f"{name}-{plan}" for name, plan in MADE}
    assert {path.stem for path in GOLDEN.iterdir()} == stems


# -- what validators say -----------------------------------------------------------------------------------------------


def kubernetes_says(document: dict[str, Any]) -> None:
    validate: Any = pytest.importorskip("kubernetes_validate")
    validate.validate(document, "1.30", strict=True)


@pytest.mark.parametrize("plan", PLANS)
def test_kubernetes_knows_every_key(plan: str) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(written("kubernetes", plan)))
    assert [d["kind"] for d in documents] == (["Service", "Job"] if PLANS[plan]["chosen"]["nodes"] > 1 else ["Job"])
    for document in documents:
        kubernetes_says(document)


@pytest.mark.parametrize("plan", PLANS)
def test_the_job_inside_a_jobset_is_a_job(plan: str) -> None:
    body = yaml.safe_load(written("jobset", plan))
    inner = body["spec"]["replicatedJobs"][0]["template"]["spec"]
    kubernetes_says({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": inner})


def test_the_validator_would_have_seen_a_wrong_key() -> None:
    document = yaml.safe_load(written("kubernetes", "one"))
    document["spec"]["activeDeadline"] = 1
    with pytest.raises(Exception, match="activeDeadline"):
        kubernetes_says(document)


def terraform(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TF_CLI_CONFIG_FILE": str(folder / "rc")}
    command = ["terraform", *words, "-no-color"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def needs_terraform(provider: str) -> None:
    if not shutil.which("terraform"):
        pytest.skip("no terraform on this machine")
    if not list(PLUGINS.glob(f"*/*/{provider}")):
        pytest.skip(f"no plugin hashicorp/{provider} in {PLUGINS} (CLOUDACCEL_TERRAFORM_PLUGINS names another folder)")


@pytest.mark.slow
def test_terraform_validates(tmp_path: Path) -> None:
    needs_terraform("aws")
    (tmp_path / "rc").write_text(f'provider_installation {{ filesystem_mirror {{ path = "{PLUGINS}" }} }}\n')
    file = tmp_path / "main.tf.json"
    for plan in ("one", "gang", "spot"):
        file.write_text(written("terraform", plan), encoding="utf-8")
        if plan == "one":
            assert terraform(tmp_path, "init").returncode == 0
        answer = terraform(tmp_path, "validate")
        assert answer.returncode == 0, answer.stdout + answer.stderr
    file.write_text(written("terraform", "one").replace('"instance_type"', '"instance_typ"'), encoding="utf-8")
    assert "instance_type" in terraform(tmp_path, "validate").stderr


# -- safe by default ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [p for n, p in MADE if n == "terraform" and PLANS[p]["chosen"]["provider"] == "aws"])
def test_machines_are_closed_encrypted_tagged_and_end(plan: str) -> None:
    body = json.loads(written("terraform", plan))
    resources = body["resource"]
    machine = resources["aws_instance"]["machine"]
    assert machine["root_block_device"]["encrypted"] is True
    assert machine["root_block_device"]["delete_on_termination"] is True
    assert machine["metadata_options"]["http_tokens"] == "required"
    assert machine["instance_initiated_shutdown_behavior"] == "terminate"
    assert body["provider"]["aws"]["default_tags"]["tags"]["cloudaccel-export"].startswith("cloudaccel-")
    assert all(w not in json.dumps(resources["aws_vpc_security_group_ingress_rule"]) for w in WORLD)
    assert body["variable"]["ssh_cidrs"]["default"] == []
    assert ("shutdown -P" in machine.get("user_data", "")) is (plan != "serving")


@pytest.mark.parametrize("plan", ["attached", "elsewhere"])
def test_machines_elsewhere_are_closed_labelled_and_deleted_at_the_lease(plan: str) -> None:
    body = json.loads(written("terraform", plan))
    machine = body["resource"]["google_compute_instance"]["machine"]
    assert "access_config" not in machine["network_interface"]
    assert machine["boot_disk"]["auto_delete"] is True
    assert machine["scheduling"]["instance_termination_action"] == "DELETE"
    assert machine["scheduling"]["max_run_duration"] == {"seconds": 45_000}
    assert machine["labels"]["cloudaccel-export"].startswith("cloudaccel-")
    assert body["variable"]["ssh_cidrs"]["default"] == []
    assert all(world not in json.dumps(body["resource"]) for world in WORLD)
    gpu = {"type": "nvidia-tesla-t4", "count": 1} if plan == "attached" else None
    assert machine.get("guest_accelerator") == gpu
    assert machine["machine_type"] == ("n1-standard-4" if gpu else "a2-highgpu-8g")


@pytest.mark.parametrize(("name", "plan"), [made for made in MADE if made[0] != "guardrail"])  # which starts nothing
def test_every_export_ends_or_says_that_it_does_not(name: str, plan: str) -> None:
    made = export(name, deployment_of(PLANS[plan], accelerator_table()))
    seconds = str(int((10 * 1.2 + 0.5) * 3600))
    said = any("no deadline" in warning for warning in made.warnings)
    assert (seconds in made.text) is not said
    assert said is (plan == "serving")


def test_a_lease_of_ones_own() -> None:
    made = export("kubernetes", deployment_of(PLANS["serving"], accelerator_table(), lease_s=7200))
    assert "activeDeadlineSeconds: 7200" in made.text
    assert not any("no deadline" in warning for warning in made.warnings)


def test_disk_and_image_follow_the_plan() -> None:
    gang = json.loads(written("terraform", "gang"))
    assert gang["resource"]["aws_instance"]["machine"]["root_block_device"]["volume_size"] == 932  # 1 TB in GiB
    assert "arm64" in json.dumps(json.loads(written("terraform", "serving"))["data"])
    assert "neuron" in json.dumps(json.loads(written("terraform", "neuron"))["data"])


def test_karpenter_starts_nothing_outside_the_plan() -> None:
    pool = list(yaml.safe_load_all(written("karpenter", "gang")))[1]
    wanted = {r["key"]: r["values"] for r in pool["spec"]["template"]["spec"]["requirements"]}
    assert wanted["topology.kubernetes.io/region"] == ["eu-north-1", "eu-west-1"]
    assert pool["spec"]["limits"] == {"nvidia.com/gpu": "32"}


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("region", '${file("/etc/passwd")}'),
        ("instance", "p5.48xlarge\n  evil: true"),
        ("zone", "%{ if true }"),
        ("nodes", 0),
        ("offer_id", ""),
        ("accelerator", {"id": "nvidia-h100-sxm-80gb", "count": "-8"}),
    ],
)
def test_a_lock_with_what_cannot_be_is_refused(key: str, value: Any) -> None:
    data = copy.deepcopy(PLANS["one"])
    data["chosen"][key] = value
    with pytest.raises(QueryError, match=f"chosen.{key}"):
        deployment_of(data, accelerator_table())


@pytest.mark.parametrize(
    ("name", "changes", "error", "words"),
    [
        ("terraform", {"provider": "runpod"}, UnknownName, "the plan is for runpod"),
        ("terraform", {"market": {"type": "capacity_block"}}, QueryError, "--reservation"),
        ("pulumi", {}, UnknownName, "kubernetes"),
        ("kubernetes", {"accelerator": {"id": "google-tpu-v5e", "count": "8"}}, QueryError, "topology"),
        ("kubernetes", {"accelerator": {"id": "nvidia-a10", "count": "1/6"}}, QueryError, "share"),
        ("kubernetes", {"accelerator": {"id": "nvidia-x1", "count": "1"}}, QueryError, "unknown accelerator"),
    ],
)
def test_what_an_engine_cannot_express(
    name: str, changes: dict[str, Any], error: type[CloudAccelError], words: str
) -> None:
    with pytest.raises(error, match=words):
        export(name, deployment_of(lock(**changes), accelerator_table()))


# -- the command -------------------------------------------------------------------------------------------------------

TUNE = ("--task", "finetune", "--method", "lora", "--model", "llama-3-8b", "--tokens", "200e6", "--provider", "aws")


def test_from_a_plan_and_from_its_lock_the_same(tmp_path: Path) -> None:
    path = tmp_path / "p.lock.json"
    first = run("plan", *TUNE, "--lock", str(path), "--export", "terraform", "--export-to", str(tmp_path / "a"))
    assert first.code == 0, first.err
    assert "cheapest" in first.out
    assert "nothing was started" in first.err
    second = run("plan", str(path), "--export", "terraform", "--export-to", "-")
    assert second.code == 0, second.err
    assert second.out == (tmp_path / "a" / "main.tf.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--export", "pulumi"), 5, "none of"),
        (("--export", "kubernetes", "--export", "jobset", "--export-to", "-"), 2, "prints one export"),
        (("--lease", "3h"), 2, "go with --export"),
        (("--export", "kubernetes", "--lease", "3"), 2, "no duration"),
        (("--export", "kubernetes", "--lease", "0.1m"), 2, "below a minute"),
    ],
)
def test_wrong_words_end_with_one_message(words: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "p.lock.json"
    path.write_text(json.dumps(PLANS["one"]), encoding="utf-8")
    answer = run("plan", str(path), *words)
    assert answer.code == code
    assert said in answer.err
    assert not answer.out


# -- guardrails --------------------------------------------------------------------------------------------------------


def test_a_guardrail_allows_the_places_of_the_plan_and_no_other() -> None:
    """A retry in another region is where residency breaks: what the plan did not judge, the cloud refuses."""
    aws = json.loads(written("guardrail", "gang"))["Statement"]
    assert [(s["Effect"], s["Resource"]) for s in aws] == [("Deny", "*")]
    assert aws[0]["Condition"] == {"StringNotEquals": {"aws:RequestedRegion": ["eu-north-1", "eu-west-1"]}}
    assert "ec2:*" not in aws[0]["NotAction"]
    assert len(written("guardrail", "gang")) <= MAX_CHARACTERS
    azure = json.loads(written("guardrail", "blue"))["properties"]["policyRule"]
    assert azure["if"]["notIn"] == ["francecentral", "westeurope", "global"]
    gcp = yaml.safe_load(written("guardrail", "elsewhere"))
    assert gcp["spec"]["rules"][0]["values"]["allowedValues"] == ["in:europe-west4-locations"]


def test_a_guardrail_says_what_it_does_not_bind_and_by_what_the_places_were_judged() -> None:
    made = export("guardrail", deployment_of({**PLANS["blue"], "packs": {"eu-gdpr": "ab12"}}, accelerator_table()))
    assert any("may move to aws" in warning for warning in made.warnings)
    assert any("eu-gdpr on the facts given; not legal advice" in warning for warning in made.warnings)
    assert "eu-gdpr" in made.text


def test_a_pack_name_that_could_be_code_is_refused() -> None:
    with pytest.raises(QueryError):
        deployment_of({**PLANS["blue"], "packs": {"x\n- evil: true": "ab12"}}, accelerator_table())


@pytest.mark.parametrize(
    ("plan", "gpu"),
    [
        ({**A100, "instance": "a2-highgpu-8g"}, "nvidia-tesla-a100"),
        ({"instance": "a3-highgpu-8g"}, "nvidia-h100-80gb"),
        ({"instance": "a3-megagpu-8g"}, "nvidia-h100-mega-80gb"),
        ({**T4, "instance": "n1-standard-4+nvidia-tesla-t4x1"}, "nvidia-tesla-t4"),
    ],
)
def test_u101_a_pod_on_gke_asks_for_the_gpu_by_its_label(plan: dict[str, Any], gpu: str) -> None:
    """Without the label the pod stayed pending, or landed on an N1 host with another GPU."""
    there: dict[str, Any] = {"provider": "gcp", "partition": "gcp", "region": "europe-west4"}
    made = export("kubernetes", deployment_of(lock(**{**there, **plan}), accelerator_table()))
    pod = yaml.safe_load(made.text)["spec"]["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-accelerator"] == gpu
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert set(pod["containers"][0]["resources"]["limits"]) == {"nvidia.com/gpu"}


def test_u101_a_label_that_is_not_known_is_said() -> None:
    """A guessed label would keep the pod pending for ever."""
    there: dict[str, Any] = {"provider": "gcp", "partition": "gcp", "region": "europe-west4", "instance": "x9-new-8g"}
    made = export("kubernetes", deployment_of(lock(**there), accelerator_table()))
    assert "cloud.google.com/gke-accelerator:" not in made.text
    assert any("cloud.google.com/gke-accelerator for x9-new-8g is not known" in w for w in made.warnings)


@pytest.mark.parametrize(
    ("plan", "resource"),
    [("one", "nvidia.com/gpu"), ("neuron", "aws.amazon.com/neurondevice"), ("blue", "nvidia.com/gpu")],
)
def test_u101_elsewhere_the_resource_and_no_label_of_google(plan: str, resource: str) -> None:
    """A label of one cloud in another's cluster matches no machine."""
    made = written("kubernetes", plan)
    assert f"{resource}: '" in made
    assert "gke-accelerator" not in made
