# SPDX-License-Identifier: MIT
from math import inf, nan

import pytest

from usp.io import validators as v


@pytest.mark.parametrize(
    ("value", "centre", "sigma", "expected"),
    [
        (61_837.63, 61_830.0, 1.0, False),
        (61_837.63, 61_830.0, 0.1, True),
        (120.0, 100.0, 1.0, False),
        (120.000001, 100.0, 1.0, True),
        (79.9, 100.0, 1.0, True),
        (1e300, 0.0, 0.0, False),
        (nan, 0.0, 1.0, True),
        (inf, 0.0, 0.0, True),
        (-inf, 0.0, inf, True),
        (5.0, nan, 1.0, True),
    ],
)
def test_an_outlier_is_far_from_its_own_history(value: float, centre: float, sigma: float, expected: bool) -> None:
    """20 sigmas from the centre, not from zero; NaN always; without a scale only what is not finite."""
    assert expected == v.detect_catastrophic_outlier(value, centre, sigma, 20.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], False), ([1.0] * 4, False), ([1.0] * 5, True), ([1.0, 2.0, 2.0, 2.0, 2.0], False), ([9.0, *[1.0] * 5], True)],
)
def test_a_frozen_signal_repeats_exactly(values: list[float], expected: bool) -> None:
    """The alarm needs the newest five values to be the same."""
    assert expected == v.detect_frozen_signal(values, 5)


def test_a_frozen_signal_of_nan_is_not_frozen() -> None:
    """NaN equals nothing, so a row of them is no repetition."""
    assert not v.detect_frozen_signal([nan] * 5, 5)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], False),
        ([0.2], False),
        ([0.2, 0.2], True),
        ([0.2, 0.1], False),
        ([0.1, 0.2], False),
        ([0.0, 0.2, 0.2], True),
        ([0.2, nan], False),
    ],
)
def test_recovery_needs_each_of_the_newest_variances(history: list[float], expected: bool) -> None:
    """Every one of the last n_c variances must lie above ratio x historical; one number repeated would always pass."""
    assert expected == v.detect_frozen_recovery(history, 1.0, 0.1, 2)


def test_no_confirmation_is_no_recovery() -> None:
    """Asking for zero steps never lifts an alarm."""
    assert not v.detect_frozen_recovery([1.0], 1.0, 0.1, 0)


@pytest.mark.parametrize("value", [0.1, 61_837.63, 1e-300, 1e300])
def test_equal_values_have_no_variance_at_all(value: float) -> None:
    """Rounding of the mean must not look like movement."""
    assert v.signal_variance([value] * 7) == 0.0


def test_variance_is_the_population_variance() -> None:
    """Squared units, divided by the number of values; nothing to say about fewer than two."""
    assert v.signal_variance([1.0, 3.0]) == 1.0
    assert v.signal_variance([1.0]) == v.signal_variance([]) == 0.0


def test_staleness_is_the_age() -> None:
    """Age is now minus stamp, and stale means strictly older than the limit."""
    assert v.compute_staleness_ns(10, 4) == 6
    assert [v.is_stale(age, 500) for age in (-1, 500, 501)] == [False, False, True]


def test_clock_drift_has_two_limits() -> None:
    """A stamp may be as far off as the limit, no further."""
    assert [v.is_future_stamp(t, 100, 10) for t in (110, 111)] == [False, True]
    assert [v.is_past_drift(t, 100, 10) for t in (90, 89)] == [False, True]


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [(1.0, 2.0, False), (1.0, 1.0, False), (2.0, 1.0, True), (None, 1.0, False), (1.0, None, False), (nan, 1.0, True)],
)
def test_a_crossed_quote_has_its_bid_above_its_ask(bid: float | None, ask: float | None, expected: bool) -> None:
    """Locked and one-sided quotes are sound."""
    assert expected == v.is_crossed_quote(bid, ask)


@pytest.mark.parametrize(("price", "expected"), [(1.0, False), (0.0, True), (-0.0, True), (-37.63, True), (nan, True)])
def test_some_prices_must_be_positive(price: float, expected: bool) -> None:
    """Zero and below are impossible where the kind says so, and possible for a spread."""
    assert expected == v.is_impossible_price(price, must_be_positive=True)
    assert not v.is_impossible_price(price, must_be_positive=False)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1.0, None, None, None), True),
        ((1.0, 1.0, 1.0, 1.0), True),
        ((nan, None, None, None), False),
        ((1.0, inf, None, None), False),
        ((1.0, None, -inf, None), False),
        ((1.0, None, None, nan), False),
    ],
)
def test_every_number_of_a_tick_is_finite(numbers: tuple[float, None, None, None], expected: bool) -> None:
    """Price, size, bid and ask are looked at, where they are there."""
    assert expected == v.is_finite_observation(*numbers)


def test_besov_sampling_needs_one_sample_per_interval() -> None:
    """f >= 1 / interval: 10 Hz just suffices for 100 ms."""
    assert [v.validate_besov_nyquist_interval(f, 100_000_000) for f in (9.99, 10.0, 50.0)] == [False, True, True]
