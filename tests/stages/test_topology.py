# SPDX-License-Identifier: MIT
"""The architecture table is whole and true."""

from usp.schemas.records import RECORDS
from usp.stages import topology as t


def test_every_topic_has_a_writer_and_a_reader() -> None:
    """Nothing is written that nobody reads, nothing read that nobody writes."""
    written = {topic for _, writes in t.STAGES.values() for topic in writes} | set(t.EXTERNAL_WRITERS)
    read = {topic for reads, _ in t.STAGES.values() for topic in reads} | set(t.EXTERNAL_READERS)
    assert set(t.TOPICS) == written == read


def test_every_record_travels_on_some_topic() -> None:
    """No schema without a topic."""
    assert set(RECORDS) == {record for topic in t.TOPICS for record in topic.records}


def test_the_log_outlives_the_snapshots() -> None:
    """A restart from the oldest unpinned snapshot finds its replay still there."""
    kept = min(t.VALIDATED.retention_days, t.MARKET_TICKS.retention_days)
    assert kept >= t.SNAPSHOT_MAX_AGE_DAYS + 1
    assert t.OFFSET_RETENTION_DAYS >= kept


def test_partition_numbers_carry_over() -> None:
    """Ticks keep their partition number from topic to topic, so the counts are equal."""
    assert {t.PARTITIONS} == {x.partitions for x in (t.MARKET_TICKS, t.VALIDATED, t.PREDICTIONS, t.REJECTED)}


def test_the_drawing_names_everything() -> None:
    """The README's drawing is made from the table."""
    drawing = t.draw()
    assert [] == [name for name in (*t.STAGES, *(topic.name for topic in t.TOPICS)) if name not in drawing]
