# SPDX-License-Identifier: MIT
"""Changing values in a TOML text while every other byte stays as it was; two parsers must agree on the result."""

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ..config.errors import ConfigError
from ..config.reading import parse_toml
from .mutation_rules import ConfigMutationError, changes_of, validate_config_mutation


def document(text: str) -> dict[str, Any]:
    """What the text means to all TOML readers; ConfigMutationError if it is not TOML or they differ."""
    try:
        return copy.deepcopy(parsed(text))
    except ConfigError as fault:
        raise ConfigMutationError(str(fault)) from fault


@lru_cache(maxsize=8)
def parsed(text: str) -> dict[str, Any]:
    """One change looks at the same two texts many times, and the readers are slow."""
    return parse_toml("config.toml", text)


def changed(text: str, new_params: Mapping[str, Any]) -> tuple[str, dict[str, list[Any]]]:
    """The new text of the file after a validated change, which two parsers read as meant, and [old, new] by key."""
    current = document(text)
    merged = validate_config_mutation(current, new_params)
    delta = changes_of(current, merged, new_params)
    new_text = edited(text, {key: new for key, (_, new) in delta.items()})
    require_agreement(new_text, merged)
    return new_text, delta


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The text with `section.name` set to new values; the keys must be there."""
    try:
        tree = cast("dict[str, dict[str, Any]]", tomlkit.parse(text))
        for key, value in changes.items():
            section, _, name = key.partition(".")
            tree[section][name] = value
        return tomlkit.dumps(cast("Mapping[str, Any]", tree))
    except (TOMLKitError, KeyError, TypeError) as fault:
        raise ConfigMutationError(f"the file could not be edited: {type(fault).__name__}: {fault}") from fault


def require_agreement(text: str, merged: Mapping[str, Any]) -> None:
    """ConfigMutationError unless the independent reader finds in the edited text exactly what was meant."""
    if canonical(document(text)) != canonical(merged):
        raise ConfigMutationError("the edited file reads differently than it was meant; nothing was written")


def canonical(mapping: Mapping[str, Any]) -> str:
    """A text that is equal for equal values of equal types."""
    return json.dumps(mapping, sort_keys=True, default=str)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, list[Any]]:
    """[old, new] of every leaf that differs, by dotted path; None where a side has none."""
    found: dict[str, list[Any]] = {}
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = cast("Any", old.get(name)), cast("Any", new.get(name))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            tables = cast("tuple[Mapping[str, Any], Mapping[str, Any]]", (before, after))
            found |= differences(*tables, f"{prefix}{name}.")
        elif canonical({"": before}) != canonical({"": after}):
            found[prefix + name] = [before, after]
    return found
