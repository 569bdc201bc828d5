# SPDX-License-Identifier: MIT
"""Local services: which broker runs and what it guarantees, and broker and Redis started and stopped together.

The order is: configured bootstrap servers, then a local Apache Kafka, then the embedded fallback.
`python -m usp.io.embedded kafka` fetches Apache Kafka into `.local/kafka`.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from ..config.deployment import DeploymentSettings
from .bus import Delivery
from .kafka_jars import KafkaUnavailable, Progress, ensure_kafka_jars, find_java, is_complete, kafka_version, silent
from .local_broker import LocalBroker, answering_cluster, quiet_admin
from .local_kafka import Detour, ensure_class_archive, start_kafka
from .local_process import ServiceUnavailable, reserve_port
from .local_redis import LocalRedis, RedisUnavailable, start_redis
from .local_tansu import EmbeddedUnavailable, find_tansu, start_tansu
from .ports import LOOPBACK

__all__ = [
    "Addresses",
    "BrokerChoice",
    "EmbeddedUnavailable",
    "KafkaUnavailable",
    "LocalBroker",
    "LocalRedis",
    "LocalServices",
    "RedisUnavailable",
    "RunningBroker",
    "RunningRedis",
    "ServiceUnavailable",
    "choose_broker",
    "prepare_kafka",
    "start_kafka",
    "start_redis",
    "start_tansu",
]

KAFKA_DIR = Path(".local/kafka")
ANSWER_S = 10.0
STOP_S = 20.0
EXACTLY_ONCE = "exactly once: transactions hold outputs and input offsets together"
AT_LEAST_ONCE = "at least once: no transactions; readers drop repeated record ids"
BrokerMode = Literal["auto", "kafka", "embedded"]


@dataclass(frozen=True)
class BrokerChoice:
    """Which broker is to run, what it guarantees, and a sentence that says so.

    `bootstrap_servers` is set for a configured broker, `jars` for a local Apache Kafka.
    """

    kind: Literal["configured", "kafka", "embedded"]
    delivery: Delivery
    sentence: str
    bootstrap_servers: str = ""
    jars: Path | None = None


@dataclass(frozen=True)
class RunningBroker:
    """A broker that answers; `local` is its process when it was started here."""

    choice: BrokerChoice
    bootstrap_servers: str
    cluster_id: str
    local: LocalBroker | None = None

    @property
    def delivery(self) -> Delivery:
        return self.choice.delivery

    @property
    def sentence(self) -> str:
        return self.choice.sentence


@dataclass(frozen=True)
class RunningRedis:
    """A Redis; `local` is its process when it was started here."""

    url: str
    local: LocalRedis | None = None


def prepare_kafka(local_dir: Path = KAFKA_DIR, progress: Progress = silent) -> Path:
    """Everything that quick starts of Apache Kafka need; the folder with its jars. Raises KafkaUnavailable."""
    jars = ensure_kafka_jars(local_dir, progress)
    ensure_class_archive(jars, progress)
    return jars


def find_kafka(local_dir: Path) -> Path:
    """The folder with the jars, fetched or not: only looks whether they could be had. Raises KafkaUnavailable."""
    find_java()
    jars = local_dir / kafka_version()
    if not is_complete(jars) and shutil.which("mvn") is None:
        raise KafkaUnavailable(f"Apache Kafka was not in {jars} and no mvn on the PATH; expected one of them")
    return jars


def choose_broker(
    mode: BrokerMode,
    bootstrap_servers: str | None = None,
    *,
    delivery: Delivery = "exactly_once",
    kafka: Callable[[], Path] = prepare_kafka,
) -> BrokerChoice:
    """The first broker that can be had; `auto` falls back from Apache Kafka to the embedded one and says why.

    `delivery` is the guarantee configured by the user; the embedded broker has `at_least_once` alone. `kafka` gives
    the folder with Kafka's jars. Raises ServiceUnavailable when the mode cannot be had.
    """
    if bootstrap_servers:
        return configured(mode, bootstrap_servers, delivery)
    if mode == "embedded":
        return embedded("as asked for")
    try:
        jars = kafka()
    except KafkaUnavailable as error:
        if mode == "kafka":
            raise
        return embedded(str(error).splitlines()[0])
    return BrokerChoice("kafka", delivery, f"local Apache Kafka {kafka_version()}; {guarantee(delivery)}", jars=jars)


def configured(mode: BrokerMode, bootstrap_servers: str, delivery: Delivery) -> BrokerChoice:
    """The broker that the settings name."""
    if mode == "embedded":
        raise ServiceUnavailable(
            f"the embedded broker was asked for while bootstrap servers are set ({bootstrap_servers}); expected one of "
            "the two: unset USP_BUS__BOOTSTRAP_SERVERS or choose broker auto or kafka"
        )
    sentence = f"configured broker at {bootstrap_servers}; {guarantee(delivery)}"
    return BrokerChoice("configured", delivery, sentence, bootstrap_servers=bootstrap_servers)


def embedded(reason: str) -> BrokerChoice:
    """The fallback, with why it was taken; raises EmbeddedUnavailable."""
    find_tansu()
    sentence = f"embedded broker (Tansu, memory only, not for production; {reason}); {AT_LEAST_ONCE}"
    return BrokerChoice("embedded", "at_least_once", sentence)


def guarantee(delivery: Delivery) -> str:
    return EXACTLY_ONCE if delivery == "exactly_once" else AT_LEAST_ONCE


class Addresses(NamedTuple):
    """What clients of the services must know. `log_id` names the log of a broker that keeps nothing."""

    bootstrap_servers: str
    delivery: Delivery
    redis_url: str
    log_id: str = ""


class LocalServices:
    """Broker and Redis: those that the settings name, else local ones below `data_dir`, stopped at the end.

    A context manager. Whatever ends this process, Ctrl-C and `kill -9` included, the local ones end with it. Entering
    raises ServiceUnavailable, and leaves nothing running then.
    """

    def __init__(
        self,
        settings: DeploymentSettings,
        data_dir: Path,
        say: Progress = silent,
        kafka_dir: Path = KAFKA_DIR,
        steady: bool = False,
        meanwhile: Callable[[Addresses], None] = lambda _: None,
        detour: Detour | None = None,
    ) -> None:
        """`steady`: they will run for more than a minute or two, so a slower first minute pays.

        `meanwhile` is called with the likely addresses before a broker that is slow to start; `addresses` are those
        that came true. `detour` is a second way to a local Apache Kafka.
        """
        self.settings = settings
        self.steady = steady
        self.meanwhile = meanwhile
        self.detour = detour
        self.data_dir = data_dir
        self.say = say
        self.kafka_dir = kafka_dir
        self.started = ExitStack()
        self.stop_before_s = 0.0

    broker: RunningBroker
    redis: RunningRedis

    def __enter__(self) -> Self:
        bus = self.settings.bus
        with ExitStack() as started:
            choice = choose_broker(
                bus.broker,
                bus.bootstrap_servers,
                delivery=bus.delivery,
                kafka=lambda: prepare_kafka(self.kafka_dir, self.say),
            )
            self.redis = self.open_redis(started)
            self.broker = self.open_broker(choice, started)
            self.started = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, deadline_s: float = STOP_S) -> None:
        """Stop what was started here, the last first, all of it before the deadline. Safe to call again."""
        self.stop_before_s = time.monotonic() + deadline_s
        self.started.close()

    def left_s(self) -> float:
        """What is left of the time to stop, which is a second at least: SIGKILL needs some, too."""
        return max(1.0, self.stop_before_s - time.monotonic())

    def open_redis(self, started: ExitStack) -> RunningRedis:
        """The configured Redis, else one of our own."""
        if self.settings.redis.url:
            return RunningRedis(self.settings.redis.url)
        local = start_redis(self.data_dir / "redis")
        started.callback(lambda: local.stop(self.left_s()))
        return RunningRedis(local.url, local)

    def open_broker(self, choice: BrokerChoice, started: ExitStack) -> RunningBroker:
        """The chosen broker, answering."""
        if choice.kind == "configured":
            return RunningBroker(choice, choice.bootstrap_servers, self.reach(choice.bootstrap_servers))
        if choice.jars is not None:
            folder = self.data_dir / "kafka"
            likely = f"{LOOPBACK}:{reserve_port('Apache Kafka', folder)}"
            self.meanwhile(Addresses(likely, choice.delivery, self.redis.url))
            local = start_kafka(folder, choice.jars, steady=self.steady, detour=self.detour)
        else:
            local = start_tansu(self.data_dir / "tansu")
        started.callback(lambda: local.stop(self.left_s()))
        return RunningBroker(choice, local.bootstrap_servers, local.cluster_id, local)

    @property
    def addresses(self) -> Addresses:
        """Apache Kafka names its logs itself; a broker that keeps nothing gets a name per run."""
        log_id = self.broker.cluster_id if self.broker.choice.kind == "embedded" else ""
        return Addresses(self.broker.bootstrap_servers, self.broker.delivery, self.redis.url, log_id)

    def reach(self, bootstrap_servers: str) -> str:
        """The cluster id of the configured broker; raises ServiceUnavailable when nothing answers."""
        admin = quiet_admin(bootstrap_servers, self.settings.bus.security)
        cluster_id = answering_cluster(admin, ANSWER_S)
        if cluster_id is None:
            raise ServiceUnavailable(
                f"no Kafka broker answered at {bootstrap_servers} within {ANSWER_S:.0f} s; expected a running one: "
                "start it, correct USP_BUS__BOOTSTRAP_SERVERS and its credentials, or unset it for a local broker"
            )
        return cluster_id


def main(arguments: list[str]) -> int:
    """`kafka`: fetch Apache Kafka if Java and Maven are here; 1 with the reason if it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m usp.io.embedded", description="Prepare the local services.")
    parser.add_argument("service", choices=["kafka"], help="fetch Apache Kafka and make its starts quick")
    parser.add_argument("--dir", type=Path, default=KAFKA_DIR, help="where to (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        jars = prepare_kafka(options.dir, print)
    except KafkaUnavailable as error:
        print(f"no local Apache Kafka: {error}", file=sys.stderr)
        return 1
    print(f"Apache Kafka {kafka_version()} is in {jars}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
