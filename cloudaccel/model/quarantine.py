"""Why a price is quarantined: a code for machines beside the sentence for people. Writer and reader share the words."""

import re
from functools import cache

# Code -> the words of the note; what stands in braces differs.
WORDS = {
    "price_moved": "it was {last}, and prices move by {most} times at most",
    "spot_above_on_demand": "on demand costs {on_demand}",
    "outlier_low": "{each} per accelerator, where {middle} is the median of its kind",
    "above_maximum": "{known} per hour is above {most}",
    "rows_disagree": "quarantined: another row says {other}, this one said {own}",
    "source_noted": "quarantined: {why}; the price was {price}",
}
UNNAMED = "other"


def quarantine_reason(status: str, note: str) -> str | None:
    """The code of a quarantined price from its note; None for a price that is not, `UNNAMED` for another's words."""
    if status != "quarantined":
        return None
    return next((code for code, pattern in _patterns() if pattern.search(note)), UNNAMED)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    parts = ((code, re.split(r"{\w+}", words)) for code, words in WORDS.items())
    return tuple((code, re.compile(".+".join(re.escape(part) for part in found), re.DOTALL)) for code, found in parts)
