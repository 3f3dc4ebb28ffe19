"""The parameters that several of the api's routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from services.api.answer import Format
from services.runtime.panel import Language
from visits.counters import Metric
from visits.window import Windows

MetricName = Annotated[
    Metric | None, Query(description="visits, views or visitors; default: the site's")
]
WindowsName = Annotated[
    Windows | None, Query(description="rolling or calendar; default: the site's")
]
FormatName = Annotated[
    Format | None, Query(alias="format", description="json or csv; default: as Accept says")
]
LangName = Annotated[Language | None, Query(description="vi or en; default: the site's")]
