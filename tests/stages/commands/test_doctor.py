# SPDX-License-Identifier: MIT
"""`usp doctor` finds what is wrong before the pipeline does, and says what to do about it."""

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from registry_server import Registry, serving
from usp.config.settings import load_settings
from usp.io.local_broker import LocalBroker
from usp.io.local_redis import start_redis
from usp.io.ports import free_port
from usp.io.topics import TopicSpec, ensure_topics
from usp.stages import topology
from usp.stages.commands import doctor
from usp.stages.commands.doctor import examine
from usp.stages.commands.doctor_services import broker_findings, clock, redis_findings, registry


def findings(found):
    """By name."""
    return {finding.name: finding for finding in found}


def test_a_fresh_machine_is_fine(tmp_path: Path):
    """Nothing configured, nothing made yet: everything is said and nothing is wrong."""
    found = examine(load_settings({"USP_PATHS__DATA_DIR": str(tmp_path / "var")}), {})
    assert [] == [finding for finding in found if not finding.ok]
    names = {"python", "jax", "java", "disk", "data folder", "compile cache", "broker", "redis", "credentials"}
    assert names <= findings(found).keys()
    assert not (tmp_path / "var").exists()


def test_an_env_file_that_others_can_read(tmp_path: Path):
    """Credentials are for one user."""
    path = tmp_path / ".env"
    path.write_text("USP_PROPOSAL_KEY=hunter2\n")
    path.chmod(0o644)
    found = doctor.env_file(path)
    assert (False, f"Run: chmod 600 {path}") == (found.ok, found.advice)
    path.chmod(0o600)
    assert doctor.env_file(path).ok


def test_credentials_are_named_and_never_shown():
    """Whatever librdkafka takes as a secret is one here too."""
    environ = dict.fromkeys(("USP_BUS__SASL_PASSWORD", "USP_BUS__SSL_KEY_PEM", "USP_PROPOSAL_KEY", "HOME"), "hunter2")
    text = str(doctor.credentials(environ))
    assert all(name in text for name in environ if name != "HOME")
    assert "hunter2" not in text


def test_a_broken_configuration_is_told(tmp_path: Path):
    """With the loader's own words."""
    (tmp_path / "config.toml").write_text("[core]\nnonsense = 1\n")
    found = doctor.configuration(load_settings({"USP_PATHS__DATA_DIR": str(tmp_path)}))
    assert not found.ok
    assert "nonsense" in found.found


@pytest.mark.parametrize(("ahead_s", "is_right"), [(0.0, True), (0.4, True), (-5.0, False), (3600.0, False)])
def test_a_clock_that_is_wrong_is_told(ahead_s, is_right):
    """More than a second is a fault of the machine."""
    found = clock("x", ahead_s, "it is")
    assert (is_right, not is_right) == (found.ok, "NTP" in found.advice)


def test_redis_is_examined(tmp_path: Path):
    """Version, eviction, persistence and clock."""
    server = start_redis(tmp_path)
    try:
        found = findings(redis_findings(load_settings({"USP_REDIS__URL": server.url})))
        assert {True} == {finding.ok for finding in found.values()}
        assert "noeviction, append-only file on" in found["redis"].found
    finally:
        server.kill()


def test_redis_that_is_away():
    """Within seconds, with the setting's name."""
    [found] = redis_findings(load_settings({"USP_REDIS__URL": f"redis://127.0.0.1:{free_port()}/0"}))
    assert (False, True) == (found.ok, "USP_REDIS__URL" in found.advice)


def test_a_registry_is_examined():
    """It answers, or it does not."""
    with serving(Registry()) as served:
        assert registry(load_settings({"USP_SCHEMA_REGISTRY_URL": served.url})).ok
    assert not registry(load_settings({"USP_SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{free_port()}"})).ok


@pytest.mark.kafka
def test_apache_kafka_has_what_exactly_once_needs(kafka_broker: LocalBroker):
    """Transactions, and the fencing of an older process of the same name: tried, not assumed."""
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers, "log_level": 0})
    ensure_topics(admin, topology.specs())
    settings = load_settings({"USP_BUS__BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers})
    found = findings(broker_findings(settings))
    assert {"broker", "broker's clock", "transactions"} == found.keys()
    assert {True} == {finding.ok for finding in found.values()}, found
    assert "fenced" in found["transactions"].found
    assert "all topics there" in found["broker"].found


def test_the_embedded_broker_is_told_for_what_it_is(embedded_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch):
    """It is not asked for what at_least_once does not need, and topics that are missing are told."""
    admin = AdminClient({"bootstrap.servers": embedded_broker.bootstrap_servers, "log_level": 0})
    ensure_topics(admin, [TopicSpec("market.ticks.v1", topology.PARTITIONS, {})])
    never_made = topology.PREDICTIONS._replace(name="never.made.v1")
    monkeypatch.setattr(topology, "TOPICS", (*topology.TOPICS, never_made))
    where = {"USP_BUS__BOOTSTRAP_SERVERS": embedded_broker.bootstrap_servers}
    found = findings(broker_findings(load_settings(where | {"USP_BUS__DELIVERY": "at_least_once"})))
    assert "transactions" not in found
    assert "usp topics --create" in found["broker"].advice
