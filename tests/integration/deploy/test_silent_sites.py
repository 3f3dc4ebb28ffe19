"""Sites that fall silent: nobody is called for a quiet week, once for a cut proxy, and told what the sites share."""

from __future__ import annotations

from pathlib import Path

from tests.support.alert_scenarios import DAY, HOUR, SLOW
from tests.support.promtool import Annotated, Question, Scenario, firing, run
from tests.support.quiet_sites import LOCAL_HOURS, MINUTES, WEEK_BEGINS, series, traffic

PAGES = 'count(count_over_time(ALERTS{alertstate="firing", severity="page"}[1w]))'
"""How many different pages there were in a week."""

TICKETS = 'count(count_over_time(ALERTS{alertstate="firing", severity="ticket"}[1w]))'

PROXY = "10.2.0.0/16"


def test_a_quiet_week_pages_nobody_and_a_cut_proxy_once(tmp_path: Path) -> None:
    """600 sites with 1 to 30 views an hour at noon, by chance; behind the proxy are 40, for three hours after a week of nothing."""
    peaks = {f"portal-{n:03d}": 1 + n % 30 for n in range(560)}
    peaks |= {f"dongda-{n:02d}": 10 + n for n in range(40)}
    proxies = {site: PROXY for site in peaks if site.startswith("dongda")}
    # The last hours of the week in which readers come, so that all of it was quiet until then.
    cut = _hours_of(6, 18, 21)
    happens = series(traffic(peaks, {site: [cut] for site in proxies}), proxies)
    run(
        tmp_path,
        [
            Scenario(
                "a quiet week, then a cut",
                happens,
                [
                    Question(cut.start, PAGES, {}),
                    Question(cut.start, TICKETS, {}),
                    firing(cut.start + 2 * HOUR, "ManySitesSilent/page"),
                    Question(MINUTES, PAGES, {"{}": 1}),
                ],
                SLOW,
            ),
        ],
        evaluated_minutes=HOUR,
    )


def test_one_site_is_a_ticket_and_many_are_told_what_they_share(tmp_path: Path) -> None:
    """Not at night; not where few are to be expected; nor on a holiday, on which one site has a little and all others nothing."""
    peaks = {f"dongda-{n}": 60.0 for n in range(6)} | {"thanhxuan": 60, "small": 12, "bigger": 600}
    behind = [site for site in peaks if site.startswith("dongda")]
    days = [_hours_of(day, 9, 12) for day in range(7)]
    night = _hours_of(5, 23, 29)
    cuts = {
        "thanhxuan": [days[0], night],
        "small": [days[1], _hours_of(2, 9, 16)],
        **{site: [days[3], night] for site in behind},
    }
    for site in behind[:4]:
        cuts[site] = [days[4], *cuts[site]]
    counts = _holiday(traffic(peaks, cuts, None), 6, "bigger")
    two_hours = 2 * HOUR
    told = {
        "summary": "6 sites have no views where each usually has 20 or more",
        "description": "They share: the proxy 10.2.0.0/16, through which nobody comes; 6 are called dongda-…; silent are "
        + " ".join(behind),
        "runbook_url": "deploy/RUNBOOK.md#manysitessilent",
        "dashboard": "visit-counter-sites",
    }
    many = days[3].start + two_hours
    questions = [
        firing(days[0].start),
        firing(days[0].start + two_hours, "SiteSilent/ticket"),
        firing(days[0].stop + two_hours),
        # Twelve an hour: two hours are too few to say, four are not.
        firing(days[1].start + two_hours),
        firing(_hours_of(2, 9, 16).start + 5 * HOUR, "SiteSilent/ticket"),
        firing(many, "ManySitesSilent/page"),
        firing(days[4].start + two_hours, "SiteSilent/ticket"),
        *(firing(minute) for minute in range(night.start + 90, night.stop, SLOW)),
        firing(days[6].start + two_hours),
    ]
    called = Annotated(many, "ManySitesSilent", {"severity": "page"}, told)
    run(
        tmp_path,
        [Scenario("a week", series(counts, dict.fromkeys(behind, PROXY)), questions, SLOW, called)],
        evaluated_minutes=SLOW,
    )


def _hours_of(day: int, begin: int, end: int) -> range:
    """Return the minutes of some hours of a day of the last week, in Viet Nam."""
    midnight = WEEK_BEGINS + day * DAY - LOCAL_HOURS * HOUR
    return range(midnight + begin * HOUR, midnight + end * HOUR)


def _holiday(counts: dict[str, list[int]], day: int, still_open: str) -> dict[str, list[int]]:
    """Let all but one site have no view on a day on which that one has 5 % of its usual: nobody is at work."""
    minutes = _hours_of(day, 0, 24)
    hurt = {}
    for site, values in counts.items():
        share = 0.05 if site == still_open else 0.0
        kept = list(values)
        for at in range(1, len(values)):
            grown = values[at] - values[at - 1]
            kept[at] = kept[at - 1] + (round(grown * share) if at * SLOW in minutes else grown)
        hurt[site] = kept
    return hurt
