# SPDX-License-Identifier: MIT
"""Apache Kafka as jar files: which version, where from, and the Java that can run it.

Maven copies what `kafka_pom.xml` names into a folder of its own for each version. A marker with the digest of that
pom and the size of each jar is written last, so a fetch that was interrupted or damaged is done again.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .local_process import ServiceUnavailable

POM = Path(__file__).with_name("kafka_pom.xml")
MARKER = "complete.json"
OLDEST_JAVA = 17
FETCH_DEADLINE_S = 600.0
SHOWN_ERRORS = 5
Progress = Callable[[str], None]


class KafkaUnavailable(ServiceUnavailable):
    """A local Apache Kafka cannot be had here; the embedded broker may serve instead."""


class Java(NamedTuple):
    """A Java that can run Kafka; `version` as in 17.0.15."""

    path: str
    version: str


def silent(_message: str) -> None:
    """Progress that nobody reads."""


def kafka_version() -> str:
    """The version of Apache Kafka that the pom pins."""
    match = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text())
    if match is None:
        raise RuntimeError(f"{POM} named no kafka.version; expected the pinned version of Apache Kafka")
    return match[1]


def find_java() -> Java:
    """The Java of JAVA_HOME, else of the PATH; raises KafkaUnavailable unless it is new enough."""
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    expected = f"expected JDK {OLDEST_JAVA}+ (apt-get install openjdk-17-jre-headless, or set JAVA_HOME)"
    if path is None:
        where = f"in JAVA_HOME={home}" if home else "on the PATH"
        raise KafkaUnavailable(f"no java was found {where}; {expected}")
    asked = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    shown = asked.stderr
    match = re.search(r'version "((\d+)[^"]*)"', shown)
    if match is None or int(match[2]) < OLDEST_JAVA:
        raise KafkaUnavailable(f"{path} was {match[1] if match else shown.strip()!r}; {expected}")
    return Java(path, match[1])


def ensure_kafka_jars(local_dir: Path, progress: Progress = silent) -> Path:
    """The folder with Kafka's jars below `local_dir`, fetched by Maven when it is not there whole.

    Quick and without network when it is. Raises KafkaUnavailable when there is no Java, no Maven, no repository that
    answers, or no permission to write.
    """
    find_java()
    jars = local_dir / kafka_version()
    if is_complete(jars):
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable("no mvn was found on the PATH; expected Apache Maven 3.6+ (apt-get install maven)")
    try:
        local_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=local_dir, prefix="fetching-") as scratch:
            fetched = Path(scratch) / "jars"
            fetch(maven, fetched, progress)
            write_marker(fetched)
            move_into_place(fetched, jars)
    except OSError as error:
        raise KafkaUnavailable(
            f"Kafka's jars could not be stored in {local_dir} ({error}); expected a folder that this user may write"
        ) from error
    return jars


def fetch(maven: str, target: Path, progress: Progress) -> None:
    """Let Maven copy the jars into `target`; checksums that do not match are an error (-C)."""
    progress(f"fetching Apache Kafka {kafka_version()} with Maven")
    command = [maven, "-B", "-C", "-f", str(POM), "dependency:copy-dependencies",
               "-DincludeScope=runtime", f"-DoutputDirectory={target.resolve()}"]  # fmt: skip
    errors: list[str] = []
    status = run_maven(command, lambda line: read_line(line, errors, progress))
    if status != 0 or not any(target.glob("kafka_*.jar")):
        raise KafkaUnavailable(
            f"Maven could not fetch Apache Kafka {kafka_version()} (exit status {status}); expected a Maven repository "
            "that answers: check the network, or the mirror and proxy in ~/.m2/settings.xml.\n"
            + "\n".join(errors[:SHOWN_ERRORS])
        )


def run_maven(command: list[str], read: Callable[[str], None]) -> int:
    """Give every line of its output to `read`; its exit status, which is that of a kill when it takes too long."""
    with subprocess.Popen(  # noqa: S603  # no shell
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        limit = threading.Timer(FETCH_DEADLINE_S, process.kill)
        limit.start()
        try:
            for line in process.stdout or ():
                read(line)
        finally:
            limit.cancel()
    return process.returncode


def read_line(line: str, errors: list[str], progress: Progress) -> None:
    """Collect what went wrong and report each jar that has come."""
    if "[ERROR]" in line:
        errors.append(line.strip())
    jar = re.search(r"Downloaded from .*/([^/ ]+\.jar) ", line)
    if jar:
        progress(f"fetched {jar[1]}")


def write_marker(jars: Path) -> None:
    """Say that the folder is whole: the digest of the pom, and each jar with its size."""
    sizes = {jar.name: jar.stat().st_size for jar in sorted(jars.glob("*.jar"))}
    (jars / MARKER).write_text(json.dumps({"pom_sha256": pom_digest(), "jars": sizes}, indent=1))


def is_complete(jars: Path) -> bool:
    """Whether the folder holds every jar that this pom asks for, with the size it had when it was fetched."""
    try:
        marker = json.loads((jars / MARKER).read_text())
        sizes = {name: (jars / name).stat().st_size for name in marker["jars"]}
        return bool(sizes) and marker == {"pom_sha256": pom_digest(), "jars": sizes}
    except (OSError, ValueError, KeyError, TypeError):
        return False


def pom_digest() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def move_into_place(fetched: Path, jars: Path) -> None:
    """Rename the fetched folder; another process that was quicker with the same jars wins."""
    if is_complete(jars):
        return
    shutil.rmtree(jars, ignore_errors=True)
    try:
        fetched.rename(jars)
    except OSError:
        if not is_complete(jars):
            raise
