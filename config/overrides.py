# SPDX-License-Identifier: MIT
"""Environment variables `USP_<SECTION>__<KEY>`: how a name becomes a key and a text becomes a value.

The environment is an argument; only the command line reads the real one. Model keys are overridden by the governor
alone, when it composes an epoch, so that every override is part of the hashed configuration and of its audit.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from .errors import ConfigError, Problem, did_you_mean, shown
from .keys import BadValueError, KeySpec, checked, plain
from .model import KEYS, SECTIONS

PREFIX = "USP_"
DEPLOYMENT_SECTIONS = ("bus", "redis", "paths", "logs", "metrics")


@dataclass(frozen=True)
class Override:
    """One value that the environment replaced; for the audit."""

    variable: str
    key: str
    old: Any
    new: Any


def apply_environment(mapping: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Override]]:
    """The mapping with all `USP_<SECTION>__<KEY>` of model sections merged in, and what they replaced.

    `mapping` itself is left alone; variables of deployment settings are skipped. Raises ConfigError with all problems.
    """
    merged = copy.deepcopy(plain(mapping))
    overrides: list[Override] = []
    problems: list[Problem] = []
    for variable, section, name in named_sections(environ, problems):
        if section in SECTIONS:
            spec = find(variable, section, name, KEYS.values(), problems)
            new = None if spec is None else value_of(variable, environ[variable], spec, problems)
            if spec is not None and new is not None:
                table = merged.setdefault(section, {})
                overrides.append(Override(variable, spec.path, table.get(spec.name), plain(new)))
                table[spec.name] = plain(new)
    if problems:
        raise ConfigError("environment", problems)
    return merged, overrides


def named_sections(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    """Variable, section and key, sorted by variable; other variables with the prefix are not overrides."""
    known = (*SECTIONS, *DEPLOYMENT_SECTIONS)
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        parts = variable[len(PREFIX) :].lower().split("__")
        if len(parts) == 2 and parts[0] in known:
            yield variable, parts[0], parts[1]
        elif len(parts) == 2:
            advice = did_you_mean(parts[0], known)
            problems.append(Problem(variable, f"for section {parts[0]!r}", "a section of the configuration", advice))
        elif len(parts) > 2:
            problems.append(Problem(variable, "with several double underscores", "exactly one", SYMBOL_ADVICE))
        elif near := almost(parts[0], known):
            problems.append(Problem(variable, "without a double underscore", f"{PREFIX}{near}", "Rename it."))


SYMBOL_ADVICE = "Write USP_<SECTION>__<KEY>; keys of one symbol are set in config.toml alone."


def almost(rest: str, known: Iterable[str]) -> str | None:
    """The name that a variable with a single underscore was probably meant to have."""
    for section in known:
        name = rest.removeprefix(f"{section}_")
        if name != rest and (section in DEPLOYMENT_SECTIONS or f"{section}.{name}" in KEYS):
            return f"{section}__{name}".upper()
    return None


def find(variable: str, section: str, name: str, specs: Iterable[KeySpec], problems: list[Problem]) -> KeySpec | None:
    """The declaration of a key that a variable names, or None and a problem."""
    declared = {spec.name: spec for spec in specs if spec.section == section}
    if name not in declared:
        problems.append(Problem(variable, f"for {section}.{name}", "a key", did_you_mean(name, declared)))
    return declared.get(name)


def value_of(variable: str, text: str, spec: KeySpec, problems: list[Problem]) -> Any | None:
    """The text as the type that the key declares, or None and a problem."""
    try:
        return checked(spec, coerced(text, spec))
    except BadValueError:
        found = "a secret of another form" if spec.key.secret else shown(text)
        problems.append(Problem(variable, found, spec.expected, "Correct or unset the variable."))
        return None


def coerced(text: str, spec: KeySpec) -> Any:
    """bool, then int, then float, then the text itself; a list is written `[1, 2]` or `1,2`."""
    if spec.kind is str:
        return text
    if get_origin(spec.kind) is tuple:
        return coerced_list(text)
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def coerced_list(text: str) -> Any:
    inner = text.strip() if text.strip().startswith("[") else f"[{text}]"
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        return [item.strip() for item in text.strip("[] ").split(",")]
