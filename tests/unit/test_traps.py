"""What price catalogs have got wrong is numbered 1 to 95, and each number is in the name of a test that would catch it.

1 to 30 are of AWS, 31 to 58 of Google Cloud, 59 to 77 of Azure, 78 to 95 of small sellers and of tools around them; a
name may carry several (``test_traps_08_to_15_…``). The docstring of each says what its user would have believed.
"""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TRAPS = range(1, 96)
_NAMED = re.compile(r"^ *def test_traps?_(\d\d(?:_(?:to_)?\d\d)*)_", re.MULTILINE)


def numbers(words: str) -> set[int]:
    """``31_32_36``: these three; ``08_to_15``: eight in a row."""
    first, to, last = words.partition("_to_")
    return set(range(int(first), int(last) + 1)) if to else {int(word) for word in words.split("_")}


def test_every_known_trap_has_a_test_that_carries_its_number() -> None:
    found = {
        number
        for path in TESTS.rglob("test_*.py")
        for words in _NAMED.findall(path.read_text(encoding="utf-8"))
        for number in numbers(words)
    }
    assert found == set(TRAPS)
