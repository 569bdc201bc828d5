# SPDX-License-Identifier: MIT
"""One hop that only copies, with the same transactions as a stage: the yardstick of `usp bench pipeline`.

python -m usp.stages.bench.copy_chain BOOTSTRAP FROM TO
"""

import signal
import sys
from types import FrameType

from ...io.bus import Outgoing, Partition
from ...io.kafka import KafkaSettings, open_bus


def copy(servers: str, source: str, target: str, stop: list[bool]) -> None:
    """Copy until asked to stop: poll, produce, commit offsets in the transaction."""
    settings = KafkaSettings(servers, f"bench.{target}", f"bench.{target}.0", (source,), "exactly_once")
    bus = open_bus(settings)
    while not stop:
        polled = bus.poll(2000, 0.1)
        for partition in polled.assigned:
            bus.start(partition, bus.committed(partition) or 0)
        if polled.records:
            ends: dict[Partition, int] = {r.partition: r.offset + 1 for r in polled.records}
            bus.commit([Outgoing(target, r.partition.number, r.key, r.value) for r in polled.records], ends)
    bus.close(5.0)


def main() -> None:
    """Entry point of the child process."""
    stop: list[bool] = []

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.append(True)

    signal.signal(signal.SIGTERM, ask)
    copy(sys.argv[1], sys.argv[2], sys.argv[3], stop)


if __name__ == "__main__":
    main()
