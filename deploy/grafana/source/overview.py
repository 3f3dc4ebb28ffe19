"""*Overview*: is the number right, is what was promised kept, how much is going on."""

from __future__ import annotations

from deploy.grafana.source.panel import (
    NONE,
    Dashboard,
    Panel,
    Query,
    Row,
    above,
    below,
    quantiles,
    stat,
)

RIGHT = Row(
    "Is the number right?",
    [
        stat(
            "Sites that are late",
            "Sites whose numbers are more than 5 s behind. 0: what every reader sees holds for now.",
            "none",
            above(1),
            "NumbersLate",
            "max(visit_counter_late_sites)",
        ),
        stat(
            "Difference in the books",
            "Between totals, hours, days, pages, books and ledger, over all sites. 0: every view stands in each of them once.",
            "none",
            above(1),
            "BooksDoNotClose",
            "max(visit_counter_balance_difference_views)",
        ),
        stat(
            "Oldest look at books",
            "How long ago the site was looked at that is the next in turn.",
            "s",
            above(6 * 3600, 3600),
            "BooksUnchecked",
            "time() - max(visit_counter_balance_checked_timestamp_seconds)",
        ),
        stat(
            "Refused in the last hour",
            "Views that the log did not take (503). Senders come again with the same id.",
            "none",
            above(100, 1),
            "AcceptanceBurn",
            'sum(increase(visit_counter_refused_total{reason="unavailable"}[1h]))',
        ),
        stat(
            "Silent sites",
            "Sites without a view in hours in which 20 or more were to be expected by the last four weeks.",
            "none",
            above(5, 1),
            "SiteSilent",
            "count(visit_counter:site_silent:views_expected) or vector(0)",
        ),
        stat(
            "People called",
            "Alerts that wake a person, firing now.",
            "none",
            above(1),
            "Watchdog",
            'count(ALERTS{alertstate="firing", severity="page"}) or vector(0)',
        ),
    ],
)

PROMISED = Row(
    "What is promised",
    [
        stat(
            "Error budget left, 30 days",
            "How much of what may go wrong in 30 days is left: acceptance and api 0.1 %, freshness 1 %.",
            "percentunit",
            below(0, 0.25),
            "AcceptanceSlowBurn",
            "visit_counter:budget_left:ratio",
            "{{objective}}",
            width=6,
            height=8,
        ),
        Panel(
            "Burn rate",
            "How many times faster than allowed the budget is spent, over an hour. 14.4 and 6 wake a person, 1 is a ticket.",
            "none",
            ((None, "green"), (1, "yellow"), (6, "orange"), (14.4, "red")),
            "ApiBurn",
            [
                Query(
                    "visit_counter:bad:ratio_rate1h / on (objective) visit_counter:budget:ratio",
                    "{{objective}}",
                )
            ],
            width=9,
        ),
        Panel(
            "From received to readable",
            "Of each batch's oldest record. Promised: 2 s; usual: below 0.5 s.",
            "s",
            above(2, 0.5),
            "FreshnessBurn",
            quantiles("visit_counter_freshness_seconds"),
            width=9,
        ),
    ],
)

TRAFFIC = Row(
    "Traffic",
    [
        Panel(
            "Views",
            "What arrives, and what the log has. The space between is refused.",
            "reqps",
            NONE,
            "AcceptanceBurn",
            [
                Query(
                    'sum(rate(visit_counter_received_total{kind="view"}[$__rate_interval]))',
                    "received",
                ),
                Query(
                    "sum(rate(visit_counter_acknowledged_total[$__rate_interval]))", "acknowledged"
                ),
            ],
        ),
        Panel(
            "Refused, by reason",
            "bot, own, prefetch and ping are no mistake of anybody. unavailable is ours.",
            "reqps",
            NONE,
            "AcceptanceBurn",
            [
                Query(
                    "sum by (reason) (rate(visit_counter_refused_total[$__rate_interval])) > 0 or "
                    'sum by (reason) (rate(visit_counter_refused_total{reason="unavailable"}[$__rate_interval]))',
                    "{{reason}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Readers online",
            "Over all sites, seen within each site's online_minutes.",
            "none",
            NONE,
            "NumbersLate",
            [Query("max(visit_counter_online_readers)", "online")],
        ),
        Panel(
            "Answers of the api, by status",
            "2xx and 3xx (not modified) are good, 4xx are the asker's, 5xx ours.",
            "reqps",
            NONE,
            "ApiBurn",
            [
                Query(
                    "sum by (status) (rate(visit_counter_api_requests_total[$__rate_interval]))",
                    "{{status}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Answers of the api, by route",
            "What is asked for.",
            "reqps",
            NONE,
            "ApiBurn",
            [
                Query(
                    "sum by (route) (rate(visit_counter_api_requests_total[$__rate_interval]))",
                    "{{route}}",
                )
            ],
        ),
        Panel(
            "Time of the api's answers",
            "Until an answer is ready, 99 of 100.",
            "s",
            above(2, 0.5),
            "ApiBurn",
            quantiles("visit_counter_api_request_seconds", "route", of=(0.99,)),
        ),
    ],
)

ALERTS = Row(
    "Alerts",
    [
        Panel(
            "Firing now",
            "Watchdog is always here: it shows that alerting works.",
            "none",
            NONE,
            "Watchdog",
            [Query('sum by (alertname, severity) (ALERTS{alertstate="firing"})')],
            kind="table",
            width=16,
        ),
        Panel(
            "Open event streams",
            "Pages that hear of every change.",
            "none",
            NONE,
            "ApiBurn",
            [Query("sum(visit_counter_sse_clients)", "streams")],
        ),
    ],
)

OVERVIEW = Dashboard(
    "overview",
    "overview",
    "Is the number right, is what was promised kept, how much is going on? docs/observability.md explains the three looks.",
    [RIGHT, PROMISED, TRAFFIC, ALERTS],
)
