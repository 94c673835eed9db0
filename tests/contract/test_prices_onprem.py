"""Owned machines keep the contract of price adapters: their offers join the catalog like any other."""

from pathlib import Path

import pytest

from cloudaccel.errors import ConfigError
from cloudaccel.protocols import Prices
from cloudaccel.testing.cloud import FakeCloud
from cloudaccel.testing.prices import PricesContract
from cloudaccel_onprem import Inventory

ROWS = """\
machine,machines,site,country,system,accelerator,count,price_per_hour,as_of
dgx-1,4,Paris,FR,dgx-h100,,,,2026-11-01
finance,1,Lyon,FR,,L40S,8,6.10,2026-11-01
finance,2,Paris,FR,,L40S,8,6.10,2026-11-01
"""


class TestOnPrem(PricesContract):
    @pytest.fixture(autouse=True)
    def inventory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "inventory.csv"
        self.path.write_text(ROWS, encoding="utf-8")

    def prices(self) -> Prices:
        return Inventory(self.path)

    def serve(self, cloud: FakeCloud) -> None:
        """Nothing: a file is read."""

    def test_two_rows_of_one_machine_are_refused(self) -> None:
        self.path.write_text(ROWS + "finance,3,Lyon,FR,,L40S,8,7.00,2026-11-01\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="line 5: finance at Lyon is on line 3 too"):
            self.prices().scopes()
