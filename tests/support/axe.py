"""axe-core in a page: which rules of WCAG 2.2 AA, and which good practices, the page breaks.

The library comes from `widget/package.json` (`make tools` installs it) and goes into the page past the page's own policy.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.async_api import Frame, Page

from tests.support.process import ProcessError
from tests.support.visit_counter import REPOSITORY

LIBRARY = REPOSITORY / "widget" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""The rules that are tried: axe-core's tags, https://github.com/dequelabs/axe-core/blob/develop/doc/API.md#axe-core-tags."""

RUN = """async tags => {
  const found = await axe.run(document, {runOnly: tags});
  return {passes: found.passes.length, violations: found.violations, unclear: found.incomplete};
}"""


@cache
def library() -> str:
    """Return axe-core's script.

    Raises:
        ProcessError: it is not installed.
    """
    if not LIBRARY.is_file():
        raise ProcessError("axe-core is missing: run `make tools`")
    return LIBRARY.read_text(encoding="utf-8")


async def violations(page: Page | Frame) -> list[str]:
    """Return what a page breaks, a line an element: the rule, where, and what would mend it.

    What axe-core cannot decide about a colour counts as broken too: our pages have no pictures behind text.

    Args:
        page: loaded, with everything drawn that is to be looked at.
    """
    await page.evaluate(library() + "\n;undefined")
    found: dict[str, Any] = await page.evaluate(RUN, list(TAGS))
    assert found["passes"] > 0, "axe-core tried nothing"
    unclear = [rule for rule in found["unclear"] if rule["id"] == "color-contrast"]
    return [
        f"{rule['id']} at {node['target']}: {node['failureSummary']}"
        for rule in found["violations"] + unclear
        for node in rule["nodes"]
    ]
