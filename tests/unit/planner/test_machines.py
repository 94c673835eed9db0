"""Offers of the same accelerators in machines of different network and host memory are sized apart."""

from contextlib import closing
from decimal import Decimal

from cloudaccel.catalog.load import build_rows_in_memory
from cloudaccel.catalog.rows import Row
from cloudaccel.catalog.session import accelerator_table
from cloudaccel.facts.models import resolve_model
from cloudaccel.model import Accelerator, Query, Source
from cloudaccel.model.plan import Plan
from cloudaccel.model.workload import Fit, Machine, Workload
from cloudaccel.planner.plan import make_plan
from cloudaccel.planner.request import Context, Request
from cloudaccel.workloads import size
from tests.unit.planner.test_plan import row

A100 = "nvidia-a100-sxm-80gb"
FABRIC, NO_RDMA = "Standard_ND96amsr_A100_v4", "Standard_ND96ams_A100_v4"


def planned(rows: list[Row]) -> Plan:
    source = Source(id="t", name="t", path="", revision=None, licence="MIT", url=None)
    model = resolve_model("llama-2-70b")
    workload = Workload(task="finetune", method="full", model=model.id, tokens=1e9, sequence_tokens=2048, stack="fsdp")

    def sizer(accelerator: Accelerator, per_node: int, nodes: int, machine: Machine) -> Fit:
        return size(workload, model, accelerator, per_node=per_node, nodes=nodes, machine=machine)

    request = Request(workload=workload, model=model, query=Query(), setup_h=Decimal(0))
    with closing(build_rows_in_memory(rows, [source], built_from="test")) as catalog:
        return make_plan(request, Context(catalog.db, accelerator_table(), sizer))


def test_the_cheaper_machine_without_a_fabric_loses() -> None:
    """Believed wrongly: the same cards for a tenth less are cheaper, though nobody says how they reach each other."""
    known = row(FABRIC, A100, 8, "20", provider="azure", partition="azure", memory_gib="1900")
    bare = row(NO_RDMA, A100, 8, "18", region="r2", provider="azure", partition="azure", memory_gib="1900")
    plan = planned([known, bare])
    assert plan.options[0].offer.instance == FABRIC
    other = next(option for option in plan.options if option.offer.instance == NO_RDMA)
    assert "network_unknown" in [reason.code for reason in other.fit.reasons]
    assert other.nodes > 1


def test_a_small_host_is_sized_apart() -> None:
    big = row("big", A100, 8, "20", memory_gib="2000")
    small = row("small", A100, 8, "19", region="r2", memory_gib="128")
    fits = {option.offer.instance: option.fit for option in planned([big, small]).options}
    assert "host_mem_for_load" in [reason.code for reason in fits["small"].reasons]
    assert "host_mem_for_load" not in [reason.code for reason in fits["big"].reasons]
