# SPDX-License-Identifier: MIT
"""Apache Kafka as one process on this machine (KRaft: broker and controller in one), for demo, tests and CI."""

import base64
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Producer
from confluent_kafka.cimpl import NewTopic

from .kafka_jars import Java, KafkaUnavailable, Progress, find_java, silent
from .local_broker import LocalBroker, answering_cluster, quiet_admin
from .local_process import LocalProcess, ServiceUnavailable, make_run_dir, spawn, start_on_port, wait_until_ready
from .ports import LOOPBACK, free_port

NAME = "Apache Kafka"
LOG_SETTINGS = Path(__file__).with_name("kafka_log4j2.xml")
FIRST_CHECKPOINT = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"  # Kafka leaves it in its data folder
FENCED = "Fencing broker 1"
FENCE_S = 10.0
FENCE_WRITTEN_S = 0.2
BROKER_SETTINGS = ("advertised.listeners", "inter.broker.listener.name")
HEAP_MB = 512
FORMAT_HEAP_MB = 128
ARCHIVE_S = 60.0
CLIENT_S = 30.0
COORDINATOR_S = 10.0
THOROUGH = (
    "-XX:TieredStopAtLevel=4",
    # Ten times Java's own thresholds, so that nothing is compiled thoroughly that only the start calls.
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)


class Detour(NamedTuple):
    """A second way to the broker: it listens on `port`, and sends who comes there back to `advertised_port`.

    Whatever listens on that one, a proxy that spoils the connection say, is then never bypassed: a client uses its
    bootstrap address only until the broker has told it another.
    """

    port: int
    advertised_port: int


def broker_settings(data_dir: Path, port: int, controller_port: int, detour: Detour | None = None) -> dict[str, str]:
    """Settings of a single node on the loopback address, made for quick starts and short transactions."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"CLIENTS://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "log.dirs": str(data_dir),
        "auto.create.topics.enable": "false",
        # More threads than these only take turns on the few cores of one machine.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        # Costs a question to the coordinator for each partition of a transaction, about a third of its time; without
        # it a record that is late for an aborted transaction can be committed by the next one.
        "transaction.partition.verification.enable": "true",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
    }
    return settings if detour is None else with_detour(settings, detour)


def with_detour(settings: dict[str, str], detour: Detour) -> dict[str, str]:
    """The same broker with one more listener."""
    return settings | {
        "listeners": f"{settings['listeners']},DETOUR://{LOOPBACK}:{detour.port}",
        "advertised.listeners": f"{settings['advertised.listeners']},DETOUR://{LOOPBACK}:{detour.advertised_port}",
        "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},DETOUR:PLAINTEXT",
    }


def start_kafka(
    run_dir: Path,
    jars: Path,
    *,
    port: int | None = None,
    deadline_s: float = 60.0,
    steady: bool = False,
    detour: Detour | None = None,
) -> LocalBroker:
    """Start Kafka with its data in `run_dir` and return when it answers. `steady` is for one that will run long.

    A `run_dir` that was used before keeps its cluster id and its records, and its port when that is still free, so
    that clients find the broker again. Raises KafkaUnavailable.
    """
    return start_with(THOROUGH if steady else (), run_dir, jars, port, deadline_s, detour)


def start_with(
    jvm_options: Sequence[str],
    run_dir: Path,
    jars: Path,
    port: int | None,
    deadline_s: float,
    detour: Detour | None = None,
) -> LocalBroker:
    """`start_kafka` with further options for the Java machine."""
    try:
        java, folder = find_java(), run_dir.resolve()
        make_run_dir(NAME, folder)

        def start(at: int) -> LocalBroker:
            return wait_for_broker(folder, launch(folder, jars, java, at, jvm_options, detour), at, deadline_s)

        return start_on_port(NAME, folder, port, start)
    except (ServiceUnavailable, OSError) as error:
        raise KafkaUnavailable(str(error)) from error


def launch(
    run_dir: Path, jars: Path, java: Java, port: int, jvm_options: Sequence[str], detour: Detour | None
) -> LocalProcess:
    """Format the storage if it is new, tidy up after a crash, then start the broker's process."""
    data_dir, properties, log = run_dir / "data", run_dir / "server.properties", run_dir / "kafka.log"
    settings = broker_settings(data_dir, port, free_port(avoid=frozenset({port, *(detour or ())})), detour)
    write_properties(properties, settings)
    if not (data_dir / "meta.properties").exists():
        format_storage(jars, java, data_dir, properties)
    elif not (data_dir / CLEAN_SHUTDOWN).exists():
        end_former_session(jars, java, settings, run_dir / "controller.properties", log)
    command = [*jvm(jars, java, heap_mb=HEAP_MB, options=jvm_options), "kafka.Kafka", str(properties)]
    return spawn(NAME, command, log, exclusive=True)


def end_former_session(jars: Path, java: Java, settings: dict[str, str], properties: Path, log: Path) -> None:
    """After a crash, run the controller alone until it has noticed that the broker is gone.

    Otherwise the new broker takes up its partitions, then waits for the session of its former life to run out, and
    loses them for a moment when it does. A transaction that was just being committed or aborted is then marked as
    complete without its marker in the partition ("these partitions are likely deleted already"), and readers of
    committed records stop in front of it.
    """
    own = {key: value for key, value in settings.items() if key not in BROKER_SETTINGS}
    own |= {
        "process.roles": "controller",
        "listeners": next(text for text in settings["listeners"].split(",") if text.startswith("CONTROLLER:")),
        "broker.session.timeout.ms": "500",
        "broker.heartbeat.interval.ms": "100",
    }
    write_properties(properties, own)
    command = [*jvm(jars, java, heap_mb=FORMAT_HEAP_MB), "kafka.Kafka", str(properties)]
    controller = spawn("Apache Kafka's controller", command, log, exclusive=True)
    end = time.monotonic() + FENCE_S
    while controller.is_running() and time.monotonic() < end and FENCED not in controller.output():
        time.sleep(0.05)
    time.sleep(FENCE_WRITTEN_S)
    controller.stop()


def write_properties(path: Path, settings: dict[str, str]) -> None:
    """A file of settings as Kafka reads them."""
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))


def format_storage(jars: Path, java: Java, data_dir: Path, properties: Path) -> None:
    """Give the empty storage a random cluster id.

    Kafka's own tool does so the first time. What it wrote is kept beside the jars and copied from then on: the tool is
    a second Java, half a second alone and more beside stages that start, and only the ids differ.
    """
    kept = jars / "formatted.checkpoint"
    if not kept.exists():
        run_storage_tool(jars, java, properties)
        keep(data_dir / FIRST_CHECKPOINT, kept)
        return
    checkpoint = data_dir / FIRST_CHECKPOINT
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept, checkpoint)
    ids = {"version": "1", "node.id": "1", "cluster.id": random_id(), "directory.id": random_id()}
    write_properties(data_dir / "meta.properties", ids)


def run_storage_tool(jars: Path, java: Java, properties: Path) -> None:
    """Format the storage that these properties name."""
    command = [*jvm(jars, java, heap_mb=FORMAT_HEAP_MB), "kafka.tools.StorageTool", "format", "--ignore-formatted",
               "--cluster-id", random_id(), "--config", str(properties)]  # fmt: skip
    done = subprocess.run(  # noqa: S603  # no shell
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise ServiceUnavailable(f"Apache Kafka could not format {properties.parent}:\n{done.stdout}{done.stderr}")


def random_id() -> str:
    """22 characters of URL-safe base64, as Kafka writes its ids; a leading dash would read as an option."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return text if not text.startswith("-") else random_id()


def jvm(jars: Path, java: Java, heap_mb: int, options: Sequence[str] = ()) -> list[str]:
    """The start of a command line that runs a class of Kafka.

    The quick compiler alone (C1), unless an option says otherwise: a broker of a demo or a test ends before the
    thorough one has paid for itself, and on two cores its compiling takes the time of the stages. After a minute of
    load the thorough one answers three times as fast.
    """
    archive = class_archive(jars, java)
    archiving = any(option.startswith("-XX:ArchiveClassesAtExit") for option in options)
    shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() and not archiving else []
    return [java.path, f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
            *shared, *options, f"-Dlog4j2.configurationFile={LOG_SETTINGS}", "-cp", class_path(jars)]  # fmt: skip


def class_path(jars: Path) -> str:
    """Every jar by name, in an order that does not change: the class archive is bound to it."""
    return os.pathsep.join(str(jar.resolve()) for jar in sorted(jars.glob("*.jar")))


def class_archive(jars: Path, java: Java) -> Path:
    """Where Kafka's classes lie in the form into which this Java loads them; see `ensure_class_archive`."""
    return jars / f"classes-{java.version}.jsa"


def ensure_class_archive(jars: Path, progress: Progress = silent) -> None:
    """Run Kafka once to keep its loaded classes in a file (class data sharing), which halves every later start.

    The archive is bound to the jars and to the version of Java, which ignores one that does not fit. Raises
    KafkaUnavailable when Kafka cannot run here at all.
    """
    archive = class_archive(jars, find_java())
    if archive.exists():
        return
    progress("preparing Apache Kafka for quick starts (once, about 15 s)")
    with tempfile.TemporaryDirectory(prefix="usp-kafka-") as scratch:
        fresh = Path(scratch) / archive.name
        broker = start_with((f"-XX:ArchiveClassesAtExit={fresh}",), Path(scratch) / "run", jars, None, 120.0)
        commit_one_transaction(broker.bootstrap_servers)
        broker.stop(ARCHIVE_S)
        if fresh.exists():
            keep(fresh, archive)


def commit_one_transaction(bootstrap_servers: str) -> None:
    """Make the broker load what serving a transactional producer needs."""
    admin: Any = quiet_admin(bootstrap_servers)
    admin.create_topics([NewTopic("warm-up", 1, 1)])["warm-up"].result(CLIENT_S)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": "warm-up", "log_level": 0})
    producer.init_transactions(CLIENT_S)
    producer.begin_transaction()
    producer.produce("warm-up", b"")
    producer.commit_transaction(CLIENT_S)


def keep(fresh: Path, archive: Path) -> None:
    """Put the archive into place whole or not at all; without it Kafka starts as well, only slower."""
    part = archive.with_name(f"{archive.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        shutil.copyfile(fresh, part)
        part.replace(archive)


def wait_for_broker(run_dir: Path, process: LocalProcess, port: int, deadline_s: float) -> LocalBroker:
    """Return when the broker with the cluster id of this storage answers: another one may have taken the port."""
    meta = (run_dir / "data" / "meta.properties").read_text()
    match = re.search(r"^cluster\.id=(\S+)$", meta, re.M)
    cluster_id = match[1] if match else ""
    bootstrap_servers = f"{LOOPBACK}:{port}"
    admin = quiet_admin(bootstrap_servers)
    wait_until_ready(process, lambda: answering_cluster(admin) == cluster_id, deadline_s)
    Thread(target=call_group_coordinator, args=(admin,), daemon=True).start()
    return LocalBroker("kafka", bootstrap_servers, "exactly_once", cluster_id, process)


def call_group_coordinator(admin: Any) -> None:
    """Have the topic of the groups' offsets made now: a member that asks before it is there comes back seconds later.

    The broker makes it at the first question for a group, whichever.
    """
    with contextlib.suppress(KafkaException):
        admin.describe_consumer_groups(["start"], request_timeout=COORDINATOR_S)["start"].result(CLIENT_S)
