"""The words of the install help, as `texts/install.toml` has them; read once."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from services.runtime.panel import Language

Words = dict[str, str]


class Recipe(msgspec.Struct, frozen=True):
    """Where the snippet goes in one kind of system.

    Attributes:
        name: of the system.
        keys: parameters that name an article where addresses are not rewritten.
        vi: what to do, in Vietnamese.
        en: likewise in English.
    """

    name: str
    keys: tuple[str, ...]
    vi: str
    en: str

    def where(self, lang: Language) -> str:
        """Return what to do, in a language."""
        return self.vi if lang == "vi" else self.en


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    page: dict[Language, Words]
    finding: dict[Language, Words]
    live: dict[Language, Words]
    recipe: tuple[Recipe, ...]


_texts = msgspec.toml.decode(
    (files("services.api") / "texts" / "install.toml").read_bytes(), type=_Texts
)
WORDS = _texts.page
FINDINGS = _texts.finding
LIVE = _texts.live
"""What the script of the live check says: states, and reason → what mends it."""

RECIPES = _texts.recipe
