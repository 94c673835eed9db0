"""``cloudaccel completion``: a completion script for a shell."""

import argparse
from importlib import import_module

from cloudaccel.cli import VERBS, common
from cloudaccel.errors import ConfigError

EXAMPLES = """\
  cloudaccel completion bash > ~/.local/share/bash-completion/completions/cloudaccel
  cloudaccel completion zsh > ~/.zfunc/_cloudaccel
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
    common.write(shtab.complete(whole_parser(), shell=a.shell) + "\n")
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """One parser with every verb under it; the command line itself builds only the one that is asked for."""
    whole = argparse.ArgumentParser(prog="cloudaccel")
    whole.add_argument("--version", action="store_true", help="show the version")
    verbs = whole.add_subparsers(dest="verb", metavar="VERB")
    for verb, line in VERBS.items():
        module = import_module(f"cloudaccel.cli.{verb}")
        verbs.add_parser(verb, help=line, parents=[module.parser()], conflict_handler="resolve")
    return whole
