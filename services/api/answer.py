"""Answers as they go over the wire: JSON or CSV, with a tag of the numbers, readable across origins."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal

import msgspec
from fastapi import Request, Response
from msgspec import Struct

from services.api.lane import Kept
from services.api.reading import CACHED, CORS, HTTP_NOT_MODIFIED, HTTP_OK, has_tag, tag_of
from services.api.table import CSV_TYPE

JSON_TYPE = "application/json"
Format = Literal["json", "csv"]
FORMS_MAX = 8
"""How many forms of one answer are kept."""

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


class Told(Struct):
    """An answer in the forms it can be told in, none of them made yet.

    Attributes:
        name: of the file that a browser saves the CSV under.
        body: makes the JSON.
        table: makes the CSV.
        numbers: makes what the tag follows: all but the moment of telling.
    """

    name: str
    body: Callable[[], dict[str, Any]]
    table: Callable[[], bytes]
    numbers: Callable[[], object]


def negotiated(
    request: Request, asked: Format | None, kept: Kept[Any], variant: Hashable, told: Told
) -> Response:
    """Return the form that was asked for, by `format=` or else by `Accept`; each is made once for all who ask.

    Args:
        request: for its headers.
        asked: what `format=` says.
        kept: the answer, which keeps its forms.
        variant: what else the form depends on.
        told: how to make it.
    """
    is_csv = asked == "csv" or (asked is None and prefers_csv(request.headers.get("accept", "")))
    form = kept.forms.get((is_csv, variant))
    if form is None:
        content = told.table() if is_csv else _encoder.encode(told.body())
        form = (content, tag_of(f"{is_csv}{told.numbers()!r}"))
        if len(kept.forms) < FORMS_MAX:
            kept.forms[is_csv, variant] = form
    content, tag = form
    if not is_csv:
        return conditional(request, content, JSON_TYPE, tag, Vary="Accept")
    disposition = {"Content-Disposition": f'attachment; filename="{told.name}.csv"'}
    return conditional(request, content, CSV_TYPE, tag, Vary="Accept", **disposition)


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
