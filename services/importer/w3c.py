"""Lines of the W3C extended log format as IIS writes it: UTC, the fields named by `#Fields:`, anew at every start of the server.

https://www.w3.org/TR/WD-logfile.html; https://learn.microsoft.com/windows/win32/http/w3c-logging. IIS writes `+` for a space;
other servers put fields with spaces between quotes, a quote within doubled.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from operator import itemgetter

from services.importer.line import TEXT_LENGTH_MAX, Hit, LineError

_FIELD = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_NEEDED = ("cs-method", "sc-status")
_FORWARDED = ("x-forwarded-for", "cs(x-forwarded-for)")


class W3c:
    """Reads one file; knows the fields that its last `#Fields:` named."""

    def __init__(self) -> None:
        """Begin before the first directive."""
        self._date = ""
        self._pick: Callable[[list[str]], Hit] | None = None
        self._count = 0

    def parse(self, line: str) -> Hit | None:
        """Return the request of a line, `None` for a directive.

        Raises:
            LineError: it is neither.
        """
        if line.startswith("#"):
            self._direct(line)
            return None
        if self._pick is None:
            raise LineError("a line before any #Fields: directive")
        fields = line.split() if '"' not in line else _quoted(line)
        if len(fields) != self._count:
            raise LineError(f"{len(fields)} fields where #Fields: names {self._count}")
        return self._pick(fields)

    def _direct(self, line: str) -> None:
        name, _, value = line[1:].partition(":")
        if name.strip().lower() == "date":
            self._date = value.strip()[:10]
        elif name.strip().lower() == "fields":
            names = value.lower().split()
            self._pick, self._count = _picker(names, self._date), len(names)


def _picker(names: list[str], date: str) -> Callable[[list[str]], Hit]:
    """Return what makes a request of a line's fields.

    Raises:
        LineError: a field is missing without which nothing can be counted.
    """
    missing = [name for name in _NEEDED if name not in names]
    if "cs-uri-stem" not in names and "cs-uri" not in names:
        missing.append("cs-uri-stem")
    if "time" not in names or ("date" not in names and not date):
        missing.append("date and time")
    if missing:
        raise LineError(f"#Fields: names no {', '.join(missing)}")
    where = {name: index for index, name in enumerate(names)}
    time, method, status = itemgetter(where["time"]), where["cs-method"], where["sc-status"]
    day = where.get("date")
    stem, query = where.get("cs-uri-stem", where.get("cs-uri", -1)), where.get("cs-uri-query")
    address, agent, referrer = (
        where.get(name) for name in ("c-ip", "cs(user-agent)", "cs(referer)")
    )
    forwarded = next((where[name] for name in _FORWARDED if name in where), None)

    def pick(fields: list[str]) -> Hit:
        target = fields[stem].replace("+", "%20")
        if query is not None and fields[query] not in {"-", ""}:
            target = f"{target}?{fields[query]}"
        return Hit(
            _moment(date if day is None else fields[day], time(fields)),
            _field(fields, address),
            _field(fields, forwarded).replace("+", " "),
            fields[method],
            target,
            fields[status],
            _field(fields, referrer),
            None if agent is None else _field(fields, agent).replace("+", " "),
        )

    return pick


def _field(fields: list[str], index: int | None) -> str:
    if index is None or fields[index] == "-":
        return ""
    return fields[index]


def _quoted(line: str) -> list[str]:
    """Take a line with quoted fields apart; within quotes a space stands for itself."""
    return [plain or quoted.replace('""', '"') for quoted, plain in _FIELD.findall(line)]


def _moment(day: str, time: str) -> int:
    """Return a moment (Unix milliseconds) to the second.

    Raises:
        LineError: it is none.
    """
    if not time[6:8].isdigit():
        raise LineError(f"no time: {time[:TEXT_LENGTH_MAX]!r}")
    return _minute(day, time[:6]) + int(time[6:8]) * 1000


@lru_cache(4096)
def _minute(day: str, time: str) -> int:
    try:
        parsed = datetime.strptime(f"{day} {time}", "%Y-%m-%d %H:%M:")  # noqa: DTZ007  # UTC by the format
    except ValueError:
        raise LineError(f"no date and time: {f'{day} {time}'[:TEXT_LENGTH_MAX]!r}") from None
    moment = timegm(parsed.timetuple()) * 1000
    if moment < 0:
        raise LineError(f"a time before 1970: {day!r}")
    return moment
