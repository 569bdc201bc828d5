# SPDX-License-Identifier: MIT
"""The services as `usp doctor` sees them: broker, Redis, schema registry. Nothing is written that a reader sees."""

import os
import time
from concurrent.futures import Future
from typing import Any, cast

import redis
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]  # documented, not exported
)

from ...config.deployment import DeploymentSettings
from ...io.cache import open_redis
from ...io.kafka_client import FENCING
from ...io.registry import RegistryUnavailable, open_wire
from ...io.topics import TopicMismatch
from .. import topology
from .findings import Finding
from .running import running_broker

ANSWER_S = 3.0
TRANSACTION_S = 10.0
SKEW_S = 1.0


def broker_findings(settings: DeploymentSettings) -> list[Finding]:
    """The broker answers, holds the topics, and can do what the delivery mode needs."""
    servers = settings.bus.bootstrap_servers or running_broker(settings)
    if not servers:
        return [Finding("broker", True, "none configured: usp up and usp demo start one of their own")]
    config: dict[str, Any] = {"bootstrap.servers": servers, "log_level": 0, **settings.bus.security}
    found = broker(settings, servers, AdminClient(config))
    if "delivery" not in found.found:
        return [found]
    checks = [found, broker_clock(AdminClient(config))]
    return [*checks, transactions(config)] if settings.bus.delivery == "exactly_once" else checks


def broker(settings: DeploymentSettings, servers: str, admin: AdminClient) -> Finding:
    """Answers, and its topics are as they must be; says what the delivery mode guarantees."""
    try:
        found = admin.list_topics(timeout=ANSWER_S)
    except KafkaException as fault:
        advice = "Start it, or set USP_BUS__BOOTSTRAP_SERVERS; see runbooks/broker-or-redis-down.md."
        return Finding("broker", False, f"{servers}: {fault.args[0].str()}", advice)
    counts = {name: len(topic.partitions) for name, topic in found.topics.items()}
    wrong = [t.name for t in topology.TOPICS if counts.get(t.name, t.partitions) != t.partitions]
    if wrong:
        advice = TopicMismatch.__doc__ or ""
        return Finding("broker", False, f"{servers}: wrong partition counts: {', '.join(wrong)}", advice)
    missing = [topic.name for topic in topology.TOPICS if topic.name not in counts]
    state = f"{len(missing)} topics missing" if missing else "all topics there"
    nodes = f"{len(found.brokers)} node" + ("s" if len(found.brokers) > 1 else "")
    text = f"{servers}, {nodes}, {state}, delivery {guarantee(settings)}"
    return Finding("broker", not missing, text, "Run: usp topics --create" if missing else "")


def guarantee(settings: DeploymentSettings) -> str:
    """The delivery mode in plain words."""
    if settings.bus.delivery == "exactly_once":
        return "exactly_once (transactions; readers use read_committed)"
    return "at_least_once (drop repeated record ids)"


def transactions(config: dict[str, Any]) -> Finding:
    """A second producer of the same name must shut the first one out, or a zombie could publish."""
    name = f"usp.doctor.{os.getpid()}"
    advice = "Use Apache Kafka, or set USP_BUS__DELIVERY=at_least_once; on a cluster with ACLs: runbooks/security.md."
    own = {**config, "transactional.id": name, "transaction.timeout.ms": 10_000}
    try:
        old, new = Producer(own), Producer(own)
        old.init_transactions(TRANSACTION_S)
        new.init_transactions(TRANSACTION_S)
    except KafkaException as fault:
        return Finding("transactions", False, f"none: {fault.args[0].str()}", advice)
    if not is_fenced(old, Consumer({**config, "group.id": name})):
        return Finding("transactions", False, "work, but an older process of the same name is not fenced", advice)
    return Finding("transactions", True, "work; an older process of the same name is fenced")


def is_fenced(producer: Producer, consumer: Consumer) -> bool:
    """Is it refused where its transaction would begin?"""
    try:
        producer.begin_transaction()
        place = TopicPartition(topology.MARKET_TICKS.name, 0, 0)
        producer.send_offsets_to_transaction([place], consumer.consumer_group_metadata(), TRANSACTION_S)
    except KafkaException as fault:
        return fault.args[0].code() in FENCING
    finally:
        consumer.close()
    producer.abort_transaction(TRANSACTION_S)
    return False


def broker_clock(admin: AdminClient) -> Finding:
    """The broker stamps market ticks: none may be stamped later than now."""
    topic = topology.MARKET_TICKS
    asked = {TopicPartition(topic.name, n): OffsetSpec.max_timestamp() for n in range(topic.partitions)}
    try:
        answers: dict[TopicPartition, Future[Any]] = cast(Any, admin).list_offsets(asked)
        newest_ms = max(int(answer.result(ANSWER_S).timestamp) for answer in answers.values())
    except (KafkaException, TimeoutError) as fault:
        return Finding("broker's clock", True, f"not to be told: {type(fault).__name__}")
    if newest_ms <= 0:
        return Finding("broker's clock", True, "not to be told: no tick yet")
    return clock("broker's clock", max(0.0, newest_ms / 1000 - time.time()), "the newest tick is stamped")


def clock(name: str, ahead_s: float, what: str) -> Finding:
    """A finding about a clock that is so many seconds ahead of ours."""
    advice = f"Let NTP set both clocks: expected less than {SKEW_S:.0f} s." if abs(ahead_s) > SKEW_S else ""
    found = f"{what} {ahead_s:+.3f} s from this machine's clock" if ahead_s else f"{what} not later than now"
    return Finding(name, not advice, found, advice)


def redis_findings(settings: DeploymentSettings) -> list[Finding]:
    """Redis answers, if one is configured, keeps what it is told, and its clock is right: rate limits use it."""
    own = settings.redis
    if not own.url:
        return [Finding("redis", True, "none configured: usp up and usp demo start one of their own")]
    try:
        client: Any = open_redis(
            own.url, username=own.username, password=own.password, ca_file=own.ca_file, timeout_s=ANSWER_S
        )
        before_s = time.time()
        seconds, micros = client.time()
        ahead_s = seconds + micros / 1e6 - (before_s + time.time()) / 2
        return [redis_server(client), clock("redis' clock", ahead_s, "it is")]
    except (redis.RedisError, ValueError) as fault:
        found = f"does not answer ({type(fault).__name__})"
        return [Finding("redis", False, found, "Start it, or correct USP_REDIS__URL and its credentials.")]


def redis_server(client: Any) -> Finding:
    """Its version; scripts run; nothing is evicted and changes are kept on disk."""
    version = client.info("server").get("redis_version", "?")
    if client.eval("return 1", 0) != 1:
        return Finding("redis", False, f"{version}, runs no Lua scripts", "Allow EVAL: the rate limits are a script.")
    policy = client.info("memory").get("maxmemory_policy", "noeviction")
    keeps = client.info("persistence").get("aof_enabled") == 1
    advice = "" if policy == "noeviction" else "Set maxmemory-policy noeviction: an evicted limit is forgotten."
    return Finding("redis", not advice, f"{version}, {policy}, append-only file {'on' if keeps else 'off'}", advice)


def registry(settings: DeploymentSettings) -> Finding:
    """The schema registry answers and has the schemas, if one is configured."""
    if not settings.bus.schema_registry_url:
        return Finding("schema registry", True, "none configured: records are in single-object encoding")
    try:
        open_wire(settings.bus.schema_registry_url)
    except RegistryUnavailable as fault:
        return Finding("schema registry", False, str(fault), "See the message; expected an answer.")
    return Finding("schema registry", True, "answers, all schemas are registered")
