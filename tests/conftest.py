# SPDX-License-Identifier: MIT
"""Real brokers for the tests that need one, each started once per session and stopped at its end."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from usp.io.kafka_jars import KafkaUnavailable, ensure_kafka_jars
from usp.io.local_broker import LocalBroker
from usp.io.local_kafka import start_kafka

LOCAL = Path(__file__).parents[1] / ".local"
JARS = LOCAL / "kafka"

# Two thirds of the fast suite's time is XLA compiling the same programs as the run before.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(LOCAL / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where Apache Kafka cannot be had its tests are skipped and say why; in CI they must run."""
    wanting = [item for item in items if item.get_closest_marker("kafka")]
    if not wanting or "CI" in os.environ:
        return
    try:
        ensure_kafka_jars(JARS)
    except KafkaUnavailable as fault:
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=str(fault).splitlines()[0]))


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalBroker]:
    """Apache Kafka."""
    broker = start_kafka(tmp_path_factory.mktemp("kafka"), ensure_kafka_jars(JARS))
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def own_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalBroker]:
    """Apache Kafka for one module alone: nobody else's records lie in its topics."""
    broker = start_kafka(tmp_path_factory.mktemp("kafka"), ensure_kafka_jars(JARS))
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalBroker]:
    """The fallback that keeps its records in memory."""
    from usp.io.local_tansu import start_tansu

    broker = start_tansu(tmp_path_factory.mktemp("embedded"))
    yield broker
    broker.kill()
