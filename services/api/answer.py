"""Answers as they go over the wire: JSON or CSV, with a tag of the numbers, readable across origins."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from fastapi import Request, Response

from services.api.reading import CACHED, CORS, HTTP_NOT_MODIFIED, HTTP_OK, has_tag, tag_of
from services.api.table import CSV_TYPE

JSON_TYPE = "application/json"
Format = Literal["json", "csv"]
_encoder = msgspec.json.Encoder()


def conditional(
    request: Request, content: bytes, media_type: str, tag: str, **headers: str
) -> Response:
    """Return an answer, or 304 to those who have it already."""
    sent = CORS | {"Cache-Control": CACHED, "ETag": tag} | headers
    if has_tag(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTP_NOT_MODIFIED, headers=sent)
    return Response(content, HTTP_OK, sent, media_type)


def json_answer(request: Request, body: dict[str, Any], tag: str) -> Response:
    """Return a JSON answer whose `tag` follows what is told, not the moment of telling."""
    return conditional(request, _encoder.encode(body), JSON_TYPE, tag)


def uncached(body: dict[str, Any]) -> Response:
    """Return a JSON answer for the one who asks alone."""
    return Response(_encoder.encode(body), HTTP_OK, CORS | {"Cache-Control": "no-store"}, JSON_TYPE)


def negotiated(
    request: Request,
    told: Format | None,
    name: str,
    body: dict[str, Any],
    table: bytes,
    numbers: Any,
) -> Response:
    """Return the form that was asked for, by `format=` or else by `Accept`.

    Args:
        request: for its headers.
        told: what `format=` says.
        name: of the file that a browser saves the CSV under.
        body: the JSON.
        table: the CSV.
        numbers: what the tag follows: all but the moment of telling.
    """
    is_csv = told == "csv" or (told is None and prefers_csv(request.headers.get("accept", "")))
    tag = tag_of(f"{is_csv}{numbers!r}")
    if is_csv:
        disposition = f'attachment; filename="{name}.csv"'
        return conditional(
            request, table, CSV_TYPE, tag, Vary="Accept", **{"Content-Disposition": disposition}
        )
    return conditional(request, _encoder.encode(body), JSON_TYPE, tag, Vary="Accept")


def prefers_csv(accept: str) -> bool:
    """Claim that `Accept` wants CSV more than JSON (RFC 9110 section 12.5.1)."""
    weights = {"text/csv": 0.0, JSON_TYPE: 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = [piece.strip() for piece in part.split(";")]
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter.removeprefix("q="))
                except ValueError:
                    weight = 0.0
        if kind in weights:
            weights[kind] = max(weights[kind], weight)
    return weights["text/csv"] > weights[JSON_TYPE]
