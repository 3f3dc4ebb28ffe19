"""Fetches Apache Kafka from Maven Central into a cache outside the tree.

Kafka is in neither Debian nor PyPI. What the cache holds, under
`${XDG_CACHE_HOME:-~/.cache}/visit-counter/kafka-<version>/`:

- `libs/`: the jars;
- `formatted-<node>/`: an empty data directory of each node, formatted once, copied for each broker;
- `classes-*.jsa`: an archive of the classes a broker loads (JDK dynamic CDS), for faster starts;
  made by `tests.support.kafka.prepare`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

KAFKA_VERSION = "4.3.1"

COPY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

# Warnings, and the one line that says that the broker is up; to the standard output.
LOG4J = """<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
  </Loggers>
</Configuration>
"""

# Any 16 bytes in URL-safe base64 (org.apache.kafka.common.Uuid); one for all test clusters, since
# each listens on ports of its own.
CLUSTER_ID = "dmlzaXQtY291bnRlci10ZQ"

NODES_MAX = 3

# Quick to start and small, which counts more for a test than a high rate after minutes.
FAST_START_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)

FETCH_TIMEOUT_SECONDS = 900
TOOL_TIMEOUT_SECONDS = 120


class KafkaSetupError(RuntimeError):
    """Kafka could not be fetched or prepared; the message says what to install or what failed."""


def cache_directory() -> Path:
    """Return the folder of this Kafka version in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "visit-counter" / f"kafka-{KAFKA_VERSION}"


def prepare() -> Path:
    """Fetch the jars and format the data directories, once for all test runs of the user.

    Returns:
        The cache folder. Blocks while another process prepares it.

    Raises:
        KafkaSetupError: Java or Maven is missing, or one of the steps failed.
    """
    home = cache_directory()
    if _is_complete(home):
        return home
    home.mkdir(parents=True, exist_ok=True)
    with locked(home):
        if not _is_complete(home):
            _fetch(home / "libs")
            (home / "log4j2.xml").write_text(LOG4J, encoding="utf-8")
            for node in range(1, NODES_MAX + 1):
                _format(home, node)
            (home / "complete").write_text(_recipe(), encoding="ascii")
    return home


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the cache for this process alone; blocks while another one holds it."""
    with (home / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def java(
    home: Path, *arguments: str, heap_megabytes: int = 128, options: Sequence[str] = ()
) -> list[str]:
    """Return the command line of a Kafka program.

    Args:
        home: the cache folder.
        arguments: the main class and its arguments.
        heap_megabytes: the most memory Java's heap may take, in MiB.
        options: further options of the Java machine; the last of equal ones wins.
    """
    if shutil.which("java") is None:
        message = "Java 17 or newer is missing: run scripts/test-tools.sh"
        raise KafkaSetupError(message)
    return [
        "java",
        f"-Xms{min(heap_megabytes, 128)}m",
        f"-Xmx{heap_megabytes}m",
        *FAST_START_OPTIONS,
        *options,
        f"-Dlog4j2.configurationFile={home / 'log4j2.xml'}",
        "-cp",
        f"{home / 'libs'}/*",
        *arguments,
    ]


@cache
def class_archive(home: Path) -> Path:
    """Return where the archive of loaded classes is, or is to be; each Java has its own."""
    answer = subprocess.run(
        ["java", "-version"],
        capture_output=True,
        check=True,
        timeout=TOOL_TIMEOUT_SECONDS,
    )
    return home / f"classes-{hashlib.sha256(answer.stderr).hexdigest()[:12]}.jsa"


def formatted_directory(home: Path, node: int) -> Path:
    """Return the formatted, empty data directory of a node, to be copied."""
    return home / f"formatted-{node}"


def _is_complete(home: Path) -> bool:
    marker = home / "complete"
    return marker.is_file() and marker.read_text(encoding="ascii") == _recipe()


def _recipe() -> str:
    """Return what changes when the cache must be made anew."""
    text = f"{POM}{LOG4J}{CLUSTER_ID}{NODES_MAX}"
    return hashlib.sha256(text.encode()).hexdigest()


def _fetch(libs: Path) -> None:
    if shutil.which("mvn") is None:
        message = "Maven is missing, which fetches Kafka: run scripts/test-tools.sh"
        raise KafkaSetupError(message)
    shutil.rmtree(libs, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="visit-counter-kafka-") as folder:
        work = Path(folder)
        (work / "pom.xml").write_text(POM, encoding="utf-8")
        goal = f"{COPY_PLUGIN}:copy-dependencies"
        _run(["mvn", "-q", "-B", goal, "-DincludeScope=runtime", f"-DoutputDirectory={libs}"], work)
        # The published POMs lack the binding between slf4j and log4j that the release archive has.
        core = next(libs.glob("log4j-core-*.jar")).stem.removeprefix("log4j-core-")
        artifact = f"-Dartifact=org.apache.logging.log4j:log4j-slf4j-impl:{core}"
        _run(
            ["mvn", "-q", "-B", f"{COPY_PLUGIN}:copy", artifact, f"-DoutputDirectory={libs}"], work
        )


def _format(home: Path, node: int) -> None:
    target = formatted_directory(home, node)
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="visit-counter-kafka-") as folder:
        work = Path(folder)
        properties = work / "server.properties"
        lines = [
            "process.roles=broker,controller",
            f"node.id={node}",
            f"controller.quorum.voters={node}@127.0.0.1:1",
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1",
            "controller.listener.names=CONTROLLER",
            f"log.dirs={target}",
        ]
        properties.write_text("\n".join(lines), encoding="utf-8")
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]
        _run(java(home, *tool, "-c", str(properties)), work, timeout_seconds=TOOL_TIMEOUT_SECONDS)


def _run(
    argv: Sequence[str], directory: Path, timeout_seconds: float = FETCH_TIMEOUT_SECONDS
) -> None:
    done = subprocess.run(
        argv,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_seconds,
        check=False,
    )
    if done.returncode != 0:
        text = done.stdout.decode("utf-8", errors="replace")[-4000:]
        message = f"{' '.join(argv[:4])} ended with {done.returncode}:\n{text}"
        raise KafkaSetupError(message)
