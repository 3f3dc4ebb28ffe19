"""The protocols that are checked: the product's, and those that lack one thing.

Each wrong one is the product with a setting changed, under the faults that show why the setting is
there. `expected` is what the model must find; a wrong variant that began to hold would mean that
the model had lost a fault, or that the product has a part it does not need.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.model.world import Protocol, Scenario

ROLLBACK = Scenario(("save", "restore"))
FLUSH = Scenario(("flush",))
RECREATE = Scenario(("recreate",))
LOST_TAIL = Scenario(("lose_tail",))
TRIM = Scenario(("trim",))


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table."""

    name: str
    expected: str
    lesson: str
    protocol: Protocol = field(default_factory=Protocol)
    scenario: Scenario = field(default_factory=Scenario)
    only: str = ""
    """Search for this way of going wrong, past shorter ways of another kind."""


VARIANTS = (
    Variant(
        "product: rollback, FLUSHALL, topic anew",
        "holds",
        "The whole protocol.",
        scenario=Scenario(("save", "restore", "flush", "recreate")),
    ),
    Variant(
        "product: rollback, lost tail",
        "holds",
        "The same, with a broker that forgets what it had acknowledged.",
        scenario=Scenario(("save", "restore", "lose_tail")),
    ),
    Variant(
        "product: rollback, FLUSHALL, retention",
        "holds",
        "The same, with a log that does not reach back to its beginning.",
        scenario=Scenario(("save", "restore", "flush", "trim")),
    ),
    Variant(
        "product: two settings, FLUSHALL",
        "holds",
        "The same, with two aggregators of different settings.",
        scenario=Scenario(("save", "restore", "flush"), ("once", "every")),
    ),
    Variant(
        "product without `already`",
        "holds",
        "`already` saves a look at the store; the truth does not hang on it.",
        Protocol(answers_already=False),
        ROLLBACK,
    ),
    Variant(
        "product, state remembered between batches",
        "holds",
        "State may be kept beside its fence: by the replay law a fence has only one state.",
        Protocol(state_read="remembered"),
        Scenario(("save", "restore", "flush")),
    ),
    Variant(
        "A no fence",
        "doubled",
        "A reply that is lost after the effect is enough.",
        Protocol(fence="none"),
    ),
    Variant(
        "B stored <= start",
        "lost",
        "After a rollback the batch in hand skips what the store forgot.",
        Protocol(fence="not_behind"),
        ROLLBACK,
    ),
    Variant(
        "C stored <= start, place from Kafka",
        "lost",
        "The committed offset knows nothing of the store's rollback.",
        Protocol(fence="not_behind", position_from="kafka_commit"),
        ROLLBACK,
    ),
    Variant(
        "D equality, place from Kafka",
        "stuck",
        "Whoever dies between apply and commit leaves a place that the store refuses for ever.",
        Protocol(position_from="kafka_commit"),
    ),
    Variant(
        "E equality, no seek after a miss",
        "stuck",
        "The other aggregator was faster; this one offers the same batch until it is restarted.",
        Protocol(on_miss="stay"),
    ),
    Variant(
        "T no touch while idle",
        "stuck",
        "A store emptied under an idle log is noticed by nobody.",
        Protocol(heartbeat=False),
        FLUSH,
    ),
    Variant(
        "G no log id, no fingerprint",
        "mixed",
        "A topic made anew under the same name is read on as if it were the old one.",
        Protocol(log_id_checked="never", fingerprint=False),
        RECREATE,
    ),
    Variant(
        "H fingerprint, no log id",
        "mixed",
        "The fingerprint is compared when seeking; a running aggregator does not seek.",
        Protocol(log_id_checked="never"),
        RECREATE,
    ),
    Variant(
        "I log id asked only when seeking and idle",
        "mixed",
        "A batch fetched after the topic was made anew is added before anybody asks.",
        Protocol(log_id_checked="when_seeking"),
        RECREATE,
    ),
    Variant(
        "J log id asked before each fetch",
        "mixed",
        "The topic may be made anew between the question and the fetch: ask afterwards.",
        Protocol(log_id_checked="before_fetch"),
        RECREATE,
    ),
    Variant(
        "K log id, no fingerprint",
        "mixed",
        "A log that lost its tail and grew again has its old id.",
        Protocol(fingerprint=False),
        LOST_TAIL,
    ),
    Variant(
        "M leader epoch never asked",
        "mixed",
        "The tail is lost and grown again between two fetches; the client library mends it in silence.",
        Protocol(epoch_checked="never"),
        LOST_TAIL,
    ),
    Variant(
        "M leader epoch asked before each fetch",
        "mixed",
        "The tail may be lost between the question and the fetch: ask afterwards.",
        Protocol(epoch_checked="before_fetch"),
        LOST_TAIL,
    ),
    Variant(
        "told of every fetch error, epoch never asked",
        "holds",
        "It would do as well; but no client library promises it.",
        Protocol(sees_fetch_errors=True, epoch_checked="never"),
        Scenario(("save", "restore", "lose_tail")),
    ),
    Variant(
        "L retention skipped (reset to earliest)",
        "lost",
        "The client library jumps over what retention removed, and nobody is told.",
        Protocol(below_low="skip"),
        TRIM,
    ),
    Variant(
        "S state read before the fence",
        "lost",
        "The store goes back between the two reads: the fold knows what the store forgot.",
        Protocol(state_read="before_fence"),
        ROLLBACK,
    ),
    Variant(
        "S state read before the fence, other way",
        "doubled",
        "The state is older than the fence that vouches for it: the retry is counted again.",
        Protocol(state_read="before_fence"),
        ROLLBACK,
        only="doubled",
    ),
    Variant(
        "F state from a replica, fence from primary",
        "doubled",
        "The replica does not know the first record yet: the retry is counted again.",
        Protocol(state_read="replica"),
    ),
    Variant(
        "R state and fence, both from a replica",
        "spins",
        "Safe, since state and fence agree; but it waits for the replica.",
        Protocol(state_read="replica_with_fence"),
    ),
    Variant(
        "X fence written before the counters",
        "lost",
        "A crash between the two halves.",
        Protocol(apply_order="fence_first"),
    ),
    Variant(
        "Y counters written before the fence",
        "doubled",
        "A crash between the two halves.",
        Protocol(apply_order="counters_first"),
    ),
    Variant(
        "N first fence written blindly",
        "doubled",
        "Both find none; the later one sets the place to 0 under counters that stand.",
        Protocol(creation="blind"),
    ),
    Variant(
        "V generation not checked by apply",
        "lost",
        "After FLUSHALL another aggregator fills the store by other rules to the same fence.",
        Protocol(checks_generation=False),
        Scenario(("flush",), ("once", "every")),
    ),
    Variant(
        "W ids expire by the wall clock",
        "doubled",
        "A replay after the expiry does not see what the first run saw.",
        Protocol(ids_expire="wall_clock"),
        Scenario(("expire",)),
    ),
)
