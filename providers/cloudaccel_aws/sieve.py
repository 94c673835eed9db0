"""Finds the few lines of a price file that are wanted, in blocks of some hundred lines and without cutting it up.

A file of a large region has a million lines, of which some thousand are of machines with accelerators. Looking at each
line took twice as long as unpacking the whole file; one search over a block takes a third of that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sieve:
    """Lets through the lines in which `pattern` is found, with all of `needed` and without `barred`.

    What passes is looked at field by field, so a sieve may let too much through, and nothing wanted may stay in it.
    """

    pattern: re.Pattern[bytes]
    needed: tuple[bytes, ...] = ()
    barred: bytes | None = None

    def lines(self, block: bytes) -> Iterator[bytes]:
        """Lines of `block`, which is of whole lines, without their ends."""
        end = -1
        for hit in self.pattern.finditer(block):
            start = hit.start()
            if start < end:
                continue  # a second hit in one line
            begin, end = block.rfind(b"\n", 0, start) + 1, block.find(b"\n", start)
            if end < 0:
                end = len(block)
            if self.barred is not None and block.find(self.barred, begin, end) >= 0:
                continue
            if all(block.find(word, begin, end) >= 0 for word in self.needed):
                yield block[begin:end].removesuffix(b"\r")


class Proved:
    """A quick sieve, beside a slow one that is known to miss nothing, until it has shown that it finds the same.

    It stands on the order of columns, which is not promised: where it misses a line of the first `PROOF` that the slow
    one finds, the slow one goes on alone.
    """

    PROOF = 20  # lines

    def __init__(self, slow: Sieve, quick: Sieve | None) -> None:
        self._slow = slow
        self._quick = quick
        self._agreed = 0

    def lines(self, block: bytes) -> Iterator[bytes]:
        """Lines of `block`, as `Sieve.lines`."""
        if self._quick is None:
            return self._slow.lines(block)
        if self._agreed >= self.PROOF:
            return self._quick.lines(block)
        found = list(self._slow.lines(block))
        self._agreed += len(found)
        if not set(found) <= set(self._quick.lines(block)):
            self._quick = None
        return iter(found)


__all__ = ["Proved", "Sieve"]
