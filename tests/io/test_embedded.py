# SPDX-License-Identifier: MIT
"""Which broker runs, what it guarantees, and local services that start and stop together."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from usp.config.deployment import BusSettings, DeploymentSettings, RedisSettings
from usp.io.embedded import KafkaUnavailable, LocalServices, ServiceUnavailable, choose_broker, main
from usp.io.ports import free_port, is_free

JARS = Path("/where/the/jars/are")
EMBEDDED = DeploymentSettings(bus=BusSettings(broker="embedded"))
# Starts the services of EMBEDDED, says their addresses, and waits to be ended.
STARTER = """
import sys, time
from pathlib import Path
from usp.config.deployment import BusSettings, DeploymentSettings
from usp.io.embedded import LocalServices
with LocalServices(DeploymentSettings(bus=BusSettings(broker="embedded")), Path(sys.argv[1])) as services:
    print(services.broker.bootstrap_servers, services.redis.url, flush=True)
    time.sleep(60)
"""


def have_kafka() -> Path:
    return JARS


def lack_kafka() -> Path:
    raise KafkaUnavailable("no java was found on the PATH; expected JDK 17+")


@pytest.mark.parametrize("mode", ["auto", "kafka"])
def test_configured_servers_come_first(mode: str):
    """Nothing local is looked for when the settings name a broker."""
    choice = choose_broker(mode, "broker:9092", kafka=lack_kafka)
    assert ("configured", "broker:9092", "exactly_once") == (choice.kind, choice.bootstrap_servers, choice.delivery)
    assert "broker:9092" in choice.sentence


@pytest.mark.parametrize("mode", ["auto", "kafka"])
@pytest.mark.parametrize("servers", [None, ""])
def test_a_local_kafka_comes_second(mode: str, servers: str | None):
    """It gives exactly once, and says so."""
    choice = choose_broker(mode, servers, kafka=have_kafka)
    assert ("kafka", JARS, "exactly_once") == (choice.kind, choice.jars, choice.delivery)
    assert "Apache Kafka" in choice.sentence
    assert "exactly once" in choice.sentence


def test_the_embedded_broker_comes_last_and_says_why():
    """The sentence has the reason and the weaker guarantee."""
    choice = choose_broker("auto", None, kafka=lack_kafka)
    assert ("embedded", "at_least_once") == (choice.kind, choice.delivery)
    for part in ("no java was found", "at least once", "not for production"):
        assert part in choice.sentence


def test_who_asks_for_kafka_never_gets_the_fallback():
    """The reason is raised instead."""
    with pytest.raises(KafkaUnavailable, match="no java"):
        choose_broker("kafka", None, kafka=lack_kafka)


def test_who_asks_for_the_embedded_broker_gets_it():
    """Also where Kafka could be had; and never exactly once."""
    choice = choose_broker("embedded", None, delivery="exactly_once", kafka=have_kafka)
    assert ("embedded", "at_least_once") == (choice.kind, choice.delivery)


def test_the_embedded_broker_beside_configured_servers_is_an_error():
    """The two contradict each other; the error says which to give up."""
    with pytest.raises(ServiceUnavailable, match="unset USP_BUS__BOOTSTRAP_SERVERS or choose"):
        choose_broker("embedded", "broker:9092")


def test_a_weaker_guarantee_may_be_configured():
    """Kafka without transactions is the user's choice."""
    choice = choose_broker("auto", None, delivery="at_least_once", kafka=have_kafka)
    assert choice.delivery == "at_least_once"
    assert "at least once" in choice.sentence


def test_local_services_start_and_leave_nothing(tmp_path: Path):
    """Broker and Redis answer inside, and their ports are free afterwards."""
    with LocalServices(EMBEDDED, tmp_path) as services:
        assert redis.Redis.from_url(services.redis.url).ping()
        assert services.broker.delivery == "at_least_once"
        assert services.broker.cluster_id
        ports = [port_of(services.broker.bootstrap_servers), port_of(services.redis.url)]
        assert not any(is_free(port) for port in ports)
    assert all(is_free(port) for port in ports)


def test_a_configured_redis_is_used(tmp_path: Path):
    """None is started beside it."""
    settings = DeploymentSettings(bus=EMBEDDED.bus, redis=RedisSettings(url="redis://example.org:6379/0"))
    with LocalServices(settings, tmp_path) as services:
        assert (services.redis.url, services.redis.local) == ("redis://example.org:6379/0", None)


def test_a_configured_broker_that_is_away_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The error names the address, and the Redis that was started before is stopped."""
    monkeypatch.setattr("usp.io.embedded.ANSWER_S", 0.5)
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServiceUnavailable, match=f"no Kafka broker answered at {servers}"):
        LocalServices(DeploymentSettings(bus=BusSettings(bootstrap_servers=servers)), tmp_path).__enter__()
    assert is_free(int((tmp_path / "redis" / "port").read_text()))


def test_a_failing_body_stops_the_services(tmp_path: Path):
    """An exception passes through and leaves no port."""
    services = LocalServices(EMBEDDED, tmp_path)
    with pytest.raises(LookupError), services:
        raise LookupError
    assert is_free(port_of(services.broker.bootstrap_servers))
    assert is_free(port_of(services.redis.url))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_port_outlives_the_process_that_started_the_services(tmp_path: Path, how: signal.Signals):
    """kill -9 and Ctrl-C leave neither broker nor Redis."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as starter:
        assert starter.stdout is not None
        ports = [port_of(address) for address in starter.stdout.readline().split()]
        assert len(ports) == 2
        starter.send_signal(how)
    end = time.monotonic() + 10.0
    while not all(is_free(port) for port in ports) and time.monotonic() < end:
        time.sleep(0.05)
    assert all(is_free(port) for port in ports)


def test_the_command_says_why_kafka_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit status 1, the reason on standard error, no trace."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert main(["kafka", "--dir", str(tmp_path / "kafka")]) == 1
    assert "no java was found" in capsys.readouterr().err


def test_local_services_need_no_jax():
    """Whoever starts a broker does not wait for JAX."""
    code = "import sys, usp.io.embedded; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1].split("/")[0])
