# SPDX-License-Identifier: MIT
"""Fetching Apache Kafka: only once, whole or not at all, and clear errors where it cannot be had."""

import json
import os
from pathlib import Path

import pytest

from usp.io.kafka_jars import MARKER, KafkaUnavailable, ensure_kafka_jars, find_java, is_complete, kafka_version
from usp.io.ports import free_port

# Copies two jars to where Maven is told to, and counts how often it was called.
MAVEN = """#!/bin/sh
echo called >> "$0.calls"
for option in "$@"; do case $option in -DoutputDirectory=*) target=${option#*=};; esac; done
/bin/mkdir -p "$target"
echo "Downloaded from repository: https://example.org/kafka_2.13-4.jar (1 kB at 1 kB/s)"
echo broker > "$target/kafka_2.13-4.jar"
echo logging > "$target/log4j.jar"
"""


def install(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(script)
    program.chmod(0o755)
    return program


def java(version: str) -> str:
    return f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def test_no_java_is_an_error_that_says_which_is_needed(programs: Path, tmp_path: Path):
    """Without java nothing is fetched."""
    with pytest.raises(KafkaUnavailable, match=r"no java was found on the PATH; expected JDK 17\+"):
        ensure_kafka_jars(tmp_path / "kafka")
    assert not (tmp_path / "kafka").exists()


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_392"])
def test_an_old_java_is_named(programs: Path, version: str):
    """The error says which version was found, and where."""
    program = install(programs, "java", java(version))
    with pytest.raises(KafkaUnavailable, match=rf"{program} was '{version}'; expected JDK 17\+"):
        find_java()


def test_something_else_named_java_is_an_error(programs: Path):
    """What it said is shown."""
    install(programs, "java", "#!/bin/sh\necho 'I am no Java' >&2\n")
    with pytest.raises(KafkaUnavailable, match="I am no Java"):
        find_java()


@pytest.mark.parametrize("version", ["17.0.15", "21", "25.0.1"])
def test_a_new_enough_java_is_found(programs: Path, version: str):
    """17 and everything after it serves."""
    install(programs, "java", java(version))
    assert find_java().version == version


def test_java_home_goes_before_the_path(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A JAVA_HOME that leads nowhere is an error, not silently passed over."""
    install(programs, "java", java("17.0.1"))
    home = tmp_path / "home"
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(KafkaUnavailable, match=f"no java was found in JAVA_HOME={home}"):
        find_java()
    (home / "bin").mkdir(parents=True)
    install(home / "bin", "java", java("21.0.1"))
    assert find_java().version == "21.0.1"


def test_no_maven_is_an_error_that_says_what_to_install(programs: Path, tmp_path: Path):
    """Java alone cannot fetch."""
    install(programs, "java", java("17.0.1"))
    with pytest.raises(KafkaUnavailable, match="no mvn was found on the PATH; expected Apache Maven"):
        ensure_kafka_jars(tmp_path / "kafka")


def calls(maven: Path) -> int:
    return len(Path(f"{maven}.calls").read_text().splitlines())


def test_the_jars_are_fetched_once(programs: Path, tmp_path: Path):
    """A second call finds them; progress names each jar; nothing else is left in the folder."""
    install(programs, "java", java("17.0.1"))
    maven, said = install(programs, "mvn", MAVEN), list[str]()
    jars = ensure_kafka_jars(tmp_path / "kafka", said.append)
    assert ensure_kafka_jars(tmp_path / "kafka") == jars == tmp_path / "kafka" / kafka_version()
    assert calls(maven) == 1
    assert "fetched kafka_2.13-4.jar" in said
    assert [jars] == list((tmp_path / "kafka").iterdir())


@pytest.mark.parametrize("damage", ["jar removed", "jar cut", "marker removed", "marker garbled", "other pom"])
def test_a_damaged_folder_is_fetched_again(programs: Path, tmp_path: Path, damage: str):
    """Interrupted or damaged fetches heal."""
    install(programs, "java", java("17.0.1"))
    maven = install(programs, "mvn", MAVEN)
    jars = ensure_kafka_jars(tmp_path / "kafka")
    jar, marker = jars / "log4j.jar", jars / MARKER
    match damage:
        case "jar removed":
            jar.unlink()
        case "jar cut":
            jar.write_text("l")
        case "marker removed":
            marker.unlink()
        case "marker garbled":
            marker.write_text("{")
        case _:
            marker.write_text(json.dumps(json.loads(marker.read_text()) | {"pom_sha256": "0"}))
    assert not is_complete(jars)
    assert is_complete(ensure_kafka_jars(tmp_path / "kafka"))
    assert calls(maven) == 2


def test_a_failing_maven_is_shown(programs: Path, tmp_path: Path):
    """The error holds Maven's own words and what to check; nothing is left that looks complete."""
    install(programs, "java", java("17.0.1"))
    install(programs, "mvn", "#!/bin/sh\necho '[ERROR] the mirror is closed'\nexit 1\n")
    with pytest.raises(
        KafkaUnavailable, match=r"exit status 1\); expected a Maven repository(.|\n)*the mirror is closed"
    ):
        ensure_kafka_jars(tmp_path / "kafka")
    assert [] == list((tmp_path / "kafka").iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(programs: Path, tmp_path: Path):
    """The error names the folder."""
    install(programs, "java", java("17.0.1"))
    install(programs, "mvn", MAVEN)
    (tmp_path / "file").touch()
    with pytest.raises(KafkaUnavailable, match=r"could not be stored in .*file/kafka"):
        ensure_kafka_jars(tmp_path / "file" / "kafka")


@pytest.mark.kafka
def test_no_maven_repository_is_an_error_that_says_what_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real Maven, with an empty cache and a mirror where nobody listens."""
    settings = tmp_path / ".m2" / "settings.xml"
    settings.parent.mkdir()
    settings.write_text(
        "<settings><mirrors><mirror><id>closed</id><mirrorOf>*</mirrorOf>"
        f"<url>http://127.0.0.1:{free_port()}/</url></mirror></mirrors></settings>"
    )
    monkeypatch.setenv("MAVEN_OPTS", f"{os.environ.get('MAVEN_OPTS', '')} -Duser.home={tmp_path}")
    with pytest.raises(KafkaUnavailable, match="expected a Maven repository that answers"):
        ensure_kafka_jars(tmp_path / "kafka")
