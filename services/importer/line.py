"""One line of an access log as Apache and nginx write them: the common and the combined format (NCSA), and usual additions.

`%h %l %u %t "%r" %>s %b` and `… "%{Referer}i" "%{User-agent}i"` (https://httpd.apache.org/docs/2.4/logs.html#accesslog); nginx's
`combined` is the same (https://nginx.org/en/docs/http/ngx_http_log_module.html). Also understood: a virtual host before the
address (Apache's `vhost_combined`), and X-Forwarded-For as one more quoted field (nginx's `main`).
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from visits.errors import InputError

TEXT_LENGTH_MAX = 120
"""How much of a field that cannot be read is shown."""


class LineError(InputError):
    """A line that is none of the expected format; says what is wrong with it."""


class Hit(Struct, frozen=True, gc=False):
    """One request that a web server answered.

    Attributes:
        at: when it came in (Unix milliseconds, to the second).
        address: the client's, or the proxy's; empty where the log has none.
        forwarded: X-Forwarded-For; empty where the log has none.
        method: empty where the request was no HTTP.
        target: path and query as requested.
        status: the answer's.
        referrer: empty where there was none.
        agent: the user agent, empty where there was none; `None` where the format has no such field.
    """

    at: int
    address: str
    forwarded: str
    method: str
    target: str
    status: str
    referrer: str
    agent: str | None


_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_LINE = re.compile(
    r"(\S+) (\S+) [^\[]*\[([^\]]+)\] "
    rf"{_QUOTED} (\d{{3}}) \S+(?: {_QUOTED} {_QUOTED}(?: {_QUOTED})?)?"
)
_REQUEST = re.compile(r"([A-Z]+) (\S.*?)(?: HTTP/\d(?:\.\d)?)?")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "b": "\b", "f": "\f"}
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_TIME_LENGTH = len("17/May/2015:10:05:03 +0000")


def parse_ncsa(line: str) -> Hit:
    """Read a line of the common or the combined format.

    Raises:
        LineError: it is none.
    """
    match = _LINE.match(line)
    if match is None:
        raise LineError("no line of the common or combined format")
    address, second, moment, request, status, referrer, agent, forwarded = match.groups()
    if second != "-" and address.count(":") == 1:
        address = second  # what stands first is a virtual host and its port
    method, _, rest = request.partition(" ")
    target = rest.removesuffix(" HTTP/1.1")
    if len(target) == len(rest):
        method, target = _request(request)
    return Hit(
        parse_time(moment),
        "" if address == "-" else address,
        "" if forwarded is None or forwarded == "-" else forwarded,
        method,
        unescape(target) if "\\" in target else target,
        status,
        "" if referrer is None or referrer == "-" else referrer,
        None if agent is None else "" if agent == "-" else unescape(agent),
    )


def parse_time(text: str) -> int:
    """Return the moment (Unix milliseconds) of `17/May/2015:10:05:03 +0000`, or of ISO 8601 with an offset (nginx's `$time_iso8601`).

    Raises:
        LineError: it is neither.
    """
    if len(text) == _TIME_LENGTH and text[17] == ":" and text[18:20].isdigit():
        return _minute(text[:17], text[20:]) + int(text[18:20]) * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise LineError(f"no time with an offset: {text[:TEXT_LENGTH_MAX]!r}")
    return round(moment.timestamp()) * 1000


@lru_cache(4096)
def _minute(text: str, zone: str) -> int:
    """Return the moment of `17/May/2015:10:05` with offset ` +0000`: worked out once a minute of the log instead of once a line."""
    match = re.fullmatch(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d)", text)
    offset = re.fullmatch(r" ([+-])(\d\d)([0-5]\d)", zone)
    problem = LineError(f"no time with an offset: {(text + zone)[:TEXT_LENGTH_MAX]!r}")
    if match is None or offset is None or match[2] not in _MONTHS:
        raise problem
    month = _MONTHS.index(match[2]) // 4 + 1
    day, year, hour, minute = (int(match[group]) for group in (1, 3, 4, 5))
    try:
        local = datetime(year, month, day, hour, minute)  # noqa: DTZ001  # the offset follows
    except ValueError:
        raise problem from None
    sign, hours, minutes = offset.groups()
    seconds = (int(hours) * 60 + int(minutes)) * 60
    moment = (timegm(local.timetuple()) - (seconds if sign == "+" else -seconds)) * 1000
    if moment < 0:
        raise LineError(f"a time before 1970: {text!r}")
    return moment


def unescape(text: str) -> str:
    r"""Undo how servers escape: `\"`, `\\`, `\n`, and `\xC3` for a byte of UTF-8."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(
        lambda m: chr(int(m[1], 16)) if m[1] else _NAMED.get(m[2], m[2]),
        text.encode("utf-8", "surrogateescape").decode("latin-1"),
    )
    return plain.encode("latin-1").decode("utf-8", "surrogateescape")


def _request(request: str) -> tuple[str, str]:
    """Return method and target of a request line of another version, both empty where it was no HTTP."""
    match = _REQUEST.fullmatch(request)
    return ("", "") if match is None else (match[1], match[2])
