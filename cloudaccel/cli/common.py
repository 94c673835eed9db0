"""What the verbs share: global options, output options, and writing to a terminal or a pipe."""

import argparse
import os
import sys
from collections.abc import Sequence

OUTPUTS = ("table", "wide", "json", "csv", "yaml")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of examples, and gives long flags room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def verb_parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser for one verb with the global options; long flags are whole words only."""
    parser = argparse.ArgumentParser(
        prog=f"cloudaccel {verb}",
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    shared = parser.add_argument_group("everywhere")
    shared.add_argument(
        "--catalog", metavar="FILE", help="catalog, snapshot folder or .zip, or price file to answer from"
    )
    shared.add_argument("--offline", action="store_true", help="refuse every network connection (this verb makes none)")
    shared.add_argument("--config", metavar="FILE", help="configuration file")
    shared.add_argument("--profile", metavar="NAME", help="table [profile.NAME] of the configuration file")
    return parser


def add_output(parser: argparse.ArgumentParser) -> None:
    """The shared output options."""
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", choices=OUTPUTS, default="table", help="form of the answer (default: table)")
    group.add_argument("--json", action="store_const", const="json", dest="output", help="same as -o json")
    group.add_argument("--csv", action="store_const", const="csv", dest="output", help="same as -o csv")
    group.add_argument("--no-color", action="store_true", help="no colour (also NO_COLOR)")
    group.add_argument("-q", "--quiet", action="store_true", help="no warnings on stderr")


def apply_globals(parsed: argparse.Namespace) -> None:
    """Hand the configuration file on to the settings, which read the environment."""
    if parsed.config:
        os.environ["CLOUDACCEL_CONFIG"] = parsed.config
    if parsed.profile:
        os.environ["CLOUDACCEL_PROFILE"] = parsed.profile


_ASCII = str.maketrans({"·": "-", "×": "x", "—": "-", "–": "-", "…": "...", "≤": "<=", "€": "EUR", "¥": "CNY"})


def write(text: str, stream: "object | None" = None) -> None:
    """Write to stdout; a console that cannot show a sign gets its ASCII stand-in."""
    out = sys.stdout if stream is None else sys.stderr
    try:
        text.encode(out.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        text = text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    out.write(text)


def note(text: str, *, quiet: bool = False) -> None:
    """One line on stderr."""
    if not quiet:
        write(text + "\n", sys.stderr)


def wants_color(no_color: bool) -> bool:
    """Whether stdout is a terminal on which colour is welcome."""
    return not no_color and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def screen_width() -> int | None:
    """Columns to fit a table into; None when piped: then nothing is cut."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 80


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int], width: int | None
) -> list[str]:
    """Lines of an aligned table: numbers right, text left; when too wide, the longest text columns are shortened."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    if width is not None:
        _narrow(widths, [i for i in range(len(headings)) if i not in right], width - 2 * (len(widths) - 1) - 2)
    lines: list[str] = []
    for row in (headings, *rows):
        cells = [_cell(text, widths[i], i in right) for i, text in enumerate(row)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _cell(text: str, width: int, right: bool) -> str:
    if len(text) > width:
        text = text[: width - 1] + "…"
    return text.rjust(width) if right else text.ljust(width)


def _narrow(widths: list[int], flexible: list[int], room: int) -> None:
    while sum(widths) > room and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= 8:
            return
        widths[widest] -= 1
