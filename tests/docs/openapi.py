"""Writes docs/reference/openapi.json from the service: ``python -m tests.docs.openapi``."""

import json
import sys
from pathlib import Path

import sqlalchemy as sa

from cloudaccel.service.app import create_app
from cloudaccel.service.runs import Runs

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


def page() -> str:
    """The whole file."""
    runs = Runs(sa.create_engine("sqlite://"))  # asked nothing; its routes are off unless serve is told otherwise
    return json.dumps(create_app(runs=runs).openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
