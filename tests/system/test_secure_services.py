# SPDX-License-Identifier: MIT
"""TLS and passwords for real: broker and Redis refuse everyone else, the pipeline works, nobody sees the passwords."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from registry_server import Registry, serving
from secure_services import (
    PASSWORD,
    USER,
    kafka_security,
    make_certificates,
    secure_client,
    start_secure_kafka,
    start_secure_redis,
)
from usp.config.settings import load_settings
from usp.io.kafka_jars import ensure_kafka_jars
from usp.io.ports import free_port
from usp.io.reader import TopicReader
from usp.stages import topology

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]
JARS = Path(__file__).parents[2] / ".local" / "kafka"
CACHE = Path(__file__).parents[2] / "var" / "cache" / "xla"
DONE, REFUSED, WORLDS_FAULT = 0, 2, 3
REGISTRY_PASSWORD = "registry/pl@nted-7"
PROPOSAL_KEY = "proposal-key-planted-0123456789"
TOKEN = "dashboard-token-planted-42"
PATIENCE_S = 180.0


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

    def stage(self, name: str, **environ: str) -> "subprocess.Popen[bytes]":
        """Start a stage, with its output in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "usp.stages.cli", "run", name]
            return subprocess.Popen(command, cwd=self.folder, env=self.environ | environ, stderr=log, stdout=log)


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


@pytest.mark.timeout(600)
def test_five_stages_show_no_credential_anywhere(secure: Secure) -> None:
    """Logs, tracebacks, files, topics, answers, metrics and the live page of a run with every credential there is."""
    with serving(Registry(password=f"{USER}:{REGISTRY_PASSWORD}")) as registry:
        address = registry.url.replace("://", f"://{USER}:{quote(REGISTRY_PASSWORD, safe='')}@")
        environ = secure.environ | {
            "USP_SCHEMA_REGISTRY_URL": address, "USP_PROPOSAL_KEY": PROPOSAL_KEY, "USP_DASHBOARD__TOKEN": TOKEN,
            "USP_PATHS__CACHE_DIR": str(CACHE), "USP_PATHS__DATA_DIR": str(secure.folder / "all"),
            "USP_LOGS__LEVEL": "debug", "USP_BUS__GROUP_PREFIX": "planted",
        }  # fmt: skip
        full = Secure(secure.folder, environ, secure.redis_url, secure.certificates)
        shown = {f"answer {n}": text for n, text in enumerate(told_by_five_stages(full))}
    shown |= {str(path): path.read_bytes().decode(errors="replace") for path in written(secure.folder)}
    shown |= dict(held_by_topics(environ))
    assert len(shown) > 20
    assert [] == [(name, planted) for name, text in shown.items() for planted in forms_of_secrets() if planted in text]


def forms_of_secrets() -> list[str]:
    """Each secret as it is, and as it stands in addresses and in headers."""
    basic = base64.b64encode(f"{USER}:{REGISTRY_PASSWORD}".encode()).decode()
    return [PASSWORD, REGISTRY_PASSWORD, quote(REGISTRY_PASSWORD, safe=""), basic, PROPOSAL_KEY, TOKEN]


COMMANDS = (
    ("publish", "--simulate", "3", "--ticks", "600", "--rate", "300", "--json"),
    ("config", "propose", "orchestration.cusum_h=6", "--json"),
    ("tail", "predictions", "--from-start", "--limit", "50"),
    ("tail", "telemetry", "--from-start", "--limit", "1"),
    ("tail", "proposals", "--from-start", "--limit", "1"),
    ("dashboard", "--out", "report.html"),
    *((*words.split(), "--json") for words in (
        "doctor", "topics", "config show", "config history", "snapshot list", "audit verify", "parity verify",
        "dlq list",
    )),
)  # fmt: skip
TAIL = ("tail", "alerts", "--limit", "1", "--debug")
FAULTS = (
    (TAIL, {"USP_SCHEMA_REGISTRY_URL": f"http://{USER}:{quote(REGISTRY_PASSWORD, safe='')}@127.0.0.1:9"}),
    (TAIL, {"USP_BUS__SASL_MECHANISM": "NONE"}),
    (("config", "show", "--debug"), {"USP_METRICS__PORT": PASSWORD}),
    (("dashboard", "--live", "--debug"), {"USP_DASHBOARD__TOKEN": TOKEN + " "}),
    (("doctor", "--json", "--debug"), {"USP_REDIS__URL": f"rediss://{USER}:{PASSWORD}@127.0.0.1:9"}),
)


def told_by_five_stages(full: Secure) -> Iterable[str]:
    """What a run says: commands, faults with their tracebacks, metrics, the live page."""
    made = full.usp("topics", "--create")
    assert DONE == made.returncode, made.stderr
    taken: list[int] = []
    for _ in range(len(topology.STAGES) + 1):
        taken.append(free_port(avoid=frozenset(taken)))
    page, *ports = taken
    stages = [
        full.stage(name, USP_METRICS__PORT=str(port), USP_DASHBOARD__PORT=str(page))
        for name, port in zip(topology.STAGES, ports, strict=True)
    ]
    try:
        for port in ports:
            assert "ready" in answered(f"http://127.0.0.1:{port}/readyz", PATIENCE_S)
        for command in COMMANDS:
            done = full.usp(*command, timeout_s=180)
            expected = REFUSED if "propose" in command else DONE  # too few stable steps
            assert expected == done.returncode, (command, done.stderr)
            yield from (done.stdout, done.stderr)
        for command, fault in FAULTS:
            done = full.usp(*command, **fault)
            assert done.returncode or '"ok": false' in done.stdout, (command, done.stdout)
            yield from (done.stdout, done.stderr)
        yield from (answered(f"http://127.0.0.1:{port}/metrics") for port in ports)
        yield from (answered(f"http://127.0.0.1:{page}/{place}") for place in ("", "overview", "events"))
    finally:
        for stage in stages:
            stage.terminate()
        for stage in stages:
            assert stage.wait(40) == 0


def answered(address: str, patience_s: float = 0.0) -> str:
    """Headers and the beginning of what a page says, as soon as it says it well."""
    end = time.monotonic() + patience_s
    while True:
        try:
            with urlopen(Request(address, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=10) as found:
                return f"{found.headers}\n{found.read1(1_000_000).decode()}"
        except URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def written(folder: Path) -> Iterable[Path]:
    """What the stages wrote; the services' own folders hold their passwords, as they must."""
    kept = [path for path in folder.iterdir() if path.name not in ("certificates", "kafka", "redis")]
    return [path for each in kept for path in (each, *each.rglob("*")) if path.is_file()]


def held_by_topics(environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Every record of every topic, keys and headers too."""
    names = [topic.name for topic in topology.TOPICS]
    servers, security = environ["USP_BUS__BOOTSTRAP_SERVERS"], load_settings(environ).bus.security
    reader, quiet = TopicReader(servers, names, from_start=True, security=security), 0
    while quiet < 5:
        records = reader.read(10_000, 0.5)
        quiet = 0 if records else quiet + 1
        yield from ((f"{raw.partition}@{raw.offset}", repr(raw)) for raw, _ in records)
    reader.close()
