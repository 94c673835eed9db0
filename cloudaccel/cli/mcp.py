"""``cloudaccel mcp``: the read-only verbs as tools of an assistant, over stdin and stdout."""

import argparse
import os
import signal
import sys

from cloudaccel.catalog.session import open_session
from cloudaccel.cli import common
from cloudaccel.errors import ConfigError

EXAMPLES = """\
  cloudaccel mcp                               as the command of an MCP server in an assistant's settings
  cloudaccel --catalog prices.csv mcp          the same, answering from your own prices
"""
_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    return common.verb_parser(
        "mcp",
        "The read-only verbs as tools of an assistant (Model Context Protocol, on stdin and stdout).",
        EXAMPLES,
    )


def run(a: argparse.Namespace) -> int:
    """Answer until stdin ends; exit 2 when the packages are missing."""
    from cloudaccel.service.assistant import serve  # the SDK, which nothing else needs

    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the shell: <&-
        raise ConfigError("mcp: stdin is closed, and questions come from there. Start it from an assistant's settings.")
    with open_session(a.catalog):  # prices that cannot be read are said now, not at the first question
        pass
    if sys.stdin.isatty():
        common.note("waiting for an assistant on stdin; 'cloudaccel mcp' goes into its settings (stop with Ctrl-C)")
    signal.signal(signal.SIGINT, _stop)
    try:
        serve(a.catalog)
    except* BrokenPipeError:  # the assistant is gone; nobody is left to answer
        common.stdout.lose(BrokenPipeError())
    return 0


def _stop(_signal: int, _frame: object) -> None:
    """End at once. The thread that waits for stdin would hold an orderly end up until somebody presses a key."""
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)
