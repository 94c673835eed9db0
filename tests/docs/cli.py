"""Writes docs/reference/cli.md from the parsers: ``python -m tests.docs.cli``. Every Python writes the same text."""

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from cloudaccel.cli import VERBS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
_HEAD = """\
# Command line

`cloudaccel [--catalog FILE] [--offline] [--config FILE] [--profile NAME] VERB …`

The same flag means the same in every verb. Answers go to stdout, everything else to stderr; what is piped is not cut,
coloured or asked about. Sizes are nominal GB (`80GB`, or a bare number) or GiB; a duration needs its unit (`24h`,
`7d`); money may name its currency (`'3 USD'`); a month is 730 hours. Exit codes: [exit-codes.md](exit-codes.md).

This page is written by `python -m tests.docs.cli`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for verb in VERBS for line in _verb(verb))]) + "\n"


def _verb(verb: str) -> Iterator[str]:
    parser: argparse.ArgumentParser = import_module(f"cloudaccel.cli.{verb}").parser()
    yield f"## {verb}\n"
    yield f"{parser.description}\n"
    yield "| flag | meaning |"
    yield "|---|---|"
    yield from _flags(parser)
    yield "\n```console"
    examples = (parser.epilog or "").removeprefix("examples:\n").splitlines()
    yield from (f"$ {line.strip()}" for line in examples if line.strip())
    yield "```\n"
    for name, action in _actions(parser):
        yield f"### {verb} {name}\n"
        yield f"{action.description}\n"
        yield "| flag | meaning |"
        yield "|---|---|"
        yield from _flags(action)
        yield ""


def _actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        choices: object = action.choices
        if isinstance(choices, dict):  # words of a positional are no dict
            yield from cast(dict[str, argparse.ArgumentParser], choices).items()


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
        value = str(value) if action.nargs != 0 else ""
        name = ", ".join(action.option_strings) or str(value)
        shown = f"{name} {value}" if action.option_strings and value else name
        meaning = (action.help or "").replace("|", "\\|").replace("%%", "%")
        yield f"| `{shown}` | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
