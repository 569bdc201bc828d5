# SPDX-License-Identifier: MIT
"""What can be set per process: broker, Redis, folders, logs, ports. Never hashed; read by `settings.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from .errors import HIDDEN
from .keys import Key, KeySpec, key_specs

SECRET_WORDS = ("password", "secret", "pem", "token")
REGISTRY_VARIABLE = "USP_SCHEMA_REGISTRY_URL"
PATH = "[1, 4096]"


@dataclass(frozen=True, kw_only=True)
class BusSettings:
    """The broker. Options of librdkafka that begin with security, sasl, ssl or enable.ssl are passed on to it."""

    broker: Annotated[
        Literal["auto", "kafka", "embedded"],
        Key("broker to use: a configured or local Apache Kafka, the embedded fallback, or the first that is there"),
    ] = "auto"
    bootstrap_servers: Annotated[
        str, Key("host:port, comma separated, of a running broker; empty starts a local one", length="[0, 4096]")
    ] = ""
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"], Key("guarantee; the embedded broker has at_least_once alone")
    ] = "exactly_once"
    log_id: Annotated[
        str, Key("name of this log, which snapshots carry; empty asks the broker for its cluster id", length="[0, 256]")
    ] = ""
    instance: Annotated[
        str, Key("tells processes of one stage apart; end of group.instance.id and transactional.id")
    ] = "0"
    linger_ms: Annotated[float, Key("wait of the producer for a fuller batch", "ms", "[0, 10000]")] = 1.0
    fetch_wait_ms: Annotated[int, Key("wait of the broker for more records", "ms", "[1, 10000]")] = 10
    max_batch: Annotated[int, Key("greatest number of records of one transaction", "records", "[1, 100000]")] = 2000
    transaction_timeout_ms: Annotated[
        int, Key("age at which the broker aborts a transaction", "ms", "[1000, 900000]")
    ] = 10_000
    group_prefix: Annotated[str, Key("begin of the names of consumer groups and transactional ids")] = "usp"
    schema_registry_url: Annotated[
        str, Key(f"speak the Confluent wire format with this registry; also {REGISTRY_VARIABLE}", length="[0, 4096]")
    ] = field(default="", repr=False)
    security: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """The Redis that holds hints, limits and hashes."""

    url: Annotated[
        str, Key("redis://, rediss:// or unix:// address; empty starts an embedded one", length="[0, 4096]")
    ] = field(default="", repr=False)
    username: Annotated[str, Key("ACL user", length="[0, 256]")] = ""
    password: Annotated[str, Key("password", length="[0, 4096]", secret=True)] = field(default="", repr=False)
    ca_file: Annotated[str, Key("certificate authority for rediss://; empty is the system's", length="[0, 4096]")] = ""
    key_prefix: Annotated[str, Key("begin of every key that is written")] = "usp:"
    timeout_s: Annotated[float, Key("longest wait for an answer", "s", "(0, 300]")] = 2.0


@dataclass(frozen=True, kw_only=True)
class PathsSettings:
    """Folders and files; relative ones lie under data_dir."""

    data_dir: Annotated[str, Key("folder of all that the processes write", length=PATH)] = "var"
    config_file: Annotated[
        str,
        Key("the governor's file; empty is config.toml under data_dir, made from the packaged one", length="[0, 4096]"),
    ] = ""
    cache_dir: Annotated[str, Key("compile cache of XLA", length=PATH)] = "cache/xla"
    snapshots: Annotated[str, Key("folder of the snapshots", length=PATH)] = "io/snapshots"
    mutations_log: Annotated[str, Key("audit log of the governor", length=PATH)] = "io/mutations.log"
    adaptive_telemetry: Annotated[str, Key("log of adaptive telemetry", length=PATH)] = "io/adaptive_telemetry.jsonl"
    parity_log: Annotated[str, Key("log of parity hashes", length=PATH)] = "io/parity.jsonl"
    reports: Annotated[str, Key("folder of the dashboards", length=PATH)] = "io/reports"

    def resolved(self, name: str) -> Path:
        """The path of the key `name`; relative ones under data_dir."""
        if name == "data_dir":
            return Path(self.data_dir)
        return Path(self.data_dir, getattr(self, name) or "config.toml")


@dataclass(frozen=True, kw_only=True)
class LogsSettings:
    """The processes' own logs, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Key("least severity that is written")] = "info"
    format: Annotated[
        Literal["auto", "json", "console"], Key("one JSON object per line, text for people, or text on terminals alone")
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """Where /metrics, /healthz and /readyz are served."""

    host: Annotated[str, Key("address to listen on", length="[1, 255]")] = "127.0.0.1"
    port: Annotated[int, Key("port to listen on; 0 is off", "port", "[0, 65535]")] = 0


@dataclass(frozen=True, kw_only=True)
class DashboardSettings:
    """Where the telemetry sink serves the live page."""

    host: Annotated[str, Key("address to listen on; one that is not loopback needs a token", length="[1, 255]")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Key("port to listen on; 0 is off", "port", "[0, 65535]")] = 0
    token: Annotated[
        str, Key("what a reader must show; 16 or more of A-Z a-z 0-9 . _ ~ -", length="[0, 256]", secret=True)
    ] = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class GovernorSettings:
    """How the governor judges a change of the model configuration."""

    judge: Annotated[
        Literal["shadow", "rmse"],
        Key("shadow: beside the configuration before, on the same ticks; rmse: more than 30 % above the RMSE before"),
    ] = "shadow"


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """Automatic tuning, a process of its own beside the stages."""

    auto: Annotated[
        bool, Key("`usp up` also starts `usp tune --watch`: a regime change with a rise of the error starts a search")
    ] = False


@dataclass(frozen=True, kw_only=True)
class DeploymentSettings:
    """All deployment settings of one process. Secrets are left out of its text."""

    bus: BusSettings = field(default_factory=BusSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    paths: PathsSettings = field(default_factory=PathsSettings)
    logs: LogsSettings = field(default_factory=LogsSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)
    governor: GovernorSettings = field(default_factory=GovernorSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)

    def shown(self) -> dict[str, dict[str, Any]]:
        """What is set, for people and machines, with every secret replaced."""
        return {name: shown_section(getattr(self, name), SETTING_SECTIONS[name]) for name in SETTING_SECTIONS}


SETTING_SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "bus": BusSettings,
        "redis": RedisSettings,
        "paths": PathsSettings,
        "logs": LogsSettings,
        "metrics": MetricsSettings,
        "dashboard": DashboardSettings,
        "governor": GovernorSettings,
        "tuning": TuningSettings,
    }
)
SETTING_KEYS: Mapping[str, KeySpec] = MappingProxyType(
    {spec.path: spec for section, cls in SETTING_SECTIONS.items() for spec in key_specs(section, cls)}
)


def is_secret(option: str) -> bool:
    """True if an option of librdkafka holds a credential."""
    return any(word in option for word in SECRET_WORDS)


def has_password(text: str) -> bool:
    """True if a text is an address with credentials before its host."""
    return "@" in text.partition("://")[2]


def shown_section(section: Any, cls: type) -> dict[str, Any]:
    values = {spec.name: redacted(spec, getattr(section, spec.name)) for spec in key_specs("", cls)}
    if isinstance(section, BusSettings):
        options = section.security.items()
        values["security"] = {name: HIDDEN if is_secret(name) else value for name, value in options}
    return values


def redacted(spec: KeySpec, value: Any) -> Any:
    hidden = bool(value) and (spec.key.secret or (isinstance(value, str) and has_password(value)))
    return HIDDEN if hidden else value
