"""``cloudaccel refresh --verify``: a line for each store of prices that was checked."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from cloudaccel.api.verifying import Verified, verify_prices
from cloudaccel.catalog.signing import Signature
from cloudaccel.cli import answers, common


def verify(a: argparse.Namespace) -> int:
    """Check what is stored and say it; 6 when anything is not as it was written."""
    done = verify_prices(a.catalog, trusted_key=a.trusted_key)
    if a.output == "json":
        answers.write(a, "refresh.verify", {"checked": [{**asdict(v), "path": str(v.path)} for v in done]})
    else:
        common.write("".join(f"{line}\n" for line in _lines(done)))
    return 6 if any(v.faults for v in done) else 0


def _lines(done: Sequence[Verified]) -> list[str]:
    lines: list[str] = []
    for one in done:
        lines.append(f"{one.what:<8}  {'DAMAGED' if one.faults else 'ok     '}  {one.path}")
        lines += [f"          {fault}" for fault in one.faults] or [f"          {_good(one)}"]
    if any(v.faults for v in done):
        lines.append("Take prices in again: cloudaccel refresh, or cloudaccel refresh --from SNAPSHOT.")
    return lines


def _good(one: Verified) -> str:
    said = f"{one.offers:,} offers, every checksum agrees"
    if one.signature is not None:
        return f"{said}; {Signature(one.signature, one.signed_by).words()}"
    return f"{said}; catalog {(one.catalog_id or '')[:19]}"
