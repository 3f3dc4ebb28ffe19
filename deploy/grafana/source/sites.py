"""*Sites*: which sites have how many views, which have none, and what they share."""

from __future__ import annotations

from deploy.grafana.source.panel import (
    NONE,
    Dashboard,
    Panel,
    Query,
    Row,
    Variable,
    above,
    below,
    stat,
)

SILENCE = Row(
    "Silence",
    [
        stat(
            "Silent sites",
            "Without a view in hours in which 20 or more were to be expected. Five or more are one cause.",
            "none",
            above(5, 1),
            "ManySitesSilent",
            "count(visit_counter:site_silent:views_expected) or vector(0)",
        ),
        stat(
            "Sites declared",
            "In the configuration that is live.",
            "none",
            NONE,
            "SiteDeclarationFaulty",
            "max(visit_counter_sites)",
        ),
        stat(
            "Faulty declarations",
            "Files that cannot be used; their sites stay what they were.",
            "none",
            above(1),
            "SiteDeclarationFaulty",
            "max(visit_counter_site_faults)",
        ),
        stat(
            "One address for all",
            "1: nine of ten views come from one address. A proxy is not in server.trusted_proxies.",
            "none",
            above(1),
            "ClientAddressSuspect",
            "max(visit_counter_client_address_suspect)",
            mappings={"0": "no", "1": "yes"},
        ),
        stat(
            "Today's level",
            "Views of the last hour, as a share of the usual ones, of the sites that have any: on a holiday less is expected of all.",
            "percentunit",
            below(0.2, 0.5),
            "ManySitesSilent",
            "visit_counter:site_views_level:ratio",
        ),
        stat(
            "Fullest room for pages",
            "Of all sites. At 100 % new pages are counted under (other).",
            "percentunit",
            above(0.9, 0.7),
            "PageRoomFills",
            "max(visit_counter_page_fill_ratio)",
        ),
    ],
)

VIEWS = Row(
    "Views",
    [
        Panel(
            "Views of the chosen sites",
            "Acknowledged; the twenty with most.",
            "reqps",
            NONE,
            "SiteSilent",
            [
                Query(
                    'topk(20, sum by (site) (rate(visit_counter_site_views_total{site=~"$site"}[$__rate_interval])))',
                    "{{site}}",
                )
            ],
            width=16,
        ),
        Panel(
            "The last hour and the usual one",
            "Of the chosen sites: the same hour of the last four weeks. Nothing is usual in the first week.",
            "none",
            NONE,
            "SiteSilent",
            [
                Query(
                    'sum(increase(visit_counter_site_views_total{site=~"$site"}[1h]))', "last hour"
                ),
                Query(
                    'sum(visit_counter:site_views_expected:increase1h{site=~"$site"}) or vector(0)',
                    "usual",
                ),
            ],
        ),
        Panel(
            "Sites by the age of their last view",
            "Longest first. A site that never had one is not here.",
            "s",
            above(86_400, 3_600),
            "SiteSilent",
            [
                Query(
                    'topk(50, time() - max by (site) (visit_counter_site_last_view_timestamp_seconds{site=~"$site"} > 0))'
                )
            ],
            kind="table",
            height=10,
        ),
        Panel(
            "Sites by views of the range",
            "Most first.",
            "none",
            NONE,
            "SiteSilent",
            [
                Query(
                    'topk(50, sum by (site) (increase(visit_counter_site_views_total{site=~"$site"}[$__range])))'
                )
            ],
            kind="table",
            height=10,
        ),
        Panel(
            "Views by proxy",
            "By the network in server.trusted_proxies of the proxy that readers came to. One that falls to 0 silences its sites.",
            "reqps",
            NONE,
            "ManySitesSilent",
            [
                Query(
                    "sum by (proxy) (rate(visit_counter_proxy_views_total[$__rate_interval]))",
                    "{{proxy}}",
                )
            ],
            height=10,
        ),
    ],
)

SITES = Dashboard(
    "sites",
    "sites",
    "Which sites have how many views, which have none, and what they share.",
    [SILENCE, VIEWS],
    [Variable("site", "Site", "label_values(visit_counter_site_views_total, site)")],
)
