# SPDX-License-Identifier: MIT
"""Apache Kafka as one process on this machine (KRaft: broker and controller in one), for demo, tests and CI."""

import base64
import re
import subprocess
import uuid
from pathlib import Path

from .kafka_jars import Java, KafkaUnavailable, find_java
from .local_broker import LocalBroker, answering_cluster, quiet_admin
from .local_process import LocalProcess, ServiceUnavailable, StartFailed
from .local_process import lost_its_port, make_run_dir, spawn, wait_until_ready
from .ports import LOOPBACK, free_port, is_free

LOG_SETTINGS = Path(__file__).with_name("kafka_log4j2.xml")
PORT_TRIES = 3


def broker_settings(data_dir: Path, port: int, controller_port: int) -> dict[str, str]:
    """Settings of a single node on the loopback address, made for quick starts and short transactions."""
    return {
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
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
    }


def start_kafka(run_dir: Path, jars: Path, *, port: int | None = None, deadline_s: float = 60.0) -> LocalBroker:
    """Start Kafka with its data in `run_dir` and return when it answers.

    A `run_dir` that was used before keeps its cluster id and its records, and its port when that is still free, so
    that clients find the broker again. Raises KafkaUnavailable.
    """
    try:
        java = find_java()
        run_dir = run_dir.resolve()
        make_run_dir("Apache Kafka", run_dir)
        for attempt in range(PORT_TRIES):
            listen = choose_port(run_dir, port, renew=attempt > 0)
            process = launch(run_dir, jars, java, listen)
            try:
                return wait_for_broker(run_dir, process, listen, deadline_s)
            except StartFailed:
                if port is not None or not lost_its_port(process):
                    raise
        raise ServiceUnavailable(f"Apache Kafka found its port taken {PORT_TRIES} times in a row on {LOOPBACK}")
    except (ServiceUnavailable, OSError) as error:
        raise KafkaUnavailable(str(error)) from error


def choose_port(run_dir: Path, port: int | None, *, renew: bool) -> int:
    """The port asked for, else the one used before in `run_dir` if it is free, else a new one."""
    if port is not None:
        if not is_free(port):
            raise ServiceUnavailable(
                f"port {port} on {LOOPBACK} was in use; expected a free one: stop what listens there, or name no port"
            )
        return port
    before = port_used_before(run_dir)
    return before if before and not renew and is_free(before) else free_port()


def port_used_before(run_dir: Path) -> int | None:
    path = run_dir / "server.properties"
    match = re.search(r"^advertised\.listeners=.*:(\d+)$", path.read_text(), re.M) if path.exists() else None
    return int(match[1]) if match else None


def launch(run_dir: Path, jars: Path, java: Java, port: int) -> LocalProcess:
    """Format the storage if it is new, then start the broker's process."""
    data_dir, properties = run_dir / "data", run_dir / "server.properties"
    settings = broker_settings(data_dir, port, free_port(avoid=frozenset({port})))
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    if not (data_dir / "meta.properties").exists():
        format_storage(jars, java, properties)
    command = [*jvm(jars, java, heap_mb=512), "kafka.Kafka", str(properties)]
    return spawn("Apache Kafka", command, run_dir / "kafka.log")


def format_storage(jars: Path, java: Java, properties: Path) -> None:
    """Give the empty storage a random cluster id."""
    command = [*jvm(jars, java, heap_mb=128), "kafka.tools.StorageTool", "format", "--ignore-formatted",
               "--cluster-id", random_cluster_id(), "--config", str(properties)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ServiceUnavailable(f"Apache Kafka could not format {properties.parent}:\n{done.stdout}{done.stderr}")


def random_cluster_id() -> str:
    """22 characters of URL-safe base64, as Kafka writes its ids; a leading dash would read as an option."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return text if not text.startswith("-") else random_cluster_id()


def jvm(jars: Path, java: Java, heap_mb: int) -> list[str]:
    """The start of a command line that runs a class of Kafka."""
    class_path = ":".join(str(jar.resolve()) for jar in sorted(jars.glob("*.jar")))
    return [java.path, f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={LOG_SETTINGS}", "-cp", class_path]  # fmt: skip


def wait_for_broker(run_dir: Path, process: LocalProcess, port: int, deadline_s: float) -> LocalBroker:
    """Return when the broker with the cluster id of this storage answers: another one may have taken the port."""
    meta = (run_dir / "data" / "meta.properties").read_text()
    match = re.search(r"^cluster\.id=(\S+)$", meta, re.M)
    cluster_id = match[1] if match else ""
    bootstrap_servers = f"{LOOPBACK}:{port}"
    admin = quiet_admin(bootstrap_servers)
    wait_until_ready(process, lambda: answering_cluster(admin) == cluster_id, deadline_s)
    return LocalBroker("kafka", bootstrap_servers, "exactly_once", cluster_id, process)
