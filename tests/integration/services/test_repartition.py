"""A topic copied into one of another number of partitions, on a real broker."""

from __future__ import annotations

import pytest

from services.backends.kafka import KafkaLog
from services.upkeep.repartition import copy_log
from tests.support.kafka import KafkaCluster
from tests.support.truth import kafka_values
from tests.unit.services.upkeep.pair import SITES, append_to, views
from visits.codec import decode_record
from visits.errors import SettingsError
from visits.partition import partition_of

OLD, NEW, VIEWS = 2, 3, 300


async def values_of(kafka: KafkaCluster, topic: str, partitions: int) -> dict[str, list[bytes]]:
    """Return each site's values in order, from the one partition they must be in."""
    found: dict[str, list[bytes]] = {site: [] for site in SITES}
    for partition in range(partitions):
        for value in await kafka_values(kafka.bootstrap, topic, partition):
            site = decode_record(value).site
            assert partition_of(site, partitions) == partition
            found[site].append(value)
    return found


async def test_every_record_is_copied_in_its_sites_order(kafka: KafkaCluster, topic: str) -> None:
    """Two partitions become three; the new topic is refused once it has records."""
    source = KafkaLog(kafka.bootstrap, topic, partitions=OLD, group_id=topic)
    target = KafkaLog(kafka.bootstrap, f"{topic}-new", partitions=NEW, group_id=topic)
    await source.open()
    await target.open()
    try:
        for start in range(0, VIEWS, 50):
            await append_to(source, views(start, 50))
        copied = await copy_log(source, target)
        assert (copied.records, copied.misplaced) == (VIEWS, 0)
        expected = await values_of(kafka, topic, OLD)
        assert await values_of(kafka, f"{topic}-new", NEW) == expected
        assert sum(map(len, expected.values())) == VIEWS
        with pytest.raises(SettingsError, match="not empty"):
            await copy_log(source, target)
    finally:
        await source.close()
        await target.close()
