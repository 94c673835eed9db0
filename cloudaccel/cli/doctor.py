"""``cloudaccel doctor``: what of this installation works, and what does not."""

import argparse

from cloudaccel.api import checking as api
from cloudaccel.cli import answers, common

EXAMPLES = """\
  cloudaccel doctor                looks at the installation, prices, folders and extras; changes nothing
  cloudaccel doctor --json
"""
_MARK = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("doctor", "Check the installation, the prices and their age. Uses no network.", EXAMPLES)
    common.add_output(p)
    return p


def run(a: argparse.Namespace) -> int:
    """Show every check; exit 6 when one is bad."""
    checks = api.doctor(catalog=a.catalog)
    if a.output == "json":
        body = [{"name": c.name, "state": c.state, "text": c.text, "advice": c.advice or None} for c in checks]
        answers.write(a, "doctor", {"checks": body})
    else:
        for check in checks:
            advice = f" {check.advice}" if check.advice else ""
            common.write(f"{_MARK[check.state]}  {check.name:<16} {check.text}{advice}\n")
    return 6 if any(check.state == "bad" for check in checks) else 0
