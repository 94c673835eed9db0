"""Names that follow from what they name: tokens of create calls, names of groups, tags, and who is at work."""

import os
import re
import socket
import uuid
from collections.abc import Mapping
from datetime import datetime

from cloudaccel.provision.values import Candidate

TAG_MANAGED = "cloudaccel-managed"
TAG_INSTALL = "cloudaccel-install"
TAG_RUN = "cloudaccel-run"
TAG_EXPIRES = "cloudaccel-expires"
TAG_OWNER = "cloudaccel-owner"


def create_token(install: str, run: str, attempt: int, zone: str, candidate: Candidate) -> str:
    """The token of one create call; the same call after a crash has the same one.

    Attempt, zone, type and market are in it, since a token that is used again with other parameters is refused.
    """
    key = "/".join((run, str(attempt), zone, candidate.instance, candidate.market))
    return str(uuid.uuid5(uuid.UUID(install), key))


def group_name(run: str, region: str) -> str:
    """Name of the run's groups in one region: two regions of an account may not share a name, nor may the journal."""
    return f"cloudaccel-{run}-{region}"


def tags(install: str, run: str, deadline: datetime, owner: str) -> Mapping[str, str]:
    """The tags of everything that a run creates; they also fit where labels are ``[a-z0-9_-]`` and 63 long."""
    return {
        TAG_MANAGED: "true",
        TAG_INSTALL: install,
        TAG_RUN: run,
        TAG_EXPIRES: str(int(deadline.timestamp())),
        TAG_OWNER: re.sub(r"[^a-z0-9_-]+", "-", owner.lower())[:63] or "unknown",
    }


def holder() -> str:
    """This process, for other processes."""
    return f"{socket.gethostname()}:{os.getpid()}"


def holder_is_dead(name: str) -> bool:
    """Whether the process that `holder` named is certainly not running; False when that cannot be told from here."""
    host, _, pid = name.rpartition(":")
    if host != socket.gethostname() or os.name != "posix" or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
