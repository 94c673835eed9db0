"""Azure China's price sheet: one CSV with the fields of the retail price list, behind an address good for hours.

The sheet says a savings plan as a row of its own, and in column ``term`` for how long a reservation or a plan is.
"""

import csv
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl, urlsplit

from cloudaccel.facts.listing import malformed, mapping
from cloudaccel.protocols import Web

PROVIDER = "azure"
OPERATION = "retail/pricesheet/download"
# learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices-china, read 2026-11; not called.
BASE_URL = "https://prices.azure.cn/api/retail/pricesheet/download"
FILES = "https://upapisachinanorth3.blob.core.chinacloudapi.cn/retailpricesasync"  # where the sheets lie
API_VERSION = "2023-06-01-preview"
_PLAIN = (
    "currencyCode", "retailPrice", "unitPrice", "armRegionName", "effectiveStartDate", "meterName", "productName",
    "skuName", "serviceName", "unitOfMeasure", "type", "armSkuName",
)  # fmt: skip
_NEEDED = ("retailPrice", "armRegionName", "productName", "serviceName", "type", "armSkuName", "unitOfMeasure")
_MACHINE = "Standard_N"  # lines without it are of other things


def items(web: Web) -> Iterator[Mapping[str, object]]:
    """The sheet's rows of machines with accelerators, as items of the retail price list. Raises `ProviderError`."""
    with web.ask(BASE_URL, query={"api-version": API_VERSION}) as answer:
        page = mapping(answer.json(), provider=PROVIDER, operation=OPERATION, what="the answer")
    url, query = _file(page.get("DownloadUrl"))
    # With a header of its own the call is noted without its query, which holds a signature.
    with web.ask(url, query=query, headers={"Accept": "text/csv"}) as answer:
        rows = csv.reader(_lines(answer.lines()))
        header = [name.strip() for name in next(rows, list[str]())]
        if lacking := [name for name in _NEEDED if name not in header]:
            raise malformed(PROVIDER, OPERATION, f"the sheet has no column {', '.join(lacking)}")
        for row in rows:
            if len(row) != len(header):
                raise malformed(PROVIDER, OPERATION, f"a line of {len(row)} fields where the header has {len(header)}")
            yield _item(dict(zip(header, row, strict=True)))


def _lines(lines: Iterator[str]) -> Iterator[str]:
    """The header, the lines of machines, and the last one of all: a sheet that was cut short shows it there."""
    yield next(lines, "").removeprefix("\ufeff")
    last = ""
    for line in lines:
        if _MACHINE in line:
            yield line
        last = line
    if last and _MACHINE not in last:
        yield last


def _file(link: object) -> tuple[str, Mapping[str, str]]:
    """Address and query of the sheet. Only the known place is taken: no answer sends us to another host."""
    if not isinstance(link, str) or not link.startswith(FILES + "/") or ".." in link:
        raise malformed(PROVIDER, OPERATION, f"DownloadUrl is no address below {FILES}")
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query, keep_blank_values=True))


def _item(row: Mapping[str, str]) -> Mapping[str, object]:
    found: dict[str, object] = {name: row[name] for name in _PLAIN if name in row}
    found["reservationTerm"] = row.get("reservationTerm") or row.get("term") or ""
    found["isPrimaryMeterRegion"] = row.get("isPrimaryMeterRegion", "").strip().lower() != "false"
    try:
        found["tierMinimumUnits"] = Decimal(row.get("tierMinimumUnits") or 0)
    except InvalidOperation:
        raise malformed(
            PROVIDER, OPERATION, f"{row['armSkuName'][:60]}: a tier from {row['tierMinimumUnits'][:20]!r}"
        ) from None
    return found


__all__ = ["BASE_URL", "FILES", "items"]
