"""Writes docs/reference/openapi.json from the service: ``python -m tests.docs.openapi``."""

import json
import sys
from pathlib import Path

from cloudaccel.service.app import create_app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


def page() -> str:
    """The whole file."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
