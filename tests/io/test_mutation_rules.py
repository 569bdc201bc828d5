# SPDX-License-Identifier: MIT
"""Promises of the rules on run-time changes: locks, whitelist, types, ranges, constraints, size of a step."""

import copy
import math

import numpy as np
import pytest

from usp.config.model import KEYS, load, packaged_defaults
from usp.io.mutation_rules import (
    LOCKED_SUBSECTIONS,
    VALIDATION_SCHEMA,
    ConfigMutationError,
    validate_config_mutation,
    validate_delta,
)

CURRENT = packaged_defaults().to_mapping()

REFUSED = [
    ({}, "no change"),
    ({"meta.schema_version": "2.0"}, "LOCKED"),
    ({"core.float_precision": 32}, "LOCKED"),
    ({"io.telemetry_buffer_capacity": 2048}, "LOCKED"),
    ({"meta_optimization.n_trials": 51}, "LOCKED"),
    ({"orchestration.residual_window_size": 100}, "not mutable"),
    ({"orchestration.cusum_q": 0.5}, "orchestration.cusum_k"),
    ({"nonsense": 1}, "not mutable"),
    ({"symbols.default.kind": "any"}, "not mutable"),
    ({"orchestration.cusum_k": "0.5"}, "Type mismatch"),
    ({"orchestration.cusum_k": None}, "Type mismatch"),
    ({"orchestration.cusum_h": True}, "Type mismatch"),
    ({"orchestration.grace_period_steps": True}, "Type mismatch"),
    ({"orchestration.grace_period_steps": np.True_}, "Type mismatch"),
    ({"orchestration.grace_period_steps": 20.0}, "Type mismatch"),
    ({"orchestration.grace_period_steps": [20]}, "Type mismatch"),
    ({"orchestration.cusum_k": math.nan}, "Out of safe range"),
    ({"orchestration.cusum_k": math.inf}, "Out of safe range"),
    ({"orchestration.cusum_k": 0.0999}, "Out of safe range"),
    ({"orchestration.cusum_k": 1.0001}, "Out of safe range"),
    ({"orchestration.grace_period_steps": 101}, "Out of safe range"),
    ({"kernels.dgm_width_size": 96}, "power of two"),
    ({"orchestration.sinkhorn_epsilon_min": 0.1, "orchestration.sinkhorn_epsilon_0": 0.05}, "sinkhorn_epsilon_0"),
    ({"kernels.stiffness_low": 500.0, "kernels.stiffness_high": 500.0}, "stiffness_high"),
]


@pytest.mark.parametrize(("change", "word"), REFUSED, ids=[str(c) for c, _ in REFUSED])
def test_a_forbidden_change_is_refused_with_its_reason(change, word):
    """Every kind of forbidden change is refused, and the message says which rule it broke."""
    with pytest.raises(ConfigMutationError, match=word):
        validate_config_mutation(CURRENT, change)


def test_all_faults_are_named_at_once():
    """Somebody with three faults need not try three times."""
    with pytest.raises(ConfigMutationError) as caught:
        validate_config_mutation(CURRENT, {"core.float_precision": 1, "a.b": 2, "orchestration.cusum_k": 9})
    assert all(word in str(caught.value) for word in ("LOCKED", "a.b", "cusum_k"))


@pytest.mark.parametrize("key", [f"{s}.{name}" for s, names in LOCKED_SUBSECTIONS.items() for name in names])
def test_every_locked_key_is_refused_and_exists(key):
    """The lock list names real keys, and none can be changed, not even to its own value."""
    section, name = key.split(".")
    with pytest.raises(ConfigMutationError, match="LOCKED"):
        validate_config_mutation(CURRENT, {key: CURRENT[section][name]})


@pytest.mark.parametrize("key", VALIDATION_SCHEMA)
def test_both_ends_of_every_range_are_judged_by_the_loader_too(key):
    """What the whitelist lets through is a configuration that loads; nothing else comes out."""
    assert key in KEYS
    for end in VALIDATION_SCHEMA[key]["range"]:
        value = VALIDATION_SCHEMA[key]["type"](end)
        try:
            merged = validate_config_mutation(CURRENT, {key: value})
        except ConfigMutationError:
            continue
        section, name = key.split(".")
        assert getattr(getattr(load(merged), section), name) == value


def test_the_arguments_are_left_alone_and_the_old_values_survive():
    """The merge is a deep copy: an audit taken afterwards still sees the old values."""
    before = copy.deepcopy(CURRENT)
    merged = validate_config_mutation(CURRENT, {"orchestration.cusum_k": 0.6})
    assert before == CURRENT
    assert merged["orchestration"]["cusum_k"] == 0.6
    assert CURRENT["orchestration"]["cusum_k"] == 0.5


@pytest.mark.parametrize(("value", "written"), [(1, "1.0"), (np.float64(0.25), "0.25"), (np.float32(0.5), "0.5")])
def test_a_number_is_kept_as_the_type_of_its_key(value, written):
    """A whole number for a float key, or a number of another library, becomes a plain float."""
    merged = validate_config_mutation(CURRENT, {"orchestration.cusum_k": value})
    assert repr(merged["orchestration"]["cusum_k"]) == written


def test_a_key_that_the_file_does_not_have_is_refused():
    """A partial configuration is not completed silently."""
    with pytest.raises(ConfigMutationError, match="no such key"):
        validate_config_mutation({"orchestration": {}}, {"orchestration.cusum_k": 0.6})


DELTAS = [
    ("orchestration.cusum_k", 0.5, 0.75, True),
    ("orchestration.cusum_k", 0.5, 0.25, True),
    ("orchestration.cusum_k", 0.5, 0.7501, False),
    ("orchestration.learning_rate", 0.01, 0.015, True),
    ("orchestration.cusum_k", 0.5, math.nan, False),
    ("orchestration.cusum_k", math.nan, 0.5, False),
    ("orchestration.cusum_k", 0.5, math.inf, False),
    ("orchestration.grace_period_steps", 20, 30, True),
    ("orchestration.grace_period_steps", 20, 31, False),
    ("kernels.dgm_width_size", 64, 128, True),
    ("kernels.dgm_width_size", 64, 32, True),
    ("kernels.dgm_width_size", 64, 256, False),
    ("kernels.dgm_width_size", 128, 32, False),
    ("kernels.log_sig_depth", 2, 3, True),
    ("kernels.log_sig_depth", 3, 2, True),
    ("kernels.dgm_depth", 4, 6, False),
    ("somewhere.else", 0.0, 1.0, True),
    ("somewhere.else", 0.0, 1.1, False),
    ("somewhere.else", -2.0, -1.0, True),
    ("somewhere.else", "a", 1.0, False),
    ("somewhere.else", True, 1, False),
]


@pytest.mark.parametrize(("key", "old", "new", "allowed"), DELTAS)
def test_a_step_is_at_most_half_or_one_level(key, old, new, allowed):
    """50 % for numbers and counts, one level for depths, one doubling or halving for powers of two, never NaN."""
    found, reason = validate_delta({key: (old, new)})
    assert found is allowed
    assert (reason == "OK") is allowed
    assert allowed or key in reason
