# SPDX-License-Identifier: MIT
"""One tick of the predictor, for all lanes at once: the whole algorithm, read top to bottom.

Everything is elementwise in the lane or a sum over a leading axis, so a lane's bits depend on nothing but its own
state, parameters and input, at one fixed lane width. Spec: PREDICTOR 5.7 as repaired.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import aggregation, fusion, identification, intervals, params, reference, regime, rng, scaling, state, weighing
from .kernels import dgm, levy_sde, rkhs, signature
from .kernels.contract import Context, Forecast, Health, reach_of
from .params import Params
from .records import KERNELS, NS_PER_S, OUTPUTS, Inputs
from .scaling import PRICE_LIMIT, SMALLEST_SCALE
from .state import Global, Layout, State
from .structure import Structure

WARM_ERRORS = 20
SMALLEST_RELATIVE_ERROR = 1e-3
KERNEL_D = KERNELS.index("D")
NOISE_ROLE = "C"


class Tick(NamedTuple):
    """The inputs of all lanes, [L] each."""

    active: jax.Array
    accept: jax.Array
    suspend: jax.Array
    degraded: jax.Array
    freeze_d: jax.Array
    price: jax.Array
    time_s: jax.Array
    time_remainder_ns: jax.Array
    level_shift: jax.Array


def step(
    structure: Structure, layout: Layout, block: jax.Array, parameters: jax.Array, inputs: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Advance a block [state_size, L] by one tick per lane: new states [L, state_size], who takes them, outputs.

    A lane that is not active, or whose tick is refused, does not advance: its state is to stay as it is. Outputs are
    [n_outputs, L].
    """
    p = params.unpack(structure, parameters)
    tick = read(inputs)
    whole = state.unpack(layout, block)
    old = whole.shared
    known = old.state_step > 0.5
    advance = tick.active & tick.accept
    some = jnp.any(tick.active)

    # Clock: a gap or the verdict of ingest degrades at once; weights and volatility then stay as they are.
    degraded = regime.watch_clock(old.degraded, gap_s(tick, old), known, tick.degraded | tick.suspend, p)
    calm = ~degraded.active

    # The error is taken against the forecast that was stored before this tick was seen; a jump of the level is told
    # as an error but teaches nothing.
    error = jnp.where(known, jnp.clip(tick.price - old.last_prediction, -PRICE_LIMIT, PRICE_LIMIT), 0.0)
    levels, now = scaling.advance(old.scaling, tick.price, old.last_price, known, tick.level_shift, p)
    judged = known & ~now.jump
    residuals = jnp.where(judged, push(old.residual_window, error), old.residual_window)
    residual_count = old.residual_count + jnp.where(judged, 1.0, 0.0)

    # Identification.
    path = levels.history[-structure.wavelet_window :]
    holder, uncertainty = identification.holder_exponent(
        path, levels.level_count, p.validation_holder_exponent_min, p.validation_holder_exponent_max
    )
    kurtosis = identification.kurtosis(
        residuals,
        jnp.minimum(residual_count, structure.residual_window),
        p.numerical_epsilon,
        p.kurtosis_min,
        p.kurtosis_max,
    )
    volatile = identification.ewma_variance(old.ema_variance, error, p.volatility_alpha)
    variance = jnp.where(judged & calm, volatile, old.ema_variance)
    relative_variance = fusion.relative_variance(variance, levels.scale)

    # Control: change alarm on standardised errors, circuit breaker on roughness.
    published = residual_variance(structure, old)
    z = error / reference_sigma(old, published)
    unit = jnp.where(levels.scale > 0.0, levels.scale, 1.0)
    surprise, trusted = reference.surprise(old.reference, now.increment, published / unit / unit)
    watched = calm & ~now.jump & (old.residual_count >= WARM_ERRORS)
    cusum, alarm = regime.watch_errors(
        old.cusum, jnp.stack([z, surprise]), kurtosis, jnp.stack([watched, watched & trusted & now.learn]), p
    )
    slow = reference.advance(old.reference, now.increment, now.level / levels.deviation, now.learn, alarm)
    breaker = regime.watch_roughness(
        old.breaker, holder, uncertainty, levels.level_count >= structure.wavelet_window, p
    )

    levels, now, holder, cusum, alarm, breaker, degraded, error, residuals, residual_count, kurtosis, variance = settle(
        some,
        (levels, now, holder, cusum, alarm, breaker, degraded, error, residuals, residual_count, kurtosis, variance),
    )
    calm = ~degraded.active
    relative_variance = fusion.relative_variance(variance, levels.scale)

    # Kernels learn the newest increment and forecast the next.
    rng_key, subkeys = rng.advance(old.rng_key, structure.split_count)
    noise = rng.normal(subkeys, NOISE_ROLE)
    context = Context(
        now.increment,
        now.level,
        levels.history,
        levels.deviation,
        levels.level_count,
        now.learn & advance,
        tick.freeze_d,
        holder,
        noise,
        alarm,
        reach_of(levels.history),
    )
    a, forecast_a = run(rkhs, structure, p, whole.a, context)
    b, forecast_b = run(dgm, structure, p, whole.b, context)
    c, forecast_c = run(levy_sde, structure, p, whole.c, context)
    d, forecast_d = run(signature, structure, p, whole.d, context)
    means, moves, health = collect((forecast_a, forecast_b, forecast_c, forecast_d), old, levels, tick)

    # Weights: score the stored forecasts, mix the new ones, then what events override.
    record = settle(some, weighing.restart(aggregation.learn(old.mixture, now.increment, now.learn, p), alarm))
    events = weighing.control(calm, alarm, cusum, breaker, tick.freeze_d, p)
    weighed = settle(some, weighing.weigh(record, moves, means, old.rho, relative_variance, events, p))
    record = aggregation.remember(record, moves, weighed.mixture)

    # Mixture and interval.
    mean = jnp.clip(tick.price + jnp.sum(weighed.rho * (means - tick.price), axis=0), -PRICE_LIMIT, PRICE_LIMIT)
    power = kernel_power(old, tick, judged, p)
    sigmas = jnp.sqrt(power)
    sigma = jnp.sqrt(fusion.mixture_variance(weighed.rho, means, sigmas, mean))
    oldest = jnp.where(
        old.residual_count >= structure.interval_window,
        jnp.abs(old.residual_window[structure.residual_window - structure.interval_window]),
        intervals.UNFILLED,
    )
    interval = intervals.learn(old.interval, tick.price, error, tick.price - old.last_price, oldest, judged, p)
    interval, bounds = intervals.predict(interval, mean, tick.price, sigma, residual_count, p)

    # Diagnostics.
    entropy = dgm.entropy(structure, p, b, context)
    collapse, entropy_ratio, collapsed = regime.watch_entropy(
        old.collapse, entropy, jnp.sqrt(relative_variance), weighed.entropy_window, alarm, p
    )
    stiffness_low, stiffness_high = levy_sde.thresholds(p, holder)
    transport = weighed.transport
    outputs = pack_outputs(
        {
            "mean": mean,
            "median": bounds.median,
            "lo": bounds.lo,
            "hi": bounds.hi,
            "sigma": sigma,
            "last_prediction_error": error,
            "kernel_mean": means,
            "kernel_sigma": sigmas,
            "kernel_health": health,
            "rho": weighed.rho,
            "free_energy": jnp.where(calm, transport.free_energy, 0.0),
            "ot_cost": jnp.where(calm, transport.cost, 0.0),
            "sinkhorn_converged": transport.converged & calm,
            "sinkhorn_epsilon": weighed.epsilon,
            "sinkhorn_iterations": transport.iterations,
            "sinkhorn_max_err": jnp.where(calm & jnp.isfinite(transport.max_err), transport.max_err, 0.0),
            "fisher_rao_distance": weighed.fisher_rao,
            "kurtosis": kurtosis,
            "holder_exponent": holder,
            "holder_uncertainty": uncertainty,
            "dgm_entropy": entropy,
            "entropy_ratio": entropy_ratio,
            "cusum_g_plus": jnp.max(cusum.g_plus, axis=0),
            "cusum_g_minus": jnp.max(cusum.g_minus, axis=0),
            "adaptive_threshold": cusum.adaptive_h_t,
            "distance_to_collapse": cusum.adaptive_h_t - jnp.max(jnp.maximum(cusum.g_plus, cusum.g_minus), axis=0),
            "ema_variance": variance,
            "entropy_window": weighed.entropy_window,
            "learning_rate": weighed.learning_rate,
            "stiffness_low": stiffness_low,
            "stiffness_high": stiffness_high,
            "max_stiffness_metric": c.solver.stiffness_max,
            "num_internal_iterations_mean": c.solver.iterations_mean,
            "implicit_residual_norm_max": c.solver.residual_max,
            "scheme_frequency_explicit": c.solver.explicit_share,
            "scheme_frequency_implicit": 1.0 - c.solver.explicit_share,
            "degraded_mode": degraded.active,
            "emergency_mode": breaker.active,
            "breaker_active": breaker.active,
            "regime_changed": alarm,
            "mode_collapse_warning": collapsed,
            "kernel_d_frozen": tick.freeze_d,
            "coverage": interval.coverage,
            "state_step": old.state_step + 1.0,
            "operating_mode": jnp.where(breaker.active, 2.0, jnp.where(degraded.active, 1.0, 0.0)),
        }
    )
    shared = Global(
        rng_key=rng_key,
        state_step=old.state_step + 1.0,
        last_price=tick.price,
        last_time_s=tick.time_s,
        last_time_remainder_ns=tick.time_remainder_ns,
        last_prediction=mean,
        scaling=levels,
        residual_window=residuals,
        residual_count=residual_count,
        rho=weighed.rho,
        mixture=record,
        kernel_means=means,
        kernel_power=power,
        cusum=cusum,
        reference=slow,
        breaker=breaker,
        degraded=degraded,
        collapse=collapse,
        ema_variance=variance,
        interval=interval,
        outputs=outputs,
    )

    whole = State(settle(some, shared), a, b, c, d)
    return state.pack(whole), advance, publish(outputs, old, known, advance)


def read(inputs: jax.Array) -> Tick:
    """Input rows as named values. A price that is not finite is never accepted; huge ones are clipped."""
    price = inputs[Inputs.PRICE]
    finite = jnp.isfinite(price)
    return Tick(
        active=inputs[Inputs.ACTIVE] > 0.5,
        accept=(inputs[Inputs.ACCEPT] > 0.5) & finite,
        suspend=inputs[Inputs.SUSPEND_JKO_UPDATE] > 0.5,
        degraded=inputs[Inputs.DEGRADED] > 0.5,
        freeze_d=inputs[Inputs.FREEZE_KERNEL_D] > 0.5,
        price=jnp.clip(jnp.where(finite, price, 0.0), -PRICE_LIMIT, PRICE_LIMIT),
        time_s=inputs[Inputs.TIME_S],
        time_remainder_ns=inputs[Inputs.TIME_REMAINDER_NS],
        level_shift=inputs[Inputs.LEVEL_SHIFT] > 0.5,
    )


def gap_s(tick: Tick, old: Global) -> jax.Array:
    """Seconds of event time since the last accepted tick."""
    return (tick.time_s - old.last_time_s) + (tick.time_remainder_ns - old.last_time_remainder_ns) / NS_PER_S


def residual_variance(structure: Structure, old: Global) -> jax.Array:
    """Mean square [L] of the errors in the window, before the newest."""
    count = jnp.clip(old.residual_count, 1.0, structure.residual_window)
    return jnp.sum(jnp.square(old.residual_window), axis=0) / count


def reference_sigma(old: Global, window: jax.Array) -> jax.Array:
    """Standard deviation [L] that standardises the newest error, known before it.

    The larger of the fast and the window estimate, so that a lucky calm raises no alarm; and errors below a
    thousandth of the usual increment are rounding, not a change of regime.
    """
    floor = jnp.maximum(SMALLEST_RELATIVE_ERROR * old.scaling.scale, SMALLEST_SCALE)
    return jnp.maximum(jnp.sqrt(jnp.maximum(old.ema_variance, window)), floor)


def push(window: jax.Array, value: jax.Array) -> jax.Array:
    """Window [N, L] with `value` [L] as the newest row and the oldest dropped."""
    return jnp.concatenate([window[1:], value[None]])


def run(kernel: ModuleType, structure: Structure, p: Params, old: Any, context: Context) -> tuple[Any, Forecast]:
    """Learn, then forecast."""
    learned = kernel.update(structure, p, old, context)
    return kernel.predict(structure, p, learned, context)


def settle(some: jax.Array, tree: Any) -> Any:
    """Compute these values here, once: without it the compiler repeats their arithmetic in every use.

    A branch is the cheapest border that fusion does not cross; `some` is whether any lane is active.
    """
    return jax.lax.cond(some, lambda values: values, lambda values: jax.tree.map(jnp.zeros_like, values), tree)


def collect(
    forecasts: tuple[Forecast, ...], old: Global, levels: scaling.Scaling, tick: Tick
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Raw means, scaled moves and health codes of the kernels, [4, L] each; a frozen kernel D keeps its last mean."""
    moves = jnp.stack([forecast.mean for forecast in forecasts])
    health = jnp.stack([forecast.health for forecast in forecasts])
    means = jnp.clip(tick.price + levels.scale * moves, -PRICE_LIMIT, PRICE_LIMIT)
    frozen = tick.freeze_d & (old.state_step > 0.5) & (jnp.arange(len(KERNELS)) == KERNEL_D)[:, None]
    means = jnp.where(frozen, old.kernel_means, means)
    held = (means - tick.price) / jnp.where(levels.scale > 0.0, levels.scale, 1.0)
    moves = jnp.where(frozen, jnp.clip(held, -scaling.SCALED_LIMIT, scaling.SCALED_LIMIT), moves)
    return means, moves, jnp.where(frozen, Health.FROZEN.value, health)


def kernel_power(old: Global, tick: Tick, judged: jax.Array, p: Params) -> jax.Array:
    """EWMA of each kernel's squared error [4, L], started at the first one."""
    square = jnp.square(tick.price - old.kernel_means)
    moved = old.kernel_power + p.kernel_sigma_gain * (square - old.kernel_power)
    return jnp.where(judged, jnp.where(old.kernel_power > 0.0, moved, square), old.kernel_power)


def pack_outputs(values: Mapping[str, jax.Array]) -> jax.Array:
    """Named values in the order of their rows, [n_outputs, L]; every output must be there."""
    rows = [jnp.asarray(values[name], jnp.float64) for name in OUTPUTS._fields]
    return jnp.concatenate([row if row.ndim == 2 else row[None] for row in rows])


def publish(outputs: jax.Array, old: Global, known: jax.Array, advance: jax.Array) -> jax.Array:
    """New outputs where the tick counts; elsewhere the last ones, marked degraded and emergency, without an error."""
    held = jnp.where(known, old.outputs, jnp.nan)
    for row, value in (
        (OUTPUTS.last_prediction_error, jnp.nan),
        (OUTPUTS.state_step, old.state_step),
        (OUTPUTS.degraded_mode, 1.0),
        (OUTPUTS.emergency_mode, 1.0),
        (OUTPUTS.operating_mode, 2.0),
        (OUTPUTS.regime_changed, 0.0),
    ):
        held = held.at[row].set(value)
    fresh = outputs.at[OUTPUTS.last_prediction_error].set(
        jnp.where(known, outputs[OUTPUTS.last_prediction_error], jnp.nan)
    )
    return jnp.where(advance, fresh, held)
