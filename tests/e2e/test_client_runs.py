"""Runs by the Python client: the real service in a process of its own, the real SDK, and a fake cloud on loopback."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="needs cloudaccel[service]")

from cloudaccel import state
from cloudaccel.access.people import scopes_of
from cloudaccel.access.projects import Projects
from cloudaccel.access.tokens import Tokens
from cloudaccel.client import Client
from cloudaccel.errors import (
    AuthError,
    Conflict,
    LimitExceeded,
    ProviderUnavailable,
    QueryError,
    RateLimited,
    UnknownName,
)
from tests.e2e.test_client import serving
from tests.loopback import on_loopback
from tests.support import PATIENCE_S
from tests.unit.service.test_runs import lock

if TYPE_CHECKING:
    from cloudaccel_aws.fake import FakeAws

pytestmark = [pytest.mark.network, pytest.mark.slow]
PEOPLE = (
    ("alice", "provision", "vision"), ("bob", "provision", "vision"), ("reader", "read", "vision"),
    ("carol", "provision", "speech"), ("root", "admin", "default"),
)  # fmt: skip
SERVE = ("serve", "--port", "0", "-q", "--auth", "token", "--enable-provision")


class Cutting:
    """Between a client and the service: an answer that is to be lost is read whole from the service, and not given."""

    def __init__(self, address: str) -> None:
        self._to = ("127.0.0.1", int(address.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lose = 0
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._to) as far:
            threading.Thread(target=_pour, args=(near, far), daemon=True).start()
            while some := far.recv(65536):
                if self.lose:
                    self.lose -= 1
                    self.lost += 1
                    near.shutdown(socket.SHUT_RDWR)  # closing alone waits for the other thread
                    return
                near.sendall(some)


def _pour(near: socket.socket, far: socket.socket) -> None:
    try:
        while some := near.recv(65536):
            far.sendall(some)
    except OSError:
        pass


class Service:
    """The running service, and who may ask it."""

    def __init__(self, cloud: "FakeAws", address: str, tokens: dict[str, str]) -> None:
        self.cloud, self.address, self.tokens = cloud, address, tokens
        self._stack = ExitStack()

    def of(self, who: str, **more: Any) -> Client:
        address = more.pop("address", self.address)
        return self._stack.enter_context(Client(address, token=self.tokens[who], **more))

    def machines(self) -> list[dict[str, Any]]:
        return [thing for thing in self.cloud.live() if thing["kind"] == "machine"]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A journal with two projects of which one has a budget, and everybody's token."""
    monkeypatch.setenv("CLOUDACCEL_DATA_DIR", str(tmp_path / "data"))
    engine = state.open_state()
    Projects(engine, lambda: datetime.now(UTC)).put("vision", Decimal(100), Decimal(20), "USD", by="test")
    tokens = Tokens(engine, lambda: datetime.now(UTC))
    made = {
        name: tokens.create(f"{name}@example.org", scopes_of(scope), project=project, lasts_s=3600, by="test")[0]
        for name, scope, project in PEOPLE
    }
    engine.dispose()
    return made


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator["FakeAws"]:
    with on_loopback("aws", monkeypatch) as fake:
        yield fake


@pytest.fixture
def service(cloud: "FakeAws", people: dict[str, str]) -> Iterator[Service]:
    with serving(*SERVE, env={**os.environ}) as address:
        made = Service(cloud, address, people)
        yield made
        made.close()


@contextmanager
def serving_until_killed() -> Generator[tuple[str, Callable[[], None]]]:
    """A service that ends as if its machine had lost its power."""
    command = [sys.executable, "-m", "cloudaccel", *SERVE]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
    assert found

    def kill() -> None:
        process.kill()
        process.wait(PATIENCE_S)

    try:
        yield found.group(), kill
    finally:
        kill()
        process.stderr.close()


def until(client: Client, run_id: str, *states: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
    """The run once it is in one of `states`."""
    end = time.monotonic() + seconds
    while (found := dict(client.run(run_id)["run"]))["state"] not in states:
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def no_wait(_seconds: float) -> None:
    """Ask again at once."""


def test_a_run_from_its_lock_to_its_proved_end(service: Service) -> None:
    alice = service.of("alice")
    run_id = alice.start(lock(), max_total="10 USD", lease="2h")["run"]["id"]
    started = until(alice, run_id, "ready")
    assert len(service.machines()) == 1
    assert [run["id"] for run in alice.runs()] == [run_id]
    later = datetime.fromisoformat(started["lease_until"]) + timedelta(minutes=30)
    assert datetime.fromisoformat(alice.extend(run_id, later)["lease_until"]) == later
    assert datetime.fromisoformat(alice.extend(run_id, later)["lease_until"]) == later  # asked twice, it is the same
    assert alice.down(run_id)["state"] == "deleting"
    until(alice, run_id, "deleted")
    assert service.machines() == []
    assert alice.runs() == []
    assert [run["id"] for run in alice.runs(all=True)] == [run_id]
    told = service.of("root").audit()
    assert told["broken_at"] is None
    assert [entry["action"] for entry in told["entries"]][:3] == ["run.down", "run.extend", "run.start"]


def test_a_dear_run_waits_for_a_second_person(service: Service) -> None:
    """The user would have believed that a run is started when only a question about it was."""
    alice, bob = service.of("alice"), service.of("bob")
    answer = alice.start(lock(), max_total="30 USD", lease="2h")
    assert answer["kind"] == "approval"
    approval = answer["approval"]["id"]
    assert service.machines() == []
    assert [one["id"] for one in bob.approvals()] == [approval]
    with pytest.raises(AuthError, match="second person"):
        alice.decide(approval, approve=True)
    with pytest.raises(AuthError):
        service.of("reader").decide(approval, approve=True)
    with pytest.raises(UnknownName):
        service.of("carol").decide(approval, approve=True)
    decided = bob.decide(approval, approve=True, note="for the demo")
    assert (decided["state"], decided["decided_by"]) == ("approved", "bob@example.org")
    assert alice.approval(approval) == decided
    run = until(alice, decided["run"], "ready")
    assert run["principal"] == "alice@example.org"
    assert bob.decide(approval, approve=True) == decided  # he hears the same again, and nothing more is started
    with pytest.raises(Conflict, match="approved already"):
        bob.decide(approval, approve=False)
    with pytest.raises(Conflict, match="approved already"):
        service.of("root").decide(approval, approve=True)
    assert len(service.machines()) == 1
    refused = alice.start(lock(), max_total="30 USD", lease="2h")["approval"]["id"]
    assert bob.decide(refused, approve=False)["state"] == "refused"
    assert len(service.machines()) == 1


def test_what_is_refused_says_why(service: Service) -> None:
    alice = service.of("alice")
    with Client(service.address) as stranger, pytest.raises(AuthError, match="nobody is signed in"):
        stranger.runs()
    with Client(service.address, token=service.tokens["alice"][:-1] + "x") as forged, pytest.raises(AuthError):
        forged.start(lock(), max_total="1 USD")
    with pytest.raises(AuthError):
        service.of("reader").start(lock(), max_total="1 USD")
    with pytest.raises(AuthError, match="vision"):
        alice.start(lock(), max_total="1 USD", project="speech")
    with pytest.raises(AuthError):
        alice.audit()
    with pytest.raises(LimitExceeded, match="no budget"):
        service.of("carol").start(lock(), max_total="1 USD")
    with pytest.raises(LimitExceeded):
        alice.start(lock(), max_total="0.01 USD")
    with pytest.raises(LimitExceeded, match="over its budget"):
        alice.start(lock(), max_total="101 USD")
    with pytest.raises(QueryError, match="lock"):
        alice.start({"schema": "other/1"})
    for ask in (alice.run, alice.down):
        with pytest.raises(UnknownName):
            ask("0" * 8)
    with pytest.raises(UnknownName):
        alice.extend("0" * 8, datetime.now(UTC))
    with pytest.raises(UnknownName):
        alice.approval("../runs")
    assert service.machines() == []


def test_answers_that_are_lost_start_nothing_twice(service: Service) -> None:
    """The answer was lost, so that the client asked again: he would have paid for two machines, knowing of one."""
    between = Cutting(service.address)
    bob = service.of("bob", address=between.address, sleep=no_wait)
    between.lose = 2
    run_id = bob.start(lock(), max_total="10 USD", lease="2h")["run"]["id"]
    assert between.lost == 2
    until(bob, run_id, "ready")
    assert len(service.machines()) == 1
    dear = service.of("alice").start(lock(), max_total="30 USD", lease="2h")["approval"]["id"]
    between.lose = 1
    decided = bob.decide(dear, approve=True)  # said twice by the same person, for whom the first answer was lost
    until(bob, decided["run"], "ready")
    assert len(service.machines()) == 2
    between.lose = 1
    assert bob.down(run_id)["state"] in ("deleting", "deleted")
    until(bob, run_id, "deleted")
    assert between.lost == 4
    assert len(service.machines()) == 1
    between.close()


def test_same_key_for_another_lock_is_refused(service: Service) -> None:
    alice = service.of("alice")
    first = alice.start(lock(), key="monday-training", max_total="10 USD", lease="2h")["run"]["id"]
    assert alice.start(lock(), key="monday-training", max_total="10 USD", lease="2h")["run"]["id"] == first
    with pytest.raises(QueryError, match="another request"):
        alice.start(lock(), key="monday-training", max_total="9 USD", lease="2h")
    until(alice, first, "ready")
    assert len(service.machines()) == 1


def test_too_many_questions_are_told_to_come_again(cloud: "FakeAws", people: dict[str, str]) -> None:
    waits: list[float] = []
    with serving(*SERVE, "--rate", "0.4", env={**os.environ}) as address:
        made = Service(cloud, address, people)
        hasty = made.of("alice", tries=1)
        with pytest.raises(RateLimited):
            _ = [hasty.runs() for _ in range(9)]

        def wait(seconds: float) -> None:
            waits.append(seconds)
            time.sleep(seconds)

        patient = made.of("alice", tries=8, sleep=wait)
        for _ in range(3):
            assert patient.runs() == []
        made.close()
    assert waits


def test_a_service_killed_in_the_middle_goes_on_when_it_is_back(cloud: "FakeAws", people: dict[str, str]) -> None:
    """The user would have believed that a run that was promised comes to nothing, or comes twice."""
    with serving_until_killed() as (address, kill):
        made = Service(cloud, address, people)
        run_id = made.of("alice").start(lock(), key="before-the-crash", max_total="10 USD", lease="2h")["run"]["id"]
        kill()
        with pytest.raises(ProviderUnavailable):
            made.of("alice", tries=1).runs()
        made.close()
    with serving(*SERVE, env={**os.environ}) as address:
        made = Service(cloud, address, people)
        alice = made.of("alice")
        again = alice.start(lock(), key="before-the-crash", max_total="10 USD", lease="2h")
        assert again["run"]["id"] == run_id
        until(alice, run_id, "ready")
        assert len(made.machines()) == 1
        alice.down(run_id)
        until(alice, run_id, "deleted")
        assert made.machines() == []
        made.close()
