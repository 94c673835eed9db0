"""A small cloud on this machine, to try ``provision`` without an account: moto with what it lacks put in front.

``python -m cloudaccel_aws.fake --port 5555``, then point any AWS SDK at it with ``AWS_ENDPOINT_URL``. Loopback only;
everything is forgotten when it ends. In front of moto (5.2): client tokens with IdempotentParameterMismatch, answers
that are lost, scripted errors, listings that lag, slow endings, dependency checks, placement groups, reservations,
quotas, image parameters, and machines that switch themselves off at the deadline of their user data.

Not imitated: throttling by rate, IAM policies, network traffic, addresses of EFA, prices, spot markets.
"""

import argparse
import base64
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree as ET

from cloudaccel.testing.fakes import Account, Life

ACCOUNT = "123456789012"
SHOWN = timedelta(hours=1)
_DROPPED_TAGS = ("i-", "vol-", "eni-", "sg-")
_XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"
_PLAIN_DEADLINE = re.compile(r"\(\s*(\d{9,11}) - \$\(date \+%s\)\)")
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of `action`.

    `lost`: the call runs, and its answer never arrives. `where`: parameters that the call must have. `dry_run`: also
    for rehearsals.
    """

    action: str
    code: str = ""
    status: int = 400
    message: str = "scripted"
    times: int = 1
    lost: bool = False
    dry_run: bool = False
    where: dict[str, str] = field(default_factory=dict[str, str])

    def hits(self, action: str, region: str, parameters: dict[str, str]) -> bool:
        """Whether this call is one of them."""
        if action != self.action or self.times <= 0:
            return False
        if parameters.get("DryRun") == "true" and not self.dry_run:
            return False
        known = {**parameters, "region": region, "zone": parameters.get("Placement.AvailabilityZone", "")}
        return all(known.get(key) == value for key, value in self.where.items())


class FakeAws(Account):
    """The WSGI application."""

    def __init__(
        self, *, lag_s: float = 0.0, ending_s: float = 0.0, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(lag_s=lag_s, ending_s=ending_s, now=now)
        os.environ.setdefault("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "1")
        os.environ.setdefault("MOTO_ENABLE_AMI_VALIDATION", "1")
        os.environ.setdefault("MOTO_ENABLE_KEYPAIR_VALIDATION", "1")
        from moto.moto_server.werkzeug_app import (  # pyright: ignore[reportMissingTypeStubs]
            DomainDispatcherApplication,
            create_backend_app,
        )

        _quicken_moto()
        self._moto: Any = DomainDispatcherApplication(create_backend_app)
        self._services: dict[str, Any] = {"ec2": create_backend_app("ec2"), "ssm": create_backend_app("ssm")}
        self.account = ACCOUNT
        self.faults: list[Fault] = []
        self.quotas: dict[str, float] = {}
        self.capacity: dict[tuple[str, str], int] = {}  # (type, zone) → machines left; absent: as many as you like
        self.reservations: dict[str, dict[str, Any]] = {}
        self.agents: dict[str, str] = {}  # id of a machine → what Systems Manager knows of its agent, such as Online
        self.host_management = "$None"  # the role of Default Host Management
        self.consoles: dict[str, str] = {}  # id of a machine → what it wrote to its serial console
        self.calls: list[tuple[str, str, dict[str, str]]] = []  # region, action, parameters
        self.placement_groups: dict[tuple[str, str], dict[str, str]] = {}
        self._tokens: dict[tuple[str, str], tuple[str, bytes, list[str]]] = {}
        self._born: dict[str, datetime] = {}
        self._ended: dict[str, datetime] = {}
        self._reasons: dict[str, str] = {}
        self._in_group: dict[str, str] = {}
        self._zone_lies: dict[str, str] = {}
        self._dropped: set[str] = set()
        self._deadlines: dict[str, datetime] = {}
        self._regions: set[str] = set()

    # -- for tests ----------------------------------------------------------------------------------------------------

    def live(self) -> list[dict[str, Any]]:
        """Everything that exists and is not the account's own from the start: kind, id, region, tags."""
        with self.lock:
            self.settle()
            return [thing for region in sorted(self._regions) for thing in self._live_in(region)]

    def templates(self, region: str) -> list[str]:
        """Names of the launch templates there, of which none is ever ours."""
        with self.lock:
            return sorted(self._backend(region).launch_template_name_to_ids)

    def interrupt(self, instance_id: str) -> None:
        """Take a spot machine back."""
        self._end(instance_id, "Server.SpotInstanceTermination")

    def settle(self) -> None:
        """Machines whose deadline is over have switched themselves off."""
        now = self.now()
        for identifier, deadline in list(self._deadlines.items()):
            if identifier in self._ended:
                del self._deadlines[identifier]
            elif deadline <= now:
                self._end(identifier, "Client.InstanceInitiatedShutdown", deadline)

    def lie_about_zone(self, zone: str, shown: str) -> None:
        """Say of machines that were asked into `zone` that they are in `shown`."""
        self._zone_lies[zone] = shown

    def reserve(self, identifier: str, instance_type: str, zone: str, count: int, *, ends: str = "") -> None:
        """Hold capacity under an id; `ends`: when, in ISO, for one that is not held until it is given back."""
        self.reservations[identifier] = {"type": instance_type, "zone": zone, "left": count, "ends": ends}

    def session(self) -> Any:
        """A boto3 session whose calls come here without a socket: for a great many of them, or where none may be."""
        import boto3

        session = boto3.session.Session(aws_access_key_id="fake", aws_secret_access_key="fake")  # noqa: S106
        session.events.register("before-send", self._in_process)
        return session

    def forget(self) -> None:
        """Empty the account, as after its first day."""
        from moto.core.base_backend import BackendDict

        with self.lock:
            BackendDict.reset()
            for known in (self._tokens, self._born, self._ended, self._reasons, self._in_group, self.placement_groups,
                          self._deadlines, self.lives):  # fmt: skip
                known.clear()
            self._regions.clear()
            self.calls.clear()

    def _in_process(self, request: Any, **_: Any) -> Any:
        """Answer a call of botocore's instead of the network."""
        import io

        from botocore.awsrequest import AWSResponse
        from botocore.exceptions import ReadTimeoutError

        url = urlsplit(str(request.url))
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        headers = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in request.headers.items()}
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method, "PATH_INFO": url.path or "/", "QUERY_STRING": url.query,
            "HTTP_HOST": url.netloc, "SERVER_NAME": url.hostname, "SERVER_PORT": "443", "wsgi.url_scheme": "https",
            "CONTENT_TYPE": headers.pop("Content-Type", ""), "wsgi.errors": sys.stderr,
            **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()},
        }  # fmt: skip
        with self.lock:
            status, said, data = self._serve(environ, body)
        said = {**said, "Date": format_datetime(self.now(), usegmt=True)}
        if said.get("Content-Length") is not None:  # cut: see `_serve`
            raise ReadTimeoutError(endpoint_url=request.url)
        return cast(Any, AWSResponse)(request.url, status, said, _Raw(io.BytesIO(data)))

    # -- WSGI ---------------------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        with self.lock:
            if environ.get("PATH_INFO", "").startswith("/_fake"):
                answer = self._control(environ, body)
            else:
                answer = self._serve(environ, body)
        status, headers, data = answer
        headers.setdefault("Content-Length", str(len(data)))
        headers["Date"] = format_datetime(self.now(), usegmt=True)
        start_response(f"{status} {'OK' if status < 400 else 'Error'}", list(headers.items()))
        return [data]

    def _serve(self, environ: dict[str, Any], body: bytes) -> Answer:
        service, region = _scope(environ)
        action, parameters = _read(environ, body)
        self.settle()
        if service != "sts":
            self._regions.add(region)
            self._drop_ended(region)
        self.calls.append((region, action, parameters))
        fault = next((f for f in self.faults if f.hits(action, region, parameters)), None)
        if fault is not None:
            fault.times -= 1
            if not fault.lost:
                return _refusal(service, fault.status, fault.code, fault.message)
        answer = self._answer(environ, service, region, action, parameters, body)
        if fault is not None:
            # Cut in the middle: a length that promises more than is sent is accepted by the SDK as a whole answer.
            cut = answer[2][: len(answer[2]) // 2]
            return answer[0], {**answer[1], "Content-Length": str(len(cut))}, cut
        return answer

    def _answer(
        self, environ: dict[str, Any], service: str, region: str, action: str, parameters: dict[str, str], body: bytes
    ) -> Answer:
        handler = cast("Callable[..., Answer] | None", getattr(self, f"_on_{_snake(action)}", None))
        try:
            if handler is None:
                return self._pass(environ, body)
            return handler(environ, region, parameters, body)
        except _Refused as refused:
            return _refusal(service, refused.status, refused.code, refused.message)

    def _pass(self, environ: dict[str, Any], body: bytes) -> Answer:
        import io

        seen: dict[str, Any] = {}

        def started(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> None:
            seen["status"], seen["headers"] = int(status.split()[0]), dict(headers)

        environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        # moto looks through its folder for every call to find the service that is meant.
        data = b"".join(self._services.get(_scope(environ)[0], self._moto)(environ, started))
        headers = {k: v for k, v in seen["headers"].items() if k.lower() != "content-length"}
        return seen["status"], headers, data

    def _control(self, environ: dict[str, Any], body: bytes) -> Answer:
        asked = json.loads(body or b"{}")
        for fault in asked.get("faults", ()):
            self.faults.append(Fault(**fault))
        for name in ("lag_s", "ending_s", "account"):
            if name in asked:
                setattr(self, name, asked[name])
        self.quotas.update(asked.get("quotas", {}))
        for key, count in asked.get("capacity", {}).items():
            kind, zone = key.split("@")
            self.capacity[kind, zone] = count
        if "advance" in asked:
            self.advance(asked["advance"])
        if "interrupt" in asked:
            self.interrupt(asked["interrupt"])
        return 200, {"Content-Type": "application/json"}, json.dumps({"live": self.live()}).encode()

    # -- EC2: machines ------------------------------------------------------------------------------------------------

    def _on_run_instances(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        if p.get("DryRun") == "true":
            return self._pass(environ, body)
        key = (region, p.get("ClientToken", ""))
        said = urlencode(sorted((k, v) for k, v in p.items()))
        if key[1] and key in self._tokens:
            return self._again(key, said, region)
        self._check_capacity(region, p)
        group = p.get("Placement.GroupName")
        if group and (region, group) not in self.placement_groups:
            raise _Refused("InvalidPlacementGroup.Unknown", f"The Placement Group '{group}' is unknown.")
        sent = _for_moto(p)
        answer = self._pass(environ, urlencode(sent).encode())
        if answer[0] == 200:
            self._note_machines(key, said, region, p, answer)
        return answer

    def _again(self, key: tuple[str, str], said: str, region: str) -> Answer:
        before, data, ids = self._tokens[key]
        if before != said:
            raise _Refused(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request.",
            )
        gone = {machine.id for machine in self._machines(region) if machine.state == "terminated"} | self._ended.keys()
        if gone & set(ids):
            raise _Refused(
                "IdempotentInstanceTerminated", "The instance that was created with this token is terminated."
            )
        return 200, {"Content-Type": "text/xml"}, data

    def _check_capacity(self, region: str, p: dict[str, str]) -> None:
        kind, zone, count = p["InstanceType"], p.get("Placement.AvailabilityZone", ""), int(p["MinCount"])
        reserved = p.get("CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId")
        if reserved:
            held = self.reservations.get(reserved)
            if held is None:
                raise _Refused("InvalidCapacityReservationId.NotFound", f"The reservation {reserved} does not exist.")
            if (held["type"], held["zone"]) != (kind, zone) or held["left"] < count:
                raise _Refused(
                    "ReservationCapacityExceeded", f"The reservation {reserved} does not have enough capacity."
                )
            held["left"] -= count
            return
        left = self.capacity.get((kind, zone))
        if left is not None and left < count:
            raise _Refused(
                "InsufficientInstanceCapacity", f"We currently do not have sufficient {kind} capacity in {zone}.", 500
            )
        if left is not None:
            self.capacity[kind, zone] = left - count

    def _note_machines(self, key: tuple[str, str], said: str, region: str, p: dict[str, str], answer: Answer) -> None:
        ids = re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", answer[2].decode())
        self._tokens[key] = (said, answer[2], ids)
        tags = _tags_for(p, "network-interface")
        for machine in self._machines(region):
            if machine.id not in ids:
                continue
            self._born[machine.id] = self.now()
            self.lives[machine.id] = Life(self.now(), _tags_for(p, "instance"))
            end = _deadline(machine)
            if end is not None and machine.instance_initiated_shutdown_behavior == "terminate":
                self._deadlines[machine.id] = end
            if p.get("Placement.GroupName"):
                self._in_group[machine.id] = p["Placement.GroupName"]
            for card in machine.nics.values():
                card.add_tags(tags)  # moto loses the tags of interfaces

    def _on_describe_instances(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        name = next((k for k, v in p.items() if k.endswith(".Name") and v == "client-token"), None)
        if name is not None:  # moto does not know this filter
            prefix = name.removesuffix("Name")
            tokens = [v for k, v in p.items() if k.startswith(prefix + "Value")]
            ids = [i for (r, t), (_, _, found) in self._tokens.items() if r == region and t in tokens for i in found]
            p = {k: v for k, v in p.items() if not k.startswith(prefix + "Value")} | {name: "instance-id"}
            p |= {f"{prefix}Value.{n}": i for n, i in enumerate(ids or ["i-0"], 1)}
            body = urlencode(p).encode()
        for key, identifier in p.items():
            if key.startswith("InstanceId") and self._young(identifier):
                raise _Refused("InvalidInstanceID.NotFound", f"The instance ID '{identifier}' does not exist")
        return _edit(self._pass(environ, body), self._edit_machines)

    def _edit_machines(self, root: ET.Element) -> None:
        for reservation in root.iter("instancesSet"):
            for item in list(reservation.findall("item")):
                identifier = item.findtext("instanceId", "")
                if self._young(identifier):
                    reservation.remove(item)
                self._edit_machine(item, identifier)

    def _edit_machine(self, item: ET.Element, identifier: str) -> None:
        state = item.find("instanceState")
        ended = self._ended.get(identifier)
        if state is not None and ended is not None and self._since(ended) < self.ending_s:
            state.find("code").text, state.find("name").text = "32", "shutting-down"  # type: ignore[union-attr]
        if identifier in self._reasons:
            old = item.find("stateReason")
            reason = ET.SubElement(item, "stateReason") if old is None else old
            reason.clear()
            ET.SubElement(reason, "code").text = self._reasons[identifier]
        zone = item.find("placement/availabilityZone")
        if zone is not None and zone.text in self._zone_lies:
            zone.text = self._zone_lies[zone.text]

    def _on_get_console_output(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        text = base64.b64encode(self.consoles.get(p["InstanceId"], "").encode()).decode()
        return _xml("GetConsoleOutputResponse", f"<instanceId>{p['InstanceId']}</instanceId><output>{text}</output>")

    def _on_describe_capacity_reservations(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        wanted = p["CapacityReservationId.1"]
        held = self.reservations.get(wanted)
        if held is None:
            raise _Refused("InvalidCapacityReservationId.NotFound", f"The reservation {wanted} does not exist.")
        ends = f"<endDate>{held['ends']}</endDate>" if held.get("ends") else ""
        item = f"<item><capacityReservationId>{wanted}</capacityReservationId><state>active</state>{ends}</item>"
        return _xml("DescribeCapacityReservationsResponse", f"<capacityReservationSet>{item}</capacityReservationSet>")

    def _on_terminate_instances(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        answer = self._pass(environ, body)
        if answer[0] == 200:
            for key, identifier in p.items():
                if key.startswith("InstanceId"):
                    self._ended.setdefault(identifier, self.now())
                    self.ended(identifier)
        return answer

    # -- EC2: what goes with machines ------------------------------------------------------------------------------

    def _on_describe_volumes(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        return _edit(self._pass(environ, body), lambda root: self._hide(root, "volumeSet", ".//instanceId"))

    def _on_describe_network_interfaces(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        return _edit(self._pass(environ, body), lambda root: self._hide(root, "networkInterfaceSet", ".//instanceId"))

    def _on_describe_security_groups(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        return _edit(self._pass(environ, body), lambda root: self._hide(root, "securityGroupInfo", "groupId"))

    def _hide(self, root: ET.Element, listing: str, path: str) -> None:
        for found in root.iter(listing):
            for item in list(found.findall("item")):
                if self._young(item.findtext(path, "")):
                    found.remove(item)

    def _on_create_security_group(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        answer = self._pass(environ, body)
        for identifier in re.findall(r"<groupId>(sg-[0-9a-f]+)</groupId>", answer[2].decode()):
            self._born[identifier] = self.now()
        return answer

    def _on_delete_security_group(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        identifier = p.get("GroupId", "")
        for machine in self._machines(region):
            uses = any(group.id == identifier for group in machine.security_groups) or any(
                group.id == identifier for card in machine.nics.values() for group in card.group_set
            )
            if uses and self._still_there(machine):
                raise _Refused("DependencyViolation", f"resource {identifier} has a dependent object")
        return self._pass(environ, body)

    def _on_create_placement_group(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        if (region, p["GroupName"]) in self.placement_groups:
            raise _Refused("InvalidPlacementGroup.Duplicate", f"The Placement Group '{p['GroupName']}' already exists.")
        self.placement_groups[region, p["GroupName"]] = _tags_for(p, "placement-group")
        return _xml("CreatePlacementGroupResponse", "<return>true</return>")

    def _on_delete_placement_group(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        name = p["GroupName"]
        if (region, name) not in self.placement_groups:
            raise _Refused("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        for machine in self._machines(region):
            if self._in_group.get(machine.id) == name and self._still_there(machine):
                raise _Refused("InvalidPlacementGroup.InUse", f"The placement group {name} is in use.")
        del self.placement_groups[region, name]
        return _xml("DeletePlacementGroupResponse", "<return>true</return>")

    def _on_describe_placement_groups(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        wanted = _filters(p)
        rows = ""
        for (place, name), tags in self.placement_groups.items():
            if place == region and all(_matches(tags, key, values) for key, values in wanted.items()):
                named = f"<groupName>{name}</groupName><state>available</state>"
                rows += f"<item>{named}<tagSet>{_tag_xml(tags)}</tagSet></item>"
        return _xml("DescribePlacementGroupsResponse", f"<placementGroupSet>{rows}</placementGroupSet>")

    # -- other services -----------------------------------------------------------------------------------------------

    def _on_get_service_quota(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        code = p.get("QuotaCode", "")
        return _json({"Quota": {"ServiceCode": "ec2", "QuotaCode": code, "Value": self.quotas.get(code, 4096.0)}})

    def _on_get_parameter(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        if not p["Name"].startswith("/aws/service/"):
            return self._pass(environ, body)
        images = self._backend(region).amis
        image = next(i for i in images.values() if i.root_device_type == "ebs" and i.virtualization_type == "hvm")
        return _json({"Parameter": {"Name": p["Name"], "Type": "String", "Value": image.id, "Version": 1}})

    def _on_describe_instance_information(
        self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes
    ) -> Answer:
        (wanted,) = json.loads(body)["Filters"]
        known = [{"InstanceId": i, "PingStatus": self.agents[i]} for i in wanted["Values"] if i in self.agents]
        return _json({"InstanceInformationList": known})

    def _on_get_service_setting(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        return _json({"ServiceSetting": {"SettingId": p["SettingId"], "SettingValue": self.host_management}})

    def _on_get_caller_identity(self, environ: dict[str, Any], region: str, p: dict[str, str], body: bytes) -> Answer:
        status, headers, data = self._pass(environ, body)
        return status, headers, data.replace(ACCOUNT.encode(), self.account.encode())

    # -- inside -------------------------------------------------------------------------------------------------------

    def _backend(self, region: str) -> Any:
        from moto.ec2.models import ec2_backends

        return ec2_backends[ACCOUNT][region]

    def _machines(self, region: str) -> list[Any]:
        return [m for r in self._backend(region).reservations.values() for m in r.instances]

    def _still_there(self, machine: Any) -> bool:
        ended = self._ended.get(machine.id)
        return machine.state != "terminated" or (ended is not None and self._since(ended) < self.ending_s)

    def _drop_ended(self, region: str) -> None:
        """Show machines no longer once they ended an hour ago (EC2 user guide: terminated instances)."""
        past = self.now() - SHOWN
        over = {identifier for identifier, ended in self._ended.items() if ended < past} - self._dropped
        if not over:
            return
        backend = self._backend(region)
        for number, reservation in list(backend.reservations.items()):
            here = {machine.id for machine in reservation.instances}
            if here and here <= over:
                del backend.reservations[number]
                self._dropped |= here
        # moto keeps the tags of what is gone, and reads through all of them for each machine.
        kept = {thing["id"] for thing in self._live_in(region)} | {m.id for m in self._machines(region)}
        for identifier in [i for i in backend.tags if i.startswith(_DROPPED_TAGS) and i not in kept]:
            del backend.tags[identifier]

    def _young(self, identifier: str) -> bool:
        born = self._born.get(identifier)
        return born is not None and self._since(born) < self.lag_s

    def _since(self, moment: datetime) -> float:
        return (self.now() - moment).total_seconds()

    def _end(self, instance_id: str, reason: str, at: datetime | None = None) -> None:
        with self.lock:
            for region in self._regions:
                if any(machine.id == instance_id for machine in self._machines(region)):
                    self._backend(region).terminate_instances([instance_id])
                    self._reasons[instance_id] = reason
                    self._ended[instance_id] = at or self.now()
                    self.ended(instance_id, at)

    def _live_in(self, region: str) -> Iterable[dict[str, Any]]:
        backend = self._backend(region)
        for machine in self._machines(region):
            if machine.state != "terminated":
                yield _thing("machine", machine.id, region, machine.get_tags(), state=machine.state)
        for disk in backend.volumes.values():
            yield _thing("disk", disk.id, region, disk.get_tags())
        for card in backend.enis.values():
            yield _thing("interface", card.id, region, card.get_tags())
        for (place, name), tags in self.placement_groups.items():
            if place == region:
                yield {"kind": "placement_group", "id": name, "region": region, "tags": tags}
        for groups in backend.groups.values():
            for group in groups.values():
                if group.name != "default":
                    yield _thing("security_group", group.id, region, group.get_tags())


def _quicken_moto() -> None:
    """Let moto work out the methods of a class once: it does so anew for every call, which is a seventh of its time."""
    from moto.core import responses

    module = cast(Any, responses)
    if not hasattr(module.method_names_from_class, "cache_info"):
        module.method_names_from_class = cache(module.method_names_from_class)


class _Raw:
    """A body as botocore reads it."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class _Refused(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


def _thing(kind: str, identifier: str, region: str, tags: list[dict[str, str]], **more: str) -> dict[str, Any]:
    return {"kind": kind, "id": identifier, "region": region, "tags": {t["key"]: t["value"] for t in tags}, **more}


def _deadline(machine: Any) -> datetime | None:
    raw = machine.user_data
    if not raw:
        return None
    # moto keeps what was sent: base64, in a string class of its own since 5.1, and boto3 has encoded it once more.
    text = str(raw.decode()) if hasattr(raw, "decode") and not isinstance(raw, bytes) else _plain(raw)
    if _PLAIN_DEADLINE.search(text) is None:
        text = _plain(text)
    found = _PLAIN_DEADLINE.search(text)
    return datetime.fromtimestamp(int(found.group(1)), UTC) if found else None


def _plain(raw: Any) -> str:
    try:
        return base64.b64decode(raw, validate=True).decode("utf-8", "replace")
    except ValueError:
        return str(raw)


def _scope(environ: dict[str, Any]) -> tuple[str, str]:
    found = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return (found.group(2), found.group(1)) if found else ("", "us-east-1")


def _read(environ: dict[str, Any], body: bytes) -> tuple[str, dict[str, str]]:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2], cast(dict[str, str], json.loads(body or b"{}"))
    parameters = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return parameters.get("Action", ""), parameters


def _snake(action: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", action).lower()


def _refusal(service: str, status: int, code: str, message: str) -> Answer:
    if service in ("ssm", "servicequotas"):
        return (
            status,
            {"Content-Type": "application/x-amz-json-1.1"},
            json.dumps({"__type": code, "message": message}).encode(),
        )
    if service == "sts":
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return status, {"Content-Type": "text/xml"}, body.encode()
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    body = f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>"
    return status, {"Content-Type": "text/xml"}, body.encode()


def _xml(name: str, inner: str) -> Answer:
    return (
        200,
        {"Content-Type": "text/xml"},
        f'<{name} xmlns="{_XMLNS}"><requestId>0</requestId>{inner}</{name}>'.encode(),
    )


def _json(data: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(data).encode()


def _edit(answer: Answer, change: Callable[[ET.Element], None]) -> Answer:
    status, headers, data = answer
    if status != 200:
        return answer
    root = ET.fromstring(re.sub(rb'\sxmlns="[^"]+"', b"", data, count=1))  # noqa: S314  # moto's own answer
    change(root)
    root.set("xmlns", _XMLNS)
    return status, headers, ET.tostring(root)


def _for_moto(p: dict[str, str]) -> dict[str, str]:
    """Without what moto gets wrong: it makes spot machines of capacity blocks, and loses cards beyond the second."""
    cards = [k.removesuffix("InterfaceType") for k, v in p.items() if k.endswith("InterfaceType") and v == "efa-only"]
    block = "capacity-block" in p.values()
    lost = (*cards, *(("InstanceMarketOptions.",) if block else ()))
    return {k: v for k, v in p.items() if not k.startswith(lost or ("\0",))}


def _filters(p: dict[str, str]) -> dict[str, list[str]]:
    names = {k.removesuffix("Name"): v for k, v in p.items() if re.fullmatch(r"Filter\.\d+\.Name", k)}
    return {name: [v for k, v in p.items() if k.startswith(prefix + "Value")] for prefix, name in names.items()}


def _matches(tags: dict[str, str], key: str, values: list[str]) -> bool:
    if key == "tag-key":
        return any(value in tags for value in values)
    return tags.get(key.removeprefix("tag:")) in values


def _tags_for(p: dict[str, str], kind: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for key, value in p.items():
        found = re.fullmatch(r"(TagSpecification\.\d+\.)ResourceType", key)
        if found and value == kind:
            names = [k for k in p if k.startswith(found.group(1) + "Tag.") and k.endswith(".Key")]
            tags |= {p[k]: p[k.removesuffix("Key") + "Value"] for k in names}
    return tags


def _tag_xml(tags: dict[str, str]) -> str:
    return "".join(f"<item><key>{k}</key><value>{v}</value></item>" for k, v in tags.items())


class Server:
    """`FakeAws` on a loopback port, in a thread. As a context manager it is up inside the block."""

    def __init__(self, fake: FakeAws, port: int = 0) -> None:
        from moto.moto_server.werkzeug_app import MotoRequestHandler  # pyright: ignore[reportMissingTypeStubs]
        from werkzeug.serving import make_server

        class Quiet(MotoRequestHandler):
            disable_nagle_algorithm = True  # or an answer in two packets waits 40 ms for the first to be confirmed

            def log(self, *_: Any, **__: Any) -> None:
                """Say nothing."""

        self.fake = fake
        self._server = make_server("127.0.0.1", port, cast(Any, fake), threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m cloudaccel_aws.fake", description=__doc__)
    parser.add_argument("--port", type=int, default=5555, help="port on 127.0.0.1 (default 5555)")
    parser.add_argument("--lag", type=float, default=0.0, metavar="S", help="seconds in which listings lag behind")
    arguments = parser.parse_args(argv)
    try:
        server = Server(FakeAws(lag_s=arguments.lag), arguments.port)
    except ImportError:
        sys.stderr.write("error: the fake needs moto: pip install 'moto[ec2,server]'\n")
        return 2
    with server, suppress(KeyboardInterrupt):
        sys.stdout.write(
            f"A fake cloud is on {server.url}; nothing in it is real or costs anything. In another terminal:\n"
            f"  export AWS_ENDPOINT_URL={server.url} AWS_ACCESS_KEY_ID=fake AWS_SECRET_ACCESS_KEY=fake\n"
        )
        sys.stdout.flush()
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
