"""Reads the tables that ship beside this file.

Only `csv` and `os`: `importlib.resources` alone would cost a quote several milliseconds.
"""

import csv
import os
from collections.abc import Iterator, Sequence

from cloudaccel.errors import ConfigError

FACTS_FOLDER = os.path.dirname(os.path.abspath(__file__))


def table_path(name: str) -> str:
    """Path of the packaged table `name` (``accelerators.csv``)."""
    return os.path.join(FACTS_FOLDER, name)


def read_table(name: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, str]]:
    """Rows of a packaged CSV table, in file order, as text by column; an empty cell is "".

    Parameters
    ----------
    name
        File name inside the facts folder, or an absolute path.
    columns
        The columns the table must have, no more and no fewer, in any order; None takes the header as it is.

    Raises
    ------
    ConfigError
        If the file is missing or empty, if a column is missing, unknown or named twice, or if a row has another
        number of cells than the header. The message names file and line.
    """
    for _line, row in numbered_rows(name, columns):
        yield row


def numbered_rows(name: str, columns: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """As `read_table`, each row with the number of the line it ends on, for messages."""
    path = table_path(name)
    try:
        file = open(path, encoding="utf-8", newline="")  # noqa: SIM115  (closed by the with below)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Reinstall cloudaccel.") from error
    with file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, list[str]())
            _check_header(path, header, columns)
            width = len(header)
            for cells in reader:
                if len(cells) != width:
                    raise ConfigError(f"{path}, line {reader.line_num}: {len(cells)} cells, the header has {width}")
                yield reader.line_num, dict(zip(header, cells, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, line {reader.line_num}: not a CSV table in UTF-8 ({error})") from error


def _check_header(path: str, header: list[str], columns: Sequence[str] | None) -> None:
    if not header:
        raise ConfigError(f"{path}, line 1: no header row")
    if len(set(header)) != len(header):
        raise ConfigError(f"{path}, line 1: a column is named twice in {', '.join(header)}")
    if columns is None:
        return
    missing = [name for name in columns if name not in header]
    unknown = [name for name in header if name not in columns]
    if missing or unknown:
        facts = [f"{what} {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
        raise ConfigError(f"{path}, line 1: columns {'; '.join(facts)}")
