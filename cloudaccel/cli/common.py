"""What the verbs share: global options, output options, and writing to a terminal or a pipe."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO, cast

from cloudaccel.api.unheard import refuse_unheard
from cloudaccel.cli import flags
from cloudaccel.errors import CloudAccelError, QueryError, StorageError
from cloudaccel.files import replace_text

if TYPE_CHECKING:
    from cloudaccel.api.judging import Rules
    from cloudaccel.model.verdict import Verdict

OUTPUTS = ("table", "json", "yaml")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of examples, and gives long flags room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002  # as argparse calls it
        return "\n".join(piece for line in text.splitlines() for piece in _folded(line, width))


def _folded(line: str, width: int) -> Iterable[str]:
    """A line of text or an example in at most `width` columns: what it says goes under it, then a flag to a line."""
    if len(line) <= width:
        return [line]
    if not line.startswith("  "):
        import textwrap  # only for help, which a quote never shows

        return textwrap.wrap(line, width)
    command, *says = re.split(r"(?<=\S) {2,}", line, maxsplit=1)
    pieces: list[str] = [""]
    for word in re.split(r" (?=--)", command):
        if pieces[-1] and len(pieces[-1]) + len(word) + 3 > width:
            pieces[-1] += " \\"
            pieces.append("      " + word)
        else:
            pieces[-1] += f" {word}" if pieces[-1] else word
    return [*pieces, *(f"      {text}" for text in says)]


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like any other: one line, or JSON when JSON was asked for.

    `rest`: name of the positional that takes all words after ``--`` as they are, wherever flags stand before it.
    """

    rest = ""
    _mixing = False

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # the stubs' overloads say less
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:  # fmt: skip
        """As argparse does, but that flags may stand between the words, and `rest` has what follows ``--``."""
        words = None if args is None else list(args)
        if self._mixing or words is None:
            return super().parse_known_args(words, namespace)
        if not self.rest or "--" not in words:
            return self._in_any_order(words, namespace)
        at = words.index("--")
        found, unknown = self._in_any_order(words[:at], namespace)
        setattr(found, self.rest, words[at + 1 :])
        return found, unknown

    def _in_any_order(self, words: list[str], namespace: Any) -> tuple[Any, list[str]]:
        """argparse gives an optional word what stands before the first flag; only then, words are parsed twice."""
        found, unknown = super().parse_known_args(words, namespace)
        if self._subparsers is not None or all(word.startswith("-") and word != "--" for word in unknown):
            return found, unknown
        self._mixing = True  # it calls parse_known_args, in some versions of Python
        try:
            return self.parse_known_intermixed_args(words, namespace)
        finally:
            self._mixing = False

    def print_help(self, file: Any = None) -> None:  # noqa: ARG002  # as argparse calls it
        """Print it as any answer is printed."""
        write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Refuse the command line; of a flag that is not there, name the one that was meant."""
        raise QueryError(f"{message}.{self._meant(message)} See '{self.prog} --help'.")

    def _meant(self, message: str) -> str:
        kind, _, rest = message.partition(": ")
        if kind != "unrecognized arguments" or not rest.startswith("--"):
            return ""
        from difflib import get_close_matches  # only for a command line that is wrong

        wrong = rest.split()[0].partition("=")[0]
        there = {flag for parser in (self, *actions_of(self).values()) for flag in parser._option_string_actions}
        meant = [flag for flag in ELSEWHERE.get(wrong, ()) if flag.partition(" ")[0] in there]
        if not meant:  # the dashes are alike in every one
            names = {flag.lstrip("-"): flag for flag in sorted(there)}
            meant = [names[near] for near in get_close_matches(wrong.lstrip("-"), names, n=1, cutoff=0.75)]
        return f" Did you mean {meant[0]}?" if meant else ""


# What other tools (sky, gpuhunt, aws, gcloud, kubectl) call the same thing.
ELSEWHERE = {
    "--cloud": ("--provider",), "--gpu": ("--accel",), "--gpus": ("--accel",), "--accelerator": ("--accel",),
    "--accelerators": ("--accel",), "--spot": ("--market spot",), "--use-spot": ("--market spot",),
    "--zone": ("--region",), "--location": ("--region",), "--instance-type": ("--instance",),
    "--machine-type": ("--instance",), "--num-nodes": ("--max-nodes",), "--format": ("--output",), "--query": ("--jq",),
    "--qps": ("--requests-per-s",), "--rps": ("--requests-per-s",), "--precision": ("--dtype",),
    "--max-model-len": ("--context",), "--autostop": ("--lease",), "--max-cost": ("--max-total", "--budget"),
    "--max-price": ("--max-hourly", "--budget"), "--budget": ("--max-total",),
}  # fmt: skip


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a verb's actions by name, where it has any."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        choices: object = action.choices
        if isinstance(choices, dict):
            found |= cast(dict[str, argparse.ArgumentParser], choices)
    return found


def verb_parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser for one verb with the global options; long flags are whole words only."""
    parser = Parser(
        prog=f"cloudaccel {verb}",
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    add_globals(parser)
    return parser


def add_globals(parser: argparse.ArgumentParser, **default: Any) -> None:
    """What every command takes. An action has it once more, with a default that leaves alone what its verb was told."""
    shared = parser.add_argument_group("everywhere")
    shared.add_argument(
        "--catalog", metavar="FILE", help="catalog, snapshot folder or .zip, or price file to answer from", **default
    )
    shared.add_argument(
        "--offline", action="store_true", help="refuse every network connection (most verbs make none)", **default
    )
    shared.add_argument("--config", metavar="FILE", help="configuration file", **default)
    shared.add_argument("--profile", metavar="NAME", help="table [profile.NAME] of the configuration file", **default)


class Actions(Protocol):
    """What argparse gives to add parsers of actions to; its own class for it is private."""

    def add_parser(self, name: str, **options: Any) -> Any:
        """A parser for one action."""
        ...


def action_parser(verbs: Actions, verb: str, name: str, text: str, examples: str) -> Parser:
    """A parser for one action of a verb, with those of the verb's examples that are about it."""
    own = [line for line in examples.splitlines() if f"{line} ".startswith(f"  cloudaccel {verb} {name} ")]
    parser: Parser = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=HelpFormatter,
        allow_abbrev=False, epilog="\n".join(["examples:", *own]) if own else None,
    )  # fmt: skip
    add_globals(parser, default=argparse.SUPPRESS)
    add_output(parser)
    return parser


def add_output(parser: argparse.ArgumentParser, forms: Sequence[str] = OUTPUTS) -> None:
    """The shared output options; `forms` are those that the verb can write. `cloudaccel.cli.answers` writes JSON."""
    parser.set_defaults(form="json", unfiltered=False)
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", choices=forms, default="table", help="form of the answer (default: table)")
    group.add_argument("--json", action="store_const", const="json", dest="output", help="same as -o json")
    if "csv" in forms:
        group.add_argument("--csv", action="store_const", const="csv", dest="output", help="same as -o csv")
    group.add_argument("--jq", metavar="EXPR", help="filter the JSON, in the language of jq (extra jq)")
    group.add_argument("--no-color", action="store_true", help="no colour (also NO_COLOR)")
    group.add_argument("-q", "--quiet", action="store_true", help="no warnings on stderr")


def add_rules(p: argparse.ArgumentParser) -> None:
    """The flags that say by what to judge."""
    r = p.add_argument_group("rules")
    flags.add(r, "--policy")
    r.add_argument("--headquarters", metavar="COUNTRY", help="country of your ultimate parent; export control asks")
    r.add_argument("--users", metavar="COUNTRIES", help="where your users are; none when nowhere else")
    r.add_argument("--sector", metavar="NAME", help="your sector, such as bank, health, public")
    r.add_argument("--data-class", action="append", metavar="NAME", help="personal_eu, phi_us …, or none")
    r.add_argument(
        "--stated",
        action="append",
        metavar="NEED",
        help="what you have: baa:SELLER, license:bis; or where: storage=DE,FR",
    )
    r.add_argument("--operator-jurisdiction", metavar="AREA", help="seated in and owned from: EU, EEA, or countries")
    r.add_argument("--require-cert", metavar="A,B", help="attestations it must hold: fr-hds, iso-27001 …")
    r.add_argument(
        "--allow-status", action="append", metavar="NAME", help="also judge by packs that are draft, proposed …"
    )


def add_money(p: argparse.ArgumentParser) -> None:
    """The flags that say in which money sums are read."""
    g = p.add_argument_group("money")
    flags.add(g, "--currency", ", beside the sums")
    flags.add(g, "--fx-file")
    flags.add(g, "--tax")


def add_pictures(p: argparse.ArgumentParser) -> None:
    """The flags that write a page and a picture beside the answer."""
    group = p.add_argument_group("pages and pictures")
    flags.add(group, "--html")
    flags.add(group, "--png")


def rules_of(a: argparse.Namespace) -> "Rules":
    """The rules that the flags name."""
    from cloudaccel.api import judging as api  # the tables of facts, only for who asks to be judged

    return api.Rules(
        packs=_listed("--policy", a.policy),
        headquarters=a.headquarters,
        sector=a.sector,
        users=a.users,
        data=None if a.data_class is None else tuple(a.data_class),
        stated=tuple(a.stated or ()),
        allow_status=tuple(a.allow_status or ()),
        operator_jurisdiction=a.operator_jurisdiction,
        require_cert=_listed("--require-cert", a.require_cert),
    )


def asked_rules(a: argparse.Namespace) -> "Rules | None":
    """The rules of the flags when one of them asks to be judged, else None; only packs bring those always on along."""
    if a.policy is None and a.operator_jurisdiction is None and a.require_cert is None:
        refuse_unheard(vars(a))
        return None
    from dataclasses import replace

    return replace(rules_of(a), always=a.policy is not None)


def warn_of(verdicts: "Iterable[Verdict | None]", *, quiet: bool) -> None:
    """What the rules warn of, each once, on stderr."""
    for text in dict.fromkeys(text for verdict in verdicts if verdict is not None for text in verdict.warnings):
        note(f"warning: {text}", quiet=quiet)


def _listed(flag: str, text: str | None) -> tuple[str, ...]:
    """The words of a list with commas; a list without any is refused, since an unset variable must not lift a rule."""
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not words:
        raise QueryError(f"{flag}: the value is empty. Give one, or leave {flag} out.")
    return words


def apply_globals(parsed: argparse.Namespace) -> None:
    """Hand the configuration file on to the settings, which read the environment; settle the form of the answer."""
    for name in ("catalog", "config", "profile"):
        if getattr(parsed, name) == "":
            raise QueryError(f"--{name}: the value is empty. Give one, or leave --{name} out.")
    if getattr(parsed, "jq", None) is not None or getattr(parsed, "output", None) == "yaml":
        from cloudaccel.cli import answers  # what a table does not need

        answers.prepare(parsed)
    if parsed.config:
        os.environ["CLOUDACCEL_CONFIG"] = parsed.config
    if parsed.profile:
        os.environ["CLOUDACCEL_PROFILE"] = parsed.profile


_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ASCII = str.maketrans(
    {
        "·": "-",
        "×": "x",
        "÷": "/",
        "→": "->",
        "—": "-",
        "–": "-",
        "…": "...",
        "≤": "<=",
        "€": "EUR",
        "¥": "CNY",
        "−": "-",
        **{step: str(number) for number, step in enumerate("▁▂▃▄▅▆▇█", 1)},
    }
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def write(text: str, stream: "object | None" = None) -> None:
    """Write to stdout, or to stderr when any `stream` is given; what a console cannot show gets an ASCII stand-in."""
    out = sys.stdout if stream is None else sys.stderr
    if not _can_show(text, out.encoding):
        text = text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    _put(out, text)


def save(path: str | Path, text: str, *, otherwise: str = "Name another place.") -> None:
    """Write a file that a flag names, and the folders it lies in; `otherwise` is what to do where that fails.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        replace_text(Path(path), text)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. {otherwise}") from error


def write_data(text: str) -> None:
    r"""Write what a program reads to stdout; a character that the stream cannot carry is escaped: ``\uXXXX``."""
    if not _can_show(text, sys.stdout.encoding):
        text = _NOT_ASCII.sub(_escaped, text)
    _put(sys.stdout, text)


def _can_show(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


class Stdout:
    """What became of stdout. A verb goes on to its end without it: what it does, and its exit code, are not the less.

    Attributes
    ----------
    reader_left
        Whoever read the pipe has had enough (``| head``): nothing is wrong. A verb that goes on for ever ends then.
    failed
        It could not be written to, which was said on stderr: a full disk. The exit code is then no 0.
    """

    reader_left = False
    failed = False

    def lose(self, error: OSError) -> None:
        """Let what is still written go nowhere; Python would try it once more at its end, and complain."""
        self.reader_left = isinstance(error, BrokenPipeError)
        self.failed = not self.reader_left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if self.failed:
            note(f"error: the answer cannot be written: {error.strerror}. Write it to a place with room.")


stdout = Stdout()


def flush() -> None:
    """Write out what is still waiting for stdout."""
    _put(sys.stdout, "")


def _put(out: TextIO, text: str) -> None:
    try:
        out.write(text)
        if not text:
            out.flush()
    except OSError as error:
        if out is sys.stdout:
            stdout.lose(error)


def note(text: str, *, quiet: bool = False) -> None:
    """One line on stderr, `harmless`."""
    if not quiet:
        write(harmless(text) + "\n", sys.stderr)


def harmless(text: str) -> str:
    """What a terminal would obey, or write backwards, is shown as it would be typed."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def error_json(error: CloudAccelError) -> dict[str, Any]:
    """An error as the JSON of every verb has it."""
    return {"code": error.code, "exit": error.exit_code, "message": str(error), "choices": list(error.choices)}


def note_error(error: CloudAccelError) -> None:
    """An error on stderr, with names that were perhaps meant."""
    message = f"error: {error}"
    if error.choices and "did you mean" not in message.lower():
        message += f"\n  did you mean: {', '.join(error.choices[:8])}"
    note(message)


def confirm(question: str, *, alone: str, refused: str) -> None:
    """Ask the person at the terminal, and go on only after a yes.

    Raises
    ------
    QueryError
        `refused` when the answer is another; `alone`, with what to add, when nobody can be asked.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise QueryError(f"{alone}: nobody can be asked here (input or output is piped). Add --yes.")
    write(f"{question} [y/N] ", sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise QueryError(refused)


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
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: frozenset[int],
    width: int | None,
    *,
    middle: bool = False,
) -> list[str]:
    """Lines of an aligned table: numbers right, text left; when too wide, the longest text columns are shortened.

    `middle` shortens in the middle, for names that differ at their ends.
    """
    widths = column_widths(headings, rows)
    if width is not None:
        _narrow(widths, [i for i in range(len(headings)) if i not in right], width - 2 * len(widths))
    lines: list[str] = []
    for row in (headings, *rows):
        cells = [_cell(text, widths[i], i in right, middle) for i, text in enumerate(row)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def column_widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Characters that each column needs to be shown whole."""
    return [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]


def _cell(text: str, width: int, right: bool, middle: bool) -> str:
    if len(text) > width:
        tail = width // 2 if middle else 0
        text = text[: width - 1 - tail] + "…" + text[len(text) - tail :]
    return text.rjust(width) if right else text.ljust(width)


def _narrow(widths: list[int], flexible: list[int], room: int) -> None:
    while sum(widths) > room and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= 6:
            return
        widths[widest] -= 1
