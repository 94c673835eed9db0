"""Plain values as YAML. Numbers that look like text stay text: the writer quotes what another reader would misread."""

import textwrap
from collections.abc import Sequence
from typing import Any


def as_yaml(*documents: dict[str, Any], notes: Sequence[str] = ()) -> str:
    """Documents in the order given, keys in theirs, below the notes as comments."""
    import yaml  # only an export needs it

    class Plain(yaml.SafeDumper):
        """Writes a value that occurs twice twice: references are hard to edit."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    text = yaml.dump_all(documents, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120, explicit_start=True)
    lines = (textwrap.fill(note, 118, initial_indent="# - ", subsequent_indent="#   ") + "\n" for note in notes)
    return "".join(lines) + str(text)
