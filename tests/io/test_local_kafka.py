# SPDX-License-Identifier: MIT
"""A local Apache Kafka: real transactions, data that survives kill -9, nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from usp.io.embedded import KafkaUnavailable, prepare_kafka
from usp.io.kafka_jars import Java
from usp.io.local_broker import LocalBroker, quiet_admin
from usp.io.local_kafka import FIRST_CHECKPOINT, format_storage, random_id, start_kafka
from usp.io.ports import LOOPBACK, is_free

KAFKA_DIR = Path(__file__).parents[2] / ".local" / "kafka"
STARTER = """
import sys, time
from pathlib import Path
from usp.io.local_kafka import start_kafka
broker = start_kafka(Path(sys.argv[1]), Path(sys.argv[2]))
print(broker.bootstrap_servers, broker.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def jars() -> Path:
    """Kafka's jars; CI must have them."""
    try:
        return prepare_kafka(KAFKA_DIR)
    except KafkaUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def broker(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalBroker]:
    """One broker for the tests that leave it running."""
    running = start_kafka(tmp_path_factory.mktemp("broker"), jars)
    yield running
    running.stop()


def transactional(broker: LocalBroker, name: str) -> Producer:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": name, "log_level": 0})
    producer.init_transactions(30.0)
    return producer


def send(producer: Producer, topic: str, value: bytes, *, commit: bool) -> None:
    producer.begin_transaction()
    producer.produce(topic, value)
    producer.flush(30.0)
    producer.commit_transaction(30.0) if commit else producer.abort_transaction(30.0)


def read_committed(broker: LocalBroker, topic: str, count: int) -> list[bytes | None]:
    """The first `count` values; fewer if nothing comes for a while."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "test", "isolation.level": "read_committed",
         "log_level": 0}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []
    while len(values) < count and (message := consumer.poll(15.0)) is not None:
        values.append(message.value())
    consumer.close()
    return values


def make_topic(broker: LocalBroker, topic: str) -> None:
    admin = quiet_admin(broker.bootstrap_servers)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30.0)


def port_of(broker: LocalBroker) -> int:
    return int(broker.bootstrap_servers.split(":")[1])


@pytest.mark.kafka
def test_an_aborted_transaction_is_never_read(broker: LocalBroker):
    """A read_committed reader sees what was committed before and after it, and nothing else."""
    make_topic(broker, "atomic")
    producer = transactional(broker, "atomic")
    for value, commit in ((b"first", True), (b"aborted", False), (b"second", True)):
        send(producer, "atomic", value, commit=commit)
    assert [b"first", b"second"] == read_committed(broker, "atomic", 2)
    assert broker.delivery == "exactly_once"


@pytest.mark.kafka
def test_it_listens_on_the_loopback_address_alone(broker: LocalBroker):
    """Neither clients' nor controller's port is open to the network."""
    inodes = {
        link.readlink().name[8:-1]
        for link in Path(f"/proc/{broker.process.pid}/fd").iterdir()
        if link.is_symlink() and link.readlink().name.startswith("socket:")
    }
    listening: list[str] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].rsplit(":", 1)[0])
    assert len(listening) == 2
    assert {"0100007F", "0000000000000000FFFF00000100007F"} >= set(listening)


@pytest.mark.kafka
def test_topics_are_not_made_by_accident(broker: LocalBroker):
    """A misspelt topic is an error instead of a new topic."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "message.timeout.ms": 2000, "log_level": 0})
    producer.produce("misspelt", b"")
    producer.flush(10.0)
    assert "misspelt" not in quiet_admin(broker.bootstrap_servers).list_topics(timeout=10.0).topics


@pytest.mark.kafka
def test_records_survive_a_stop_and_a_kill(jars: Path, tmp_path: Path):
    """The same folder gives the same records, cluster and port, after SIGTERM and after SIGKILL.

    That holds for a transaction whose marker was not written yet when the broker was killed.
    """
    first = start_kafka(tmp_path, jars)
    make_topic(first, "kept")
    send(transactional(first, "kept"), "kept", b"one", commit=True)
    first.stop()
    assert is_free(port_of(first))
    second = start_kafka(tmp_path, jars)
    send(transactional(second, "kept"), "kept", b"two", commit=True)
    second.kill()
    third = start_kafka(tmp_path, jars)
    try:
        assert [b"one", b"two"] == read_committed(third, "kept", 2)
        assert len({(broker.bootstrap_servers, broker.cluster_id) for broker in (first, second, third)}) == 1
    finally:
        third.stop()


@pytest.mark.kafka
def test_nothing_outlives_a_killed_starter(jars: Path, tmp_path: Path):
    """kill -9 of the process that started the broker ends the broker and frees its port."""
    command = [sys.executable, "-c", STARTER, str(tmp_path), str(jars)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        servers, pid = starter.stdout.readline().split()
        starter.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20.0
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    assert is_free(int(servers.split(":")[1]))


@pytest.mark.kafka
def test_a_port_in_use_is_an_error(jars: Path, tmp_path: Path):
    """The error names the port and comes at once."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(KafkaUnavailable, match=f"{other.getsockname()[1]}, which was in use"):
            start_kafka(tmp_path, jars, port=other.getsockname()[1])


@pytest.mark.kafka
def test_a_second_broker_on_the_same_folder_is_refused(
    broker: LocalBroker, jars: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is named before it can touch the first one's data, and the first one goes on."""
    monkeypatch.setattr("usp.io.local_process.LOCK_WAIT_S", 0.1)
    with pytest.raises(KafkaUnavailable, match="was already running"):
        start_kafka(broker.process.log.parent, jars)
    assert broker.is_running()


@pytest.mark.kafka
def test_a_kafka_that_refuses_its_data_is_quoted(jars: Path, tmp_path: Path):
    """The reason stands in the error although much is logged after it."""
    start_kafka(tmp_path, jars).stop()
    meta = tmp_path / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(KafkaUnavailable, match=r"(?s)exited while starting.*Stored node id 7"):
        start_kafka(tmp_path, jars)


@pytest.mark.kafka
def test_a_broker_that_is_not_up_in_time_is_ended(jars: Path, tmp_path: Path):
    """The deadline holds, and nothing is left running."""
    with pytest.raises(KafkaUnavailable, match="did not answer within 0 s"):
        start_kafka(tmp_path, jars, deadline_s=0.1)


@pytest.mark.kafka
def test_a_folder_that_cannot_be_written_is_an_error(jars: Path, tmp_path: Path):
    """The error names the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(KafkaUnavailable, match="file/run, which was not writable"):
        start_kafka(tmp_path / "file" / "run", jars)


@pytest.mark.kafka
def test_a_folder_without_jars_is_an_error(tmp_path: Path):
    """Java's own words are shown."""
    with pytest.raises(KafkaUnavailable, match=r"could not format(.|\n)*StorageTool"):
        start_kafka(tmp_path, tmp_path / "empty")


def test_no_java_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is found before anything is written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(KafkaUnavailable, match=r"expected JDK 17\+"):
        start_kafka(tmp_path / "run", tmp_path)
    assert not (tmp_path / "run").exists()


def test_ids_differ_and_never_look_like_an_option():
    """22 characters that Kafka accepts as an id on its command line."""
    ids = {random_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_a_storage_made_from_the_kept_one_has_ids_of_its_own(tmp_path: Path):
    """Its log is a new one: whoever keeps offsets or snapshots of another cluster can tell."""
    (tmp_path / "formatted.checkpoint").write_bytes(b"features")
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        format_storage(tmp_path, Java("no-java", "17"), folder, tmp_path / "server.properties")
        assert (folder / FIRST_CHECKPOINT).read_bytes() == b"features"
    first, second = (set((folder / "meta.properties").read_text().splitlines()) for folder in folders)
    assert first & second == {"version=1", "node.id=1"}
    assert {line.partition("=")[0] for line in first - second} == {"cluster.id", "directory.id"}
