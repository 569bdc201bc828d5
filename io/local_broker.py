# SPDX-License-Identifier: MIT
"""A Kafka-protocol broker on the loopback address of this machine: what starting one gives."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from .bus import Delivery
from .local_process import LocalProcess

BrokerKind = Literal["kafka", "embedded"]
ANSWER_TIMEOUT_S = 0.5
NO_SECURITY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class LocalBroker:
    """A running broker. `process.pid` is the broker's own; `stop` and `kill` may be called more than once."""

    kind: BrokerKind
    bootstrap_servers: str
    delivery: Delivery
    cluster_id: str
    process: LocalProcess

    def is_running(self) -> bool:
        return self.process.is_running()

    def stop(self, deadline_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `deadline_s`."""
        self.process.stop(deadline_s)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self.process.kill()


def quiet_admin(bootstrap_servers: str, security: Mapping[str, str] = NO_SECURITY) -> AdminClient:
    """A client that neither logs nor waits long between tries: a server that is not there yet is no news."""
    return AdminClient(
        {
            **security,
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "socket.connection.setup.timeout.ms": 2_000,
        }
    )


def answering_cluster(admin: AdminClient, timeout_s: float = ANSWER_TIMEOUT_S) -> str | None:
    """The id of the cluster that answers with at least one broker ready for clients; None when nothing does."""
    with contextlib.suppress(KafkaException):
        metadata = admin.list_topics(timeout=timeout_s)
        if metadata.brokers:
            return metadata.cluster_id or ""
    return None
