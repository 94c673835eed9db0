"""A client of ``cloudaccel serve``, on Python's own HTTP: the verbs as methods, offers as `cloudaccel.model.Offer`.

from cloudaccel.client import Client

with Client("https://prices.example.org", token="cloudaccel_…") as service:
    for offer in service.offers("H100-SXM:8", residency="EU"):
        print(offer.provider, offer.region, offer.price.amount)

What the service refuses is raised as the error that the same question raises in Python. Answers that did not come are
asked for again: every method only reads, or makes nothing twice.
"""

import http.client
import json
import os
import random
import ssl
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, TypeVar
from urllib.parse import quote as quoted
from urllib.parse import urlencode, urlsplit

from cloudaccel import __version__
from cloudaccel.errors import (
    AmbiguousName,
    AuthError,
    CloudAccelError,
    ConfigError,
    Conflict,
    LimitExceeded,
    MalformedResponse,
    NothingFits,
    PricingError,
    ProviderError,
    ProviderUnavailable,
    QueryError,
    RateLimited,
    UnknownName,
)
from cloudaccel.model import Availability, Offer, Price, PricePart, Source
from cloudaccel.untrusted import json_of

if TYPE_CHECKING:
    from typing import Unpack

_T = TypeVar("_T")
_AGAIN = frozenset({429, 502, 503, 504})
_MOST_BYTES = 256 * 2**20  # of one answer, unpacked
_CHUNK = 1 << 20
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 10.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAME = "the service"


Words = str | Sequence[str]


class Filters(TypedDict, total=False):
    """The filters of ``/v1/offers``, as the flags of ``cloudaccel quote``. Sizes are nominal GB."""

    instance: str
    kind: Words
    provider: Words
    region: Words
    country: Words
    residency: str
    market: Words
    min_mem: str | float
    min_total_mem: str | float
    host_mem: str | float
    vcpu: str | float
    interconnect: str
    max_price: str | Decimal
    max_hourly: str | Decimal
    max_age: str
    require_available: bool
    allow_fraction: bool
    currency: str
    sort: str
    tax: str


class PricesChanged(QueryError):
    """The catalog of the service changed between two pages: what came before belongs to other prices. Ask again."""

    code = "cursor_outdated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some offers of an answer. `total` counts all that match; `hidden` what filters hid, by reason."""

    offers: tuple[Offer, ...]
    total: int
    hidden: Mapping[str, int]
    warnings: tuple[str, ...]
    hints: tuple[str, ...]
    catalog_id: str
    catalog_as_of: str | None
    next_cursor: str | None


class Client:
    """One service. Safe to use from several threads.

    Parameters
    ----------
    address
        ``https://prices.example.org`` or with a path before ``/v1``. Plain http sends no token, but to this machine.
    token
        A token of ``cloudaccel token``, or of the organisation.
    timeout_s
        For how long one answer may stay silent, seconds.
    tries
        How often a question is asked when no answer comes or the service is busy, 1 or more.
    context
        Certificates to trust; None: those of the system.

    Raises
    ------
    ConfigError
        If the address cannot be used, or would carry the token in the clear.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        tries: int = 4,
        context: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ConfigError(f"{address!r} is no address of a service. Write it as https://prices.example.org.")
        if token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(f"a token for {parts.hostname} would travel in the clear. Use https.")
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = (context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = {"Accept-Encoding": "gzip", "User-Agent": f"cloudaccel/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._tries = max(1, tries)
        self._sleep = sleep
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Client":
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every connection that is not in use; the next question opens another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- prices -------------------------------------------------------------------------------------------------------

    def offers(
        self, accelerator: str | None = None, *, page: int = 500, **filters: "Unpack[Filters]"
    ) -> Iterator[Offer]:
        """Every offer that matches, cheapest first; pages are asked for as they are needed.

        Raises
        ------
        QueryError, UnknownName, PricesChanged
            As `quote` does; the last one when other prices were published on the way.
        """
        cursor: str | None = None
        while True:
            found = self.page(accelerator, limit=page, cursor=cursor, **filters)
            yield from found.offers
            cursor = found.next_cursor
            if cursor is None:
                return

    def page(
        self,
        accelerator: str | None = None,
        *,
        limit: int = 100,
        cursor: str | None = None,
        **filters: "Unpack[Filters]",
    ) -> Page:
        """One page of offers, with what was hidden and warned of; raises as `offers`."""
        asked = {"accelerator": accelerator, "limit": limit, "cursor": cursor, **filters}
        body = self._get("/v1/offers", asked)
        with _reading("/v1/offers"):
            return Page(
                offers=tuple(_offer(row) for row in body["offers"]),
                total=body["total"],
                hidden={row["reason"]: row["count"] for row in body["hidden"]},
                warnings=tuple(row["text"] for row in body["warnings"]),
                hints=tuple(body["hints"]),
                catalog_id=body["catalog"]["id"],
                catalog_as_of=body["catalog"]["as_of"],
                next_cursor=body["next_cursor"],
            )

    def history(self, *offer_ids: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Every known price of some offers by id, oldest first; each as in docs/reference/json.md."""
        body = self._get("/v1/history", {"offer": list(offer_ids)})
        with _reading("/v1/history"):
            return {row["offer"]: row["versions"] for row in body["histories"]}

    def explain(self, name: str) -> Mapping[str, Any]:
        """What a name means: an id, a family, a cloud's spelling, an instance type. Raises `UnknownName`."""
        body = self._get(f"/v1/accelerators/{quoted(name, safe='')}", {})
        with _reading("/v1/accelerators"):
            return body["names"][0]

    def providers(self) -> Sequence[Mapping[str, Any]]:
        """Every seller, with the dates of its prices."""
        return self._get("/v1/providers", {})["providers"]

    def regions(self, provider: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Regions with country, operator and the carbon of the grid."""
        return self._get("/v1/regions", {"provider": provider})["regions"]

    def catalog(self) -> Mapping[str, Any]:
        """Which catalog answers, and how old it is."""
        return self._get("/v1/catalog", {})

    def catalog_file(self, target: Path, known: str | None = None) -> str | None:
        """Write the catalog that answers, an SQLite file, to `target`; its id, or None when it is `known` still.

        Raises
        ------
        ProviderUnavailable, PricingError
            If it does not come whole; what is at `target` then is of no use.
        OSError
            If `target` cannot be written.
        """
        path = "/v1/catalog/file"
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if known is not None:
            headers["If-None-Match"] = f'"{known}"'

        def said(part: Callable[[], _T]) -> _T:
            try:
                return part()
            except (OSError, http.client.HTTPException) as error:
                raise _unavailable(self._host, 1, path, error) from error

        connection = self._connected()
        try:
            said(lambda: connection.request("GET", self._base + path, None, headers))
            answer = said(connection.getresponse)
            if answer.status == 304:
                return None
            if answer.status != 200:
                _refuse(answer.status, said(lambda: answer.read(_MOST_BYTES)), path)
            with target.open("wb") as file:
                while chunk := said(lambda: answer.read(_CHUNK)):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        finally:
            connection.close()
        return (answer.getheader("etag") or "").removeprefix("W/").strip('"')

    # -- decisions ----------------------------------------------------------------------------------------------------

    def plan(self, job: Mapping[str, Any], **options: Any) -> Mapping[str, Any]:
        """The lock of the cheapest plan for a job as in ``job.yaml``; ``chosen`` is None when nothing fits."""
        return self._post("/v1/plan", {"job": dict(job), **options})

    def compare(self, options: Sequence[str], **given: Any) -> Mapping[str, Any]:
        """Ways of getting the same result, costed side by side."""
        return self._post("/v1/compare", {"options": list(options), **given})

    def advise(self, answers: Mapping[str, str | float | bool] | None = None, **given: Any) -> Mapping[str, Any]:
        """What the rules recommend: call an API, adapt or build; rent or own."""
        return self._post("/v1/advise", {"answers": dict(answers or {}), **given})

    # -- runs ---------------------------------------------------------------------------------------------------------

    def start(self, lock: Mapping[str, Any], *, key: str | None = None, **limits: Any) -> Mapping[str, Any]:
        """Ask for the run of a lock, where the service starts any; its run, or the approval that a second person owes.

        `key` makes the same request one run, however often it is sent; None: a new one, the same for all tries.
        `limits` are ``max_total``, ``max_hourly``, ``lease``, ``project``, ``key_name`` and ``ssh_cidr``.
        """
        sent = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._post("/v1/runs", {"lock": dict(lock), **limits}, sent)

    def runs(self, *, all: bool = False, limit: int = 100) -> Sequence[Mapping[str, Any]]:  # noqa: A002
        """The runs of your project, newest first; `all`: also those that are over."""
        return self._get("/v1/runs", {"all": all, "limit": limit})["runs"]

    def run(self, run_id: str) -> Mapping[str, Any]:
        """One run under ``run``, with ``attempts`` and ``resources``."""
        return self._get(f"/v1/runs/{quoted(run_id, safe='')}", {})

    def extend(self, run_id: str, until: datetime) -> Mapping[str, Any]:
        """The run with its lease until then, an aware time, inside the deadline of its launch."""
        if until.tzinfo is None:
            raise QueryError("until: a time with its offset is needed, such as datetime(…, tzinfo=UTC).")
        return self._post(f"/v1/runs/{quoted(run_id, safe='')}/extend", {"until": until.isoformat()})["run"]

    def down(self, run_id: str) -> Mapping[str, Any]:
        """End the run; it is gone only when its state says ``deleted``."""
        return self._post(f"/v1/runs/{quoted(run_id, safe='')}/down", {})["run"]

    def approvals(self) -> Sequence[Mapping[str, Any]]:
        """What waits for a second person, and what was decided."""
        return self._get("/v1/approvals", {})["approvals"]

    def approval(self, approval_id: str) -> Mapping[str, Any]:
        """One of them: ``waiting``, ``approved`` with the id of its ``run``, ``refused`` or ``expired``."""
        return self._get(f"/v1/approvals/{quoted(approval_id, safe='')}", {})["approval"]

    def decide(self, approval_id: str, *, approve: bool, note: str = "") -> Mapping[str, Any]:
        """Agree, which starts the run, or refuse; never by the person who asked. Said twice, it counts once.

        Raises
        ------
        AuthError
            If it is your own request, or your token does not let you decide.
        Conflict
            If it was decided otherwise, by somebody else, or is too old.
        """
        body = {"approve": approve, "note": note}
        return self._post(f"/v1/approvals/{quoted(approval_id, safe='')}", body)["approval"]

    def audit(self, *, before: int | None = None, limit: int = 100) -> Mapping[str, Any]:
        """Who did what, newest first, under ``entries``; ``broken_at`` None: nothing was changed. Needs scope admin."""
        return self._get("/v1/audit", {"before": before, "limit": limit})

    # -- inside -------------------------------------------------------------------------------------------------------

    def _get(self, path: str, parameters: Mapping[str, Any]) -> Any:
        given = {key: _text(value) for key, value in parameters.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given, doseq=True)}" if given else path, None)

    def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        given = {key: value for key, value in body.items() if value is not None}
        return self._ask("POST", path, json.dumps(given, default=str).encode(), headers or {})

    def _ask(self, method: str, path: str, body: bytes | None, sent: Mapping[str, str] | None = None) -> Any:
        """The JSON of an answer, asked for until it comes or `tries` are used up."""
        wait_s, tried = _FIRST_WAIT_S, 0
        while True:
            tried += 1
            try:
                status, headers, raw = self._once(method, path, body, sent or {})
            except (OSError, http.client.HTTPException) as error:
                if tried >= self._tries:
                    raise _unavailable(self._host, tried, path, error) from error
                delay = wait_s
            else:
                if status < 400:
                    return _parsed(raw, path)
                if status not in _AGAIN or tried >= self._tries:
                    _refuse(status, raw, path)
                delay = max(wait_s, _seconds(headers.get("retry-after", "")))
            self._sleep(min(delay, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
            wait_s *= 2

    def _once(
        self, method: str, path: str, body: bytes | None, sent: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        with self._lock:
            connection = self._idle.pop() if self._idle else self._connected()
        try:
            headers = {**self._headers, **sent, **({"Content-Type": "application/json"} if body is not None else {})}
            connection.request(method, self._base + path, body, headers)
            answer = connection.getresponse()
            raw = answer.read(_MOST_BYTES + 1)
            if len(raw) > _MOST_BYTES:
                raise http.client.HTTPException("the answer is too long")
            said = {name.lower(): value for name, value in answer.getheaders()}
            raw = _unpacked(raw) if said.get("content-encoding") == "gzip" else raw
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return answer.status, said, raw

    def _connected(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)


def _unavailable(host: str, tried: int, path: str, error: Exception) -> ProviderUnavailable:
    times = "" if tried == 1 else f" {tried} times"
    return ProviderUnavailable(
        f"{host} did not answer{times}: {str(error) or type(error).__name__}. Is cloudaccel serve running there?",
        provider=_NAME, operation=path.partition("?")[0], code=type(error).__name__,
    )  # fmt: skip


def _unpacked(raw: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(raw, _MOST_BYTES)
    except zlib.error as error:
        raise http.client.HTTPException("the answer is damaged") from error
    if unpacker.unconsumed_tail:
        raise http.client.HTTPException("the answer is too long")
    return text


def _text(value: Any) -> Any:
    """A parameter as the address has it: ``true`` for True, each of a list by itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return [str(one) for one in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _parsed(raw: bytes, path: str) -> Any:
    try:
        body = json_of(raw)
    except ValueError as error:
        raise _malformed(path) from error
    if not isinstance(body, dict):
        raise _malformed(path)
    return body  # pyright: ignore[reportUnknownVariableType]


def _malformed(path: str) -> MalformedResponse:
    where = path.partition("?")[0]
    return MalformedResponse(
        f"what answers at {where} is no cloudaccel service, or of another version. Check the address.", provider=_NAME,
        operation=where, code="malformed",
    )  # fmt: skip


class _reading:  # noqa: N801 - reads as a word: with _reading(path)
    """Says so when an answer lacks what it should have."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, ArithmeticError, IndexError)):
            raise _malformed(self._path) from error


def _refuse(status: int, raw: bytes, path: str) -> NoReturn:
    """Raise the error that a problem document tells of."""
    try:
        said: Any = json_of(raw)
        code, detail = str(said["code"]), str(said["detail"])
        choices = tuple(str(choice) for choice in said.get("choices", ()))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _malformed(path) from None
    where = path.partition("?")[0]
    about: dict[str, Any] = {"provider": _NAME, "operation": where, "code": code}
    if code == PricesChanged.code:
        raise PricesChanged(detail)
    if status < 500 and code in _SAME:
        raise _SAME[code](detail, choices=choices)
    if status in (401, 403):
        raise AuthError(detail, **about)
    if status == 429:
        raise RateLimited(detail, **about)
    if status == 404:
        raise UnknownName(detail, choices=choices)
    if status == 409:
        raise Conflict(detail, **about)
    if status < 500:
        raise QueryError(detail, choices=choices)
    if code in ("busy", "error"):
        raise ProviderUnavailable(detail, **about)
    raise PricingError(detail) if status == 503 else ProviderError(detail, **about)


# Errors that mean the same here as without a service, by the code that they travel under.
_SAME: Mapping[str, type[CloudAccelError]] = {
    kind.code: kind for kind in (QueryError, UnknownName, AmbiguousName, LimitExceeded, NothingFits)
}


def _offer(row: Mapping[str, Any]) -> Offer:
    accelerator, market, available = row["accelerator"], row["market"], row["availability"]
    return Offer(
        id=row["id"], provider=row["provider"], partition=row["partition"], region=row["region"], zone=row["zone"],
        country=row["country"], operator_country=row["operator_country"], service=row["service"],
        instance=row["instance"], accelerator_id=accelerator["id"], accelerator_name=accelerator["name"],
        count=_count(accelerator), accelerator_memory_gib=accelerator["memory_gib_each"], hosts=row["hosts"],
        sold_per=row["sold_per"], vcpus=row["vcpus"], memory_gib=row["memory_gib"], market=market["type"],
        term=market["term"], payment=market["payment"], offering_class=market["class"], price=_price(row["price"]),
        availability=Availability(state=available["state"], last_seen=available["last_seen"]),
        apart=tuple(row["apart"]),
    )  # fmt: skip


def _count(accelerator: Mapping[str, Any]) -> Fraction | None:
    if accelerator["fraction"] is not None:
        return Fraction(accelerator["fraction"])
    return None if accelerator["count"] is None else Fraction(str(accelerator["count"]))


def _price(row: Mapping[str, Any]) -> Price:
    source = row["source"]
    return Price(
        amount=_money(row["price_per_hour"]), currency=row["currency"], status=row["status"], as_of=row["as_of"],
        as_of_until=row["as_of_until"], upfront=_money(row["upfront"]), effective_at=row["effective_at"],
        parts=tuple(_part(part) for part in row["parts"]), note=row["note"] or "",
        source=Source(
            id=source["name"], name=source["name"], path=source["path"], revision=source["revision"],
            licence=source["licence"], url=source["url"],
        ),
    )  # fmt: skip


def _part(row: Mapping[str, Any]) -> PricePart:
    return PricePart(
        name=row["name"], quantity=Decimal(row["quantity"]), unit_price=_money(row["unit_price"]),
        amount=_money(row["price_per_hour"]),
    )  # fmt: skip


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


__all__ = ["Client", "Filters", "Page", "PricesChanged"]
