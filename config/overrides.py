# SPDX-License-Identifier: MIT
"""Environment variables `USP_<SECTION>__<KEY>`: how a name becomes a key and a text becomes a value.

The environment is an argument; only the command line reads the real one. Model keys are overridden by the governor
alone, when it composes an epoch, so that every override is part of the hashed configuration and of its audit.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_origin

from .errors import HIDDEN, ConfigError, Problem, did_you_mean, shown
from .keys import BadValueError, KeySpec, checked, plain
from .model import KEYS, SECTIONS

PREFIX = "USP_"
DEPLOYMENT_SECTIONS = ("bus", "redis", "paths", "logs", "metrics", "dashboard", "governor", "tuning")


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
                old = replaced(merged, spec, plain(new))
                overrides.append(Override(variable, spec.path, old, plain(new)))
    if problems:
        raise ConfigError("environment", problems)
    return merged, overrides


def replaced(mapping: dict[str, Any], spec: KeySpec, new: Any) -> Any:
    """Puts a value in its place and gives what stood there; a section that is no table is left for `load` to refuse."""
    table = mapping.setdefault(spec.section, {})
    if not isinstance(table, dict):
        return None
    values = cast("dict[str, Any]", table)
    old = values.get(spec.name)
    values[spec.name] = new
    return old


def named_sections(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    """Variable, section and key, sorted by variable; other variables with the prefix are not overrides."""
    known = (*SECTIONS, *DEPLOYMENT_SECTIONS)
    seen: dict[str, str] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        path = variable.removeprefix(PREFIX).lower()
        section, _, key = path.partition("__")
        if seen.setdefault(path, variable) != variable:
            problems.append(Problem(variable, f"the same key as {seen[path]}", "one variable per key", "Unset one."))
        elif path.count("__") > 1:
            problems.append(Problem(variable, "with several double underscores", "exactly one", SYMBOL_ADVICE))
        elif "__" not in path:
            problems += single_underscore(variable, path, known)
        elif section not in known:
            advice = SYMBOL_ADVICE if section == "symbols" else did_you_mean(section, known)
            problems.append(Problem(variable, f"for section {section!r}", "a section of the configuration", advice))
        else:
            yield variable, section, key


SYMBOL_ADVICE = "Write USP_<SECTION>__<KEY>; keys of one symbol are set in config.toml alone."


def single_underscore(variable: str, path: str, sections: Iterable[str]) -> Iterator[Problem]:
    """A variable that names a key but for its double underscore; it would otherwise be ignored without a word."""
    for section in sections:
        key = path.removeprefix(f"{section}_")
        if key != path and (section in DEPLOYMENT_SECTIONS or f"{section}.{key}" in KEYS):
            name = f"{PREFIX}{section}__{key}".upper()
            yield Problem(variable, "without a double underscore", name, "Rename it.")


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
        found = HIDDEN if spec.key.secret or "://" in text else shown(text)
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
