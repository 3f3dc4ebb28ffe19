"""Errors as problem documents (RFC 9457): one mapping from error to status, for every service.

`type` is stable and names the reason: `https://visit-counter.example/problems/REASON` would be a promise of a page, so it is a
relative reference, `/problems/REASON`; `reason` repeats the last part for programs.
"""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from visits.errors import InputError, PartitionStoppedError, UnavailableError
from visits.refusal import HTTP_STATUS, Refusal

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
SERVER_ERROR = 500
"""HTTP status codes from here on are the server's fault (RFC 9110 section 15.6)."""
_encoder = msgspec.json.Encoder()


class ProblemError(Exception):
    """A request that is answered with a problem document."""

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Name the stable reason and say in a sentence what to mend."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = status if status is not None else HTTP_STATUS[Refusal(reason)]
        self.headers = headers or {}


def problem_body(status: int, reason: str, detail: str, **members: object) -> bytes:
    """Return the JSON of a problem document, with members of its own (RFC 9457 section 3.2)."""
    return _encoder.encode(
        {
            "type": f"/problems/{reason}",
            "title": reason.replace("_", " "),
            "status": status,
            "reason": reason,
            "detail": detail,
            **members,
        }
    )


def problem_response(error: ProblemError) -> Response:
    """Return the response of a problem; readable across origins, never cached."""
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"} | error.headers
    if error.status in {429, 503}:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(
        problem_body(error.status, error.reason, error.detail), error.status, headers, PROBLEM_TYPE
    )


def status_of(error: Exception) -> int:
    """Return the HTTP status that an error of a route is answered with."""
    if isinstance(error, ProblemError):
        return error.status
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError | InputError):
        return HTTP_STATUS[Refusal.MALFORMED]
    if isinstance(error, UnavailableError | PartitionStoppedError):
        return HTTP_STATUS[Refusal.UNAVAILABLE]
    return SERVER_ERROR


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of FastAPI's routes with a problem document."""

    @app.exception_handler(ProblemError)
    async def on_problem(_request: Request, error: ProblemError) -> Response:
        return problem_response(error)

    @app.exception_handler(InputError)
    async def on_input(_request: Request, error: InputError) -> Response:
        return problem_response(ProblemError("malformed", str(error)))

    @app.exception_handler(UnavailableError)
    async def on_unavailable(_request: Request, error: UnavailableError) -> Response:
        return problem_response(ProblemError("unavailable", str(error)))

    @app.exception_handler(PartitionStoppedError)
    async def on_stopped(_request: Request, error: PartitionStoppedError) -> Response:
        return problem_response(ProblemError("unavailable", str(error)))

    @app.exception_handler(RequestValidationError)
    async def on_validation(_request: Request, error: RequestValidationError) -> Response:
        found = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'][1:])}: {e['msg']}" for e in error.errors()[:5]
        )
        return problem_response(ProblemError("malformed", found))

    @app.exception_handler(HTTPException)
    async def on_http(_request: Request, error: HTTPException) -> Response:
        reasons = {404: "not_found", 405: "method", 413: "too_large"}
        reason = reasons.get(
            error.status_code, "malformed" if error.status_code < SERVER_ERROR else "unavailable"
        )
        headers = dict(error.headers or {})
        return problem_response(
            ProblemError(reason, str(error.detail), status=error.status_code, headers=headers)
        )
