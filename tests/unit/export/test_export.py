"""Plans written for other engines: the text as golden files, what real validators say of it, and what is refused.

``REWRITE_GOLDEN=1 pytest tests/unit/export`` writes the files again.
"""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudaccel.catalog.session import accelerator_table
from cloudaccel.errors import CloudAccelError, QueryError, UnknownName
from cloudaccel.export import deployment_of, export
from cloudaccel_aws.export_guardrail import MAX_CHARACTERS
from tests.support import run
from tests.unit.export.plans import A100, PLANS, T4, lock, written

GOLDEN = Path(__file__).parents[2] / "golden" / "export"
WORLD = ("0.0.0.0/0", "::/0")


MADE = [
    *((name, plan) for name in ("kubernetes", "jobset", "skypilot") for plan in PLANS),
    *((name, plan) for name in ("dstack", "dstack-fleet") for plan in PLANS if plan != "neuron"),
    *(
        (name, plan)
        for name in ("terraform", "karpenter", "parallelcluster")
        for plan in PLANS
        if PLANS[plan]["chosen"]["provider"] == "aws"
    ),
    *(("guardrail", plan) for plan in ("gang", "elsewhere", "blue")),
    *(("hyperpod", plan) for plan in ("one", "gang", "spot", "neuron")),
    *(("terraform", plan) for plan in PLANS if PLANS[plan]["chosen"]["provider"] != "aws"),
]


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


OPEN = {"dstack-fleet", "hyperpod"}  # formats that cannot hold a deadline, and must say so of every plan


@pytest.mark.parametrize("plan", ["blue", "fabric", "blue-spot"])
def test_machines_on_azure_are_closed_tagged_and_in_a_group_of_their_own(plan: str) -> None:
    """What stays in a shared group when a run is over is found on the bill."""
    body = json.loads(written("terraform", plan))
    resources = body["resource"]
    assert "public_ip_address_id" not in json.dumps(resources)
    assert all(world not in json.dumps(resources) for world in WORLD)
    assert body["variable"]["ssh_cidrs"]["default"] == []
    assert body["provider"]["azurerm"]["features"]["virtual_machine"]["delete_os_disk_on_deletion"] is True
    (group,) = resources["azurerm_resource_group"].values()
    assert group["tags"]["cloudaccel-export"] == group["name"]
    machine = resources["azurerm_linux_virtual_machine"]["machine"]
    assert machine["disable_password_authentication"] is True
    assert machine["resource_group_name"] == "${azurerm_resource_group.run.name}"
    assert machine["depends_on"] == ["azurerm_network_interface_security_group_association.machine"]
    assert ("availability_set_id" in machine, machine.get("zone")) == (
        plan == "fabric",
        "2" if "spot" in plan else None,
    )
    assert ("azurerm_dev_test_global_vm_shutdown_schedule" in resources) is (plan != "fabric")


def test_a_lease_of_a_day_has_no_deadline_on_azure_and_says_so() -> None:
    """The daily shutdown would end a run of two days after hours."""
    for lease_s, there in ((86_399, True), (86_400, False)):
        made = export("terraform", deployment_of(PLANS["blue"], accelerator_table(), lease_s=lease_s))
        assert ("shutdown_schedule" in made.text) is there
        assert any("no deadline" in note for note in made.warnings) is not there


@pytest.mark.parametrize(("name", "plan"), [made for made in MADE if made[0] != "guardrail"])  # which starts nothing
def test_every_export_ends_or_says_that_it_does_not(name: str, plan: str) -> None:
    made = export(name, deployment_of(PLANS[plan], accelerator_table()))
    hours = PLANS[plan]["hours"]["high"] or 10
    seconds = "12:30:00" if name == "parallelcluster" else str(int((hours * 1.2 + 0.5) * 3600))
    said = any("no deadline" in warning for warning in made.warnings)
    assert (seconds in made.text) is not said
    assert said is (plan == "serving" or name in OPEN or (name, plan) == ("terraform", "fabric"))  # over a day


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
        ("parallelcluster", {"market": {"type": "capacity_block"}}, QueryError, "--reservation"),
        ("hyperpod", {"market": {"type": "capacity_block"}}, QueryError, "--reservation"),
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


def test_a_plan_at_a_seller_that_we_do_not_start_says_who_can(tmp_path: Path) -> None:
    """ "Export-only" alone left the reader to guess the word for --export."""
    words = ("plan", *TUNE[:-1], "lambda", "--lock", str(tmp_path / "p.lock.json"))
    assert "Start    option 1 by another engine, from a file: --export dstack or skypilot\n" in run(*words).out
    assert "another engine" not in run(*words[:-3], "aws", *words[-2:]).out
    answer = run(*words, "--export", "terraform")
    assert answer.code == 5
    assert "take another --export (dstack, skypilot)" in answer.err


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


# -- clusters on AWS -------------------------------------------------------------------------------------------------


def test_a_slurm_cluster_starts_empty_closed_encrypted_and_tagged() -> None:
    """Without sources, ParallelCluster opens port 22 of the head node to the world."""
    body = yaml.safe_load(written("parallelcluster", "gang"))
    assert body["HeadNode"]["Ssh"]["AllowedIps"] == "127.0.0.1/32"
    assert body["HeadNode"]["Networking"]["ElasticIp"] is False
    assert body["Imds"] == {"ImdsSupport": "v2.0"}
    queue = body["Scheduling"]["SlurmQueues"][0]
    assert queue["Networking"]["AssignPublicIp"] is False
    assert queue["Networking"]["PlacementGroup"] == {"Enabled": True}
    assert queue["ComputeSettings"]["LocalStorage"]["RootVolume"]["Encrypted"] is True
    assert body["HeadNode"]["LocalStorage"]["RootVolume"]["Encrypted"] is True
    (machines,) = queue["ComputeResources"]
    assert (machines["MinCount"], machines["MaxCount"], machines["Efa"]) == (0, 4, {"Enabled": True})
    assert {"Key": "cloudaccel-export", "Value": "cloudaccel-e0ed5d7c"} in body["Tags"]
    assert all(world not in written("parallelcluster", "gang") for world in WORLD)


def test_efa_is_asked_for_only_where_it_is_known() -> None:
    """A type without EFA is refused by ParallelCluster; one that waits for a thin network runs at a fraction."""
    made = export("parallelcluster", deployment_of(lock(nodes=2, instance="g6.48xlarge"), accelerator_table()))
    assert "Efa" not in made.text
    assert any("whether g6.48xlarge has EFA is not known here" in note for note in made.warnings)


def test_a_cluster_is_for_one_region_and_says_what_it_leaves() -> None:
    """A file for one region would be thought to fail over."""
    for name in ("parallelcluster", "hyperpod"):
        made = export(name, deployment_of(PLANS["gang"], accelerator_table()))
        assert "one region only; left out: aws eu-west-1" in made.warnings


def test_a_cluster_of_sagemaker_has_other_types_and_prices() -> None:
    """The plan's price is EC2's: the bill of a HyperPod cluster is another."""
    made = export("hyperpod", deployment_of(PLANS["one"], accelerator_table()))
    assert any("not the plan's" in note for note in made.warnings)
    with pytest.raises(QueryError, match=r"no ml\.g5g\.xlarge"):
        written("hyperpod", "serving")


# -- engines that span clouds ------------------------------------------------------------------------------------------


def test_skypilot_may_start_on_the_places_of_the_plan_in_their_order_and_nowhere_else() -> None:
    """A task without places starts where it is cheapest, which no rule has judged."""
    body = yaml.safe_load(written("skypilot", "gang"))
    assert "any_of" not in body["resources"]
    assert "infra" not in body["resources"]
    places = [place["infra"] for place in body["resources"]["ordered"]]
    assert places == ["aws/eu-north-1", "aws/eu-west-1", "aws/eu-north-1/eu-north-1b"]


def test_what_skypilot_does_not_reach_is_left_out_and_said() -> None:
    """A place that silently went missing would be thought to be tried."""
    data = lock(failover=[{"provider": "crusoe", "partition": "crusoe", "region": "eu-iceland1-a"}])
    made = export("skypilot", deployment_of(data, accelerator_table()))
    assert "crusoe" not in yaml.safe_dump(yaml.safe_load(made.text))
    assert any("left out" in note and "crusoe eu-iceland1-a" in note for note in made.warnings)


def test_lists_of_dstack_are_crossed_so_one_cloud_and_type_alone() -> None:
    """Two clouds with a region of one name would let in a place that was not planned."""
    there = {"provider": "lambda", "partition": "lambda", "region": "us-east-1", "instance": "gpu_8x_h100_sxm5"}
    made = export("dstack", deployment_of(lock(failover=[there]), accelerator_table()))
    body = yaml.safe_load(made.text)
    assert (body["backends"], body["regions"]) == (["aws"], ["eu-north-1"])
    assert any("left out: lambda us-east-1 gpu_8x_h100_sxm5" in note for note in made.warnings)


def test_a_failover_of_another_shape_is_not_taken() -> None:
    """A file has one number of machines: eight GPUs in one machine are not one GPU in one machine."""
    other = {"region": "eu-west-1", "accelerator": {"id": "nvidia-h100-sxm-80gb", "count": "1"}}
    assert len(deployment_of(lock(failover=[other]), accelerator_table()).sites) == 1


@pytest.mark.parametrize("name", ["skypilot", "dstack", "dstack-fleet"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"provider": "oci", "partition": "oci", "region": "global"}, "does not reach oci global"),
        ({"partition": "aws-us-gov", "region": "us-gov-west-1"}, "does not reach aws us-gov-west-1"),
        (
            {"provider": "azure", "partition": "azure-china", "region": "chinanorth3"},
            "does not reach azure chinanorth3",
        ),
        ({"market": {"type": "capacity_block"}}, "--reservation"),
    ],
)
def test_what_no_spanning_engine_can_start(name: str, changes: dict[str, Any], words: str) -> None:
    """A place that the engine reads as another one would be started there."""
    with pytest.raises(QueryError, match=words):
        export(name, deployment_of(lock(**changes), accelerator_table()))


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


@pytest.mark.parametrize("engine", ["skypilot", "dstack", "kubernetes", "terraform", "karpenter"])
def test_u80_a_zone_without_a_name_is_not_in_a_file(engine: str) -> None:
    """He would have applied a file that waits for ever for zone use1-az6, which no engine and no node is called by."""
    spot: dict[str, Any] = {"region": "us-east-1", "country": "US", "market": {"type": "spot"}}
    plan = deployment_of(lock(**spot, zone="use1-az6"), accelerator_table())
    found = export(engine, plan)
    assert "use1-az6" not in found.text
    assert "the price is that of zone use1-az6, which each account calls otherwise" in found.warnings[-1]
    named = export(engine, deployment_of(lock(**spot, zone="use1-atl1-az1"), accelerator_table()))
    assert "use1-atl1-az1" not in named.text
    assert "calls otherwise" not in " ".join(named.warnings)
