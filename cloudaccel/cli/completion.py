"""``cloudaccel completion``: a completion script for a shell."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module

from cloudaccel.cli import VERBS, common
from cloudaccel.errors import ConfigError

EXAMPLES = """\
  cloudaccel completion bash > ~/.local/share/bash-completion/completions/cloudaccel
  cloudaccel completion zsh > ~/.zfunc/_cloudaccel
  cloudaccel completion fish > ~/.config/fish/completions/cloudaccel.fish
"""
SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = common.verb_parser("completion", "Print a completion script for your shell.", EXAMPLES)
    p.add_argument("shell", choices=SHELLS, help="for which shell")
    return p


def run(a: argparse.Namespace) -> int:
    """Write the script to stdout."""
    try:
        import shtab  # only this verb needs it
    except ImportError:
        raise ConfigError("completion needs the package shtab: pip install shtab.") from None
    whole = whole_parser()
    files: dict[str, object] = {**dict.fromkeys(_FILES, shtab.FILE), **dict.fromkeys(_FOLDERS, shtab.DIRECTORY)}
    for parser, action in _actions(whole):
        _complete(parser, action, files)
    common.write(shtab.complete(whole, shell=a.shell) + "\n")
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """One parser with every verb under it; the command line itself builds only the one that is asked for."""
    whole = argparse.ArgumentParser(prog="cloudaccel")
    whole.add_argument("--version", action="store_true", help="show the version")
    common.add_globals(whole)
    verbs = whole.add_subparsers(dest="verb", metavar="VERB")
    for verb, line in VERBS.items():
        verbs.add_parser(verb, help=line, parents=_parsers(verb), conflict_handler="resolve")
    return whole


def _parsers(verb: str) -> list[argparse.ArgumentParser]:
    """The parser of a verb; none where the packages of its extra are not installed, and only its name is completed."""
    try:
        return [import_module(f"cloudaccel.cli.{verb}").parser()]
    except ModuleNotFoundError as error:
        if (error.name or "cloudaccel").partition(".")[0].startswith("cloudaccel"):
            raise
        return []


def _actions(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, argparse.Action]]:
    """Every flag and word of a parser and of those under it."""
    yield from ((parser, action) for action in parser._actions if not isinstance(action.choices, dict))
    for below in common.actions_of(parser).values():
        yield from _actions(below)


# -- values ------------------------------------------------------------------------------------------------------------
# They are written into the script, so that a TAB starts no program: asking this one takes longer than typing a word.

_FILES = ("FILE", "CSV", "PATH", "LOCK", "LOG", "KEY")
_FOLDERS = ("DIR",)


def _complete(parser: argparse.ArgumentParser, action: argparse.Action, files: Mapping[str, object]) -> None:
    """Give an action the values that are known of it, or files."""
    word = str(action.metavar)
    flag = action.option_strings[0] if action.option_strings else f"{parser.prog.rpartition('cloudaccel ')[2]} {word}"
    values = _VALUES.get(flag) or _VALUES.get(word)
    if action.choices is None and action.nargs != 0 and values is not None:
        action.choices = values()
    elif word in files:
        action.complete = files[word]  # pyright: ignore[reportAttributeAccessIssue]  # where shtab looks


_WRITTEN = {"sxm": "SXM", "pcie": "PCIe", "nvl": "NVL"}  # forms, as people write them


def accelerators() -> Sequence[str]:
    """Families, and where a family has several forms, each of them."""
    from cloudaccel.facts import accelerators

    found: list[str] = []
    for family, variants in accelerators.families().items():
        forms = sorted({one.form for one in variants if one.form})
        found += [family, *(f"{family}-{_WRITTEN.get(form, form)}" for form in forms if len(forms) > 1)]
    return found


def models() -> Sequence[str]:
    """Short names of the models of the registry."""
    from cloudaccel.facts.models import models

    return sorted({model.rpartition("/")[2].lower() for model in models()})


def providers() -> Sequence[str]:
    """Sellers."""
    from cloudaccel.facts import places

    return sorted(places.providers())


def regions() -> Sequence[str]:
    """Regions, as their sellers name them."""
    from cloudaccel.facts import places

    return sorted({name for _, name in places.regions()})


def countries() -> Sequence[str]:
    """Codes of countries."""
    from cloudaccel.facts import places

    return sorted(places.countries())


def areas() -> Sequence[str]:
    """Unions and countries, as --residency takes them."""
    return ["EU", "EEA", *countries()]


def packs() -> Sequence[str]:
    """Ids of the packs that ship."""
    from cloudaccel.compliance import shipped_packs

    return sorted(shipped_packs())


def price_lists() -> Sequence[str]:
    """Sellers whose price lists refresh can read."""
    from cloudaccel import registry

    return sorted(registry.price_lists())


def clouds() -> Sequence[str]:
    """Where machines can be started."""
    from cloudaccel import registry

    return [name for name in registry.names() if registry.starts(name)]


def columns() -> Sequence[str]:
    """Columns of a quote."""
    from cloudaccel.output.columns import COLUMNS

    return list(COLUMNS)


def markets() -> Sequence[str]:
    """Ways of paying."""
    from cloudaccel.cli.flags import FLAGS

    return str(FLAGS["--market"]["help"]).replace(" (default)", "").split(", ")


def kinds() -> Sequence[str]:
    """Kinds of accelerators."""
    from cloudaccel.api.quoting import KINDS

    return KINDS


def engines() -> Sequence[str]:
    """What a plan can be written for."""
    from cloudaccel import export

    return list(export.names())


_VALUES: dict[str, Callable[[], Sequence[str]]] = {
    "ACCEL": accelerators, "LOCK|ACCEL": lambda: ["plan.lock.json", *accelerators()],
    "--accel": accelerators, "explain NAME": accelerators,
    "--provider": providers, "--region": regions, "--country": countries, "--headquarters": countries,
    "--residency": areas, "--operator-jurisdiction": areas, "--market": markets, "--kind": kinds,
    "--policy": packs, "policy NAME": packs, "PROVIDER": price_lists, "CLOUD": clouds, "--columns": columns,
    "--sort": lambda: ["price", "hourly", "memory", "age", "provider"], "--rank": lambda: ["cost", "time", "carbon"],
    "--export": engines, "--model": models,
}  # fmt: skip
