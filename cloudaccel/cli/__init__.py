"""The command line: one module per verb, each parses, calls and renders.

Only the verb that was asked for is imported; building all parsers would cost more than answering.
"""

import gc
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module

from cloudaccel import __version__
from cloudaccel.errors import CloudAccelError, ConfigError, StorageError

# Verb -> line of help. The module is cloudaccel.cli.<verb>, with `parser()` and `run(arguments)`.
VERBS = {
    "quote": "prices and facts of accelerators; needs no account and no network",
    "plan": "what to rent for a model and a deadline, with the sums shown",
    "verify": "prove the total, verdicts and choice of a plan.lock.json again, from the file alone",
    "policy": "rules about where work may run: list, show, explain a place, verify a pack",
    "compare": "call an API, rent, use a managed service or own: totals and break-even",
    "advise": "call an API, adapt or build; rent or own: a recommendation with reasons",
    "roadmap": "demand by month: when to rent, commit, buy and retire",
    "calibrate": "read the speed of a short run out of its log, for plan --measured",
    "provision": "start what was planned, and make sure that it is gone afterwards",
    "explain": "what a name means, and where a price comes from",
    "refresh": "read the sellers' price lists; --from and --out to carry prices, --status",
    "prices": "import: your own prices out of your bills (FinOps FOCUS), as a price file",
    "alert": "messages when a price falls, a run needs you, or a refresh fails",
    "serve": "the prices over HTTP, read-only, on this machine unless told otherwise",
    "token": "who may use the service: tokens, budgets of projects, the audit log",
    "mcp": "the read-only verbs as tools of an assistant (Model Context Protocol)",
    "doctor": "check the installation, the catalog and its age",
    "completion": "print a completion script for your shell",
}
_EXTRAS = {  # verb -> the extra that brings what it needs, where that is not "plan"
    "alert": "provision",
    "mcp": "mcp",
    "prices": "focus",
    "provision": "provision",
    "refresh": "refresh",
    "serve": "service",
    "token": "service",
}
_GLOBALS = ("--catalog", "--config", "--profile")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see docs/reference/exit-codes.md."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    try:
        return _dispatch(arguments)
    except CloudAccelError as error:
        return _report(error, arguments)
    except ModuleNotFoundError as error:
        return _report(_lacking(error, arguments), arguments)
    except PermissionError as error:
        return _report(_forbidden(error), arguments)
    except KeyboardInterrupt:
        from cloudaccel.cli import common

        common.note("interrupted")
        common.flush()
        return 130


def _open_closed_streams() -> None:
    """Where the shell has closed a stream (``>&-``), what is written goes nowhere, and nothing fails."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as we run


def _dispatch(arguments: list[str]) -> int:
    before, verb, after = _split(arguments)
    if verb == "help":
        verb, after = (after[0], ["--help"]) if after else (None, ["--help"])
        before += [] if verb else ["--help"]
    if verb is None:
        return _without_verb(before)
    if verb not in VERBS:
        return _unknown_verb(verb)
    with _rare_collections(verb):
        module = import_module(f"cloudaccel.cli.{verb}")
        from cloudaccel.cli import common

        try:
            parsed = module.parser().parse_args([*before, *after])
        except SystemExit:  # --help
            return _code(0)
        common.apply_globals(parsed)
        return _code(module.run(parsed) or (2 if getattr(parsed, "unfiltered", False) else 0))


def _code(code: int) -> int:
    """The exit code, when all is written: an answer that never arrived is not a success."""
    from cloudaccel.cli import common

    common.flush()
    return code or (2 if common.stdout.failed else 0)


def _lacking(error: ModuleNotFoundError, arguments: list[str]) -> ConfigError:
    """A package of an extra that is not installed, and how to get it. One of our own that is not there is a fault."""
    lacked = (error.name or "").partition(".")[0]
    if not lacked or lacked.startswith("cloudaccel"):
        raise error
    verb = _split(arguments)[1] or ""
    extra = _EXTRAS.get(verb, "plan")
    return ConfigError(f"{verb} needs the package {lacked}, which is not installed: pip install 'cloudaccel[{extra}]'.")


def _forbidden(error: PermissionError) -> StorageError:
    """What this user may not look at or write. Without a file it is none of the user's doing, and a fault."""
    if error.filename is None:
        raise error
    return StorageError(f"{error.filename}: {error.strerror}. Mend its mode or that of its folder, or name another.")


@contextmanager
def _rare_collections(verb: str) -> Generator[None, None, None]:
    """A plan makes many values that stay and none in cycles; looking for those took a tenth of its time (2026-11)."""
    usual = gc.get_threshold()
    if verb == "plan":
        gc.set_threshold(100_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _split(arguments: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Global options before the verb, the verb, and the rest."""
    before: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        before.append(word)
        if word in _GLOBALS and rest:
            before.append(rest.pop(0))
    return before, (rest[0] if rest else None), rest[1:]


def _without_verb(words: list[str]) -> int:
    from cloudaccel.cli import common

    if {"--version", "-h", "--help"} & set(words):
        common.write(f"cloudaccel {__version__}\n" if "--version" in words else usage())
        return _code(0)
    common.note(f"error: name a verb.\n{usage()}")
    return 2


def usage() -> str:
    """The text of ``cloudaccel --help``."""
    verbs = "\n".join(f"  {verb:<11} {line}" for verb, line in VERBS.items())
    return (
        "usage: cloudaccel [--catalog FILE] [--offline] [--config FILE] [--profile NAME] VERB ...\n\n"
        "What an accelerator costs, where it may run, and which way of getting it is cheapest.\n\n"
        f"verbs:\n{verbs}\n\n"
        "examples:\n"
        "  cloudaccel quote H100:8                      eight H100 in one machine, cheapest first\n"
        "  cloudaccel quote H100:8 --residency EU       the same, inside the European Union\n"
        "  cloudaccel explain v5p-8                     what a name means\n\n"
        "'cloudaccel VERB --help' shows the flags of a verb. 'cloudaccel --version' shows the version.\n"
    )


def _unknown_verb(verb: str) -> int:
    import difflib  # only when a word is wrong

    near = difflib.get_close_matches(verb, VERBS, n=2)
    meant = f" Did you mean {' or '.join(near)}?" if near else f" For prices: cloudaccel quote {verb}."
    from cloudaccel.cli import common

    common.note(f"error: there is no verb {verb!r}.{meant} Verbs: {', '.join(VERBS)}.")
    return 2


def _report(error: CloudAccelError, arguments: Sequence[str]) -> int:
    from cloudaccel.cli import common

    if _wants_json(arguments):
        import json

        common.write_data(json.dumps({"schema": "cloudaccel/v1", "error": common.error_json(error)}) + "\n")
        common.flush()
    common.note_error(error)
    return error.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    if any(word == "--jq" or word.startswith("--jq=") for word in arguments):
        return False  # stdout has what the expression makes of an answer, and nothing else
    pairs = zip(("", *arguments), arguments, strict=False)
    return any(
        word in ("--json", "-ojson", "--output=json") or (before in ("-o", "--output") and word == "json")
        for before, word in pairs
    )
