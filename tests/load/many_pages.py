"""Many pages: views spread over a hundred thousand articles of one site (`--pages`).

Shows that a page's own counter is right however many there are: the views of a sample of pages, as the service tells them, are
held against what was sent for each.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from services.load.plan import Plan
from services.load.reader import Reader
from services.load.schedule import Phase
from services.load.target import parse_target
from tests.load.scenario import console, load, make_plan, parse_options, verdict

SAMPLE = 1_000
PAGES_A_REQUEST = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; return its exit status."""
    options = parse_options(__doc__, rate=1_000, seconds=30, pages=100_000, arguments=arguments)
    pages = int(options.extra["pages"])
    with options.system() as system:
        plan = make_plan(system, [Phase(options.rate, options.seconds)], pages=pages)
        sample = random.Random(1).sample(range(pages), min(pages, SAMPLE))
        asked = [f"/load/page-{number}" for number in sample]
        before = asyncio.run(page_views(plan, asked))
        result = load("many-pages", options, plan, system)
        after = asyncio.run(page_views(plan, asked))
    expected = sent_views(plan, result.balance.sent)
    wrong = [page for page in asked if after[page] - before[page] != expected[page]]
    console.print(
        f"[bold]pages[/]      {len(expected):,} pages had views; of a sample of {len(asked):,} {len(wrong)} differ from what was sent"
    )
    is_all_counted = result.balance.acknowledged == result.balance.sent
    return verdict(
        {
            "the books close": result.balance.closes,
            "the rate was reached": result.rate.is_reached,
            "every page of the sample has exactly the views that were sent": is_all_counted
            and not wrong,
        }
    )


def sent_views(plan: Plan, sent: int) -> Counter[str]:
    """Return page → views of the first `sent` requests of a plan: requests are a function of their number."""
    workload = plan.workload()
    bodies = (workload.request(number).partition(b"\r\n\r\n")[2] for number in range(sent))
    return Counter(json.loads(body)["page"] for body in bodies)


async def page_views(plan: Plan, pages: Sequence[str]) -> dict[str, int]:
    """Return page → views as the service tells them."""
    reader = Reader(parse_target(plan.api_url))
    found: dict[str, int] = {}
    for start in range(0, len(pages), PAGES_A_REQUEST):
        asked = "&".join(f"page={quote(page)}" for page in pages[start : start + PAGES_A_REQUEST])
        answer = await reader.get_json(f"/v1/sites/{plan.sites[0]}/pages?{asked}")
        found |= {page: views or 0 for page, views in answer["pages"].items()}
    reader.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
