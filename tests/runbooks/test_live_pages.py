# SPDX-License-Identifier: MIT
"""The commands of the runbooks and the clients of the README work against a pipeline of real processes."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from markdown_blocks import Block, answers, blocks
from usp.config.model import load
from usp.io.cache import open_redis
from usp.io.config_backups import content_hash
from usp.io.mutation_protocol import ConfigPaths, Mutation, open_mutation, replace_config
from usp.io.toml_edit import document, edited
from usp.stages.supervisor import is_ready

ROOT = Path(__file__).parents[2]
TESTED = [block for page in sorted((ROOT / "runbooks").glob("*.md")) for block in blocks(page) if block.is_tested]
CLIENTS = [block.text for block in blocks(ROOT / "README.md") if block.language == "python" and ">>>" not in block.text]
POM = Path(__file__).with_name("kafka_tools_pom.xml")
TOOLS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-transactions.sh": "org.apache.kafka.tools.TransactionsCommand",
}
START_S = 180.0
STOP_S = 60.0
PATIENCE_S = 90.0

pytestmark = [pytest.mark.system, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]


class Pipeline(NamedTuple):
    """A running `usp up`: its folder, and the environment in which commands find it."""

    folder: Path
    environ: Mapping[str, str]

    def run(self, command: list[str], timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
        """A command as an operator would run it: faults appear where they happen, among the other lines."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=timeout_s, check=False,
        )  # fmt: skip


def kafka_tools(folder: Path) -> Path:
    """Kafka's scripts in a folder for the PATH; their jars are fetched once."""
    jars = ROOT / ".local/kafka-tools" / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    if not jars.exists():
        fetched = jars.with_name(f"fetching-{os.getpid()}")
        maven = ["mvn", "-q", "-B", "-C", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        subprocess.run([*maven, f"-DoutputDirectory={fetched}"], check=True, timeout=300)
        fetched.rename(jars)
    folder.mkdir()
    for name, main_class in TOOLS.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec java -Xmx128m -cp "{jars}/*" {main_class} "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Apache Kafka, Redis and the five stages, fed with ticks of which some are faulty."""
    folder = tmp_path_factory.mktemp("pages")
    for name in (".local", "schemas"):
        (folder / name).symlink_to(ROOT / name)
    scripts = kafka_tools(tmp_path_factory.mktemp("tools") / "bin")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("USP_")}
    environ["PATH"] = f"{scripts}:{Path(sys.executable).parent}:{environ['PATH']}"
    up_environ = environ | {"USP_BUS__BROKER": "kafka", "USP_PATHS__CACHE_DIR": str(ROOT / "var/cache/xla")}
    log = (folder / "up.log").open("w")
    process = subprocess.Popen(["usp", "up"], cwd=folder, env=up_environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        environ["BROKER"] = broker_of(folder, process)
        running = Pipeline(folder, environ)
        fed = running.run(["usp", "publish", "--simulate", "3", "--ticks", "3000", "--rate", "500", "--faults", "1"])
        assert fed.returncode == 0, fed.stdout
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def broker_of(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """The address that `usp up` wrote once everything was ready."""
    marker = folder / "var/running.json"
    end = time.monotonic() + START_S
    while not marker.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
    assert marker.exists(), (folder / "up.log").read_text()
    return subprocess.run(
        ["grep", "-o", "[0-9.]*:[0-9][0-9]*", str(marker)], capture_output=True, text=True, check=True
    ).stdout.strip()


def governor_of(pipeline: Pipeline) -> tuple[int, dict[str, str]]:
    """Process id and environment of this pipeline's governor."""
    mine = f"USP_PATHS__DATA_DIR={pipeline.folder / 'var'}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            environ = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:] == [b"-m", b"usp.stages.cli", b"run", b"governor", b""] and mine in environ:
            pairs = (item.decode().partition("=") for item in environ)
            return int(process.name), {name: value for name, _, value in pairs}
    raise AssertionError("found no governor; expected that of usp up")


def restart_the_governor(pipeline: Pipeline) -> None:
    """Its process dies, the supervisor starts another, which is ready."""
    pid, environ = governor_of(pipeline)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the governor is gone")
    until(lambda: is_ready(int(environ["USP_METRICS__PORT"])), "the governor is ready")
    until(lambda: pipeline.run(["usp", "audit", "verify"]).returncode == 0, "the broker has the newest audit line")


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.2)


def leave_half_done(pipeline: Pipeline) -> None:
    """The governor hangs, and the disk is as it would be had it died behind the replace of the file."""
    pid, _ = governor_of(pipeline)
    os.kill(pid, signal.SIGSTOP)
    paths = ConfigPaths(pipeline.folder / "var/config.toml", pipeline.folder / "var/io/mutations.log")
    old = paths.config.read_text()
    text = edited(old, {"orchestration.cusum_h": 7.0})
    found = {"old_file_hash": content_hash(old.encode()), "config_hash": load(document(text)).content_hash}
    open_mutation(paths, Mutation(proposal_id="lost", trigger="Test", text=text, **found))
    replace_config(paths, "lost", text)


def publish(pipeline: Pipeline, ticks: int) -> None:
    """More ticks, so that changes are judged and may follow each other."""
    done = pipeline.run(["usp", "publish", "--simulate", "3", "--ticks", str(ticks), "--rate", "500"])
    assert done.returncode == 0, done.stdout


def lose_the_counters(pipeline: Pipeline) -> None:
    """The newest change is judged; then Redis forgets everything."""

    def is_judged() -> bool:
        publish(pipeline, 150)
        done = pipeline.run(["usp", "config", "history", "--json", "--limit", "1"])
        return json.loads(done.stdout)["epochs"][0]["verdict"] is not None

    until(is_judged, "the change has its verdict")
    open_redis(governor_of(pipeline)[1]["USP_REDIS__URL"], timeout_s=2.0).flushall()


# What happens before the n-th tested block of a page: the incident, or what is not done with a command.
BEFORE: Mapping[tuple[str, int], Callable[[Pipeline], None]] = {
    ("audit-chain-broken.md", 2): restart_the_governor,
    ("half-done-mutation.md", 0): leave_half_done,
    ("half-done-mutation.md", 1): restart_the_governor,
    ("redis-lost-its-counters.md", 2): lose_the_counters,
    ("roll-back-a-configuration.md", 1): lambda pipeline: publish(pipeline, 1500),
}


@pytest.mark.parametrize("block", TESTED, ids=str)
def test_a_block_does_what_its_page_says(pipeline: Pipeline, block: Block) -> None:
    """The commands succeed, and what the page promises comes out."""
    number = [other for other in TESTED if other.page == block.page].index(block)
    BEFORE.get((block.page.name, number), lambda _: None)(pipeline)
    if block.language == "python":
        script = pipeline.folder / "page.py"
        script.write_text(block.text)
        done = pipeline.run([sys.executable, str(script), pipeline.environ["BROKER"]])
    else:
        done = pipeline.run(["bash", "-euo", "pipefail", "-c", block.text])
    assert done.returncode == 0, done.stdout
    assert answers(block.expected, done.stdout), done.stdout


def test_the_clients_of_the_readme_publish_and_read(pipeline: Pipeline) -> None:
    """Ticks published with confluent-kafka and fastavro alone come back as predictions to a reader like that."""
    publisher, reader = (pipeline.folder / name for name in ("publish.py", "read.py"))
    for script, text in zip((publisher, reader), CLIENTS, strict=True):
        script.write_text(text)
    done = pipeline.run([sys.executable, str(publisher), pipeline.environ["BROKER"]])
    assert (0, "not delivered: 0\n") == (done.returncode, done.stdout), done.stdout
    assert ["DEMO 101.25", "DEMO 101.5", "DEMO 101.25"] == demo_lines(pipeline, reader)


def demo_lines(pipeline: Pipeline, reader: Path) -> list[str]:
    """Symbol and value of the first three predictions of DEMO that the reader prints."""
    command = [shutil.which("timeout") or "timeout", "60", sys.executable, str(reader), pipeline.environ["BROKER"]]
    found: list[str] = []
    with subprocess.Popen(
        command, cwd=pipeline.folder, env=pipeline.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found += [line.partition(" -> ")[0]] if line.startswith("DEMO ") else []
            if len(found) == 3:
                break
        process.terminate()
    return found
