# SPDX-License-Identifier: MIT
"""Models of well-known libraries beside us, from the optional extra `peers`; those not installed are named.

Batch learners are fitted again every `REFIT_STEPS` on the newest `FIT_WINDOW` values and used unchanged in between,
always on the true past. Contract as in `peers.py`.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, cast

import numpy as np

from .peers import Forecaster, Peer, last_value
from .series import Numbers

REFIT_STEPS = 500
FIT_WINDOW = 500
BOOST_LAGS = 10
BOOST_REFIT_STEPS = 100
BOOST_PARAMS = {
    "objective": "l2",
    "num_leaves": 15,
    "learning_rate": 0.05,
    "min_data_in_leaf": 10,
    "num_threads": 1,
    "deterministic": True,
    "seed": 1,
    "verbosity": -1,
}
BOOST_ROUNDS = 120


def blocks(burn_in: int, count: int, steps: int) -> Iterator[tuple[int, int]]:
    """(first, stop) of the stretches between two fits; before the burn-in nothing is forecast."""
    for first in range(burn_in, count, steps):
        yield first, min(first + steps, count)


def snarimax(values: Numbers, burn_in: int) -> Numbers:
    """River's online ARIMA(5, 1, 1); what it cannot say is the last value."""
    del burn_in
    from river.time_series import SNARIMAX

    model: Any = SNARIMAX(p=5, d=1, q=1)
    found = last_value(values)
    for t, value in enumerate(values):
        if t > 20:
            told = float(model.forecast(horizon=1)[0])
            found[t] = told if np.isfinite(told) else found[t]
        model.learn_one(float(value))
    return found


def fitted_between(make: Callable[[], Any], values: Numbers, burn_in: int) -> Numbers:
    """A statsforecast model refitted now and then; between fits its filter runs over the true values.

    The filter's fitted values are one-step forecasts: they change nothing when later values do.
    """
    found = last_value(values)
    for first, stop in blocks(burn_in, len(values), REFIT_STEPS):
        start = max(0, first - FIT_WINDOW)
        model = make().fit(values[start:first])
        found[first:stop] = model.forward(y=values[start:stop], h=1, fitted=True)["fitted"][first - start :]
    return found


def stepped_between(make: Callable[[], Any], values: Numbers, burn_in: int) -> Numbers:
    """The same for a model whose fitted values look ahead: each step is forecast from its own past."""
    found = last_value(values)
    for first, stop in blocks(burn_in, len(values), REFIT_STEPS):
        start = max(0, first - FIT_WINDOW)
        model = make().fit(values[start:first])
        for t in range(first, stop):
            found[t] = float(model.forward(y=values[start:t], h=1)["mean"][0])
    return found


def auto_arima(values: Numbers, burn_in: int) -> Numbers:
    """Hyndman and Khandakar's choice of ARIMA."""
    from statsforecast.models import AutoARIMA

    return fitted_between(lambda: AutoARIMA(season_length=1), values, burn_in)


def auto_ets(values: Numbers, burn_in: int) -> Numbers:
    """Exponential smoothing with the components chosen by AICc."""
    from statsforecast.models import AutoETS

    return fitted_between(lambda: AutoETS(season_length=1), values, burn_in)


def auto_theta(values: Numbers, burn_in: int) -> Numbers:
    """The best of the theta methods."""
    from statsforecast.models import AutoTheta

    return stepped_between(lambda: AutoTheta(season_length=1), values, burn_in)


def boosted(values: Numbers, burn_in: int) -> Numbers:
    """LightGBM: gradient-boosted trees of the next increment on the last levels and increments."""
    import lightgbm

    library = cast(Any, lightgbm)
    levels = np.lib.stride_tricks.sliding_window_view(values, BOOST_LAGS + 1)
    features = np.hstack([levels, np.diff(levels, axis=1)])  # row r is known once values[r + BOOST_LAGS] is
    found = last_value(values)
    moves = values[BOOST_LAGS + 1 :] - values[BOOST_LAGS:-1]
    for first, stop in blocks(burn_in, len(values), BOOST_REFIT_STEPS):
        known = first - BOOST_LAGS - 1
        data = library.Dataset(features[:known], moves[:known])
        model = library.train(BOOST_PARAMS, data, num_boost_round=BOOST_ROUNDS)
        found[first:stop] += model.predict(features[known : stop - BOOST_LAGS - 1])
    return found


class LibraryPeer(NamedTuple):
    """A peer and the package that it needs."""

    name: str
    package: str
    forecast: Forecaster


LIBRARY_PEERS: Sequence[LibraryPeer] = (
    LibraryPeer("river_snarimax", "river", snarimax),
    LibraryPeer("auto_arima", "statsforecast", auto_arima),
    LibraryPeer("auto_ets", "statsforecast", auto_ets),
    LibraryPeer("auto_theta", "statsforecast", auto_theta),
    LibraryPeer("lightgbm", "lightgbm", boosted),
)


def installed_peers() -> tuple[list[Peer], list[str]]:
    """Peers whose package is there, and the names of the others."""
    there: list[Peer] = []
    missing: list[str] = []
    for peer in LIBRARY_PEERS:
        try:
            there.append(Peer(peer.name, quiet(peer.forecast), f"{peer.package} {version(peer.package)}"))
        except PackageNotFoundError:
            missing.append(peer.name)
    return there, missing


def quiet(forecast: Forecaster) -> Forecaster:
    """Without the library's warnings, which concern its own choices."""

    def wrapped(values: Numbers, burn_in: int) -> Numbers:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return forecast(values, burn_in)

    return wrapped
