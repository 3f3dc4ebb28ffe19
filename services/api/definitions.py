"""What the numbers mean, in Vietnamese and English, for people who ask and for programs (`/v1/definitions`)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from services.api.answer import json_answer
from services.api.reading import Readings, tag_of
from services.api.words import NOT_COUNTED, NOTES, PERIODS, WORDS
from services.runtime.panel import Language
from services.runtime.site import Site, SiteSettings
from visits.counters import MINUTE_MS
from visits.state import Parameters
from visits.window import ROLLING_DAYS


class DefinitionRoutes:
    """What the numbers mean."""

    def __init__(self, readings: Readings) -> None:
        """Take the configuration."""
        self._readings = readings

    async def definitions(
        self,
        request: Request,
        lang: Annotated[Language | None, Query(description="default: the site's, else vi")] = None,
        site: Annotated[str | None, Query(description="adds the site's own settings")] = None,
    ) -> Response:
        """Say what the numbers mean."""
        declared = None if site is None else self._readings.site(site)
        chosen = lang or (declared.settings.lang if declared else "vi")
        parameters = self._readings.configuration.settings.parameters
        body = definitions(chosen, parameters, declared)
        return json_answer(request, body, tag_of(repr(body)))


def definitions(lang: Language, parameters: Parameters, site: Site | None) -> dict[str, Any]:
    """Return the definitions in a language, with a site's own settings if one is named."""
    settings = SiteSettings() if site is None else site.settings
    figures = {
        "visit_gap_minutes": parameters.visit_gap_ms // MINUTE_MS,
        "online_minutes": settings.online_minutes,
        "id_window_minutes": parameters.id_window_ms // MINUTE_MS,
        "ids_max_per_partition": parameters.ids_max,
        "bucket_minutes": parameters.bucket_minutes,
        "pages_max": parameters.pages_max,
        "page_days": parameters.page_days,
    }
    answer: dict[str, Any] = {
        "lang": lang,
        "words": {
            name: {"term": texts[lang][0], "meaning": texts[lang][1].format(**figures)}
            for name, texts in WORDS.items()
        },
        "windows": {
            cut.value: {window: texts[lang] for window, texts in periods.items()}
            for cut, periods in PERIODS.items()
        },
        "rolling_days": ROLLING_DAYS,
        **figures,
        "not_counted": [
            {"reason": str(reason), "why": texts[lang].format(**figures)}
            for reason, texts in NOT_COUNTED.items()
        ],
        "notes": {name: texts[lang].format(**figures) for name, texts in NOTES.items()},
    }
    if site is not None:
        answer["site"] = {
            "id": site.id,
            "name": settings.name,
            "lang": settings.lang,
            "timezone": settings.timezone,
            "windows": settings.windows.value,
            "metric": settings.metric.value,
            "online_minutes": settings.online_minutes,
            "test": settings.test,
        }
    return answer
