# SPDX-License-Identifier: MIT
"""Deployment settings: where one process finds its broker, Redis, folders and ports.

They come, weakest first, from the defaults in `deployment.py`, an optional deployment.toml, `.env` and the environment
(`USP_<SECTION>__<KEY>`). Credentials come from `.env` and the environment alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, cast

from dotenv import dotenv_values

from .deployment import (
    REGISTRY_VARIABLE,
    SETTING_KEYS,
    SETTING_SECTIONS,
    DeploymentSettings,
    has_password,
    is_secret,
)
from .errors import HIDDEN, ConfigError, Problem, did_you_mean, shown
from .overrides import find, named_sections, value_of
from .reading import parsed, read_table

__all__ = ["DeploymentSettings", "load_settings"]

PASSED_ON = ("security.", "sasl.", "ssl.", "enable.ssl.")
FROM_ENVIRONMENT = "Set it in the environment or in .env; credentials are not read from files that may be shared."


def load_settings(
    environ: Mapping[str, str], *, file: Path | None = None, dotenv: Path | None = None
) -> DeploymentSettings:
    """The settings of this process: `file` (deployment.toml), then `dotenv`, then `environ`, the later winning.

    A file or dotenv that is None or does not exist is left out. Raises ConfigError with all problems.
    """
    problems: list[Problem] = []
    tables = from_file(file, problems) if file is not None and file.exists() else {}
    variables = {**(read_dotenv(dotenv) if dotenv is not None else {}), **environ}
    merge_variables(tables, variables, problems)
    problems += cross_problems(tables)
    if problems:
        raise ConfigError("deployment settings", problems)
    return built(tables)


def from_file(path: Path, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """The tables of deployment.toml; every key may be absent."""
    name, mapping = parsed(path)
    tables: dict[str, dict[str, Any]] = {}
    for section, table in mapping.items():
        if section not in SETTING_SECTIONS:
            advice = did_you_mean(section, SETTING_SECTIONS)
            problems.append(Problem(f"{name} [{section}]", "there", "a section of deployment settings", advice))
            continue
        if not isinstance(table, Mapping):
            problems.append(Problem(f"{name} {section}", shown(table), "a table", f"Write [{section}]."))
            continue
        tables[section] = file_section(section, dict(cast("Mapping[str, Any]", table)), problems)
    return tables


def file_section(section: str, given: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """The checked values of one table of deployment.toml."""
    options = given.pop("security", None) if section == "bus" else None
    specs = [spec for spec in SETTING_KEYS.values() if spec.section == section]
    defaults: dict[str, Any] = {spec.name: None for spec in specs}
    values, faults = read_table(section, specs, given, defaults)
    problems += [*faults, *credentials_in(section, given)]
    result = {key: value for key, value in values.items() if value is not None}
    return result if options is None else result | {"security": file_options(options, problems)}


def credentials_in(section: str, given: Mapping[str, Any]) -> Iterator[Problem]:
    """Credentials that stand in a file."""
    for name, value in given.items():
        spec = SETTING_KEYS.get(f"{section}.{name}")
        if spec is not None and (spec.key.secret or (isinstance(value, str) and has_password(value))):
            yield Problem(f"{section}.{name}", HIDDEN, "no credential in a file", FROM_ENVIRONMENT)


def file_options(options: Any, problems: list[Problem]) -> dict[str, str]:
    """[bus.security]: dotted names of librdkafka and their texts."""
    if not isinstance(options, Mapping):
        problems.append(Problem("[bus.security]", shown(options), "a table", "Write [bus.security]."))
        return {}
    result: dict[str, str] = {}
    for option, value in cast("Mapping[str, Any]", options).items():
        if is_secret(option):
            problems.append(Problem(f"bus.security.{option}", HIDDEN, "no credential in a file", FROM_ENVIRONMENT))
        elif not option.startswith(PASSED_ON) or not isinstance(value, str):
            expected = f"an option in quotes that begins with {', '.join(PASSED_ON)}, and a text"
            problems.append(Problem(f"bus.security.{option}", "not passed on", expected, "Correct or remove it."))
        else:
            result[option] = value
    return result


def merge_variables(tables: dict[str, dict[str, Any]], variables: Mapping[str, str], problems: list[Problem]) -> None:
    """Lays the variables of deployment sections over the tables; those of model sections are the governor's."""
    for variable, section, name in named_sections(variables, problems):
        if section not in SETTING_SECTIONS:
            continue
        table = tables.setdefault(section, {})
        option = librdkafka_option(name) if section == "bus" else None
        if option is not None:
            table.setdefault("security", {})[option] = variables[variable]
        elif (spec := find(variable, section, name, SETTING_KEYS.values(), problems)) is not None:
            table[name] = value_of(variable, variables[variable], spec, problems)
    if url := variables.get(REGISTRY_VARIABLE):
        spec = SETTING_KEYS["bus.schema_registry_url"]
        tables.setdefault("bus", {})[spec.name] = value_of(REGISTRY_VARIABLE, url, spec, problems)


def librdkafka_option(name: str) -> str | None:
    """`sasl_password` -> `sasl.password`: options of librdkafka have dots where a variable has underscores."""
    option = name.replace("_", ".")
    return option if option.startswith(PASSED_ON) else None


def read_dotenv(path: Path) -> dict[str, str]:
    """NAME=VALUE lines; `$NAME` is left as it stands, since a password may hold it."""
    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        problem = Problem("file", f"unreadable ({fault})", "NAME=VALUE lines", "Check the path and its permissions.")
        raise ConfigError(str(path), [problem]) from fault
    return {name: value for name, value in values.items() if value is not None}


def cross_problems(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """What no single key can say."""
    bus, redis, paths = (tables.get(name, {}) for name in ("bus", "redis", "paths"))
    servers, url = bus.get("bootstrap_servers") or "", redis.get("url") or ""
    if servers and bus.get("broker") == "embedded":
        advice = "Unset bus.bootstrap_servers, or set bus.broker to 'kafka'."
        yield Problem("bus.broker", "'embedded' with bus.bootstrap_servers", "one of the two", advice)
    if any(not is_address(server) for server in servers.split(",") if servers):
        yield Problem("bus.bootstrap_servers", shown(servers), "host:port, comma separated", "Correct it.")
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        yield Problem("redis.url", "an address of another kind", "redis://, rediss:// or unix://", "Correct it.")
    if redis.get("ca_file") and url and not url.startswith("rediss://"):
        yield Problem("redis.ca_file", "set for an address without TLS", "rediss://", "Correct redis.url, or unset it.")
    registry = bus.get("schema_registry_url") or ""
    if registry and not registry.startswith(("http://", "https://")):
        yield Problem("bus.schema_registry_url", "an address of another kind", "http:// or https://", "Correct it.")
    for name, value in paths.items():
        if name != "data_dir" and isinstance(value, str) and ".." in PurePath(value).parts:
            yield Problem(
                f"paths.{name}", shown(value), "a path without ..", "Write an absolute path to leave data_dir."
            )


def is_address(server: str) -> bool:
    host, _, port = server.strip().rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def built(tables: Mapping[str, Mapping[str, Any]]) -> DeploymentSettings:
    sections: dict[str, Any] = {}
    for name, cls in SETTING_SECTIONS.items():
        values = dict(tables.get(name, {}))
        if "security" in values:
            values["security"] = MappingProxyType(dict(values["security"]))
        sections[name] = cls(**values)
    return DeploymentSettings(**sections)
