# SPDX-License-Identifier: MIT
"""Deployment settings: where one process finds its broker, Redis, folders and ports. Never hashed.

They come, weakest first, from the defaults below, an optional deployment.toml, `.env` and the environment
(`USP_<SECTION>__<KEY>`). Credentials come from `.env` and the environment alone and are never shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from dotenv import dotenv_values

from .errors import ConfigError, Problem, did_you_mean, shown
from .keys import Key, KeySpec, key_specs
from .overrides import DEPLOYMENT_SECTIONS, find, named_sections, value_of
from .reading import parsed, read_table

PASSED_ON = ("security.", "sasl.", "ssl.", "enable.ssl.")
SECRET_WORDS = ("password", "secret", "pem", "token")
REGISTRY_VARIABLE = "USP_SCHEMA_REGISTRY_URL"
PATH = "[1, 4096]"


@dataclass(frozen=True, kw_only=True)
class Bus:
    """The broker. Options of librdkafka that begin with security, sasl, ssl or enable.ssl are passed on to it."""

    broker: Annotated[
        Literal["auto", "kafka", "embedded"],
        Key("broker to use: a configured or local Apache Kafka, the embedded fallback, or the first that is there"),
    ] = "auto"
    bootstrap_servers: Annotated[
        str, Key("host:port, comma separated, of a running broker; empty starts a local one", length="[0, 4096]")
    ] = ""
    partitions: Annotated[int, Key("partitions of every tick topic; cannot change later", "partitions", "[1, 1024]")] = 8
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"], Key("guarantee; the embedded broker has at_least_once alone")
    ] = "exactly_once"
    linger_ms: Annotated[float, Key("wait of the producer for a fuller batch", "ms", "[0, 10000]")] = 1.0
    fetch_wait_ms: Annotated[int, Key("wait of the broker for more records", "ms", "[1, 10000]")] = 10
    max_batch: Annotated[int, Key("greatest number of records of one transaction", "records", "[1, 100000]")] = 2000
    transaction_timeout_ms: Annotated[int, Key("age at which the broker aborts a transaction", "ms", "[1000, 900000]")] = 10_000
    group_prefix: Annotated[str, Key("begin of the names of consumer groups and transactional ids")] = "usp"
    schema_registry_url: Annotated[
        str, Key(f"speak the Confluent wire format with this registry; also {REGISTRY_VARIABLE}", length="[0, 4096]", secret=True)
    ] = field(default="", repr=False)
    security: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)


@dataclass(frozen=True, kw_only=True)
class Redis:
    """The Redis that holds hints, limits and hashes."""

    url: Annotated[
        str, Key("redis://, rediss:// or unix:// address; empty starts an embedded one", length="[0, 4096]", secret=True)
    ] = field(default="", repr=False)
    username: Annotated[str, Key("ACL user", length="[0, 256]", secret=True)] = field(default="", repr=False)
    password: Annotated[str, Key("password", length="[0, 4096]", secret=True)] = field(default="", repr=False)
    ca_file: Annotated[str, Key("certificate authority for rediss://; empty is the system's", length="[0, 4096]")] = ""
    key_prefix: Annotated[str, Key("begin of every key that is written")] = "usp:"
    timeout_s: Annotated[float, Key("longest wait for an answer", "s", "(0, 300]")] = 2.0


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Folders and files; relative ones lie under data_dir."""

    data_dir: Annotated[str, Key("folder of all that the processes write", length=PATH)] = "var"
    config_file: Annotated[str, Key("the governor's config.toml", length=PATH)] = "config.toml"
    cache_dir: Annotated[str, Key("compile cache of XLA", length=PATH)] = "cache/xla"
    snapshots: Annotated[str, Key("folder of the snapshots", length=PATH)] = "io/snapshots"
    mutations_log: Annotated[str, Key("audit log of the governor", length=PATH)] = "io/mutations.log"
    adaptive_telemetry: Annotated[str, Key("log of adaptive telemetry", length=PATH)] = "io/adaptive_telemetry.jsonl"
    parity_log: Annotated[str, Key("log of parity hashes", length=PATH)] = "io/parity.jsonl"
    reports: Annotated[str, Key("folder of the dashboards", length=PATH)] = "io/reports"

    def resolved(self, name: str) -> Path:
        """The path of the key `name`; relative ones under data_dir."""
        folder = Path(self.data_dir)
        return folder if name == "data_dir" else folder / str(getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Logs:
    """The processes' own logs, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Key("least severity that is written")] = "info"
    format: Annotated[Literal["json", "console"], Key("one JSON object per line, or text for people")] = "json"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Where /metrics, /healthz and /readyz are served."""

    host: Annotated[str, Key("address to listen on", length="[1, 255]")] = "127.0.0.1"
    port: Annotated[int, Key("port to listen on; 0 is off", "port", "[0, 65535]")] = 0


@dataclass(frozen=True, kw_only=True)
class DeploymentSettings:
    """All deployment settings of one process. Secrets are left out of its text."""

    bus: Bus = field(default_factory=Bus)
    redis: Redis = field(default_factory=Redis)
    paths: Paths = field(default_factory=Paths)
    logs: Logs = field(default_factory=Logs)
    metrics: Metrics = field(default_factory=Metrics)

    def shown(self) -> dict[str, dict[str, Any]]:
        """What is set, for people and machines, with every secret replaced."""
        return {name: shown_section(getattr(self, name), SETTING_SECTIONS[name]) for name in DEPLOYMENT_SECTIONS}


SETTING_SECTIONS: Mapping[str, type] = MappingProxyType(
    {"bus": Bus, "redis": Redis, "paths": Paths, "logs": Logs, "metrics": Metrics}
)
SETTING_KEYS: Mapping[str, KeySpec] = MappingProxyType(
    {spec.path: spec for section, cls in SETTING_SECTIONS.items() for spec in key_specs(section, cls)}
)


def shown_section(section: Any, cls: type) -> dict[str, Any]:
    values = {spec.name: getattr(section, spec.name) for spec in key_specs("", cls)}
    secret = {spec.name for spec in key_specs("", cls) if spec.key.secret}
    result = {name: "(set)" if name in secret and value else value for name, value in values.items()}
    if isinstance(section, Bus):
        result |= {"security": {name: "(set)" if is_secret(name) else value for name, value in section.security.items()}}
    return result


def is_secret(option: str) -> bool:
    return any(word in option for word in SECRET_WORDS)


def load_settings(
    environ: Mapping[str, str], *, file: Path | None = None, dotenv: Path | None = None
) -> DeploymentSettings:
    """The settings of this process: `file` (deployment.toml), then `dotenv`, then `environ`, the later winning.

    A file or dotenv that is None or does not exist is left out. Raises ConfigError with all problems.
    """
    problems: list[Problem] = []
    tables = from_file(file, problems) if file is not None and file.exists() else {}
    variables = {**(read_dotenv(dotenv) if dotenv is not None else {}), **environ}
    for variable, section, name in named_sections(variables, problems):
        if section in DEPLOYMENT_SECTIONS:
            table = tables.setdefault(section, {})
            option = librdkafka_option(name) if section == "bus" else None
            if option:
                table.setdefault("security", {})[option] = variables[variable]
            elif (spec := find(variable, section, name, SETTING_KEYS.values(), problems)) is not None:
                table[name] = value_of(variable, variables[variable], spec, problems)
    if REGISTRY_VARIABLE in variables:
        tables.setdefault("bus", {})["schema_registry_url"] = variables[REGISTRY_VARIABLE]
    problems += cross_problems(tables)
    if problems:
        raise ConfigError("deployment settings", problems)
    return built(tables)


def built(tables: Mapping[str, Mapping[str, Any]]) -> DeploymentSettings:
    sections: dict[str, Any] = {}
    for name, cls in SETTING_SECTIONS.items():
        values = dict(tables.get(name, {}))
        if "security" in values:
            values["security"] = MappingProxyType(dict(values["security"]))
        sections[name] = cls(**values)
    return DeploymentSettings(**sections)


def librdkafka_option(name: str) -> str | None:
    """`sasl_password` -> `sasl.password`: options of librdkafka have dots where a variable has underscores."""
    option = name.replace("_", ".")
    return option if option.startswith(PASSED_ON) else None


def read_dotenv(path: Path) -> dict[str, str]:
    """KEY=VALUE lines; `$NAME` is left as it stands, since a password may hold it."""
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}
