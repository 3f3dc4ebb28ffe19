"""What `/openapi.json` says of the hot routes, which FastAPI does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.ingest.openapi_write import SECURITY_SCHEMES, problems, write_paths
from visits.record import ID_PATTERN, SITE_PATTERN
from visits.refusal import HTTP_STATUS, QUIET

_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["site", "page"],
    "properties": {
        "site": {"type": "string", "pattern": f"^{SITE_PATTERN.pattern}$"},
        "page": {"type": "string", "description": "absolute URL or path; a ping needs none"},
        "id": {"type": "string", "pattern": f"^{ID_PATTERN.pattern}$"},
        "kind": {"type": "string", "enum": ["view", "ping"], "default": "view"},
        "entry": {"type": "boolean", "description": "the referrer was not of this site"},
        "visitor": {
            "type": "string",
            "description": 'what an earlier answer told this browser to keep; read where the site says identity = "storage"',
        },
        "own": {"type": "boolean", "description": "the webmaster's own visit: not counted"},
    },
}
_TAKEN: dict[str, Any] = {
    "type": "object",
    "required": ["counted"],
    "properties": {
        "counted": {"type": "boolean"},
        "position": {"type": "string", "examples": ["3:10452"]},
        "id": {"type": "string"},
        "visitor": {
            "type": "string",
            "description": "for the browser to keep and send from now on; empty: to forget it",
        },
        "reason": {"type": "string", "enum": sorted(reason.value for reason in QUIET)},
        "hint": {"type": "string"},
    },
}


_RECENT: dict[str, Any] = {
    "description": "latest first; of this process, in memory alone",
    "content": {
        "application/json": {
            "example": {
                "views": [
                    {
                        "seconds_ago": 3.1,
                        "site": "thanhxuan",
                        "id": "tIeVv2dOqf0mYx3a",
                        "counted": False,
                        "reason": "origin",
                        "hint": "'https://www.example' is not among the origins of site 'thanhxuan'; …",
                        "position": "",
                    }
                ],
                "watch_seconds": 600,
                "asks_privacy": False,
                "untrusted_proxy": False,
                "bot": None,
            }
        }
    },
}


def describe(app: FastAPI) -> None:
    """Add the hot routes to the application's OpenAPI document."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        document = original()
        document.setdefault("paths", {}).update(_paths() | write_paths())
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes.update(SECURITY_SCHEMES)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _paths() -> dict[str, Any]:
    refused = problems(set(HTTP_STATUS.values()))
    taken = {
        "description": "taken; counted says whether it counts",
        "content": {"application/json": {"schema": _TAKEN}},
    }
    parameters = [
        {"name": name, "in": "query", "required": name != "id", "schema": {"type": "string"}}
        for name in ("site", "page", "id")
    ]
    image = {"description": "one pixel; header X-Visit-Counter tells", "content": {"image/gif": {}}}
    return {
        "/v1/views": {
            "post": {
                "tags": ["ingest"],
                "operationId": "post_view",
                "summary": "Count one view; any content type",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": _BODY},
                        "text/plain": {"schema": _BODY},
                    },
                },
                "responses": {"202": taken} | refused,
            }
        },
        "/v1/views.gif": {
            "get": {
                "tags": ["ingest"],
                "operationId": "get_view_image",
                "summary": "Count one view by an image",
                "parameters": parameters,
                "responses": {"200": image},
            }
        },
        "/v1/views/recent": {
            "get": {
                "tags": ["ingest"],
                "operationId": "get_recent_views",
                "summary": "What became of the last views of the browser that asks; watched for ten minutes from then on",
                "parameters": parameters[:1],
                "responses": {"200": _RECENT},
            }
        },
    }
