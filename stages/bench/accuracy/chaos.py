# SPDX-License-Identifier: MIT
"""Deterministic chaos: the logistic map, Mackey and Glass's delay equation, Lorenz's flow."""

import numpy as np

from .series import Numbers

MACKEY_STEP, MACKEY_DELAY, MACKEY_SAMPLE, MACKEY_SETTLE = 0.1, 170, 10, 3000  # delay, sample, settling in steps
LORENZ_STEP, LORENZ_SAMPLE, LORENZ_SETTLE = 0.005, 10, 2000


def logistic_map(start: float, count: int) -> Numbers:
    """x -> 3.99 x (1 - x)."""
    values = np.empty(count)
    for t in range(count):
        values[t] = start
        start = 3.99 * start * (1.0 - start)
    return values


def mackey_glass(random: np.random.Generator, count: int) -> Numbers:
    """x' = .2 x(s - 17) / (1 + x(s - 17)^10) - .1 x by Euler steps of .1, seen once per unit of time."""
    steps = count * MACKEY_SAMPLE + MACKEY_SETTLE
    path = list(1.2 + 0.05 * random.standard_normal(MACKEY_DELAY))
    path.append(1.2)
    for t in range(MACKEY_DELAY, MACKEY_DELAY + steps - 1):
        late = path[t - MACKEY_DELAY]
        path.append(path[t] + MACKEY_STEP * (0.2 * late / (1.0 + late**10) - 0.1 * path[t]))
    return np.array(path[-count * MACKEY_SAMPLE :: MACKEY_SAMPLE])


def lorenz_flow(point: Numbers) -> Numbers:
    """Velocity of Lorenz's system with 10, 28, 8/3."""
    x, y, z = point
    return np.array([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])


def lorenz_x(random: np.random.Generator, count: int) -> Numbers:
    """x of Lorenz's flow every .05, after settling, by the classical Runge-Kutta step of .005."""
    point = np.array([1.0, 1.0, 20.0]) + random.standard_normal(3)
    seen = np.empty(count)
    for t in range(-LORENZ_SETTLE, count * LORENZ_SAMPLE):
        k1 = lorenz_flow(point)
        k2 = lorenz_flow(point + 0.5 * LORENZ_STEP * k1)
        k3 = lorenz_flow(point + 0.5 * LORENZ_STEP * k2)
        k4 = lorenz_flow(point + LORENZ_STEP * k3)
        point = point + LORENZ_STEP / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        if t >= 0 and t % LORENZ_SAMPLE == 0:
            seen[t // LORENZ_SAMPLE] = point[0]
    return seen
