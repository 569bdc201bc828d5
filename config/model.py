# SPDX-License-Identifier: MIT
"""The model configuration: typed, frozen, closed and hashed.

It is the part of the settings that decides the numbers of a prediction; it reaches the orchestrator as the canonical
bytes of an epoch. Where the processes find brokers and folders is another matter: see `settings.py`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from .bank import Bank
from .core import Core, Meta
from .edge import Io, Validation
from .errors import ConfigError, Problem, did_you_mean
from .kernels import Kernels
from .keys import KeySpec, key_specs, plain
from .orchestration import Orchestration
from .reading import parsed, read_table
from .rules import broken_rules
from .search import MetaOptimization
from .symbols import DEFAULT, SymbolOverride, SymbolTable

SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "meta": Meta,
        "core": Core,
        "orchestration": Orchestration,
        "kernels": Kernels,
        "bank": Bank,
        "io": Io,
        "validation": Validation,
        "meta_optimization": MetaOptimization,
    }
)
KEYS: Mapping[str, KeySpec] = MappingProxyType(
    {spec.path: spec for section, cls in SECTIONS.items() for spec in key_specs(section, cls)}
)
SYMBOL_KEYS = tuple(key_specs("symbols", SymbolOverride))


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that decides a prediction besides the input; made by `load`, equal exactly if the hashes are equal."""

    meta: Meta
    core: Core
    orchestration: Orchestration
    kernels: Kernels
    bank: Bank
    io: Io
    validation: Validation
    meta_optimization: MetaOptimization
    symbols: SymbolTable

    def to_mapping(self) -> dict[str, Any]:
        """Plain nested dictionaries, with every symbol's entry complete; `load` takes them back."""
        mapping: dict[str, Any] = {name: fields_of(getattr(self, name)) for name in SECTIONS}
        entries = {DEFAULT: self.symbols.default, **self.symbols.listed}
        return mapping | {"symbols": {name: fields_of(entry) for name, entry in entries.items()}}

    @cached_property
    def canonical_bytes(self) -> bytes:
        """The one byte string of this configuration: compact UTF-8 JSON with sorted keys and shortest floats."""
        text = json.dumps(self.to_mapping(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal."""
        return hashlib.sha256(self.canonical_bytes).hexdigest()


def fields_of(section: object) -> dict[str, Any]:
    return plain(vars(section))


def load(source: Path | str | Mapping[str, Any]) -> ModelConfig:
    """The configuration in a file (a Path), a TOML text (a str) or nested mappings.

    Every key must be there and nothing else may be; raises ConfigError with *all* problems.
    """
    name, mapping = parsed(source)
    problems = [
        Problem(f"[{section}]", "there", "no such section", did_you_mean(str(section), [*SECTIONS, "symbols"]))
        for section in mapping
        if section not in SECTIONS and section != "symbols"
    ]
    values: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        specs = [spec for spec in KEYS.values() if spec.section == section]
        values[section], faults = read_table(section, specs, mapping.get(section))
        problems += faults
    flat = {f"{section}.{key}": value for section, table in values.items() for key, value in table.items()}
    problems += broken_rules(flat, KEYS)
    entries, faults = read_symbols(mapping.get("symbols"), flat)
    problems += faults
    if problems:
        raise ConfigError(name, problems)
    symbols = SymbolTable(entries.pop(DEFAULT), MappingProxyType(entries))
    return ModelConfig(symbols=symbols, **{name: cls(**values[name]) for name, cls in SECTIONS.items()})


def read_symbols(symbols: Any, flat: Mapping[str, Any]) -> tuple[dict[str, SymbolOverride], list[Problem]]:
    """Complete entries by symbol, `default` among them; `flat` holds the values of the other sections by path."""
    if not isinstance(symbols, Mapping) or DEFAULT not in symbols:
        advice = "Add the table [symbols.default]."
        return {}, [Problem("[symbols]", "without [symbols.default]", "an entry for unlisted symbols", advice)]
    table = cast("Mapping[str, Any]", symbols)
    inherited = {spec.name: flat.get(spec.key.inherits) for spec in SYMBOL_KEYS if spec.key.inherits}
    first, problems = read_table(f"symbols.{DEFAULT}", SYMBOL_KEYS, table[DEFAULT], inherited)
    fallback = {spec.name: first.get(spec.name) for spec in SYMBOL_KEYS}  # None only where a problem is told already
    longest = flat.get("io.symbol_max_bytes", 4096)
    entries: dict[str, SymbolOverride] = {}
    for name, entry in table.items():
        if not name.isprintable() or not 0 < len(name.encode(errors="replace")) <= longest:
            expected = f"a printable name of at most io.symbol_max_bytes = {longest} bytes"
            problems.append(Problem(f"symbols.{name!r:.40}", "a name that no tick can have", expected, "Correct it."))
        found, faults = read_table(f"symbols.{name}", SYMBOL_KEYS, entry, fallback)
        problems += faults if name != DEFAULT else []
        complete: dict[str, Any] = {**fallback, **found}
        entries[name] = SymbolOverride(**complete)
    return entries, problems


def packaged_defaults() -> ModelConfig:
    """The configuration that ships with the package; in force before the first epoch of a partition."""
    return load(packaged_text())


def packaged_text() -> str:
    """The shipped config.toml as text, comments included."""
    return files(__package__ or "usp.config").joinpath("config.toml").read_text(encoding="utf-8")


def from_canonical_bytes(data: bytes) -> ModelConfig:
    """The configuration that has exactly these canonical bytes; ConfigError if they are not canonical."""
    try:
        config = load(json.loads(data))
    except (ValueError, RecursionError) as fault:
        if isinstance(fault, ConfigError):
            raise
        raise ConfigError("canonical bytes", [not_canonical(str(fault))]) from fault
    if config.canonical_bytes != data:
        raise ConfigError("canonical bytes", [not_canonical("another order, spacing or number format")])
    return config


def not_canonical(found: str) -> Problem:
    return Problem("bytes", found, "canonical bytes of a configuration", "Take them from ModelConfig.canonical_bytes.")


def is_structural(path: str) -> bool:
    """True if a change of `section.key` selects another compiled executable; ConfigError for an unknown key."""
    return spec_of(path).key.structural


def spec_of(path: str) -> KeySpec:
    """The declaration of `section.key`, or of `symbols.NAME.key`."""
    known = {**KEYS, **{spec.path: spec for spec in SYMBOL_KEYS}}
    parts = path.split(".")
    name = f"symbols.{parts[-1]}" if parts[0] == "symbols" else path
    if name not in known:
        raise ConfigError(
            "key name", [Problem(path, "not a key", "a key of the configuration", did_you_mean(path, known))]
        )
    return known[name]


def require_writable_format(config: ModelConfig) -> None:
    """To be called before a snapshot is written: refuses the format that is reserved and not written yet."""
    if config.io.snapshot_format != "msgpack":
        found = f"{config.io.snapshot_format!r}, which is reserved"
        problem = Problem(
            "io.snapshot_format", found, "'msgpack' to write a snapshot", 'Set snapshot_format = "msgpack".'
        )
        raise ConfigError("snapshot", [problem])
