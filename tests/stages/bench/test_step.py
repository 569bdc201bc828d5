# SPDX-License-Identifier: MIT
"""The benchmark of the step: its parts that can be checked without measuring."""

import numpy as np

from usp.stages.bench.step import autoregression, config_of, least_s, resident_bytes


def test_the_plain_model_beside_us_is_a_real_one() -> None:
    """AR(5) by recursive least squares forecasts an AR(1) with the error of its noise."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(3000)
    series = np.zeros(3000)
    for t in range(1, 3000):
        series[t] = 0.8 * series[t - 1] + noise[t]
    forecasts = np.array(list(autoregression(series)))
    error = series[501:] - forecasts[500:-1]
    assert error.std() < 1.02 * noise[501:].std()


def test_a_bank_is_chosen_for_every_symbol() -> None:
    """Symbols without a table of their own follow the default's bank."""
    assert ("core", "full") == (config_of("core").symbols["ANY"].bank, config_of("full").symbols["ANY"].bank)


def test_the_shortest_run_counts() -> None:
    """One warm-up and the runs asked for; a time above 0."""
    calls: list[int] = []
    assert least_s(lambda: calls.append(1), 5) > 0.0
    assert 6 == len(calls)
    assert resident_bytes() > 1_000_000
