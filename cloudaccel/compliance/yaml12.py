"""YAML as its version 1.2 reads scalars: ``NO`` is a text (Norway), ``1e25`` a number, a date stays a text.

A key that is there twice, an anchor, a tag or a second document is refused. PyYAML is imported where it is used: the
packs of the product are read from JSON, only a user's own file needs it.
"""

import re
from typing import Any

from cloudaccel.errors import ConfigError
from cloudaccel.untrusted import check_yaml

_NUMBER = re.compile(r"[-+]?(?:\d+|(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read(text: str, name: str) -> Any:
    """The value of one YAML document; `name` is for messages.

    Raises
    ------
    ConfigError
        If it is not YAML, or uses what is refused here; or if PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(f"{name}: reading YAML needs PyYAML. Run pip install 'cloudaccel[plan]'.") from error
    try:
        check_yaml(text)
        reader: Any = yaml  # its types say nothing of events and nodes
        events: list[Any] = list(reader.parse(text, Loader=yaml.SafeLoader))
        if any(getattr(e, "anchor", None) or getattr(e, "tag", None) not in (None, "!") for e in events):
            raise ConfigError(f"{name}: anchors, aliases and tags are not read. Write the values out.")
        node: Any = reader.compose(text, Loader=yaml.SafeLoader)
        return None if node is None else _value(node, name)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name} is not valid YAML: {' '.join(str(error).split())}. Mend it.") from error


def _value(node: Any, name: str) -> Any:
    kind = node.id
    if kind == "sequence":
        return [_value(item, name) for item in node.value]
    if kind == "mapping":
        return _mapping(node, name)
    text: str = node.value
    return text if node.style in ("'", '"', "|", ">") else scalar(text)


def _mapping(node: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = key_node.value, key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise ConfigError(f"{name}, line {line}: a key must be a word.")
        if key in found:
            raise ConfigError(f"{name}, line {line}: {key!r} is there twice. Keep one.")
        found[key] = _value(value_node, name)
    return found


def scalar(text: str) -> str | float | int | bool | None:
    """A plain scalar by the core schema of YAML 1.2: true, false, null and decimal numbers; all else is text."""
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if re.search(r"[.eE]", text) else int(text)
