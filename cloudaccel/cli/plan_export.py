"""``plan --export``: the choice as files for other engines."""

import argparse
from pathlib import Path

from cloudaccel.api import exporting
from cloudaccel.cli import common
from cloudaccel.errors import QueryError
from cloudaccel.model.plan import Plan


def planned_already(a: argparse.Namespace) -> str | None:
    """The path of the lock, when FILE is one and only its export is wanted. Raises `QueryError`."""
    if not a.export and (a.lease or a.export_to != "."):
        raise QueryError("--lease and --export-to go with --export NAME.")
    return str(a.job) if a.export and a.job is not None and exporting.is_lock(a.job) else None


def write(found: Plan | str, a: argparse.Namespace) -> None:
    """Write every export that was asked for, and say on stderr where it is and what it cannot promise."""
    if a.export_to == "-" and a.output != "table":
        raise QueryError("--export-to - prints the export and nothing else: leave --json, -o and --jq out.")
    if a.export_to == "-" and len(a.export) > 1:
        raise QueryError("--export-to - prints one export; name a folder for several.")
    made = [exporting.export_plan(found, name, lease=a.lease) for name in a.export]
    for exported in made:
        if a.export_to == "-":
            common.write(exported.text)
        else:
            path = Path(a.export_to) / exported.file
            common.save(path, exported.text, otherwise="Name another with --export-to.")
            common.note(f"{path} written; nothing was started.")
        for warning in exported.warnings:
            common.note(f"note: {exported.file}: {warning}.")
