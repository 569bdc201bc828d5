# SPDX-License-Identifier: MIT
"""No key that may be mutated is a dummy: from one end of its range to the other some output moves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from predictor_lanes import CONFIG, Lanes, config_with
from usp.io.mutation_rules import VALIDATION_SCHEMA
from usp.predictor import diagnostics, params, program_for, regime, structure_of

STEPS = 700
# A floor and a cap that no allowed configuration reaches: the strength is never below sinkhorn_epsilon_0, which is at
# least sinkhorn_epsilon_min, and fewer than 50 Newton steps are always enough. Tests of the functions show them bind.
NEVER_BINDING = {"orchestration.sinkhorn_max_iter", "orchestration.sinkhorn_epsilon_min"}
BY_ITS_RULE = {"orchestration.entropy_threshold"}
OF_THE_DIAGNOSIS = {
    "kernels.besov_cone_c",
    "kernels.dgm_depth",
    "kernels.dgm_entropy_num_bins",
    "kernels.dgm_width_size",
    "kernels.sde_diffusion_sigma",
    "kernels.sde_dt",
    "kernels.sde_numel_integrations",
    "kernels.stiffness_high",
    "kernels.stiffness_low",
    "kernels.wtmm_buffer_size",
}
STRUCTURAL = {"kernels.log_sig_depth"}
NUMERIC = sorted(set(VALIDATION_SCHEMA) - OF_THE_DIAGNOSIS - STRUCTURAL - NEVER_BINDING - BY_ITS_RULE)


def ends(key: str) -> list[Any]:
    """Configurations with `key` at both ends of its range; what must move with it does."""
    path, found = key.replace(".", "__"), []
    for end in VALIDATION_SCHEMA[key]["range"]:
        change: dict[str, Any] = {path: VALIDATION_SCHEMA[key]["type"](end)}
        if key == "orchestration.sinkhorn_epsilon_min":
            change["orchestration__sinkhorn_epsilon_0"] = 0.1
        if key == "orchestration.sinkhorn_epsilon_0":
            change["orchestration__sinkhorn_epsilon_min"] = 0.05
        found.append(config_with(**change))
    return found


def eventful() -> np.ndarray:
    """A series with everything in it: a smooth path, then rough, a level shift, and a calm tenth of the volatility."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(STEPS)
    smooth = np.cumsum(np.cumsum(noise[:250] * 0.05) * 0.1)
    rough = smooth[-1] + 2.0 * noise[250:400]
    shifted = rough[-1] + 8.0 + np.cumsum(noise[400:550])
    calm = shifted[-1] + 0.002 * noise[550:]
    return np.concatenate([smooth, rough, shifted, calm])


def outputs_of(configs: list[Any]) -> np.ndarray:
    """Outputs [steps, n_outputs, configs] of one symbol on one series, each configuration in a lane of its own."""
    lanes = Lanes(CONFIG)
    program, series, rows = lanes.program, eventful(), []
    for lane in range(program.lane_width):
        config = configs[lane % len(configs)]
        lanes.parameters[:, lane] = program.params(config, "x")
        lanes.block = program.load_column(lanes.block, lane, program.init_column(config, "x"))
    for price in series:
        rows.append(lanes.feed(price))
    return np.stack(rows)[:, :, : len(configs)]


@pytest.fixture(scope="module")
def moved() -> dict[str, bool]:
    """Whether the two ends of each numeric key gave different outputs anywhere."""
    found: dict[str, bool] = {}
    for first in range(0, len(NUMERIC), 8):
        keys = NUMERIC[first : first + 8]
        outputs = outputs_of([config for key in keys for config in ends(key)])
        for place, key in enumerate(keys):
            low, high = outputs[..., 2 * place], outputs[..., 2 * place + 1]
            found[key] = not np.array_equal(low, high, equal_nan=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("key", NUMERIC)
def test_a_numeric_key_moves_an_output(key: str, moved: dict[str, bool]) -> None:
    """Some published number of some step differs between the ends of the range."""
    assert moved[key]


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(STRUCTURAL))
def test_a_structural_key_moves_the_forecast(key: str) -> None:
    """Two executables forecast differently."""
    low, high = ends(key)
    forecasts = []
    for config in (low, high):
        lanes = Lanes(config)
        forecasts.append(lanes.run(np.repeat(eventful()[:120, None], lanes.count, axis=1))[-1, 0])
    assert not np.array_equal(*forecasts)


def state_of(config: Any) -> np.ndarray:
    """A state column whose history is a random walk and whose kernel C has a pulling drift."""
    program = program_for(structure_of(config, "x"))
    document = program.to_document(program.init_column(config, "x"))
    history = document["global"]["scaling.history"]
    walk = np.cumsum(np.random.default_rng(0).standard_normal(4_096))
    history[:] = walk[-len(history) :] - walk[-1] + 1.0
    document["global"]["scaling.level_count"] = np.asarray(5_000, document["global"]["scaling.level_count"].dtype)
    document["global"]["scaling.scale"] = np.asarray(1.0)
    document["C"]["drift.weights"][:] = [0.1, -30.0, 0.2, -2.0]
    return program.from_document(document)


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(OF_THE_DIAGNOSIS))
def test_a_key_of_the_mathematics_moves_the_diagnosis(key: str) -> None:
    """Spectrum, solver path, value function or entropy of the same state differ between the ends of the range."""
    found = []
    for config in ends(key):
        program = program_for(structure_of(config, "x"))
        found.append(diagnostics.diagnose(program, config, "x", state_of(config)))
    assert found[0] != found[1]


def test_the_entropy_threshold_decides_on_a_collapse() -> None:
    """At a volatility between the two limits an entropy of 0.7 is low for a threshold of 0.95 and not for 0.5."""
    warned = []
    for config in ends("orchestration.entropy_threshold"):
        p = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64)[..., None], params.column_params(config, "x"))
        collapse, one = regime.Collapse(jnp.array([0.0]), jnp.array([0.0])), jnp.ones(1)
        warning = one
        for _ in range(20):
            collapse, _, warning = regime.watch_entropy(collapse, 0.7 * one, 0.1 * one, 100.0 * one, one < 0.0, p)
        warned.append(bool(warning[0]))
    assert warned == [False, True]


def test_every_key_of_the_schema_is_accounted_for() -> None:
    """A new mutable key must be shown to have an effect."""
    assert set(NUMERIC) | OF_THE_DIAGNOSIS | STRUCTURAL | NEVER_BINDING | BY_ITS_RULE == set(VALIDATION_SCHEMA)
