"""Names of the store's keys in Redis (`docs/wire-format.md`). The tag `{3}` puts all keys of a partition into one slot."""

from __future__ import annotations

from typing import NamedTuple

META = "vc:meta"

BACKED_UP_AT = "vc:backed-up-at"
"""When the last backup was complete."""

TYPES = {
    "head": "hash",
    "turns": "hash",
    "ids": "hash",
    "id-queue": "list",
    "sites": "set",
    "days": "zset",
    "c": "hash",
    "p": "hash",
    "d": "hash",
    "b": "hash",
    "l": "hash",
    "s": "hash",
    "o": "zset",
}
"""What a key of a generation holds, by what follows the generation in its name."""


def pointer(partition: int) -> str:
    """Return the key that names the live generation."""
    return f"vc:{{{partition}}}:generation"


def shadow(partition: int) -> str:
    """Return the key that names the generation a rebuild fills."""
    return f"vc:{{{partition}}}:shadow"


def doomed(partition: int) -> str:
    """Return the sorted set of the generations to be removed, by the moment from which on they may be."""
    return f"vc:{{{partition}}}:doomed"


def type_of(key: str) -> str:
    """Return what a key of ours holds, as TYPE says it: pointers and salts are texts."""
    if key == META:
        return "hash"
    if key.endswith("}:doomed"):
        return "zset"
    _, _, rest = key.partition("}:g")
    return TYPES.get(rest.split(":")[1], "string") if ":" in rest else "string"


def salt(day: str) -> str:
    """Return the key of a local date's salt."""
    return f"vc:salt:{day}"


class Pair(NamedTuple):
    """Two hashes member → moment that take turns: one is written until all that the other holds is forgotten.

    Attributes:
        turn: the field of `Keys.turns` that says whose turn it is.
    """

    turn: str
    first: str
    second: str

    @property
    def tables(self) -> tuple[str, str]:
        """Return both keys."""
        return self.first, self.second


class Keys:
    """The keys of one generation of one partition."""

    def __init__(self, partition: int, generation: int) -> None:
        """Take the tag and the generation."""
        self.prefix = f"vc:{{{partition}}}:g{generation}"
        self.pointer = pointer(partition)
        self.head = f"{self.prefix}:head"
        self.turns = f"{self.prefix}:turns"
        self.ids = f"{self.prefix}:ids"
        self.id_queue = f"{self.prefix}:id-queue"
        self.sites = f"{self.prefix}:sites"
        self.days = f"{self.prefix}:days"

    def of_site(self, site: str) -> list[str]:
        """Return all keys of a site but those by day."""
        return [
            self.counters(site), self.pages(site), self.books(site), self.ledger(site),
            *self.seen(site).tables, self.online(site),
        ]  # fmt: skip

    @property
    def of_partition(self) -> list[str]:
        """Return the keys that are no site's."""
        return [self.head, self.turns, self.ids, self.id_queue, self.sites, self.days]

    def counters(self, site: str) -> str:
        """Return the hash field → amount."""
        return f"{self.prefix}:c:{site}"

    def pages(self, site: str) -> str:
        """Return the hash page → views in all."""
        return f"{self.prefix}:p:{site}"

    def page_day(self, site: str, day: int) -> str:
        """Return the hash page → views of one local day."""
        return f"{self.prefix}:d:{site}:{day}"

    def books(self, site: str) -> str:
        """Return the hash name → amount."""
        return f"{self.prefix}:b:{site}"

    def ledger(self, site: str) -> str:
        """Return the hash delta id → entry."""
        return f"{self.prefix}:l:{site}"

    def seen(self, site: str) -> Pair:
        """Return the pair of hashes pseudonym → moment last seen."""
        return self._pair(f"s:{site}")

    def online(self, site: str) -> str:
        """Return the sorted set of the pseudonyms seen lately by the moment last seen."""
        return f"{self.prefix}:o:{site}"

    def _pair(self, name: str) -> Pair:
        return Pair(name, f"{self.prefix}:{name}:0", f"{self.prefix}:{name}:1")


class ShadowKeys(Keys):
    """The keys of a generation as a rebuild sees them: the shadow's pointer stands for the live one."""

    def __init__(self, partition: int, generation: int) -> None:
        """Take the tag and the generation."""
        super().__init__(partition, generation)
        self.pointer = shadow(partition)
