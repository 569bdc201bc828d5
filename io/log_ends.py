# SPDX-License-Identifier: MIT
"""Where partitions end, for lag: the last stable offset (readers see no further) and the end with open transactions."""

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]  # documented, not exported
)

from .bus import Partition
from .kafka_client import KafkaSettings, calling, client_config

ANSWER_S = 5.0


class Ends(NamedTuple):
    """`stable` is what a read_committed reader can reach; `high` is where the log ends."""

    stable: int
    high: int


class LogEnds:
    """Asks for the ends of many partitions in one call per kind; for brokers with transactions."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.admin = AdminClient(client_config(settings))

    def of(self, partitions: Iterable[Partition]) -> dict[Partition, Ends]:
        """The ends of these partitions. Raises BusUnavailable."""
        wanted = list(partitions)
        stable = self.latest(wanted, IsolationLevel.READ_COMMITTED)
        high = self.latest(wanted, IsolationLevel.READ_UNCOMMITTED)
        return {partition: Ends(stable[partition], high[partition]) for partition in wanted}

    def latest(self, partitions: list[Partition], isolation: IsolationLevel) -> dict[Partition, int]:
        """One end of each."""
        asked = {TopicPartition(p.topic, p.number): OffsetSpec.latest() for p in partitions}
        with calling("asking for the ends of the logs", self.settings.bootstrap_servers):
            answers: dict[TopicPartition, Future[Any]] = cast(Any, self.admin).list_offsets(
                asked, isolation_level=isolation, request_timeout=ANSWER_S
            )
            return {Partition(p.topic, p.partition): int(a.result(ANSWER_S).offset) for p, a in answers.items()}
