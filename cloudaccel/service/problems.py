"""Errors as problem documents (RFC 9457): every refusal says what failed, the facts, and what to do."""

import logging
from collections.abc import Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cloudaccel.access.people import NotAllowed, NotSignedIn
from cloudaccel.errors import (
    CloudAccelError,
    ConfigError,
    LimitExceeded,
    NothingFits,
    PricingError,
    QueryError,
    StorageError,
)
from cloudaccel.service.asked import without_flags
from cloudaccel.service.guard import Busy

_LOG = logging.getLogger("cloudaccel.service")


class CursorOutdated(QueryError):
    """The catalog changed between two pages, so the next page would not continue the last one."""

    code = "cursor_outdated"


# First match wins. What is no fault of the caller is 5xx: settings, prices that are missing or damaged.
_STATUS: tuple[tuple[type[CloudAccelError], int], ...] = (
    (CursorOutdated, 410), (QueryError, 400), (NotSignedIn, 401), (NotAllowed, 403), (LimitExceeded, 403),
    (NothingFits, 409), (ConfigError, 500), (PricingError, 503), (StorageError, 503),
)  # fmt: skip


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(CloudAccelError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Busy, _busy)


def problem(request: Request, status: int, code: str, detail: str, *, choices: Sequence[str] = ()) -> JSONResponse:
    """One problem document; `choices` are the nearest known names."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": code.replace("_", " "),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": getattr(request.state, "request_id", None),
    }
    if choices:
        body["choices"] = list(choices)
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def _ours(request: Request, error: Exception) -> JSONResponse:
    ours = cast(CloudAccelError, error)
    status = getattr(ours, "status", None) or next((s for kind, s in _STATUS if isinstance(ours, kind)), 500)
    if status >= 500:  # settings and paths of this machine are for its owner, not for the caller
        _LOG.error("%s: %s", getattr(request.state, "request_id", "-"), ours)
        return problem(request, status, ours.code, "no prices can be given now. The log of the service says why.")
    return problem(request, status, ours.code, without_flags(str(ours)), choices=ours.choices)


def log_of(request: Request, error: Exception) -> None:
    """Write the kind of an error under the id of its request; its text may hold what was asked of a database."""
    _LOG.error("%s: %s", getattr(request.state, "request_id", "-"), type(error).__name__)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    faults = cast(RequestValidationError, error).errors()
    said = "; ".join(f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}" for fault in faults[:5])
    return problem(request, 400, "usage", f"{said}. The parameters are listed at /openapi.json.")


def _http(request: Request, error: Exception) -> JSONResponse:
    http = cast(HTTPException, error)
    code = {404: "not_found", 405: "wrong_method", 413: "too_large"}.get(http.status_code, "http")
    answer = problem(request, http.status_code, code, f"{http.detail}. What there is: /openapi.json.")
    answer.headers.update(http.headers or {})
    return answer


def _busy(request: Request, error: Exception) -> JSONResponse:
    answer = problem(request, 503, "busy", str(error))
    answer.headers["Retry-After"] = "2"
    return answer
