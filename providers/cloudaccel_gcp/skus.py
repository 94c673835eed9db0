"""What Google's SKUs are of, which their descriptions alone tell: the part of a machine, and the way it is bought.

The words differ from way to way (``Nvidia H100 80GB GPU attached to DWS Defined Duration VMs running in Americas``,
``Spot Preemptible A3 Instance Core running in Americas``, ``Commitment v1: A3 Cpu in Americas for 1 Year``), so the
words of the way are taken out first, and what is left is read in one place. A description that is none of these is of
no machine with accelerators.
"""

import re
from typing import NamedTuple

from cloudaccel.facts.listing import Terms

_BY_USAGE = {
    "OnDemand": Terms(),
    "Preemptible": Terms(market="spot"),
    "Commit1Yr": Terms(market="reserved", term="1y", payment="monthly", offering_class="committed_use"),
    "Commit3Yr": Terms(market="reserved", term="3y", payment="monthly", offering_class="committed_use"),
}
# Dynamic Workload Scheduler: machines that wait for capacity and run for a time that is said at the start (the price of
# flex-start; groups of SKUs of 2025-08), and machines of a reservation for some days in a calendar.
FLEX = Terms(market="flex_start")
CALENDAR = Terms(market="capacity_block", offering_class="calendar")
# Google says OnDemand of all of these; their description says it first, last or in the middle.
_WAYS = (
    (re.compile(r"(?:^|(?<= attached to ))DWS (?:Defined Duration|Flex[ -]Start) "), FLEX),
    (re.compile(r"(?:^|(?<= attached to ))DWS Calendar Mode |^Reserved (?=.* in Calendar Mode$)"), CALENDAR),
    (re.compile(r"^(?:Spot )?Preemptible |(?<= attached to )Spot Preemptible "), Terms(market="spot")),
)
# What is left of a way's words.
_LEFT = re.compile(r" attached to VMs(?= running in |$)| in Calendar Mode$")
# Rights of use on top, and ways to buy that have no market here: never the price of a machine.
_OTHER_WAY = re.compile(
    r"\bDWS\b|^Reserved |^Capacity Optimized |^Subscription |Fixed Price|Sole Tenancy|Custom|Extended|\bvWS\b"
    r"|Workstation|Premium|suspended",
    re.IGNORECASE,
)
_COMMITMENT = "Commitment v1: "
_HOST = re.compile(
    r"(?P<series>[A-Z]\d\w*(?: (?:Ultra|Plus|Mega|High))?)(?: (?:Predefined )?Instance)? (?P<part>Core|Cpu|Ram)"
    r" (?:running )?in ",
    re.IGNORECASE,
)
# What is left of a commitment without a series is N1's, the only series when commitments came.
_N1_COMMITMENT = re.compile(r"(?P<part>Cpu|Ram) in ")
_SERIES = {"A3High": "A3", "A3Mega": "A3Plus"}
# Most names begin with the maker and end with GPU; the newer ones do one of the two, or neither.
_GPU = re.compile(r"(?P<gpu>(?:Nvidia|RTX|[HB]\d{3}|GB\d{3}|A\dX? Nvidia) .+?)(?: running)? in\b", re.IGNORECASE)
_SSD = re.compile(r"(?:SSD backed Local Storage|Local SSD)\b")
# Said of SKUs of the group TPU. Those of v5e and newer are each of one chip; the words of flex-start and of the
# calendar leave the Tpu out or put it last.
_TPU = re.compile(r"(?:Tpu[- ]?V?|V(?=\d+\w* TPU\b|\d+[a-z]* running\b))(?P<version>\d+[a-z]*)\b", re.IGNORECASE)
# Vertex AI: what the machine is for, and of the hybrid ways the fee that comes on top of the machine itself.
_VERTEX = re.compile(
    r"Vertex AI: (?P<use>Training/Pipelines|Online/Batch Prediction)(?P<fee> management fee)?(?: on)? (?P<rest>.+)",
    re.IGNORECASE,
)
_USES = {"training/pipelines": "vertex-training", "online/batch prediction": "vertex-prediction"}


class Named(NamedTuple):
    """A part as an offer needs it: how it is bought, for which service, and what it is.

    `resource` is ``core A3``, ``ram A3``, ``ssd``, ``gpu …`` with the name as it is written, ``tpu v5e`` (a chip),
    ``device v3`` or ``pod v3`` (eight cores); `fee`: the service's part on top of the machine's own price.
    """

    terms: Terms
    service: str
    resource: str
    fee: bool = False


def named(text: str, usage: str, group: str) -> Named | None:
    """What a SKU is of, by its description, usage type and resource group; None: no part of such a machine."""
    if vertex := _VERTEX.fullmatch(text):
        part = _part(vertex["rest"], "")
        # A machine of Vertex bought in another way than on demand is billed by Compute Engine, and the fee besides.
        plain = part is not None and usage == "OnDemand" and not _OTHER_WAY.search(text)
        return Named(Terms(), _USES[vertex["use"].lower()], part, bool(vertex["fee"])) if plain and part else None
    terms, rest = _way(text, usage)
    if terms is None or _OTHER_WAY.search(rest):
        return None
    part = _part(rest, group)
    return Named(terms, "vm", part) if part else None


def _way(text: str, usage: str) -> tuple[Terms | None, str]:
    """How it is bought, and the description without the words that say so."""
    terms = _BY_USAGE.get(usage)
    if text.startswith(_COMMITMENT) != usage.startswith("Commit"):
        return None, text
    rest = text.removeprefix(_COMMITMENT)
    for words, way in _WAYS:
        bare = words.sub("", rest)
        if bare != rest:
            return (way if usage in ("OnDemand", "Preemptible") else None), _LEFT.sub("", bare)
    return terms, rest


def _part(rest: str, group: str) -> str | None:
    if group == "TPU":
        return _tpu(rest)
    if host := _N1_COMMITMENT.match(rest):
        return f"{'ram' if host['part'] == 'Ram' else 'core'} N1"
    if host := _HOST.match(rest):
        series = host["series"].replace(" ", "")
        return f"{'ram' if host['part'].lower() == 'ram' else 'core'} {_SERIES.get(series, series)}"
    if gpu := _GPU.match(rest):
        return f"gpu {gpu['gpu']}"
    return "ssd" if _SSD.match(rest) else None


def _tpu(rest: str) -> str | None:
    found = _TPU.match(rest)
    if not found:
        return None
    version = "v" + found["version"].lower()
    if version in ("v2", "v3", "v4"):  # sold by eight cores: alone in a device, or in a pod; a v4 is always in one
        return f"{'pod' if version == 'v4' or re.search('pod', rest, re.IGNORECASE) else 'device'} {version}"
    return f"tpu {version}"


def gpu_key(name: str) -> str:
    """One key for all spellings of an accelerator's name, such as ``H100 80GB Mega GPU`` and ``H100 Mega 80GB GPU``.

    Plus is what the catalog calls Mega now and then.
    """
    words = set(re.sub(r"\(.*\)", "", name).lower().replace("plus", "mega").split())
    return " ".join(sorted(words - {"nvidia", "tesla", "gpu"}))


__all__ = ["CALENDAR", "FLEX", "Named", "gpu_key", "named"]
