"""Numbers, days and hours as a reader of the language writes them; only for pages, never for data."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.runtime.panel import Language
from visits.history import Interval

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def grouped(n: int, lang: Language) -> str:
    """Return a whole number with its thousands apart: 155.351 in Vietnamese, 155,351 in English."""
    text = f"{n:,}"
    return text.replace(",", ".") if lang == "vi" else text


def share(part: int, whole: int, lang: Language) -> str:
    """Return a part as per cent of a whole that is above 0, with one digit after the point."""
    text = f"{100 * part / whole:.1f}"
    return f"{text.replace('.', ',')} %" if lang == "vi" else f"{text}%"


def change(now: int, before: int, lang: Language) -> str:
    """Return by how much `now` is more or less than `before`, in per cent; a dash where there was nothing."""
    if before <= 0:
        return "–"
    sign = "+" if now > before else "\u2212" if now < before else "±"
    return sign + share(abs(now - before), before, lang)


def day_text(day: date, lang: Language) -> str:
    """Return a day: 24/11/2026, or 24 November 2026."""
    if lang == "vi":
        return f"{day:%d/%m/%Y}"
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def month_text(day: date, lang: Language) -> str:
    """Return the month of a day: tháng 11/2026, or November 2026."""
    if lang == "vi":
        return f"tháng {day.month}/{day.year}"
    return f"{MONTHS[day.month - 1]} {day.year}"


def moment_text(at: int, zone: ZoneInfo, lang: Language) -> str:
    """Return a moment (Unix milliseconds) to the minute."""
    local = datetime.fromtimestamp(at / 1000, zone)
    return f"{local:%H:%M} {day_text(local.date(), lang)}"


def period_text(at: int, zone: ZoneInfo, interval: Interval, lang: Language) -> str:
    """Return the name of the period that begins at a moment (Unix milliseconds)."""
    local = datetime.fromtimestamp(at / 1000, zone)
    if interval is Interval.HOUR:
        return f"{local:%H:%M} {day_text(local.date(), lang)}"
    if interval is Interval.MONTH:
        return month_text(local.date(), lang)
    return day_text(local.date(), lang)


def period_mark(at: int, zone: ZoneInfo, interval: Interval) -> str:
    """Return the same as short as the axis of a chart wants it: 13:00, 24/11 or 11/2026."""
    local = datetime.fromtimestamp(at / 1000, zone)
    return local.strftime({Interval.HOUR: "%H:%M", Interval.MONTH: "%m/%Y"}.get(interval, "%d/%m"))
