# SPDX-License-Identifier: MIT
"""compose/ can be run as it stands: it fits the specification, and names nothing that the program does not have."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.main import get_command

from usp.config.errors import ConfigError
from usp.config.settings import load_settings
from usp.io.kafka_jars import kafka_version
from usp.io.metrics import Meter
from usp.stages import topology
from usp.stages.cli import app
from usp.stages.dashboard.live_page import require_access

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
FILE = COMPOSE / "compose.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text())
SERVICES = DOCUMENT["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
STAGES = {name: service for name, service in OURS.items() if name in topology.STAGES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (COMPOSE / "Dockerfile").read_text()
RULES = [
    rule
    for group in yaml.safe_load((COMPOSE / "prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((COMPOSE / "grafana/dashboards/pipeline.json").read_text())
SNAPSHOTS = "/var/lib/usp/io/snapshots"
LIVE = {"USP_DASHBOARD__PORT": "8080", "USP_DASHBOARD__TOKEN": "a-token-of-the-caller"}


def samples():
    """Every name that a stage's /metrics can show."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    families = Meter("ingest").registry.collect()
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def mounts(service):
    """(volume or folder, target, read only) of each mount."""
    split = [volume.split(":") for volume in service.get("volumes", [])]
    return [(parts[0], parts[1], "ro" in parts[2:]) for parts in split]


def test_it_fits_the_compose_specification():
    """The file is valid under the specification's own schema."""
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(DOCUMENT)
    assert [] == [f"{'/'.join(map(str, error.path))}: {error.message}" for error in errors]


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_accepts_it():
    """`docker-compose config` finds no fault."""
    done = subprocess.run(
        ["docker-compose", "-f", str(FILE), "config", "-q"], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_every_stage_runs():
    """One service per stage, none missing, and the topics are made before."""
    assert topology.STAGES.keys() == STAGES.keys()
    assert [] == [name for name, stage in STAGES.items() if stage["command"] != ["run", name]]
    waits = {name: stage["depends_on"]["topics"]["condition"] for name, stage in STAGES.items()}
    assert {"service_completed_successfully"} == set(waits.values())


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name):
    """The command line parses what each service calls."""
    command = get_command(app)
    context = command.make_context("usp", list(OURS[name]["command"]))
    subcommand, arguments = command.commands[context._protected_args[0]], context.args
    parsed = subcommand.make_context(subcommand.name, arguments, parent=context)
    assert parsed.command is subcommand


def environment_of(name, **callers):
    """What a service's process sees, where its caller has these variables."""
    given = {key: callers.get(key) if value is None else str(value) for key, value in OURS[name]["environment"].items()}
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name):
    """The settings loader takes the environment of each service as it is."""
    settings = load_settings(environment_of(name))
    assert ("kafka:9092", "redis://redis:6379/0") == (settings.bus.bootstrap_servers, settings.redis.url)


def test_the_live_page_is_served_to_those_with_the_token_alone():
    """Off by default, refused without a token; with both it listens inside, and this machine alone gets there."""
    given = ({}, {"USP_DASHBOARD__PORT": "8080"}, LIVE)
    off, open_to_all, on = (load_settings(environment_of("telemetry-sink", **each)).dashboard for each in given)
    assert (0, "0.0.0.0", LIVE["USP_DASHBOARD__TOKEN"]) == (off.port, on.host, on.token)
    with pytest.raises(ConfigError):
        require_access(open_to_all)
    require_access(on)
    assert ["127.0.0.1:8080:8080"] == OURS["telemetry-sink"]["ports"]


def test_credentials_stand_in_no_file():
    """What may be secret is passed through from the caller's environment."""
    secret = re.compile("PASSWORD|SECRET|TOKEN|KEY$")
    found = [
        f"{name}: {key}"
        for name, service in SERVICES.items()
        for key, value in service.get("environment", {}).items()
        if secret.search(key) and value is not None
    ]
    assert [] == found


def test_every_image_is_pinned():
    """An image names its exact version; ours is the version of this package."""
    exact = re.compile(r"[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)*")
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    images = [*bases, *(service["image"] for service in SERVICES.values())]
    assert [] == [image for image in images if not exact.fullmatch(image)]
    assert {f"usp:{PROJECT['project']['version']}"} == {service["image"] for service in OURS.values()}
    assert f"usp:{PROJECT['project']['version']} ." in DOCKERFILE
    assert 1 == len(set(bases))


def test_the_broker_is_the_one_that_the_tests_run_on():
    """The image has the version whose jars the local broker is made of; what was tested is what runs."""
    assert f"apache/kafka:{kafka_version()}" == SERVICES["kafka"]["image"]


def test_nobody_is_root():
    """No service asks for root or for more rights; our image ends as another user."""
    users = {name: str(service.get("user", "image")).split(":")[0] for name, service in SERVICES.items()}
    assert [] == [name for name, user in users.items() if user in ("0", "root")]
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.M)[-1] == "10001:10001"
    assert [] == [
        name for name, service in SERVICES.items() if "privileged" in service or service["cap_drop"] != ["ALL"]
    ]
    assert [] == [name for name, service in SERVICES.items() if service["security_opt"] != ["no-new-privileges:true"]]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_write_to_volumes_alone(name):
    """Read-only root, limits, and time for a clean stop (SIGTERM drains within 25 s)."""
    service = OURS[name]
    limits = service["deploy"]["resources"]["limits"]
    assert (True, "30s", True) == (
        service["read_only"],
        service["stop_grace_period"],
        limits.keys() >= {"cpus", "memory"},
    )


def test_every_lasting_service_has_a_health_check():
    """Stages are asked whether they are ready; the others whether they answer."""
    assert [] == [name for name, service in SERVICES.items() if "healthcheck" not in service and name != "topics"]
    assert [] == [name for name, stage in STAGES.items() if "/readyz" not in stage["healthcheck"]["test"][-1]]


def test_snapshots_are_written_by_the_snapshotter_alone():
    """The stages that restore can read them, nobody else can change them."""
    owners = {
        name: read_only for name, s in SERVICES.items() for source, _, read_only in mounts(s) if source == "snapshots"
    }
    assert {"snapshotter": False, "ingest": True, "orchestrator": True, "governor": True} == owners
    assert {SNAPSHOTS} == {
        target for s in SERVICES.values() for source, target, _ in mounts(s) if source == "snapshots"
    }


def test_automatic_tuning_runs_only_where_it_is_asked_for():
    """A profile of its own; its trials outlive it, and it shares the compiled programs, not the configuration."""
    assert ["tuner"] == [name for name, service in SERVICES.items() if "profiles" in service]
    tuner = SERVICES["tuner"]
    assert (["tuning"], ["tune", "--watch"]) == (tuner["profiles"], tuner["command"])
    assert {"tuning", "compile-cache"} == {source for source, *_ in mounts(tuner)}


def test_the_configuration_belongs_to_the_governor_alone():
    """No other service sees the volume of config.toml."""
    assert ["governor"] == [
        n for n, service in SERVICES.items() if any(source == "config" for source, *_ in mounts(service))
    ]


def test_every_volume_is_owned_by_the_images_user():
    """Docker gives a new volume the owner of the image's folder, so the folder must be there."""
    made = set(re.search(r"install -d -o usp -g usp (.+)", DOCKERFILE)[1].split())
    assert [] == [target for service in OURS.values() for _, target, _ in mounts(service) if target not in made]
    assert [] == [
        source
        for s in SERVICES.values()
        for source, *_ in mounts(s)
        if source[0] != "." and source not in DOCUMENT["volumes"]
    ]


def test_only_loopback_is_published():
    """Nothing listens on the network of the machine."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


def test_the_broker_keeps_offsets_as_long_as_the_topology_asks():
    """A restart finds its offsets and its transactional id."""
    kafka = SERVICES["kafka"]["environment"]
    assert topology.OFFSET_RETENTION_DAYS * 1440 == int(kafka["KAFKA_OFFSETS_RETENTION_MINUTES"])
    assert topology.OFFSET_RETENTION_DAYS * 86_400_000 == int(kafka["KAFKA_TRANSACTIONAL_ID_EXPIRATION_MS"])


def test_the_image_holds_the_whole_package():
    """Every package that pyproject.toml names is copied, with the files that the build reads, and may be copied."""
    copied = {
        name.rstrip("/") for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M) for name in line.split()
    }
    packages = {name.split(".")[1] for name in PROJECT["tool"]["setuptools"]["packages"] if "." in name}
    needed = packages | {
        "pyproject.toml",
        "__init__.py",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
    }
    assert needed | {"requirements-runtime.lock"} == copied
    allowed = {line[1:] for line in (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert copied == allowed


def pins(name):
    """{(package, marker): (version, hashes)} of a lock file."""
    found, current = {}, None
    for line in (ROOT / name).read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+)(?:\[\w+\])?==(\S+)( ; .+?)? \\$", line):
            current = found[match[1], match[3]] = (match[2], set())
        elif match := re.search(r"--hash=(sha256:\w{64})", line):
            current[1].add(match[1])
    return found


def test_the_image_runs_what_was_tested():
    """The runtime lock is part of the lock that the tests run with, hash by hash, and covers every dependency."""
    runtime, full = pins("requirements-runtime.lock"), pins("requirements.lock")
    assert {} == {key: pin for key, pin in runtime.items() if full.get(key) != pin}
    names = {re.match(r"[A-Za-z0-9-]+", text)[0] for text in PROJECT["project"]["dependencies"]}
    assert set() == (names | {"setuptools"}) - {name for name, _ in runtime}


def expressions():
    """Every PromQL expression of the alerts and the dashboard."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [rule["expr"] for rule in RULES] + panels


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_asks_for_metrics_that_exist(expression):
    """No alert is silent and no panel empty because of a name."""
    asked = set(re.findall(r"\busp_[a-z_]+", expression))
    assert set() == asked - samples()
    topics = {topic.name for topic in topology.TOPICS}
    assert set() == {t for text in re.findall(r'topic=~?"([^"]+)"', expression) for t in text.split("|")} - topics
    assert set() == set(re.findall(r'stage="([^"]+)"', expression)) - topology.STAGES.keys()


def test_every_alert_names_its_page():
    """Whoever is called knows what to open."""
    assert [] == [rule["alert"] for rule in RULES if not (ROOT / rule["annotations"]["runbook"]).is_file()]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_alerts_fire_when_they_must():
    """Prometheus' own tool takes the rules and plays time series through them."""
    done = subprocess.run(
        ["promtool", "test", "rules", str(Path(__file__).with_name("alerts_test.yml"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout + done.stderr


def test_prometheus_asks_every_stage():
    """The targets are the stages, at the port that they listen on."""
    config = yaml.safe_load((COMPOSE / "prometheus/prometheus.yml").read_text())
    targets = {
        target for job in config["scrape_configs"] for static in job["static_configs"] for target in static["targets"]
    }
    assert {f"{name}:{stage['environment']['USP_METRICS__PORT']}" for name, stage in STAGES.items()} == targets
    assert config["rule_files"] == ["alerts.yml"]


def test_grafana_finds_its_data_and_its_dashboard():
    """The dashboard's data source is the one that is provisioned, and the folders are those that are mounted."""
    source = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][
        0
    ]
    assert {source["uid"]} == {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    provider = yaml.safe_load((COMPOSE / "grafana/provisioning/dashboards/usp.yaml").read_text())["providers"][0]
    targets = {target: source for source, target, _ in mounts(SERVICES["grafana"])}
    assert (COMPOSE / targets[provider["options"]["path"]] / "pipeline.json").is_file()
    assert [] == [folder for folder in targets.values() if folder[0] == "." and not (COMPOSE / folder).is_dir()]
