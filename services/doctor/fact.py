"""What the doctor saw, before anything is made of it: `diagnosis` reads these and nothing else."""

from __future__ import annotations

from msgspec import Struct

from services.doctor.exchange import Answer, Silence
from visits.state import Head, Meta

FORGED = "192.0.2.1"
"""What the probe says in X-Forwarded-For: an address that no client has (RFC 5737), to be recognized where it comes out."""

CONNECTION = "close, x-visit-counter-probe"
"""What the probe says in Connection, which is for the next hop alone: seen by ingest, no HTTP proxy stands between."""


class Ground(Struct):
    """Log and store as they are seen from here, by the configuration.

    Attributes:
        log_error: why the log cannot be used; `None`: it answers.
        log_id: which log it is.
        log_seconds: one question and its answer.
        store_error: why the store cannot be read.
        write_error: why the store takes no writes.
        store_seconds: one question and its answer.
        meta: what the store holds to; `None`: nothing was counted yet, or it was not read.
        unused: the embedded file that no service uses; empty where one does, or where it is no file.
    """

    log_error: str | None = None
    log_id: str | None = None
    log_seconds: float | None = None
    store_error: str | None = None
    write_error: str | None = None
    store_seconds: float | None = None
    meta: Meta | None = None
    unused: str = ""


class Facts(Struct, kw_only=True):
    """Everything seen.

    Attributes:
        site: whose probe.
        urls: ways in, as they were given.
        bucket_minutes: as configured here.
        wait_seconds: how long the probe may take to be counted.
        ground: `None` where there is no configuration here.
        page: as this configuration names the probe's page; `None` where there is none.
        entry_url: the way in that `entry` came by.
        entry: the answer to the probe; `None` where there is no URL.
        reading: the answer to the numbers, asked after the probe; `None` where it was not asked.
        echo: the answer to a page whose name is hard to pass on.
        position: where the probe stands.
        append_seconds: how long the log took.
        counted: the store has passed the probe; `None`: not known.
        count_seconds: from the log's acknowledgement to that.
        head: the partition's head in the end.
    """

    site: str
    urls: tuple[str, ...]
    bucket_minutes: int
    wait_seconds: float = 10.0
    ground: Ground | None = None
    page: str | None = None
    entry_url: str = ""
    entry: Answer | Silence | None = None
    reading: Answer | Silence | None = None
    echo: Answer | Silence | None = None
    position: tuple[int, int] | None = None
    append_seconds: float | None = None
    counted: bool | None = None
    count_seconds: float | None = None
    head: Head | None = None
    now: int = 0
