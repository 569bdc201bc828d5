# SPDX-License-Identifier: MIT
"""The slow reference of the change alarm."""

import jax
import jax.numpy as jnp
import numpy as np

from usp.predictor import reference

LANES = 64
ADVANCE = jax.jit(reference.advance)
SURPRISE = jax.jit(reference.surprise)


def run(levels: np.ndarray, alarm_at: int = -1) -> tuple[np.ndarray, np.ndarray, reference.Reference]:
    """Surprises and verdicts [steps, lanes] along levels [steps, lanes], published variance 1."""
    state = jax.tree.map(
        lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float64)[..., None], (*np.shape(x), LANES)), reference.init()
    )
    surprises, verdicts, one, yes = [], [], jnp.ones(LANES), jnp.ones(LANES, bool)
    for t in range(1, len(levels)):
        increment = jnp.asarray(levels[t] - levels[t - 1])
        surprise, trusted = SURPRISE(state, increment, one)
        state = ADVANCE(state, increment, jnp.asarray(levels[t]), yes & (t > 1), yes & (t == alarm_at))
        surprises.append(np.asarray(surprise))
        verdicts.append(np.asarray(trusted))
    return np.array(surprises), np.array(verdicts), state


def test_a_shifted_level_goes_on_to_surprise() -> None:
    """White noise shifted by one sigma after 600 steps: the mean surprise over the next 20 steps stays above 0.75."""
    noise = np.random.default_rng(1).standard_normal((620, LANES))
    noise[600:] += 1.0
    surprises, verdicts, _ = run(noise)
    assert abs(surprises[100:599].mean()) < 0.05 and verdicts[100:599].mean() > 0.9
    assert surprises[599:].mean() > 0.75


def test_a_series_that_it_does_not_describe_is_not_judged() -> None:
    """A wave whose published errors are far smaller than the reference's: never trusted."""
    wave = 30.0 * np.sin(0.3 * np.arange(300.0))[:, None] * np.ones(LANES)
    assert not run(wave)[1].any()


def test_an_alarm_starts_it_again() -> None:
    """After an alarm nothing is known and nothing is trusted for sixty steps."""
    noise = np.random.default_rng(2).standard_normal((170, LANES))
    _, verdicts, state = run(noise, alarm_at=110)
    assert verdicts[100].mean() > 0.5 and not verdicts[111:165].any()
    assert (np.asarray(state.age) == 59.0).all()
