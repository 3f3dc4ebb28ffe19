"""What the numbers mean, in Vietnamese and English, for people who ask and for programs (`/v1/definitions`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from services.api.answer import json_answer
from services.api.reading import Readings, tag_of
from services.runtime.site import Site
from visits.counters import MINUTE_MS
from visits.refusal import QUIET
from visits.state import Parameters
from visits.window import ROLLING_DAYS

WORDS: dict[str, dict[str, tuple[str, str]]] = {
    "vi": {
        "view": ("lượt xem", "một trang được hiển thị một lần"),
        "visit": (
            "lượt truy cập",
            "một chuỗi lượt xem của một người trên một trang, không ngắt quãng quá 30 phút; không cắt lúc nửa đêm",
        ),
        "visitor": (
            "khách",
            "một bí danh của một trang trong một ngày; khách của tuần là tổng khách các ngày",
        ),
        "online": (
            "đang online",
            "số người xem trang trong vài phút vừa qua, mỗi người tính một lần",
        ),
        "total": ("tổng", "số chuyển từ bộ đếm cũ + số đã đếm + số đã hiệu chỉnh"),
        "not_counted": ("không đếm", "robot, tải trước, lượt của chính mình, lượt gửi lại cùng mã"),
    },
    "en": {
        "view": ("view", "a page shown once"),
        "visit": (
            "visit",
            "a run of one reader's events on one site without a gap above 30 minutes; not cut at midnight",
        ),
        "visitor": (
            "visitor",
            "one pseudonym of one site on one local day; visitors of a week are the days' visitors added up",
        ),
        "online": ("online", "readers seen in the last minutes, each once"),
        "total": ("total", "carried over + counted + corrected"),
        "not_counted": (
            "not counted",
            "robots, prefetches, one's own visits, repeats of the same id",
        ),
    },
}


class DefinitionRoutes:
    """What the numbers mean."""

    def __init__(self, readings: Readings) -> None:
        """Take the configuration."""
        self._readings = readings

    async def definitions(
        self,
        request: Request,
        lang: Annotated[
            Literal["vi", "en"] | None, Query(description="default: the site's, else vi")
        ] = None,
        site: Annotated[str | None, Query(description="adds the site's own settings")] = None,
    ) -> Response:
        """Say what the numbers mean."""
        declared = None if site is None else self._readings.site(site)
        chosen = lang or (declared.settings.lang if declared else "vi")
        parameters = self._readings.configuration.settings.parameters
        body = definitions(chosen, parameters, declared)
        return json_answer(request, body, tag_of(repr(body)))


def definitions(lang: str, parameters: Parameters, site: Site | None) -> dict[str, Any]:
    """Return the definitions in a language, with a site's own settings if one is named."""
    answer: dict[str, Any] = {
        "lang": lang,
        "words": {
            name: {"term": term, "meaning": meaning}
            for name, (term, meaning) in WORDS[lang].items()
        },
        "visit_gap_minutes": parameters.visit_gap_ms // MINUTE_MS,
        "bucket_minutes": parameters.bucket_minutes,
        "rolling_days": ROLLING_DAYS,
        "id_window_minutes": parameters.id_window_ms // MINUTE_MS,
        "ids_max_per_partition": parameters.ids_max,
        "pages_max": parameters.pages_max,
        "not_counted": sorted(reason.value for reason in QUIET),
    }
    if site is not None:
        settings = site.settings
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
