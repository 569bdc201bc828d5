# SPDX-License-Identifier: MIT
"""What may be changed in the model configuration while the pipeline runs: locks, whitelist, ranges, size of a step.

The locks live in code, out of reach of what they protect. Everything here is a pure function of mappings.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any, NotRequired, TypedDict, cast

from ..config.errors import did_you_mean, shown
from ..config.keys import BadValueError, checked
from ..config.model import KEYS
from ..config.rules import broken_rules

MAX_RELATIVE_CHANGE = 0.5
ROUNDING = 1e-9
ZERO = 1e-12


class ConfigMutationError(Exception):
    """A change of the configuration was refused or could not be made; the file is as it was."""


class Rule(TypedDict):
    """What a mutable parameter may be: its type, closed range, and perhaps "power_of_2" or "level"."""

    type: type[int] | type[float]
    range: tuple[float, float]
    constraint: NotRequired[str]


LOCKED_SUBSECTIONS: dict[str, list[str]] = {
    "meta": ["schema_version"],
    "core": ["jax_platforms", "jax_default_dtype", "float_precision", "staleness_ttl_ns"],
    "io": [
        "snapshot_format",
        "snapshot_hash_algorithm",
        "snapshot_compression",
        "telemetry_hash_interval_steps",
        "telemetry_hash_algorithm",
        "telemetry_buffer_capacity",
    ],
    "meta_optimization": ["n_trials", "n_startup_trials", "multivariate", "train_ratio", "n_folds"],
}

VALIDATION_SCHEMA: dict[str, Rule] = {
    "orchestration.cusum_k": {"type": float, "range": (0.1, 1.0)},
    "orchestration.cusum_h": {"type": float, "range": (2.0, 10.0)},
    "orchestration.grace_period_steps": {"type": int, "range": (5, 100)},
    "orchestration.volatility_alpha": {"type": float, "range": (0.05, 0.3)},
    "orchestration.learning_rate": {"type": float, "range": (1e-5, 1e-1)},
    "orchestration.entropy_window": {"type": int, "range": (10, 500)},
    "orchestration.entropy_threshold": {"type": float, "range": (0.5, 0.95)},
    "orchestration.holder_threshold": {"type": float, "range": (0.2, 0.65)},
    "orchestration.sinkhorn_alpha": {"type": float, "range": (0.1, 1.0)},
    "orchestration.sinkhorn_epsilon_min": {"type": float, "range": (0.001, 0.1)},
    "orchestration.sinkhorn_epsilon_0": {"type": float, "range": (0.05, 0.5)},
    "orchestration.sinkhorn_max_iter": {"type": int, "range": (50, 500)},
    "kernels.log_sig_depth": {"type": int, "range": (2, 5), "constraint": "level"},
    "kernels.wtmm_buffer_size": {"type": int, "range": (64, 512), "constraint": "power_of_2"},
    "kernels.besov_cone_c": {"type": float, "range": (1.0, 3.0)},
    "kernels.dgm_width_size": {"type": int, "range": (32, 256), "constraint": "power_of_2"},
    "kernels.dgm_depth": {"type": int, "range": (2, 6), "constraint": "level"},
    "kernels.dgm_entropy_num_bins": {"type": int, "range": (20, 100)},
    "kernels.stiffness_low": {"type": float, "range": (50.0, 500.0)},
    "kernels.stiffness_high": {"type": float, "range": (500.0, 5000.0)},
    "kernels.sde_dt": {"type": float, "range": (0.001, 0.1)},
    "kernels.sde_numel_integrations": {"type": int, "range": (50, 200)},
    "kernels.sde_diffusion_sigma": {"type": float, "range": (0.05, 0.5)},
    "kernels.kernel_ridge_lambda": {"type": float, "range": (1e-8, 1e-3)},
}


def validate_config_mutation(current_config: Mapping[str, Any], new_params: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of the configuration with the new values in it; neither argument is touched.

    Keys are `section.name`. ConfigMutationError names every fault: locked, not mutable, type, range, constraint, or
    one of the loader's own rules between keys.
    """
    if not new_params:
        raise ConfigMutationError("found no change; expected at least one SECTION.KEY with its new value")
    merged = copy.deepcopy(dict(current_config))
    problems: list[str] = []
    for key, value in new_params.items():
        problem = refusal(key, value)
        if problem is None:
            problem = put(merged, key, converted(key, value))
        problems += [problem] if problem else []
    problems = problems or [*broken_by(merged, new_params)]
    if problems:
        raise ConfigMutationError("; ".join(problems))
    return merged


def refusal(key: str, value: object) -> str | None:
    """Why this parameter may not get this value, None if it may."""
    section, _, name = str(key).partition(".")
    if name in LOCKED_SUBSECTIONS.get(section, ()):
        return f"Parameter '{key}' is LOCKED (immutable); change it with the pipeline stopped"
    if key not in VALIDATION_SCHEMA:
        return f"Parameter {shown(key)} is not mutable at run time. {advice(str(key))}"
    rule = VALIDATION_SCHEMA[key]
    expected = described(rule)
    if not has_type(value, rule["type"]):
        return f"Type mismatch: {key} was {shown(value)}, expected {expected}"
    number = float(cast(float, value))
    low, high = rule["range"]
    if not math.isfinite(number) or not low <= number <= high:
        return f"Out of safe range: {key} was {shown(value)}, expected {expected}"
    if rule.get("constraint") == "power_of_2" and int(number).bit_count() != 1:
        return f"Constraint: {key} was {shown(value)}, expected {expected}"
    return None


def advice(key: str) -> str:
    """What somebody who named this key can do."""
    return "Change it with the pipeline stopped." if key in KEYS else did_you_mean(key, VALIDATION_SCHEMA)


def described(rule: Rule) -> str:
    """Type and range in words."""
    low, high = rule["range"]
    kind = "a whole number" if rule["type"] is int else "a number"
    return f"{kind} in [{low}, {high}]" + (", a power of two" if rule.get("constraint") == "power_of_2" else "")


def has_type(value: object, kind: type) -> bool:
    """A whole number is taken where a number is expected; true and false are never numbers."""
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return False
    return isinstance(value, Integral if kind is int else Real)


def converted(key: str, value: Any) -> int | float:
    """The value as the plain type that the schema names, so that it is written as that type."""
    return int(value) if VALIDATION_SCHEMA[key]["type"] is int else float(value)


def put(mapping: dict[str, Any], key: str, value: int | float) -> str | None:
    """Set `section.name`; a message if the configuration has no such key."""
    section, _, name = key.partition(".")
    table = mapping.get(section)
    if not isinstance(table, dict) or name not in table:
        return f"{key}: the current configuration has no such key, expected one that it has"
    table[name] = value
    return None


def value_at(mapping: Mapping[str, Any], key: str) -> Any:
    """The value of `section.name`, None if there is none."""
    section, _, name = key.partition(".")
    table = mapping.get(section)
    return cast("Mapping[str, Any]", table).get(name) if isinstance(table, Mapping) else None


def broken_by(merged: Mapping[str, Any], changed: Mapping[str, Any]) -> Iterator[str]:
    """What the loader itself would refuse among the keys that are there: ranges of the changed ones, and rules."""
    values: dict[str, Any] = {}
    for path, spec in KEYS.items():
        found = value_at(merged, path)
        if found is None:
            continue
        try:
            values[path] = checked(spec, found)
        except BadValueError:
            if path in changed:
                yield f"{path} was {shown(found)}, expected {spec.expected} (the loader's rule)"
    yield from (str(problem) for problem in broken_rules(values, KEYS))


def changes_of(current: Mapping[str, Any], merged: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, list[Any]]:
    """[old, new] for each key, for the audit."""
    return {key: [value_at(current, key), value_at(merged, key)] for key in keys}


def validate_delta(
    delta: Mapping[str, tuple[Any, Any] | list[Any]], max_relative_change: float = MAX_RELATIVE_CHANGE
) -> tuple[bool, str]:
    """Whether each (old, new) is a small enough step, and if not, which is not.

    Numbers and counts: |new - old| <= `max_relative_change` |old|; from zero, |new| <= 1. A power of two may double
    or halve once; a depth may move by one. NaN and infinity never pass.
    """
    for key, (old, new) in delta.items():
        problem = too_large(key, old, new, max_relative_change)
        if problem:
            return False, problem
    return True, "OK"


def too_large(key: str, old: Any, new: Any, limit: float) -> str | None:
    """Why this step is too large, None if it is not."""
    constraint = VALIDATION_SCHEMA[key].get("constraint") if key in VALIDATION_SCHEMA else None
    if not (has_type(old, float) and has_type(new, float)) or not (math.isfinite(old) and math.isfinite(new)):
        return f"{key} change not measurable: from {shown(old)} to {shown(new)}, expected finite numbers"
    if constraint == "power_of_2":
        fits = new in (old, 2 * old, old / 2)
        return None if fits else f"{key} change too large: {old} to {new}, expected one doubling or halving"
    if constraint == "level":
        return None if abs(new - old) <= 1 else f"{key} change too large: {old} to {new}, expected one level"
    if abs(old) < ZERO:
        return None if abs(new) <= 1 else f"{key} change too large: from 0 to {new}, expected at most 1 in size"
    change = abs((new - old) / old)
    fits = change <= limit + ROUNDING
    return None if fits else f"{key} change too large: {change:.1%} > {limit:.0%} ({old} to {new})"
