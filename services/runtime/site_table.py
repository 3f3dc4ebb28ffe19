"""The declared sites as every part of a process sees them: one table, swapped as a whole when the configuration is read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.runtime.site import Site


class SiteTable(Mapping[str, Site]):
    """Site id → site. Who holds the table sees every reload; who holds a `Site` keeps what it was when the request came."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        """Begin with these sites."""
        self.replace(sites)

    def replace(self, sites: Mapping[str, Site]) -> None:
        """Swap all sites for others; nobody sees half of it, as nothing is awaited here."""
        by_token: dict[str, tuple[Site, ...]] = {}
        for site in sites.values():
            for digest in site.settings.tokens:
                by_token[digest] = (*by_token.get(digest, ()), site)
        self._sites, self._by_token = dict(sites), by_token

    def opened_by(self, token_hash: str) -> tuple[Site, ...]:
        """Return the sites that a token (`sha256:…`) opens; usually one."""
        return self._by_token.get(token_hash, ())

    def __getitem__(self, name: str) -> Site:
        return self._sites[name]

    def __contains__(self, name: object) -> bool:
        return name in self._sites

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)
