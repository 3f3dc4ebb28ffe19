"""What `/openapi.json` says of the routes that need a token: batches and corrections."""

from __future__ import annotations

from typing import Any

from services.runtime.problem import PROBLEM_TYPE
from visits.counters import Metric
from visits.record import AMOUNT_MAX, ID_PATTERN, SITE_PATTERN
from visits.refusal import HTTP_STATUS, QUIET

_TEXT: dict[str, Any] = {"type": "string"}
_ID: dict[str, Any] = {"type": "string", "pattern": f"^{ID_PATTERN.pattern}$"}
_MOMENT_TYPES: list[dict[str, Any]] = [
    {"type": "string", "format": "date-time"},
    {"type": "integer", "description": "Unix milliseconds"},
]
_LINE: dict[str, Any] = {
    "type": "object",
    "required": ["at", "visitor", "page"],
    "properties": {
        "at": {"oneOf": _MOMENT_TYPES, "description": "24 hours back to 5 minutes ahead"},
        "visitor": {
            "type": ["string", "null"],
            "minLength": 16,
            "maxLength": 64,
            "description": "any name of the reader, hashed here; null for one who asked not to be told apart",
        },
        "page": {"type": "string", "description": "absolute URL or path"},
        "id": _ID,
        "site": {"type": "string", "pattern": f"^{SITE_PATTERN.pattern}$"},
        "entry": {"type": "boolean", "description": "the referrer was not of this site"},
    },
}
_LINES_EXAMPLE = """\
{"at":"2026-11-24T08:00:00+07:00","visitor":"d41d8cd98f00b204","page":"/tin-tuc/bai-1"}
{"at":"2026-11-24T08:00:00+07:00","visitor":"e9800998ecf8427e","page":"/","id":"order-000001"}
"""
_TAKEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer"},
        "duplicates": {"type": "integer", "description": "lines that repeat an id of the body"},
        "position": {"type": "string", "examples": ["3:10452"], "description": "of the last line"},
    },
}
_END: dict[str, Any] = {
    "oneOf": [*_MOMENT_TYPES, {"type": "null"}],
    "description": "the end of a bucket; both null: before every bucket",
}
_AMOUNT: dict[str, Any] = {"type": "integer", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX}
_SPAN: dict[str, Any] = {
    "type": "object",
    "required": ["from", "n"],
    "properties": {"from": _END, "to": _END, "n": _AMOUNT},
}
_DELTA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": _ID | {"description": "counts once, for ever"},
        "metric": {"type": "string", "enum": [metric.value for metric in Metric]},
        "spans": {"type": "array", "items": _SPAN},
        "pages": {
            "type": "object",
            "additionalProperties": _AMOUNT,
            "description": "page → views to add to it in all",
        },
        "who": {"type": "string", "description": "default: which token it was"},
        "why": _TEXT,
        "evidence": _TEXT,
        "estimated": {"type": "boolean", "description": "only the sum is known, not its spread"},
    },
}
_DELTA_EXAMPLE: dict[str, Any] = {
    "id": "correction-2026-11-24",
    "metric": "visits",
    "spans": [{"from": "2026-11-24T08:00:00+07:00", "to": "2026-11-24T10:00:00+07:00", "n": -120}],
    "who": "webmaster",
    "why": "a load test ran into the portal",
    "evidence": "report 12/2026",
}
_CORRECTED: dict[str, Any] = {
    "type": "object",
    "properties": {"accepted": {"type": "boolean"}, "id": _TEXT, "position": _TEXT},
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": _TEXT,
    "description": "makes the ids of what has none; else the body does",
}
_SITE: dict[str, Any] = {"name": "site", "in": "path", "required": True, "schema": _TEXT}

SECURITY_SCHEMES: dict[str, Any] = {"token": {"type": "http", "scheme": "bearer"}}


def write_paths() -> dict[str, Any]:
    """Return the paths of the routes that need a token."""
    common: dict[str, Any] = {"tags": ["ingest"], "security": [{"token": []}]}
    refused = problems({400, 401, 404, 405, 408, 413, 503})
    lines = {"application/x-ndjson": {"schema": _LINE, "example": _LINES_EXAMPLE}}
    batch = {
        "operationId": "post_batch",
        "summary": "Count views that a server saw: lines of JSON, all or none",
        "parameters": [_KEY],
        "requestBody": {"required": True, "content": lines},
        "responses": {"202": _answer("the log has every line", _TAKEN)} | refused,
    }
    correction = {"application/json": {"schema": _DELTA, "example": _DELTA_EXAMPLE}}
    delta = {
        "operationId": "post_delta",
        "summary": "Correct numbers; the ledger says whether it applied",
        "parameters": [_SITE, _KEY],
        "requestBody": {"required": True, "content": correction},
        "responses": {"202": _answer("the log has it", _CORRECTED)} | refused,
    }
    return {
        "/v1/batches": {"post": common | batch},
        "/v1/sites/{site}/deltas": {"post": common | delta},
    }


def problems(statuses: set[int]) -> dict[str, Any]:
    """Return the problem documents of these statuses, each with its reasons."""
    schema = {"type": "object", "properties": {"reason": _TEXT}}
    reasons: dict[int, list[str]] = {}
    for reason, status in HTTP_STATUS.items():
        if status in statuses and reason not in QUIET:
            reasons.setdefault(status, []).append(reason.value)
    return {
        str(status): {
            "description": ", ".join(found),
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
        for status, found in sorted(reasons.items())
    }


def _answer(meaning: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}
