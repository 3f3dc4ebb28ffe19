"""What `/openapi.json` shows of each answer."""

from __future__ import annotations

from typing import Any

ANSWERS: dict[str, dict[int | str, dict[str, Any]]] = {}
