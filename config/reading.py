# SPDX-License-Identifier: MIT
"""From a file or a text to checked values: parsing, and one table against its declared keys."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import toml

from .errors import ConfigError, Problem, did_you_mean, shown
from .keys import BadValueError, KeySpec, checked


def parsed(source: Path | str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A name for error messages, and the nested mapping that the source holds."""
    if isinstance(source, Path):
        return str(source), parse_toml(str(source), read_file(source))
    if isinstance(source, str):
        return "TOML text", parse_toml("TOML text", source)
    if not isinstance(source, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] -- JSON may hold a list here
        raise ConfigError("mapping", [Problem("top level", shown(source), "a mapping of sections", "Pass a mapping.")])
    return "mapping", source


def read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        problem = Problem("file", f"unreadable ({fault})", "a UTF-8 TOML file", "Check the path and its permissions.")
        raise ConfigError(str(path), [problem]) from fault


def parse_toml(name: str, text: str) -> dict[str, Any]:
    """What two independent parsers agree on: `toml` alone takes some broken lines for other values, silently."""
    try:
        strict = tomllib.loads(text)
        read = toml.loads(text)
    except (ValueError, IndexError, TypeError, RecursionError) as fault:
        advice = "Pass a pathlib.Path to read a file." if "\n" not in text else "Correct that line."
        raise ConfigError(name, [Problem("TOML", str(fault), "valid TOML", advice)]) from fault
    if strict != read and repr(strict) != repr(read):  # NaN differs from itself, its text does not
        advice = "Write the value in a simpler form: one line, plain quotes."
        raise ConfigError(name, [Problem("TOML", "read in two ways", "one meaning for both TOML readers", advice)])
    return read


def read_table(
    where: str, specs: Iterable[KeySpec], table: Any, inherited: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """The checked values of one table, absent ones taken from `inherited`, and all that is wrong with it."""
    declared = {spec.name: spec for spec in specs}
    if not isinstance(table, Mapping):
        found = "absent" if table is None else shown(table)
        return {}, [Problem(f"[{where}]", found, "a table with keys", f"Add the table [{where}].")]
    given = cast("Mapping[str, Any]", table)
    problems = [unknown_key(where, name, declared) for name in given if name not in declared]
    values = dict(inherited or {})
    for name, spec in declared.items():
        try:
            if name in given:
                values[name] = checked(spec, given[name])
            elif name not in values:
                problems.append(Problem(f"{where}.{name}", "absent", spec.expected, f"Add it to [{where}]."))
        except BadValueError:
            values.pop(name, None)
            problems.append(Problem(f"{where}.{name}", shown(given[name]), spec.expected, f"Correct it in [{where}]."))
    return values, problems


def unknown_key(where: str, name: str, declared: Iterable[str]) -> Problem:
    return Problem(f"{where}.{name}", "there", "no such key", did_you_mean(str(name), declared))
