"""Runs over HTTP: inside a budget, agreed to by a second person, once for each key, and written down."""

import copy
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloudaccel import state
from cloudaccel.access import audit
from cloudaccel.access.people import scopes_of
from cloudaccel.access.tokens import Tokens
from cloudaccel.api import planning
from cloudaccel.api.judging import Rules
from cloudaccel.provision.journal import Journal
from cloudaccel.service.app import create_app
from cloudaccel.service.doors import SignIn
from cloudaccel.service.runs import Runs
from cloudaccel.service.stored import Stored
from tests.small_cloud import Cloud
from tests.support import PATIENCE_S

JOB = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "20e6"}
CANARY = "canary-417"


@cache
def _lock() -> str:
    rules = Rules(headquarters="DE", users="none", data=("none",))
    plan = planning.plan(JOB, provider=["aws"], region=["us-east-1"], startable=True, options=1, rules=rules)
    return planning.lock_text(plan)


def lock(**changed: Any) -> dict[str, Any]:
    """A lock whose run can be started, with values of `chosen` changed."""
    body = json.loads(_lock())
    body["considered"], body["failover"], body["options"] = [], [], []
    body["chosen"] |= changed
    return body


class Clock:
    """Time that a test sets; waiting takes none."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=max(seconds, 0.001))


class World:
    """A service that starts machines at a small cloud; alice and bob of one project, carol of another, and root."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.engine = state.open_state(url or f"sqlite:///{folder / 'state.db'}")
        self.clock, self.cloud = Clock(), Cloud()
        self.tokens = Tokens(self.engine, self.clock.now)
        self.runs = Runs(self.engine, load=lambda _: self.cloud, clock=self.clock)
        self.runs.projects.put("vision", Decimal(100), Decimal(20), "USD", by="test")
        app = create_app(
            sign_in=SignIn(self.tokens), runs=self.runs, stored=Stored(self.engine, self.runs.spent, self.clock)
        )  # fmt: skip
        self.client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        self.people = {
            name: self.tokens.create(
                f"{name}@example.org", scopes_of(scope), project=project, lasts_s=86_400 * 300, by="test"
            )[0]
            for name, scope, project in (
                ("alice", "provision", "vision"), ("bob", "provision", "vision"), ("reader", "read", "vision"),
                ("carol", "provision", "speech"), ("root", "admin", "default"),
            )
        }  # fmt: skip

    def ask(self, method: str, path: str, who: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.people[who]}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def start(self, who: str = "alice", key: str = "key-00000001", **body: Any) -> Any:
        given = {"lock": lock(), "max_total": "10 USD", "lease": "2h", **body}
        return self.ask("POST", "/v1/runs", who, json=given, headers={"Idempotency-Key": key})

    def started(self, who: str = "alice", key: str = "key-00000001", **body: Any) -> str:
        answer = self.start(who, key, **body)
        assert answer.status_code == 202, answer.text
        self.runs.work.settle()
        return str(answer.json()["run"]["id"])

    def log(self) -> list[tuple[str, str, str]]:
        rows = reversed(audit.entries(self.engine))
        return [(r["principal"].partition("@")[0], r["action"], r["outcome"]) for r in rows if r["principal"] != "test"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.runs.work.settle()
    made.client.close()
    made.engine.dispose()


def test_run_from_its_lock_to_its_end(world: World) -> None:
    run_id = world.started()
    shown = world.ask("GET", f"/v1/runs/{run_id}", "alice").json()
    run = shown["run"]
    assert (run["state"], run["principal"], run["project"]) == ("ready", "alice@example.org", "vision")
    assert run["budget"] == {"amount": "10", "currency": "USD"}
    assert run["billing"] == "yes"
    assert [r["kind"] for r in shown["resources"]] == ["machine"]
    assert [r["id"] for r in world.ask("GET", "/v1/runs", "reader").json()["runs"]] == [run_id]
    ended = world.ask("POST", f"/v1/runs/{run_id}/down", "alice")
    assert (ended.status_code, ended.json()["run"]["state"]) == (202, "deleting")
    world.runs.work.settle()
    assert world.ask("GET", f"/v1/runs/{run_id}", "alice").json()["run"]["state"] == "deleted"
    assert world.cloud.live() == []
    assert world.ask("GET", "/v1/runs", "alice").json()["runs"] == []
    assert world.ask("GET", "/v1/runs?all=true", "alice").json()["total"] == 1
    assert world.log() == [("alice", "run.start", "done"), ("alice", "run.down", "done")]


def test_price_and_place_in_the_lock_are_not_believed(world: World) -> None:
    """A lock is a file that anybody can write: a machine for 1 cent must not slip through a limit of 1 USD."""
    cheap = {"price_per_hour": "0.01", "currency": "USD"}
    answer = world.start(lock=lock(price=cheap, nodes=8), max_total="1 USD")
    assert (answer.status_code, answer.json()["code"]) == (403, "limit")
    assert world.cloud.machines == {}


def test_same_key_starts_one_run(world: World) -> None:
    """The answer is lost, the client asks again: two machines would bill, and it knows of one."""
    first = world.started()
    again = world.start()
    assert (again.json()["run"]["id"], again.headers["idempotency-replayed"]) == (first, "true")
    assert len(world.cloud.machines) == 1
    other = world.start(max_total="9 USD")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert world.started("bob") != first  # another person's key is another key


def test_same_key_sent_many_times_at_once_starts_one_run(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [done.result() for done in [pool.submit(world.start) for _ in range(8)]]
    world.runs.work.settle()
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["run"]["id"] for a in answers}) == 1
    assert len(world.cloud.machines) == 1


def test_same_key_sent_many_times_at_once_is_not_refused_for_the_budget_that_it_took_itself(world: World) -> None:
    """He would have believed that nothing was started, and asked for another run, while this one bills."""
    world.runs.projects.put("vision", Decimal(15), None, "USD", by="test")
    with ThreadPoolExecutor(8) as pool:
        answers = [done.result() for done in [pool.submit(world.start) for _ in range(8)]]
    world.runs.work.settle()
    assert [a.json()["detail"] for a in answers if a.status_code != 202] == []
    assert len({a.json()["run"]["id"] for a in answers}) == 1


@pytest.mark.parametrize("key", ["", "short", "x" * 129, "a b c d e f", "key\tkey\tkey"])
def test_run_without_a_key_of_its_own_is_refused(world: World, key: str) -> None:
    answer = world.start(key=key)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.text
    assert world.cloud.machines == {}


def test_budget_counts_what_open_runs_may_cost_and_what_ended_ones_did(world: World) -> None:
    world.runs.projects.put("vision", Decimal(25), None, "USD", by="test")
    first = world.started(key="key-first-1", max_total="10 USD")
    world.started(key="key-second", max_total="10 USD")
    third = world.start(key="key-third-1", max_total="10 USD")
    assert (third.status_code, third.json()["code"]) == (403, "limit")
    assert "20.00 of 25.00 is spent or promised" in third.json()["detail"]
    world.ask("POST", f"/v1/runs/{first}/down", "alice")
    world.runs.work.settle()
    assert world.start(key="key-third-2", max_total="10 USD").status_code == 202  # what it did not spend is free again


def test_two_at_once_do_not_share_the_last_of_a_budget(world: World) -> None:
    world.runs.projects.put("vision", Decimal(15), None, "USD", by="test")
    ready = threading.Barrier(4)

    def start(number: int) -> int:
        ready.wait(PATIENCE_S)
        return world.start(key=f"key-number-{number}", max_total="10 USD").status_code

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(start, range(4)))
    assert codes == [202, 403, 403, 403]


def test_run_without_any_budget_is_refused(world: World) -> None:
    no_limit = world.start(max_total=None)
    assert (no_limit.status_code, "every run has a budget" in no_limit.text) == (400, True)
    no_budget = world.start("carol")
    assert (no_budget.status_code, "has no budget" in no_budget.text) == (403, True)
    other = world.start(max_total="10 EUR")
    assert (other.status_code, "none is converted" in other.text) == (403, True)
    assert world.log()[-1] == ("alice", "run.ask", "refused")


def test_project_of_somebody_else_is_not_spent_nor_seen(world: World) -> None:
    assert world.start(project="speech").status_code == 403
    run_id = world.started()
    for path in (f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/down", f"/v1/runs/{run_id}/extend"):
        method = "GET" if path.endswith(run_id) else "POST"
        body = {"json": {"until": "2030-01-01T00:00:00Z"}} if path.endswith("extend") else {}
        assert world.ask(method, path, "carol", **body).status_code == 404
    assert world.ask("GET", "/v1/runs", "carol").json()["runs"] == []
    assert [r["id"] for r in world.ask("GET", "/v1/runs", "root").json()["runs"]] == [run_id]
    assert len(world.cloud.live()) == 1


def test_id_is_the_whole_id(world: World) -> None:
    """The command line takes the beginning of an id; over HTTP that would let one guess."""
    run_id = world.started()
    for wrong in (run_id[:4], "%", "_" * 8, f"{run_id}%"):
        assert world.ask("GET", f"/v1/runs/{wrong}", "alice").status_code == 404


# -- the second person -------------------------------------------------------------------------------------------------


def waiting(world: World, **body: Any) -> str:
    answer = world.start(max_total="30 USD", **body)
    assert (answer.status_code, answer.json()["kind"]) == (202, "approval"), answer.text
    return str(answer.json()["approval"]["id"])


def decide(world: World, approval: str, who: str, approve: bool = True) -> Any:
    return world.ask("POST", f"/v1/approvals/{approval}", who, json={"approve": approve, "note": "for the demo"})


def test_dear_run_waits_for_a_second_person(world: World) -> None:
    approval = waiting(world)
    world.runs.work.settle()
    assert world.cloud.machines == {}
    shown = world.ask("GET", f"/v1/approvals/{approval}", "bob").json()["approval"]
    assert (shown["state"], shown["most"], shown["principal"]) == ("waiting", "30", "alice@example.org")
    assert shown["places"][0]["instance"] == lock()["chosen"]["instance"]
    answer = decide(world, approval, "bob")
    assert answer.status_code == 200, answer.text
    world.runs.work.settle()
    done = answer.json()["approval"]
    assert (done["state"], done["decided_by"], done["note"]) == ("approved", "bob@example.org", "for the demo")
    run = world.ask("GET", f"/v1/runs/{done['run']}", "alice").json()["run"]
    assert (run["state"], run["principal"]) == ("ready", "alice@example.org")
    assert decide(world, approval, "bob").json()["approval"] == done  # the same again, by the same person
    again = decide(world, approval, "root")
    assert (again.status_code, again.json()["code"]) == (409, "already_decided")
    assert len(world.cloud.machines) == 1
    assert [row[:2] for row in world.log()] == [
        ("alice", "approval.ask"), ("alice", "run.start"), ("bob", "approval.approve"),
    ]  # fmt: skip


def test_who_asked_cannot_agree_also_not_under_another_name_of_theirs(world: World) -> None:
    approval = waiting(world)
    world.people["alice2"] = world.tokens.create(
        "Alice@Example.org", scopes_of("admin,provision"), project="vision", lasts_s=3600, by="test"
    )[0]
    for who in ("alice", "alice2"):
        assert decide(world, approval, who).status_code == 403
    assert world.log()[-1][1:] == ("approval.decide", "refused")
    assert world.cloud.machines == {}


@pytest.mark.parametrize(("who", "status"), [("reader", 403), ("carol", 404), ("root", 200), ("bob", 200)])
def test_who_may_agree(world: World, who: str, status: int) -> None:
    assert decide(world, waiting(world), who).status_code == status


def test_refused_stays_refused(world: World) -> None:
    approval = waiting(world)
    assert decide(world, approval, "bob", approve=False).json()["approval"]["state"] == "refused"
    assert decide(world, approval, "root").status_code == 409
    assert world.cloud.machines == {}


def test_what_the_same_person_decides_twice_counts_once(world: World) -> None:
    """His first answer was lost: he would have believed that another person decided, or that two runs were started."""
    world.runs.projects.put("vision", Decimal(35), Decimal(20), "USD", by="test")
    approval = waiting(world)
    with ThreadPoolExecutor(6) as pool:
        answers = [d.result() for d in [pool.submit(decide, world, approval, "bob") for _ in range(6)]]
    world.runs.work.settle()
    assert [a.json()["detail"] for a in answers if a.status_code != 200] == []
    assert len({a.json()["approval"]["run"] for a in answers}) == 1
    assert len(world.cloud.machines) == 1
    assert decide(world, approval, "root").status_code == 409
    assert decide(world, approval, "bob", approve=False).status_code == 409
    assert [action for _, action, _ in world.log()].count("approval.approve") == 1


def test_approval_that_is_a_day_old_starts_nothing(world: World) -> None:
    approval = waiting(world)
    world.clock.at += timedelta(hours=25)
    assert world.ask("GET", f"/v1/approvals/{approval}", "bob").json()["approval"]["state"] == "expired"
    assert decide(world, approval, "bob").status_code == 409
    assert world.cloud.machines == {}


def test_two_who_agree_at_once_start_one_run(world: World) -> None:
    approval = waiting(world)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(decide, world, approval, who) for who in ("bob", "root")]
        codes = sorted(done.result().status_code for done in asked)
    world.runs.work.settle()
    assert codes == [200, 409]
    assert len(world.cloud.machines) == 1


def test_budget_used_up_in_between_stops_what_was_asked_before(world: World) -> None:
    approval = waiting(world)
    world.runs.projects.put("vision", Decimal(35), Decimal(20), "USD", by="test")
    world.started(key="key-second", max_total="10 USD")
    assert decide(world, approval, "bob").json()["code"] == "limit"
    assert len(world.cloud.machines) == 1


# -- extending, and a process that dies --------------------------------------------------------------------------------


def test_lease_is_extended_once_however_often_it_is_asked(world: World) -> None:
    run_id = world.started()
    before = datetime.fromisoformat(world.ask("GET", f"/v1/runs/{run_id}", "alice").json()["run"]["lease_until"])
    until = (before + timedelta(hours=1)).isoformat()
    for _ in range(3):
        answer = world.ask("POST", f"/v1/runs/{run_id}/extend", "alice", json={"until": until})
        assert datetime.fromisoformat(answer.json()["run"]["lease_until"]) == before + timedelta(hours=1)
    late = {"until": (before + timedelta(days=29)).isoformat()}
    refused = world.ask("POST", f"/v1/runs/{run_id}/extend", "alice", json=late)
    assert (refused.status_code, refused.json()["code"]) == (403, "limit")
    for wrong in ("2030-01-01T00:00:00", "tomorrow", "", "9" * 40):
        answer = world.ask("POST", f"/v1/runs/{run_id}/extend", "alice", json={"until": wrong})
        assert answer.status_code == 400, wrong


def test_launch_of_a_process_that_died_is_gone_on_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> None:
        """The process is gone before it did anything."""

    with monkeypatch.context() as patched:
        patched.setattr(world.runs.work, "_launch", dies)
        run_id = world.started()
    assert world.cloud.machines == {}
    world.runs.work.look()
    world.runs.work.settle()
    assert world.ask("GET", f"/v1/runs/{run_id}", "alice").json()["run"]["state"] == "ready"
    assert len(world.cloud.machines) == 1


def test_run_of_the_command_line_is_left_to_its_person(world: World) -> None:
    journal = Journal(world.engine, world.clock)
    world.started()
    (service_run,) = world.runs.journal.runs()
    local = journal.open_run(service_run.spec, principal="local:dora", project="default")
    world.runs.work.look()
    world.runs.work.settle()
    assert journal.run(local.id).state == "planned"


# -- untrusted locks ---------------------------------------------------------------------------------------------------


def changed(path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(lock())
    at: Any = body
    *way, last = path.split(".")
    for key in way:
        at = at[key]
    at[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "other/1"), ("chosen", None), ("chosen.provider", "nobody"), ("chosen.provider", "../../etc"),
        ("chosen.instance", "{{12345*6789}}"), ("chosen.region", ["x"]), ("chosen.nodes", 9), ("chosen.nodes", True),
        ("chosen.market", {"type": "reserved"}), ("request", None), ("request.rules", []), ("request.rules", {}),
        ("request.rules.packs", ["{file}"]), ("request.rules.packs", "eu-gdpr"), ("request.rules.packs", [1]),
        ("request.rules.file", 5), ("request.rules.data", {"x": 1}), ("hours", {"high": "1e8"}),
        ("hours", {"high": "NaN"}), ("limits", {"budget": -1}), ("request.job", None), ("model", None),
        ("reservation", {"id": "x y"}), ("failover", [None]), ("failover", {}),
    ],
)  # fmt: skip
def test_odd_lock_is_refused_and_says_nothing_of_this_machine(
    world: World, tmp_path: Path, path: str, value: Any
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(CANARY, encoding="utf-8")
    if value == ["{file}"]:
        value = [str(file)]
    answer = world.start(lock=changed(path, value), lease=None)
    assert answer.status_code in (400, 403, 409), answer.text
    assert CANARY not in answer.text
    assert str(12345 * 6789) not in answer.text  # nothing of a lock is worked out
    assert world.cloud.machines == {}


def test_what_a_lock_states_of_the_organisation_does_not_count(world: World) -> None:
    """Otherwise whoever writes the file gives the organisation contracts that it does not have."""
    rules = json.loads(_lock())["request"]["rules"]
    forged = {**rules, "packs": ["us-hipaa"], "data": ["phi_us"], "stated": ["baa:aws"]}
    answer = world.start(lock=changed("request.rules", forged))
    assert (answer.status_code, answer.json()["code"]) == (403, "limit")
    assert "baa" in answer.json()["detail"]


def test_packs_of_the_service_hold_for_every_run(world: World) -> None:
    strict = Runs(world.engine, load=lambda _: world.cloud, clock=world.clock, packs=["org-no-us-parent"])
    app = create_app(sign_in=SignIn(world.tokens), runs=strict)
    world.client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = world.start()
    assert answer.status_code == 403
    assert "org-no-us-parent" in answer.json()["detail"]


# -- watching over it --------------------------------------------------------------------------------------------------


def test_audit_log_is_for_administrators_and_in_pages(world: World) -> None:
    for number in range(3):
        world.started(key=f"key-number-{number}")
    assert world.ask("GET", "/v1/audit", "alice").status_code == 403
    first = world.ask("GET", "/v1/audit?limit=2", "root").json()
    assert (first["broken_at"], [e["action"] for e in first["entries"]]) == (None, ["run.start"] * 2)
    rest = world.ask("GET", f"/v1/audit?limit=500&before={first['next_before']}", "root").json()
    assert rest["entries"][0]["number"] == first["entries"][-1]["number"] - 1
    assert rest["next_before"] is None
    entry = first["entries"][0]
    assert entry["request_id"]
    assert entry["detail"]["most"] == "10"
    assert len(entry["hash"]) == 64


def test_metrics_tell_runs_and_spend(world: World) -> None:
    run_id = world.started()
    world.clock.at += timedelta(hours=1)
    text = world.ask("GET", "/metrics", "reader").text
    assert 'cloudaccel_runs{state="ready"} 1.0' in text
    assert "cloudaccel_runs_that_may_bill 1.0" in text
    spent = next(line for line in text.splitlines() if line.startswith("cloudaccel_spent{"))
    assert 'project="vision"' in spent
    assert float(spent.rpartition(" ")[2]) > 0.1
    world.ask("POST", f"/v1/runs/{run_id}/down", "alice")
    world.runs.work.settle()
    assert "cloudaccel_runs_that_may_bill 0.0" in world.ask("GET", "/metrics", "reader").text


def test_nothing_secret_is_kept_or_said(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world.started()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("state.db*"))
    said = caplog.text + world.ask("GET", "/v1/audit", "root").text
    for token in world.people.values():
        assert token.rpartition("_")[2].encode() not in kept
        assert token.rpartition("_")[2] not in said


def test_without_the_flag_there_are_no_such_routes(tmp_path: Path) -> None:
    with TestClient(create_app(), base_url="http://localhost") as client:
        for method, path in (("POST", "/v1/runs"), ("GET", "/v1/runs"), ("GET", "/v1/audit"), ("GET", "/v1/approvals")):
            assert client.request(method, path).status_code == 404
