# SPDX-License-Identifier: MIT
"""Keys that no mutation may touch and an operator may: each moves what it says it moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from predictor_lanes import CONFIG, Lanes, config_with
from usp.config.model import ModelConfig
from usp.predictor import OUTPUTS, diagnostics, params, program_for, regime, state, structure_of


def level_of(config: ModelConfig, kurtosis: float) -> float:
    """Alarm level of the CUSUM at this kurtosis."""
    p = jax.tree.map(lambda x: jnp.asarray(x)[..., None], params.column_params(config, "x"))
    cusum = jax.tree.map(lambda x: jnp.asarray(x)[..., None], regime.init_cusum(p))
    run = jnp.ones((2, 1), bool)
    return float(regime.watch_errors(cusum, jnp.zeros((2, 1)), jnp.asarray([kurtosis]), run, p)[0].adaptive_h_t[0])


def test_the_alarm_level_rises_from_the_reference_kurtosis_on() -> None:
    """h (1 + ln(max(kurtosis, r) / r)) for r = 6 and for the Gaussian's 3."""
    h = CONFIG.orchestration.cusum_h
    heavy = config_with(kernels__kurtosis_reference=6.0)
    np.testing.assert_allclose(
        [level_of(CONFIG, 6.0), level_of(heavy, 6.0), level_of(heavy, 12.0)],
        [h * (1.0 + np.log(2.0)), h, h * (1.0 + np.log(2.0))],
        rtol=1e-12,
    )


def test_before_the_data_speak_the_drift_is_the_configured_one() -> None:
    """Constant and linear part; afterwards the estimate alone."""
    config = config_with(kernels__kernel_c_mu=0.25, kernels__kernel_b_r=-0.5)
    drift, _ = diagnostics.calibrate(config, jnp.zeros((64, 1)), jnp.asarray([4]))
    assert drift.tolist() == [0.25, -0.5]
    walk = jnp.asarray(np.cumsum(np.random.default_rng(0).standard_normal(64)))[:, None]
    known, plain = (diagnostics.calibrate(c, walk, jnp.asarray([64]))[0].tolist() for c in (config, CONFIG))
    assert known == plain


@pytest.mark.parametrize(
    ("gap_s", "seen", "dense"),
    [(0.0, 0, False), (0.05, 9, True), (0.1, 9, True), (0.2, 9, False)],
)
def test_the_diagnosis_says_whether_ticks_come_often_enough_for_the_wavelets(
    gap_s: float, seen: int, dense: bool
) -> None:
    """The usual gap against `besov_nyquist_interval_ns`, 0.1 s; not before there was a gap."""
    program = program_for(structure_of(CONFIG, "x"))
    document = program.to_document(program.init_column(CONFIG, "x"))
    document["global"]["degraded.usual_gap_s"] = np.asarray(gap_s)
    document["global"]["degraded.gaps_seen"] = np.asarray(seen)
    whole = state.unpack(program.layout, jnp.asarray(program.from_document(document))[:, None])
    found = diagnostics.of_sampling(CONFIG, whole)
    assert (float(found["usual_gap_s"][0]), bool(found["sampling_is_dense"][0])) == (gap_s, dense)


def test_a_wider_tolerance_of_the_transport_takes_fewer_steps() -> None:
    """`validation_simplex_atol` ends the iterations, and no forecast depends on it."""
    lanes = Lanes(CONFIG, 2)
    loose = config_with(validation__validation_simplex_atol=0.5)
    lanes.parameters[:, 1] = lanes.program.params(loose, "S0")
    lanes.block = lanes.program.load_column(lanes.block, 1, lanes.program.init_column(loose, "S0"))
    series = 100.0 + np.cumsum(np.random.default_rng(1).standard_normal(200))
    outputs = lanes.run(np.repeat(series[:, None], 2, axis=1))
    steps = outputs[:, OUTPUTS.sinkhorn_iterations]
    assert steps[:, 1].sum() < steps[:, 0].sum()
    np.testing.assert_array_equal(outputs[:, OUTPUTS.mean, 0], outputs[:, OUTPUTS.mean, 1])
