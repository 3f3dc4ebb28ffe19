"""The demo portal's pages: which there are, in which language, and what they never carry."""

from __future__ import annotations

import re
from datetime import date

import widget
from services.allinone import REFERENCE, REFERENCE_PAGES
from services.api.demo import FILES, portal_page

TODAY = date(2026, 11, 25)


def text(path: str, lang: str = "vi") -> str:
    html = portal_page(path, "en" if lang == "en" else "vi", TODAY)
    assert html is not None, path
    return html.decode()


def test_the_portal_has_its_list_and_every_article() -> None:
    """Each page that the sample figures name is there, and nothing else is."""
    for path in ("/", *REFERENCE_PAGES):
        assert "<visit-counter" in text(path)
    for path in ("/tin-tuc", "/tin-tuc/bai-1/", "/../portal.json", "/khong-co"):
        assert portal_page(path, "vi", TODAY) is None, path


def test_both_languages_say_the_same() -> None:
    """Page, counters and links follow the language; each page leads to the other one."""
    for path in ("/", "/tin-tuc/bai-2"):
        for lang, other in (("vi", "en"), ("en", "vi")):
            html = text(path, lang)
            assert f'<html lang="{lang}">' in html
            assert f'href="?lang={other}"' in html
            assert set(re.findall(r'<visit-counter[^>]* lang="(\w+)"', html)) == {lang}
    assert "Hours for citizens in December" in text("/tin-tuc/bai-2", "en")
    assert 'href="tin-tuc/bai-2?lang=en"' in text("/", "en")


def test_figures_are_said_to_be_samples_and_come_from_the_counter_alone() -> None:
    """Every page says so, in its language; no figure of the reference case stands in what is served."""
    served = [text(path, lang) for path in ("/", "/tin-tuc/bai-1") for lang in ("vi", "en")]
    for html, word in zip(served, ["Số liệu mẫu", "Sample figures"] * 2, strict=True):
        assert word in html
    for content in [*served, *(widget.demo_file(name).decode() for name in FILES)]:
        for figure in REFERENCE.values():
            assert not re.search(rf"\b{figure}\b", content)


def test_no_third_party_is_asked() -> None:
    """Whatever the pages load or lead to is on the counter's own host."""
    for content in [
        text("/"),
        text("/tin-tuc/bai-1"),
        *(widget.demo_file(n).decode() for n in FILES),
    ]:
        assert not re.search(r"""(src|href|url|fetch)\W{1,3}(https?:)?//""", content)
