"""What validators say of exported files: the engine's own package where it is there, and a small schema of ours.

The schemas in ``schemas/`` hold the keys that we write and no other, so that a new key is looked up before it is used.
Packages of engines want versions of libraries that this project does not: each has an environment of its own,
``python -m venv $CLOUDACCEL_VALIDATORS/skypilot`` and so on; a test says so and skips where there is none.
"""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudaccel_aws import export_hyperpod
from tests.unit.export.plans import PLANS, written

# Where a machine may hold provider plugins of Terraform; nothing is fetched.
PLUGINS = Path(os.environ.get("CLOUDACCEL_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
ENGINES = Path(os.environ.get("CLOUDACCEL_VALIDATORS", "/opt/cloudaccel-validators"))
SCHEMAS = Path(__file__).with_name("schemas")


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
@pytest.mark.parametrize(
    ("provider", "plans", "word"),
    [
        ("aws", ("one", "gang", "spot"), "instance_type"),
        ("azurerm", ("blue", "fabric", "blue-spot"), "source_image_reference"),
        ("google", ("attached", "elsewhere"), "machine_type"),
    ],
)
def test_terraform_validates(tmp_path: Path, provider: str, plans: tuple[str, ...], word: str) -> None:
    """The last letter of an argument, left out, is found; what we write has no such fault."""
    needs_terraform(provider)
    (tmp_path / "rc").write_text(f'provider_installation {{ filesystem_mirror {{ path = "{PLUGINS}" }} }}\n')
    file = tmp_path / "main.tf.json"
    for plan in plans:
        file.write_text(written("terraform", plan), encoding="utf-8")
        if plan == plans[0]:
            assert terraform(tmp_path, "init").returncode == 0
        answer = terraform(tmp_path, "validate")
        assert answer.returncode == 0, answer.stdout + answer.stderr
    file.write_text(written("terraform", plans[0]).replace(f'"{word}"', f'"{word[:-1]}"'), encoding="utf-8")
    assert word in terraform(tmp_path, "validate").stderr


META = {"count", "depends_on", "lifecycle"}  # of Terraform itself
AZURE = ("blue", "fabric", "blue-spot")


def azurerm_says(body: dict[str, Any]) -> list[str]:
    """What our list of arguments has against the resources of a file."""
    known = json.loads((SCHEMAS / "azurerm.json").read_text(encoding="utf-8"))
    blocks: list[tuple[str, dict[str, Any]]] = [
        (kind, block) for kind, named in body["resource"].items() for block in named.values()
    ]
    blocks += [
        (f"{kind}.{key}", part) for kind, block in blocks for key, part in block.items() if f"{kind}.{key}" in known
    ]
    return [
        f"{kind}: {', '.join(sorted(wrong))}"
        for kind, block in blocks
        for need, may in [(set(known[kind]["required"]), set(known[kind]["others"]) | META)]
        if (wrong := (need - block.keys()) | (block.keys() - need - may))
    ]


@pytest.mark.parametrize("plan", AZURE)
def test_our_list_knows_every_argument_of_azure(plan: str) -> None:
    """A misspelt argument is found by Terraform only where its plugin is."""
    body = json.loads(written("terraform", plan))
    assert not azurerm_says(body)
    machine = body["resource"]["azurerm_linux_virtual_machine"]["machine"]
    machine["vm_size"] = machine.pop("size")
    machine["os_disk"]["disk_size"] = 1
    assert azurerm_says(body) == [
        "azurerm_linux_virtual_machine: size, vm_size",
        "azurerm_linux_virtual_machine.os_disk: disk_size",
    ]


# -- SkyPilot and dstack -----------------------------------------------------------------------------------------------

WITHOUT = {"dstack": {"neuron"}, "dstack-fleet": {"neuron"}, "skypilot": set[str]()}
SPANNING = [(name, plan) for name, without in WITHOUT.items() for plan in PLANS if plan not in without]


def our_schema_says(name: str, document: Any) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def engine_says(package: str, code: str, cases: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    """What `code` in the engine's own environment says of each case: "ok", or the error."""
    python = ENGINES / package / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment with {package} in {ENGINES} (CLOUDACCEL_VALIDATORS names another folder)")
    answer = subprocess.run(
        [str(python), "-c", code], input=json.dumps(cases), capture_output=True, text=True, check=False, timeout=300,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_DEFAULT_REGION": "eu-north-1"}, cwd=tmp_path,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    said: dict[str, str] = json.loads(answer.stdout.splitlines()[-1])
    return said


# Each program reads {case: text} and writes {case: "ok" or the error} as its last line.
EACH = """
import json, sys
said = {}
for case, text in json.load(sys.stdin).items():
    try:
        check(text)
        said[case] = "ok"
    except Exception as error:
        said[case] = f"{type(error).__name__}: {error}"
print()
print(json.dumps(said))
"""
SKYPILOT = """
import os, tempfile
import sky

def check(text):
    path = os.path.join(tempfile.mkdtemp(), "task.yaml")
    with open(path, "w") as file:
        file.write(text)
    task = sky.Task.from_yaml(path)
    assert all(r.autostop_config.enabled and r.autostop_config.down for r in task.resources), task.resources
    assert all(r.region for r in task.resources), task.resources
"""
DSTACK = """
import yaml
from dstack._internal.core.models.configurations import parse_apply_configuration

def check(text):
    parse_apply_configuration(yaml.safe_load(text))
"""


def sky_catalog(folder: Path) -> None:
    """A price list of SkyPilot's form with the machines of our plans: without one it would ask the network."""
    places: dict[str, set[tuple[str, str, str]]] = {}
    for plan in PLANS.values():
        for option in (plan["chosen"], *plan["failover"]):
            zone = option["zone"] or option["region"] + "-a"
            places.setdefault(option["provider"], set()).add((option["instance"].split("+")[0], option["region"], zone))
    head = (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone"
    )
    for cloud, rows in places.items():
        path = folder / ".sky" / "catalogs" / "v8" / cloud / "vms.csv"
        path.parent.mkdir(parents=True)
        lines = [f"{instance},H100,8,8,64,,9,3,{region},{zone}" for instance, region, zone in sorted(rows)]
        lines += [f",T4,1,,,,1,1,{region},{zone}" for _, region, zone in sorted(rows)]
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("name", "plan"), SPANNING)
def test_our_schema_knows_every_key(name: str, plan: str) -> None:
    our_schema_says(name, yaml.safe_load(written(name, plan)))


@pytest.mark.parametrize("name", WITHOUT)
def test_our_schema_would_have_seen_a_wrong_key(name: str) -> None:
    document = yaml.safe_load(written(name, "gang"))
    document["resource"] = document.pop("resources")
    with pytest.raises(Exception, match="resource"):
        our_schema_says(name, document)


@pytest.mark.slow
def test_skypilot_itself_reads_every_task(tmp_path: Path) -> None:
    """A task that only looks right fails when somebody starts it."""
    cases = {plan: written("skypilot", plan) for plan in PLANS}
    cases["wrong"] = cases["one"].replace("use_spot", "use_spots")
    sky_catalog(tmp_path)
    said = engine_says("skypilot", SKYPILOT + EACH, cases, tmp_path)
    assert "use_spot" in said.pop("wrong")
    assert said == dict.fromkeys(PLANS, "ok")


@pytest.mark.slow
def test_dstack_itself_reads_every_fleet_and_task(tmp_path: Path) -> None:
    """A fleet that only looks right fails when somebody applies it."""
    cases = {f"{name} {plan}": written(name, plan) for name, plan in SPANNING if name.startswith("dstack")}
    wrong = {
        "wrong key": cases["dstack-fleet gang"].replace("placement:", "placements:"),
        "wrong word": cases["dstack gang"].replace("spot_policy: on-demand", "spot_policy: on_demand"),
    }
    said = engine_says("dstack", DSTACK + EACH, {**cases, **wrong}, tmp_path)
    assert "placements" in said.pop("wrong key")
    assert "spot_policy" in said.pop("wrong word")
    assert said == dict.fromkeys(cases, "ok")


# -- clusters on AWS -------------------------------------------------------------------------------------------------

CLUSTERS = ("one", "gang", "spot", "neuron")
PARALLELCLUSTER = """
import yaml
from pcluster.schemas.cluster_schema import ClusterSchema

def check(text):
    ClusterSchema(cluster_name="test").load(yaml.safe_load(text))
"""


@pytest.mark.slow
def test_parallelcluster_itself_reads_every_cluster(tmp_path: Path) -> None:
    """A wrong word stops the making of a cluster after minutes."""
    cases = {plan: written("parallelcluster", plan) for plan in (*CLUSTERS, "serving")}
    wrong = {
        "wrong key": cases["gang"].replace("MaxCount:", "MaxCounts:"),
        "wrong word": cases["gang"].replace("CapacityType: ONDEMAND", "CapacityType: ON_DEMAND"),
    }
    said = engine_says("aws-parallelcluster", PARALLELCLUSTER + EACH, {**cases, **wrong}, tmp_path)
    assert "MaxCounts" in said.pop("wrong key")
    assert "CapacityType" in said.pop("wrong word")
    assert said == dict.fromkeys(cases, "ok")


def problems(shape: Any, value: Any, where: str = "") -> list[str]:
    """Words and patterns of a request that botocore's own check lets through: enumerations and forms."""
    if shape.type_name == "structure":
        members = shape.members
        return [p for key, part in value.items() for p in problems(members[key], part, f"{where}.{key}")]
    if shape.type_name == "list":
        return [p for n, part in enumerate(value) for p in problems(shape.member, part, f"{where}[{n}]")]
    if shape.type_name == "map":
        return [p for part in value.values() for p in problems(shape.value, part, where)]
    if shape.type_name != "string":
        return []
    pattern = shape.metadata.get("pattern", "").replace("\\p{L}\\p{Z}\\p{N}", "\\w ")
    found = [f"{where}: {value} is none of its words"] if shape.enum and value not in shape.enum else []
    return [*found, f"{where}: {value} is not {pattern}"] if pattern and not re.fullmatch(pattern, value) else found


def create_cluster() -> Any:
    session: Any = pytest.importorskip("botocore.session")
    return session.get_session().get_service_model("sagemaker").operation_model("CreateCluster").input_shape


@pytest.mark.parametrize("plan", CLUSTERS)
def test_sagemaker_would_take_the_request(plan: str) -> None:
    """A request that the service refuses is found out only with an account."""
    validate: Any = pytest.importorskip("botocore.validate")
    shape, request = create_cluster(), json.loads(written("hyperpod", plan))
    report = validate.ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert not problems(shape, request)


def test_both_checks_of_a_request_would_have_seen_what_is_wrong() -> None:
    """A check that says yes to everything proves nothing."""
    validate: Any = pytest.importorskip("botocore.validate")
    shape, request = create_cluster(), json.loads(written("hyperpod", "gang"))
    request["InstanceGroups"][0] |= {"InstanceType": "ml.p99.48xlarge", "ExecutionRole": "admin"}
    assert len(problems(shape, request)) == 2
    request["InstanceGroups"][0]["InstanceCounts"] = 2
    assert "InstanceCounts" in validate.ParamValidator().validate(request, shape).generate_report()


def test_the_types_that_a_cluster_may_have_are_types_of_the_service() -> None:
    """A type that the service does not have would be refused only by an account."""
    enum = set(create_cluster().members["InstanceGroups"].member.members["InstanceType"].enum)
    with (Path(export_hyperpod.__file__).parent / "data" / "cluster_types.csv").open(encoding="utf-8") as file:
        assert {row["type"] for row in csv.DictReader(file)} <= enum
