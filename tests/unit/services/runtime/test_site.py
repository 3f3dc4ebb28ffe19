"""A declared site: which pages have a counter of their own."""

from __future__ import annotations

from services.runtime.site import SiteSettings, make_site
from visits.page import OTHER


def test_patterns_ignore_case_where_the_site_does() -> None:
    """On a server that does not tell cases apart a pattern may be written as the address is."""
    settings = SiteSettings(
        ignore_case=True, pages=("/Pages/**", "/Lists/*?ID=*"), exclude_pages=("/Pages/Admin.aspx",),
        query_keys=("ID",),
    )  # fmt: skip
    site = make_site("portal", settings, 60, 2026)
    assert site.page("/pages/Default.aspx") == "/pages/default.aspx"
    assert site.page("/Lists/DispForm.aspx?id=7") == "/lists/dispform.aspx?ID=7"
    assert site.page("/Pages/ADMIN.aspx") == OTHER
    assert site.pattern("/Pages/Old/**") == "/pages/old/**"
    assert make_site("portal", SiteSettings(), 60, 2026).pattern("/Pages") == "/Pages"
