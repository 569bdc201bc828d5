# SPDX-License-Identifier: MIT
"""TLS and passwords for real: broker and Redis refuse everyone else, the pipeline works, nobody sees the passwords."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from secure_services import (
    PASSWORD,
    USER,
    kafka_security,
    make_certificates,
    secure_client,
    start_secure_kafka,
    start_secure_redis,
)
from usp.io.kafka_jars import ensure_kafka_jars

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]
JARS = Path(__file__).parents[2] / ".local" / "kafka"
DONE, WORLDS_FAULT = 0, 3


@dataclass
class Secure:
    """Where the services are, and what a process must be told to use them."""

    folder: Path
    environ: dict[str, str]
    redis_url: str
    certificates: Path

    def usp(self, *arguments: str, timeout_s: float = 90, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-m", "usp.stages.cli", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.environ | environ, timeout=timeout_s
        )

    def stage(self, name: str) -> "subprocess.Popen[bytes]":
        """Start a stage, with its output in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "usp.stages.cli", "run", name]
            return subprocess.Popen(command, cwd=self.folder, env=self.environ, stderr=log, stdout=log)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Generator[Secure]:
    """Both services, and an environment with the right credentials."""
    program, openssl = shutil.which("redis-server"), shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("needs openssl, and a redis-server with TLS on the PATH")
    folder = tmp_path_factory.mktemp("secure")
    certificates = make_certificates(folder / "certificates")
    servers, kafka = start_secure_kafka(folder / "kafka", ensure_kafka_jars(JARS), certificates)
    try:
        url, cache = start_secure_redis(folder / "redis", Path(program), certificates)
    except BaseException:
        kafka.kill()
        raise
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= kafka_security(certificates) | {
        "NO_COLOR": "1", "COLUMNS": "300", "OPENBLAS_NUM_THREADS": "1",
        "USP_BUS__BOOTSTRAP_SERVERS": servers, "USP_PATHS__DATA_DIR": str(folder / "var"),
        "USP_REDIS__URL": url, "USP_REDIS__USERNAME": USER, "USP_REDIS__PASSWORD": PASSWORD,
        "USP_REDIS__CA_FILE": str(certificates / "ca.pem"),
    }  # fmt: skip
    yield Secure(folder, environ, url, certificates)
    cache.kill()
    kafka.kill()


def test_the_pipeline_works_and_nothing_shows_a_password(secure: Secure) -> None:
    """Topics, ticks, verdicts, a snapshot on disk and its hint in Redis; no log and no answer holds the secret."""
    made = secure.usp("topics", "--create")
    assert DONE == made.returncode, made.stderr
    stages = [secure.stage("ingest"), secure.stage("snapshotter")]
    try:
        published = secure.usp("publish", "--simulate", "2", "--ticks", "200", "--rate", "400", "--json")
        assert DONE == published.returncode, published.stderr
        tail = secure.usp("tail", "validated", "--from-start", "--limit", "50")
        assert DONE == tail.returncode, tail.stderr
        assert 50 == len([json.loads(line) for line in tail.stdout.splitlines()])
        stages[0].terminate()
        assert 0 == stages[0].wait(40)
        client, end = secure_client(secure.redis_url, secure.certificates), time.monotonic() + 30
        while not (keys := client.keys("usp:snapshot:*:ingest:*")) and time.monotonic() < end:
            time.sleep(0.2)
        assert keys
        doctor = secure.usp("doctor", "--json")
        findings = json.loads(doctor.stdout)
        assert [] == [name for name, finding in findings.items() if not finding["ok"]], findings
        assert "fenced" in findings["transactions"]["found"]
    finally:
        for stage in stages:
            stage.terminate()
            stage.wait(40)
    texts = [made.stdout, made.stderr, published.stdout, published.stderr, tail.stdout, doctor.stdout, doctor.stderr]
    texts += [(secure.folder / f"{name}.log").read_text() for name in ("ingest", "snapshotter")]
    texts += [
        path.read_bytes().decode(errors="replace") for path in (secure.folder / "var").rglob("*") if path.is_file()
    ]
    assert [] == [text for text in texts if PASSWORD in text]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param("USP_BUS__SASL_PASSWORD", "not-" + PASSWORD, "uthentication", id="wrong password"),
        pytest.param("USP_BUS__SSL_CA_LOCATION", "", "", id="unknown authority"),
        pytest.param("USP_BUS__SECURITY_PROTOCOL", "PLAINTEXT", "", id="no TLS"),
    ],
)
def test_who_cannot_prove_himself_is_told(secure: Secure, variable: str, value: str, said: str) -> None:
    """It is the world's fault, said in a sentence, soon, and without the password that was tried."""
    environ = {variable: value} if value else {}
    base = secure.environ if value else {k: v for k, v in secure.environ.items() if k != variable}
    other = Secure(secure.folder, base, secure.redis_url, secure.certificates)
    found = other.usp("topics", "--create", **environ)
    assert WORLDS_FAULT == found.returncode, found.stderr
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert PASSWORD not in found.stdout + found.stderr


def test_a_redis_that_refuses_is_told(secure: Secure) -> None:
    """The doctor says so without the password."""
    found = secure.usp("doctor", "--json", USP_REDIS__PASSWORD="not-" + PASSWORD)
    assert not json.loads(found.stdout)["redis"]["ok"]
    assert PASSWORD not in found.stdout + found.stderr
