"""Answers for programs, one way for every verb: JSON, YAML, and what an expression of jq takes out of the JSON."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cloudaccel.cli import common
from cloudaccel.errors import ConfigError, QueryError

SCHEMA = "cloudaccel/v1"


def prepare(a: argparse.Namespace) -> None:
    """See, before any work is done, that the form which is asked for can be written.

    ``output`` then says ``json`` for YAML and for ``--jq`` too: a verb makes one answer for programs, and `write_text`
    gives it its form.

    Raises
    ------
    QueryError
        For an expression that is none, or ``--jq`` beside a form that is no JSON.
    ConfigError
        When a package is not installed.
    """
    if a.jq is not None:
        if a.output not in ("table", "json"):
            raise QueryError(f"--jq filters JSON, and -o {a.output} is none. Leave one of them out.")
        _program(a.jq)
        a.output = "json"
    elif a.output == "yaml":
        _yaml()
        a.output, a.form = "json", "yaml"


def write(a: argparse.Namespace, kind: str, body: Mapping[str, Any], *, kept: bool = False) -> None:
    """Print one envelope: its `kind` is the verb, or ``verb.action``. `kept` as in `write_text`."""
    # Indented for eyes only: the encoder in C, ten times as fast, writes no indentation.
    indent = 1 if sys.stdout.isatty() else None
    envelope = {"schema": SCHEMA, "kind": kind, **body}
    write_text(a, json.dumps(envelope, ensure_ascii=False, indent=indent, default=_plain) + "\n", kept=kept)


def write_text(a: argparse.Namespace, text: str, *, kept: bool = False) -> None:
    """Print one document of JSON in the form that was asked for.

    `kept`: it can never be asked for again (a secret, what a launch did). When the expression of ``--jq`` fails on it,
    the whole of it goes to stderr and the exit code is 2, unless what was done has a worse one of its own.

    Raises
    ------
    QueryError
        When the expression fails on an answer that can be asked for again.
    """
    if a.jq is None:
        common.write_data(_as_yaml(text) if a.form == "yaml" else text)
        return
    try:
        for line in _filtered(a.jq, text):
            common.write_data(line)
            if common.stdout.reader_left:
                return  # an expression may have no end
    except ValueError as error:
        said = f"--jq: {_said(error)}."
        if not kept:
            raise QueryError(said) from error
        common.note(f"error: {said} What was asked for is done, and this is the whole answer:\n{text.rstrip()}")
        a.unfiltered = True


def _filtered(expression: str, text: str) -> Iterator[str]:
    """A line for each value: text as it is, as ``jq -r`` and ``gh --jq`` have it, anything else as JSON."""
    for value in _program(expression).input_text(text):
        line = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield (common.harmless(line) if sys.stdout.isatty() else line) + "\n"


def _program(expression: str) -> Any:
    try:
        import jq  # a compiled library that few ask for
    except ImportError:
        raise ConfigError(
            "--jq needs one more package: pip install 'cloudaccel[jq]', or pipe --json into the jq program."
        ) from None
    try:
        return jq.compile(expression)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    except ValueError as error:
        raise QueryError(f"--jq: {_said(error)}.") from error


def _said(error: ValueError) -> str:
    return " ".join(str(error).replace("jq: error: ", "").split()).rstrip(".")


def _yaml() -> Any:
    try:
        import yaml  # heavy, and few ask for it
    except ImportError:
        raise ConfigError("-o yaml needs PyYAML: pip install 'cloudaccel[plan]'.") from None
    return yaml


def _as_yaml(text: str) -> str:
    utf = "utf" in (sys.stdout.encoding or "utf-8").lower()  # YAML has escapes of its own
    # Its first line parts it from the document before, where a verb prints one after another.
    said: str = _yaml().safe_dump(json.loads(text), sort_keys=False, allow_unicode=utf, explicit_start=True)
    return said


def _plain(value: object) -> object:
    """What is no JSON by itself: mappings that cannot be changed, and everything else as its text."""
    return dict(value) if isinstance(value, Mapping) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
