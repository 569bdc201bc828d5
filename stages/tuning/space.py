# SPDX-License-Identifier: MIT
"""What the tuner may vary, and how far: the interval that the governor would accept in one step.

For each key the search interval of [meta_optimization], the mutation schema's range and the limit on the size of a
step are intersected around the present value. A key that is locked or not mutable is never searched.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ...config.model import KEYS, ModelConfig, is_structural, load
from ...config.search import PREFIX
from ...io.mutation_rules import LOCKED_SUBSECTIONS, MAX_RELATIVE_CHANGE, VALIDATION_SCHEMA, validate_config_mutation

Tier: TypeAlias = Literal["fast", "deep"]
Number: TypeAlias = int | float


@dataclass(frozen=True)
class Dimension:
    """One searched key: a closed interval, or the few values in `choices` (ascending)."""

    key: str
    current: Number
    low: Number
    high: Number
    is_whole: bool
    is_log: bool
    choices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Space:
    """The searched keys, and why each of the others of the tier is left out."""

    dimensions: tuple[Dimension, ...]
    left_out: Mapping[str, str]


def space_of(config: ModelConfig, tier: Tier, structural: bool = True) -> Space:
    """The space around this configuration. Without `structural`, only keys that need no other program."""
    found: list[Dimension] = []
    left_out: dict[str, str] = {}
    for name in names_of(config, tier):
        key = path_of(name)
        if not structural and is_structural(key):
            left_out[key] = "it selects another program"
            continue
        result = dimension(config, name, key)
        if isinstance(result, Dimension):
            found.append(result)
        else:
            left_out[key] = result
    return Space(tuple(found), left_out)


def names_of(config: ModelConfig, tier: Tier) -> Sequence[str]:
    """Names of the tier's parameters, in a fixed order."""
    searched = [key.split(".")[1].removeprefix(PREFIX) for key in KEYS if key.split(".")[1].startswith(PREFIX)]
    return searched if tier == "deep" else [name for name in searched if name in config.meta_optimization.fast_tier]


def path_of(name: str) -> str:
    """`section.name` of a searched parameter."""
    return next(path for path, spec in KEYS.items() if spec.name == name)


def dimension(config: ModelConfig, name: str, key: str) -> Dimension | str:
    """The part of the key's interval that one step may reach, or why there is none."""
    section = key.split(".")[0]
    if name in LOCKED_SUBSECTIONS.get(section, ()):
        return "it is locked"
    if key not in VALIDATION_SCHEMA:
        return "it cannot be changed at run time"
    rule = VALIDATION_SCHEMA[key]
    searched: tuple[Number, Number] = getattr(config.meta_optimization, PREFIX + name)
    low, high = max(searched[0], rule["range"][0]), min(searched[1], rule["range"][1])
    current: Number = getattr(getattr(config, section), name)
    choices = choices_of(key, current, low, high)
    if choices is None:
        reach = MAX_RELATIVE_CHANGE * abs(current)
        low, high = max(low, current - reach), min(high, current + reach)
        if rule["type"] is int:
            low, high = math.ceil(low), math.floor(high)
    elif choices:
        low, high = choices[0], choices[-1]
    if choices == () or low >= high:
        return f"no value within one step of {current} lies in [{searched[0]}, {searched[1]}]"
    is_log = name in config.meta_optimization.log_scaled and choices is None
    return Dimension(key, current, low, high, rule["type"] is int, is_log, choices or ())


def choices_of(key: str, current: Number, low: Number, high: Number) -> tuple[int, ...] | None:
    """The few values of a key that moves by levels, or that each cost a compilation; None for any other.

    A structural count has its present value and the two ends of its reach: any value would be another program.
    """
    value, constraint = int(current), VALIDATION_SCHEMA[key].get("constraint")
    if constraint == "power_of_2":
        near = (value // 2, value, value * 2)
    elif constraint == "level":
        near = (value - 1, value, value + 1)
    elif is_structural(key):
        reach = MAX_RELATIVE_CHANGE * value
        near = (max(math.ceil(low), math.ceil(value - reach)), value, min(math.floor(high), math.floor(value + reach)))
    else:
        return None
    fitting = sorted({choice for choice in near if low <= choice <= high})
    return tuple(fitting) if len(fitting) > 1 else ()


def changed(config: ModelConfig, values: Mapping[str, Number]) -> ModelConfig:
    """The configuration with these values; ConfigMutationError or ConfigError if the governor would refuse them."""
    mapping: dict[str, Any] = config.to_mapping()
    return load(validate_config_mutation(mapping, values)) if values else config


def changes_of(space: Space, values: Mapping[str, Number]) -> dict[str, Number]:
    """The values that differ from the present ones."""
    current = {dimension.key: dimension.current for dimension in space.dimensions}
    return {key: value for key, value in values.items() if value != current[key]}
