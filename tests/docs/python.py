"""Writes docs/reference/python.md from the public names: ``python -m tests.docs.python``; the same by every Python."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import cloudaccel
from cloudaccel import model
from cloudaccel.api import quoting

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"
_HEAD = """\
# Python

`import cloudaccel as ca`. What is on this page is the public interface; everything else may change. Nothing is read or
loaded before it is used, every answer is immutable, money is `decimal.Decimal` with its currency beside it, and an
unknown amount is `None`. Errors are kinds of `cloudaccel.errors.CloudAccelError`, each with the exit code that the
command line would end with ([exit-codes.md](exit-codes.md)).

The filters of `quote` and `plan` (`**filters`) are the flags of `cloudaccel quote`, with `_` for `-`: {filters}.

This page is written by `python -m tests.docs.python`.
"""
_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
_WORD = re.compile(r"[A-Z]\w+")
_ITEM = re.compile(r"^(\S.*)\n((?:    .*\n?|\n(?=    ))+)", re.MULTILINE)


def page() -> str:
    """The whole page: functions first, then what they answer with."""
    public = [getattr(cloudaccel, name) for name in cloudaccel.__all__ if not name.startswith("__")]
    public.sort(key=lambda thing: (isinstance(thing, type), thing.__name__.lower()))
    filters = ", ".join(f"`{name}`" for name in _filters())
    entries = [*public, *_answers(public)]
    return _HEAD.format(filters=filters) + "".join(line for thing in entries for line in _entry(thing))


def _answers(public: list[Any]) -> list[type]:
    """The classes of the model that the public names mention, and those that these mention."""
    models = [import_module(info.name) for info in walk_packages(model.__path__, "cloudaccel.model.")]
    known = {
        name: thing
        for module in models
        for name, thing in vars(module).items()
        if isinstance(thing, type) and is_dataclass(thing)
    }
    found: dict[str, type] = {}
    waiting = [*public]
    while waiting:
        for name in _WORD.findall("\n".join(_signature(_source(waiting.pop())))):
            if name in known and name not in found:
                found[name] = known[name]
                waiting.append(known[name])
    return sorted(found.values(), key=lambda thing: thing.__name__)


def _filters() -> Iterator[str]:
    """The keys of the typed mapping, which only a type checker loads."""
    for node in ast.walk(ast.parse(inspect.getsource(quoting))):
        if isinstance(node, ast.ClassDef) and node.name == "Filters":
            yield from (ast.unparse(key.target) for key in node.body if isinstance(key, ast.AnnAssign))


def _source(thing: Any) -> ast.stmt:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def _entry(thing: Any) -> Iterator[str]:
    yield f"\n## {thing.__name__}\n\n"
    yield "```python\n" + "\n".join(_signature(_source(thing))) + "\n```\n\n"
    yield _prose(inspect.getdoc(thing) or "")


def _signature(node: ast.stmt) -> Iterator[str]:
    """A function as it is called, or the attributes of a class, with types as the source has them."""
    if isinstance(node, ast.FunctionDef):
        a = node.args
        words = [_argument(arg, None) for arg in a.args[: len(a.args) - len(a.defaults)]]
        words += [_argument(arg, default) for arg, default in zip(a.args[-len(a.defaults) :], a.defaults, strict=False)]
        words += ["*"] if a.kwonlyargs else []
        words += [_argument(arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
        words += [f"**{_argument(a.kwarg, None)}"] if a.kwarg else []
        yield f"{node.name}("
        yield from (f"    {word}," for word in words)
        yield f") -> {_type(node.returns)}"
        return
    assert isinstance(node, ast.ClassDef)
    yield f"class {node.name}:"
    for field in node.body:
        if isinstance(field, ast.AnnAssign):
            yield f"    {ast.unparse(field.target)}: {_type(field.annotation)}"
        elif isinstance(field, ast.FunctionDef) and "property" in map(ast.unparse, field.decorator_list):
            says = (ast.get_docstring(field) or "").partition("\n")[0]
            yield from (f"    # {says}", f"    {field.name}: {_type(field.returns)}")


def _argument(arg: ast.arg, default: ast.expr | None) -> str:
    return f"{arg.arg}: {_type(arg.annotation)}" + (f" = {_default(default)}" if default else "")


def _default(value: ast.expr) -> str:
    return "..." if isinstance(value, ast.Lambda) else ast.unparse(value)


def _type(annotation: ast.expr | None) -> str:
    return ast.unparse(annotation).replace("'", "") if annotation else "None"


def _prose(doc: str) -> str:
    """A docstring as Markdown: sections in bold, what they list as bullets."""
    head, *sections = _SECTION.split(doc + "\n")
    parts = [head.strip()]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        items = [f"- `{name}`: {' '.join(text.split())}" for name, text in _ITEM.findall(body)]
        parts.append(f"**{title}**\n\n" + "\n".join(items))
    return "\n\n".join(parts).replace("``", "`") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
