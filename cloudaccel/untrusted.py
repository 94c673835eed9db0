"""Reading what somebody else wrote, JSON and YAML: whatever it is, the answer is values or one kind of error."""

import json
from collections.abc import Callable
from typing import Any

MOST_LEVELS = 60  # of lists and mappings in one another; the deepest file of the documentation has 4


def json_of(
    text: str | bytes, *, text_of_number: Callable[[str], Any] | None = None,
    of_pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:  # fmt: skip
    """The values of a JSON text.

    Raises
    ------
    ValueError
        If it is none, or nested too deeply to be read.
    """
    try:
        return json.loads(text, parse_int=text_of_number, parse_float=text_of_number, object_pairs_hook=of_pairs)
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None


def check_yaml(text: str) -> None:
    """Look at a YAML text before it is read: the time that reading takes grows with the square of its depth.

    Needs PyYAML. Raises `ValueError` for too many levels and for aliases, and PyYAML's own error for what is no YAML.
    """
    import yaml  # heavy, and only files in YAML need it

    reader: Any = yaml  # its types say nothing of tokens
    level = 0
    for token in reader.scan(text, Loader=yaml.BaseLoader):
        name = type(token).__name__
        if name in ("AliasToken", "AnchorToken"):
            raise ValueError("anchors and aliases (*name) are not read. Write the values out")
        level += name.endswith("StartToken") and name != "StreamStartToken" and name != "DocumentStartToken"
        level -= name.endswith("EndToken") and name != "StreamEndToken" and name != "DocumentEndToken"
        if level > MOST_LEVELS:
            raise ValueError(f"lists or mappings are nested more than {MOST_LEVELS} levels deep")
