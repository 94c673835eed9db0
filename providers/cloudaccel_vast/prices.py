"""Vast.ai's market: what each host asks for its machine, and the lowest bid for it. No account is needed.

There is no list price: an offer is one host, which somebody else may take a minute later. Its id is what a rental
names. Only hosts that Vast.ai has verified are asked for.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from cloudaccel.facts.listing import Line, LineList, Shape, Terms, count_of, one_accelerator, size
from cloudaccel.model import Source

PROVIDER = "vast-ai"
# docs.vast.ai/api-reference (search offers; its OpenAPI files as of 2026, vast-ai/docs@2590c780). Not called.
BASE_URL = "https://console.vast.ai/api/v0/bundles/"
PAGE = 1000  # asked for; the server may cut it shorter, and does not say so
_MOST_PAGES = 2_000  # of 64 each, the shortest cut that anyone saw, that is 128,000 hosts
# The H200 with NVLink bridges is "H200 NVL" there; names as in skypilot-catalog@01b8cdda, 2026-08.
_FORMS = {"H200": "nvidia-h200-sxm", "RTX PRO 6000 S": "nvidia-rtx-pro-6000-server"}


class VastPrices(LineList):
    """The offers of verified hosts, on demand and by the lowest bid."""

    provider = PROVIDER
    operation = "bundles"
    sources = (BASE_URL,)
    source = Source(
        id="vast-ai-offers", name="Vast.ai offers", path="api/v0/bundles", revision="v0",
        licence="the seller's own API", url=BASE_URL,
    )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every offer, on demand and by bid."""
        for offer in self._hosts():
            shape, note = self._shape(offer), _note(offer)
            regions, tier = _country(offer), _tier(offer)
            asked, bid = (self.money(offer.get(field), shape.instance) for field in ("dph_base", "min_bid"))
            if not offer.get("is_bid"):
                terms = Terms(offering_class=tier)
                yield Line(shape=shape, amount=asked, regions=regions, terms=terms, note=note)
            if bid is not None:
                yield Line(
                    shape=shape, amount=bid, regions=regions, terms=Terms(market="spot", offering_class=tier),
                    note=f"the lowest bid; a higher one ends the machine; {note}", estimated=True,
                )  # fmt: skip

    def _hosts(self) -> Iterator[Mapping[str, object]]:
        """All of them, by rising id. A short page may be a cut one: only an empty page is the end."""
        last = 0
        for _ in range(_MOST_PAGES):
            wanted = {
                "type": "ondemand", "verified": {"eq": True}, "rentable": {"eq": True}, "id": {"gt": last},
                "order": [["id", "asc"]], "limit": PAGE,
            }  # fmt: skip
            page = self.page({"q": json.dumps(wanted)})
            offers = list(self.mappings(page.get("offers"), "offers"))
            for offer in offers:
                number = offer.get("id")
                if not isinstance(number, int) or number <= last:
                    # What came in another order would skip those in between.
                    raise self.malformed(f"offer {str(number)[:20]} after {last}, where ids rise")
                last = number
                yield offer
            if not offers:
                return
        raise self.malformed("the pages do not end")

    def _shape(self, offer: Mapping[str, object]) -> Shape:
        name, memory = str(offer.get("gpu_name") or "")[:80], size(offer.get("gpu_ram"))
        each = memory / 1024 if memory else None  # the list has MiB
        known = one_accelerator(name, each) or _form(name, each)
        cores, share = size(offer.get("cpu_cores")), size(offer.get("cpu_cores_effective"))
        host = size(offer.get("cpu_ram"))
        return Shape(
            instance=f"offer-{offer['id']}",
            service="marketplace",
            accelerator_id=known,
            accelerator_name=name or "unknown",
            count=count_of(offer.get("num_gpus")),
            accelerator_memory_gib=None if known else each,
            vcpus=share,
            # Memory is of the host, of which the offer is a share.
            memory_gib=host / 1024 * min(share / cores, 1) if host and cores and share else None,
        )


def _form(name: str, memory_gib: float | None) -> str | None:
    known = _FORMS.get(name)
    return known if known and one_accelerator(known, memory_gib) else None


def _country(offer: Mapping[str, object]) -> tuple[str, ...]:
    """The code at the end of ``Sweden, SE``: as the host states it; nothing when it says none."""
    found = re.search(r"(?:^|, ?)([A-Z]{2})$", str(offer.get("geolocation") or "").strip())
    return (found[1],) if found else ()


def _tier(offer: Mapping[str, object]) -> str:
    """``marketplace`` of a verified host; whatever is not called so is ``community``, and never ranks first."""
    return "marketplace" if offer.get("verification") == "verified" else "community"


def _note(offer: Mapping[str, object]) -> str:
    """What is known of the host, and what the price leaves out."""
    facts = [
        f"{str(offer.get('verification') or 'unverified')[:20]} host {str(offer.get('host_id') or 'unknown')[:20]}"
    ]
    reliability = offer.get("reliability2", offer.get("reliability"))
    if isinstance(reliability, int | Decimal):
        facts.append(f"reliability {reliability:.4f}")
    disk = offer.get("storage_cost")
    if isinstance(disk, int | Decimal) and disk > 0:
        facts.append(f"disk apart, {disk:.3g} USD per GB and month")
    return ", ".join(facts)


__all__ = ["BASE_URL", "VastPrices"]
