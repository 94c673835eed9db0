"""What people see, kept as files: ``REWRITE_GOLDEN=1 pytest tests/unit/decide/test_golden.py`` writes them again."""

import os
import re
from pathlib import Path

import pytest

from tests.support import price_file, run

GOLDEN = Path(__file__).parents[2] / "golden" / "decide"
ROW = "datacrunch,FIN-01,,2H100.80S,H100-SXM,2,80,,on-demand,4.38,USD,2026-09-24,worked example"
OWN = (
    "own:8xH100,capex=379500,residual=10%..20%..30%,years=3,kw=10.2,pue=1.3,kwh=0.10..0.15..0.25,"
    "colo=120/kW-month,staff=30000/y"
)
COMPARE = (
    "compare", "--demand", "400M-tokens/month", "--rents", "3.00,6.88", "--sensitivity", "--samples", "200",
    "--option", "api:price=0.60..0.90..1.20/Mtok",
    "--option", "rent:H100-SXM:2@datacrunch,throughput=1500tok/s",
    "--option", OWN,
)  # fmt: skip
CASES = {
    "compare.txt": COMPARE,
    "compare-explain.txt": (*COMPARE, "--explain"),
    "compare-table-of-owning.txt": ("compare", "--option", "own:dgx-a100-320gb,systems=500,kwh=0.086", "--explain"),
    "advise.txt": ("advise", "--data-may-leave", "no", "--need", "behaviour", "--own-data", "yes", "--skills", "some"),
}


@pytest.mark.parametrize("name", CASES)
def test_output(name: str, tmp_path: Path) -> None:
    catalog = price_file(tmp_path, ROW)
    answer = run(*CASES[name], "--catalog", str(catalog))
    assert answer.code == 0, answer.err
    text = re.sub(r"given by you, \d{4}-\d\d-\d\d|H100-SXM:2, \d{4}-\d\d-\d\d", "given by you, DAY", answer.out)
    path = GOLDEN / name
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="")
    assert text == path.read_text(encoding="utf-8")
