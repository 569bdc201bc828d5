# SPDX-License-Identifier: MIT
"""`USP_<SECTION>__<KEY>`: which key a variable names, and which value its text is."""

import pytest

from usp.config import ConfigError, load, packaged_defaults
from usp.config.overrides import Override, apply_environment

DEFAULTS = packaged_defaults().to_mapping()


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("USP_CORE__PRNG_SEED", "7", "core.prng_seed", 7),
        ("USP_core__Prng_Seed", "7", "core.prng_seed", 7),
        ("USP_ORCHESTRATION__CUSUM_H", "6", "orchestration.cusum_h", 6.0),
        ("USP_ORCHESTRATION__CUSUM_H", "1e-3", "orchestration.cusum_h", 0.001),
        ("USP_ORCHESTRATION__ROBUSTNESS_FORCE_KERNEL_D", "False", "orchestration.robustness_force_kernel_d", False),
        ("USP_META__SCHEMA_VERSION", "2", "meta.schema_version", "2"),
        ("USP_META__SCHEMA_VERSION", "true", "meta.schema_version", "true"),
        ("USP_BANK__NAME", "full", "bank.name", "full"),
        ("USP_CORE__FLOAT_PRECISION", "64", "core.float_precision", 64),
        ("USP_BANK__LATTICE_ORDERS", "1,2, 5", "bank.lattice_orders", [1, 2, 5]),
        ("USP_BANK__LATTICE_ORDERS", "[1, 2, 5]", "bank.lattice_orders", [1, 2, 5]),
        ("USP_BANK__FORGETTING_ORDERS", "[[20],[1],[2],[2],[1]]", "bank.forgetting_orders", [[20], [1], [2], [2], [1]]),
        ("USP_META_OPTIMIZATION__FAST_TIER", "cusum_k,sde_dt", "meta_optimization.fast_tier", ["cusum_k", "sde_dt"]),
    ],
)
def test_a_variable_replaces_its_key(variable, text, path, value):
    """The text becomes the type that the key declares; what was replaced is reported; the result loads."""
    section, key = path.split(".")
    merged, overrides = apply_environment(DEFAULTS, {variable: text})
    assert [Override(variable, path, DEFAULTS[section][key], value)] == overrides
    assert (value, type(value)) == (merged[section][key], type(merged[section][key]))
    assert load(merged).content_hash != ""
    assert packaged_defaults().to_mapping() == DEFAULTS


def test_overrides_come_in_the_order_of_their_names():
    """The audit lists overrides the same way at every start."""
    environ = {"USP_ORCHESTRATION__CUSUM_K": "0.6", "USP_CORE__PRNG_SEED": "1", "PATH": "/bin"}
    assert [o.key for o in apply_environment(DEFAULTS, environ)[1]] == ["core.prng_seed", "orchestration.cusum_k"]


@pytest.mark.parametrize(
    "variable", ["PATH", "usp_core__prng_seed", "USP_FAILPOINT", "USP_SCHEMA_REGISTRY_URL", "USP_BUS__MAX_BATCH"]
)
def test_other_variables_are_left_alone(variable):
    """Variables without the prefix, without a section, or of deployment settings change no model key."""
    assert apply_environment(DEFAULTS, {variable: "1"}) == (DEFAULTS, [])


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("USP_CORE__PRNG_SEEDS", "1", "Did you mean 'prng_seed'?"),
        ("USP_CORES__PRNG_SEED", "1", "Did you mean 'core'?"),
        ("USP_CORE_PRNG_SEED", "1", "USP_CORE__PRNG_SEED"),
        ("USP_REDIS_URL", "redis://127.0.0.1", "USP_REDIS__URL"),
        ("USP_CORE__PRNG__SEED", "1", "exactly one"),
        ("USP_SYMBOLS__DEFAULT", "1", "config.toml alone"),
        ("USP_CORE__PRNG_SEED", "seven", "whole number"),
        ("USP_CORE__PRNG_SEED", "7.0", "whole number"),
        ("USP_CORE__PRNG_SEED", "true", "whole number"),
        ("USP_CORE__PRNG_SEED", "-1", "[0, inf)"),
        ("USP_CORE__PRNG_SEED", "", "whole number"),
        ("USP_ORCHESTRATION__CUSUM_H", "nan", "(0, inf)"),
        ("USP_ORCHESTRATION__ROBUSTNESS_FORCE_KERNEL_D", "1", "true or false"),
        ("USP_BANK__LATTICE_ORDERS", "[1, 2", "whole number"),
        ("USP_BANK__LATTICE_ORDERS", "[" * 100_000, "whole number"),
    ],
)
def test_a_bad_variable_is_told_by_its_name(variable, text, told):
    """Unknown names suggest the nearest, values of another type or range say what was expected."""
    with pytest.raises(ConfigError) as caught:
        apply_environment(DEFAULTS, {variable: text})
    (problem,) = caught.value.problems
    assert variable == problem.where
    assert told in str(problem)


def test_two_variables_of_one_key_are_refused():
    """Neither of them wins silently."""
    with pytest.raises(ConfigError, match="the same key as USP_CORE__PRNG_SEED"):
        apply_environment(DEFAULTS, {"USP_CORE__PRNG_SEED": "1", "USP_core__prng_seed": "2"})


def test_a_section_that_is_no_table_is_left_for_load():
    """A broken file is told as such, not hidden by an override."""
    merged, _ = apply_environment({**DEFAULTS, "core": 3}, {"USP_CORE__PRNG_SEED": "1"})
    with pytest.raises(ConfigError, match=r"\[core\]"):
        load(merged)
