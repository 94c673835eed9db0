"""What every cloud's machines must do, whoever wrote the adapter. Needs pytest.

Subclass `InstancesContract` in a test module, name the class ``Test…``, and answer its three hooks with a fake cloud.
"""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloudaccel.errors import (
    CapacityUnavailable,
    InstanceNotFound,
    OutcomeUnknown,
    PolicyDenied,
    ProviderError,
    QuotaExceeded,
    RequestInvalid,
)
from cloudaccel.protocols import Instance, InstanceRequest, Instances

ENDED = ("stopping", "terminated")


class InstancesContract:
    """Rules of `Instances`, each against a fresh fake."""

    @abstractmethod
    def instances(self) -> Instances:
        """The adapter, talking to a fake with nothing in it."""

    @abstractmethod
    def request(self) -> InstanceRequest:
        """A request for two machines, not settled yet."""

    @abstractmethod
    def fault(self, kind: str) -> None:
        """Let the next create fail once: ``capacity``, ``quota``, or ``lost`` (it runs, its answer never arrives)."""

    def _ready(self, cloud: Instances, request: InstanceRequest | None = None) -> InstanceRequest:
        return cloud.prepare(cloud.settle(request or self.request()))[0]

    def test_create_starts_all_that_was_asked(self) -> None:
        """As many machines as asked, in the zone asked, of the type asked."""
        cloud = self.instances()
        request = self._ready(cloud)
        made = cloud.create(request)
        assert len({machine.id for machine in made}) == request.count
        assert {(machine.zone, machine.instance_type) for machine in made} == {(request.zone, request.instance_type)}

    def test_its_time_is_now_or_not_said(self) -> None:
        """Nothing ends for being late by a clock that is far from the cloud's; what is None is not compared."""
        said = self.instances().time(region=self.request().region)
        assert said is None or abs(said - datetime.now(UTC)) < timedelta(minutes=5)

    def test_another_market_is_refused_and_not_replaced(self) -> None:
        """A market that the adapter cannot start in is never answered with machines of another one, at its price."""
        cloud = self.instances()
        with pytest.raises(RequestInvalid):
            cloud.create(self._ready(cloud, replace(self.request(), market="flex_start")))
        assert not self._live(cloud, self.request())

    def test_what_it_never_starts_is_known_without_asking(self) -> None:
        """A plan calls startable what is not refused here: it may refuse neither too much nor too little."""
        cloud, request = self.instances(), self.request()
        assert cloud.refusal(request.instance_type, request.market, request.count) is None
        assert cloud.refusal(request.instance_type, "savings_plan", 1)

    def test_where_no_deadline_is_kept_its_absence_has_to_be_accepted(self) -> None:
        """Nobody may believe that a cloud ends a machine which it does not end."""
        cloud, request = self.instances(), replace(self.request(), accept_no_deadline=False)
        if cloud.keeps_deadline(request.instance_type):
            assert cloud.settle(request)
            return
        with pytest.raises(PolicyDenied, match="--accept-no-deadline"):
            cloud.settle(request)

    def test_the_terms_are_sentences(self) -> None:
        """What people read of a settled request: whole sentences, with no cloud's data structure in them."""
        cloud = self.instances()
        for request in (self.request(), replace(self.request(), ssh_cidrs=("203.0.113.7/32",))):
            terms = cloud.terms(cloud.settle(request))
            assert all(term.endswith(".") and not set(term) & set("{}[]") for term in terms), terms
            assert ("203.0.113.7/32" in " ".join(terms)) == bool(request.ssh_cidrs)

    def test_a_replay_gives_the_same_machines(self) -> None:
        """The same request twice is one gang."""
        cloud = self.instances()
        request = self._ready(cloud)
        assert _ids(cloud.create(request)) == _ids(cloud.create(request)) == self._live(cloud, request)

    def test_a_lost_answer_is_recovered_by_a_replay(self) -> None:
        """An answer that never came is an unknown outcome, and the replay starts nothing more."""
        cloud = self.instances()
        request = self._ready(cloud)
        self.fault("lost")
        with pytest.raises(OutcomeUnknown):
            cloud.create(request)
        assert _ids(cloud.create(request)) == self._live(cloud, request)

    def test_machines_are_found_by_their_token(self) -> None:
        """`find` needs nothing but the token and the region."""
        cloud = self.instances()
        request = self._ready(cloud)
        made = cloud.create(request)
        assert _ids(cloud.find(request.token, region=request.region)) == _ids(made)
        assert not cloud.find("no-such-token", region=request.region)

    @pytest.mark.parametrize(("kind", "expected"), [("capacity", CapacityUnavailable), ("quota", QuotaExceeded)])
    def test_a_refusal_is_ours_and_leaves_nothing(self, kind: str, expected: type[ProviderError]) -> None:
        """A refusal keeps the cloud's own code, and no machine."""
        cloud = self.instances()
        request = self._ready(cloud)
        self.fault(kind)
        with pytest.raises(expected) as caught:
            cloud.create(request)
        assert caught.value.raw_code
        assert not self._live(cloud, request)

    def test_everything_carries_the_tags(self) -> None:
        """`resources` finds each machine by the tags, and nothing by tags of another install."""
        cloud = self.instances()
        request = self._ready(cloud)
        assert _ids(cloud.create(request)) == self._live(cloud, request)
        foreign = dict.fromkeys(request.tags, "another-install")
        assert not list(cloud.resources(tags=foreign, region=request.region))

    def test_deleting_leaves_nothing_that_bills(self) -> None:
        """After delete no machine lives, and what remains can be removed; then the account is empty."""
        cloud = self.instances()
        request = self._ready(cloud)
        _delete(cloud.create(request), cloud.delete)
        assert not self._live(cloud, request)
        for resource in list(cloud.resources(tags=request.tags, region=request.region)):
            if resource.kind != "machine":
                cloud.remove(resource)
        left = list(cloud.resources(tags=request.tags, region=request.region))
        assert not [resource for resource in left if resource.state not in ENDED]

    def test_an_ended_machine_never_runs_again(self) -> None:
        """What was ended is ending, ended, or not found."""
        cloud = self.instances()
        request = self._ready(cloud)
        made = cloud.create(request)
        _delete(made, cloud.delete)
        for machine in made:
            with suppress(InstanceNotFound):
                assert cloud.get(machine.id, region=request.region).state in ENDED

    def test_another_token_is_another_gang(self) -> None:
        """Two tokens never share a machine."""
        cloud = self.instances()
        request = self._ready(cloud)
        other = replace(request, token=f"{request.token[:-1]}{'a' if request.token[-1] != 'a' else 'b'}")
        assert not _ids(cloud.create(request)) & _ids(cloud.create(other))

    def _live(self, cloud: Instances, request: InstanceRequest) -> set[str]:
        found = cloud.resources(tags=request.tags, region=request.region)
        return {thing.id for thing in found if thing.kind == "machine" and thing.state not in ENDED}


def _ids(machines: tuple[Instance, ...]) -> set[str]:
    return {machine.id for machine in machines}


def _delete(machines: tuple[Instance, ...], delete: Callable[..., None]) -> None:
    for machine in machines:
        delete(machine.id, region=machine.region)


__all__ = ["InstancesContract"]
