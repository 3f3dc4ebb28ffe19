"""Views for Locust (https://locust.io), for those who know it.

    pip install 'locust>=2.47,<3'
    locust -f tests/load/locustfile.py --headless -H http://127.0.0.1:8080 -u 200 -r 200 -t 30s

SITE, TOKEN and API_URL come from the environment. Each of the users asks for one view a second (`constant_throughput`), but waits for
its answer before the next: a closed loop. When the service slows down Locust sends less, and its percentiles leave out what would
have come meanwhile ("coordinated omission"): read them as service times. `visit-counter load` is an open loop.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from itertools import count
from typing import Any

from locust import FastHttpUser, constant_throughput, events, task

SITE = os.environ.get("SITE", "demo")
TOKEN = os.environ.get("TOKEN", "")
API_URL = os.environ.get("API_URL", "")
PAGES = 100
STANDSTILL_SECONDS = 5
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"

run_id = secrets.token_hex(6)
numbers = count()
outcomes: Counter[str] = Counter()
before: dict[str, int] = {}


class Reader(FastHttpUser):
    """A person who looks at one page a second."""

    wait_time = constant_throughput(1)

    def on_start(self) -> None:
        """Take an address, or with a token a name."""
        number = random.randrange(1 << 17)
        self.visitor = f"reader-{number}"
        self.headers = {
            "User-Agent": AGENT,
            "Content-Type": "text/plain",
            "X-Forwarded-For": f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}",
        }
        if TOKEN:
            self.headers["Authorization"] = f"Bearer {TOKEN}"

    @task
    def view(self) -> None:
        """Look at a page."""
        body = {
            "site": SITE,
            "page": f"/load/page-{random.randrange(PAGES)}",
            "id": f"{run_id}-{next(numbers)}",
        }
        if TOKEN:
            body["visitor"] = self.visitor
        with self.client.post(
            "/v1/views",
            json=body,
            headers=self.headers,
            name="POST /v1/views (closed loop: service time)",
            catch_response=True,
        ) as answer:
            outcomes[judge(answer)] += 1
            if answer.status_code < 500:  # a refusal is an answer
                answer.success()


def judge(answer: Any) -> str:
    """Say what became of a view."""
    if answer.status_code == 202 and answer.json().get("counted"):  # Accepted
        return "acknowledged"
    return "refused" if 0 < answer.status_code < 500 else "unknown"  # server errors


def get(environment: Any, path: str) -> Any:
    """Read from the api, with the client of a user of its own that is in no statistics."""
    import requests  # noqa: PLC0415  # comes with locust

    answer = requests.get((API_URL or environment.host).rstrip("/") + path, timeout=10)
    answer.raise_for_status()
    return answer.json()


@events.test_start.add_listener
def check_site(environment: Any, **_: Any) -> None:
    """Refuse a site that is not for tests, and read what it has counted so far."""
    if get(environment, f"/v1/definitions?site={SITE}")["site"].get("test") is not True:
        print(f"{SITE} is no site for tests: a load test would change its numbers for good")
        environment.process_exit_code = 1
        environment.runner.quit()
        return
    before["total"] = get(environment, f"/v1/sites/{SITE}/counters?metric=views")["total"]


@events.quitting.add_listener
def close_books(environment: Any, **_: Any) -> None:
    """Wait until the counter stands still and hold it against what was acknowledged."""
    if "total" not in before:
        return
    last, still = -1, 0
    while still < STANDSTILL_SECONDS:
        now = get(environment, f"/v1/sites/{SITE}/counters?metric=views")["total"]
        still = still + 1 if now == last else 0
        last = now
        time.sleep(1)
    counted, acknowledged = last - before["total"], outcomes["acknowledged"]
    # Users that were stopped while they waited never heard what became of their view.
    unheard = next(numbers) - outcomes.total()
    closes = acknowledged <= counted <= acknowledged + outcomes["unknown"] + unheard
    print(
        f"closed loop: percentiles above are service times. acknowledged {acknowledged}, refused {outcomes['refused']}, "
        f"unknown {outcomes['unknown'] + unheard}; the service counted {counted}: the books {'close' if closes else 'DO NOT CLOSE'}"
    )
    if not closes:
        environment.process_exit_code = 1
