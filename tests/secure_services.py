# SPDX-License-Identifier: MIT
"""A broker and a Redis that want TLS and a password, with a certificate authority of their own."""

import subprocess
from pathlib import Path

import redis
from confluent_kafka.admin import AdminClient

from usp.io.kafka_jars import find_java
from usp.io.local_broker import answering_cluster
from usp.io.local_kafka import broker_settings, jvm, random_id, write_properties
from usp.io.local_process import LocalProcess, spawn, wait_until_ready
from usp.io.ports import LOOPBACK, free_port

USER, PASSWORD = "usp", "hunter2-planted-secret"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


def make_certificates(folder: Path) -> Path:
    """An authority (ca.pem) and a server certificate for the loopback address (server.pem, server.key)."""
    folder.mkdir(parents=True, exist_ok=True)
    extension = folder / "extension.cnf"
    extension.write_text(f"subjectAltName=IP:{LOOPBACK},DNS:localhost\n")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extension.cnf"
        " -out server.pem",
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    (folder / "keystore.pem").write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
    return folder


def kafka_security(certificates: Path, password: str = PASSWORD) -> dict[str, str]:
    """The environment of a process that may use the broker."""
    return {
        "USP_BUS__SECURITY_PROTOCOL": "SASL_SSL",
        "USP_BUS__SASL_MECHANISM": "SCRAM-SHA-512",
        "USP_BUS__SASL_USERNAME": USER,
        "USP_BUS__SASL_PASSWORD": password,
        "USP_BUS__SSL_CA_LOCATION": str(certificates / "ca.pem"),
    }


def start_secure_kafka(run_dir: Path, jars: Path, certificates: Path) -> tuple[str, LocalProcess]:
    """Apache Kafka whose clients need SASL_SSL with SCRAM-SHA-512; its address and its process."""
    run_dir.mkdir(parents=True)
    port, java = free_port(), find_java()
    settings = broker_settings(run_dir / "data", port, free_port(avoid=frozenset({port}))) | {
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": (
            f'{SCRAM} required username="{USER}" password="{PASSWORD}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates / "keystore.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates / "ca.pem"),
    }
    properties = run_dir / "server.properties"
    write_properties(properties, settings)
    user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    subprocess.run(
        [*jvm(jars, java, heap_mb=128), "kafka.tools.StorageTool", "format", "--cluster-id", random_id(),
         "--config", str(properties), "--add-scram", user],
        check=True, capture_output=True,
    )  # fmt: skip
    process = spawn(
        "Apache Kafka", [*jvm(jars, java, heap_mb=512), "kafka.Kafka", str(properties)], run_dir / "kafka.log"
    )
    servers = f"{LOOPBACK}:{port}"
    admin = AdminClient(
        {
            "bootstrap.servers": servers,
            "log_level": 0,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(certificates / "ca.pem"),
            "reconnect.backoff.max.ms": 100,
        }
    )
    wait_until_ready(process, lambda: answering_cluster(admin) is not None, 60.0)
    return servers, process


def start_secure_redis(run_dir: Path, program: Path, certificates: Path) -> tuple[str, LocalProcess]:
    """A Redis on TLS alone that knows one user; its address and its process."""
    run_dir.mkdir(parents=True)
    port = free_port()
    lines = (
        f"bind {LOOPBACK}", "port 0", f"tls-port {port}", f"dir {run_dir}", "appendonly yes", 'save ""',
        f"tls-cert-file {certificates}/server.pem", f"tls-key-file {certificates}/server.key",
        f"tls-ca-cert-file {certificates}/ca.pem", "tls-auth-clients no", "maxmemory-policy noeviction",
        "user default off", f"user {USER} on >{PASSWORD} ~* &* +@all",
    )  # fmt: skip
    (run_dir / "redis.conf").write_text("\n".join(lines) + "\n")
    process = spawn("Redis", [str(program), str(run_dir / "redis.conf")], run_dir / "redis.log")
    url = f"rediss://{LOOPBACK}:{port}/0"
    client = secure_client(url, certificates)
    wait_until_ready(process, lambda: answers(client), 20.0)
    return url, process


def answers(client: "redis.Redis") -> bool:
    """Is it there?"""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def secure_client(url: str, certificates: Path) -> "redis.Redis":
    """A client with the right credentials."""
    return redis.Redis.from_url(
        url, username=USER, password=PASSWORD, ssl_ca_certs=str(certificates / "ca.pem"), decode_responses=True
    )
