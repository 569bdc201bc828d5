# SPDX-License-Identifier: MIT
"""Every peer sees the past alone, and does on its own law what its theory says."""

import numpy as np
import pytest

from usp.stages.bench.accuracy import library_peers
from usp.stages.bench.accuracy.families import series_of
from usp.stages.bench.accuracy.library_peers import LibraryPeer, installed_peers
from usp.stages.bench.accuracy.peers import OWN_PEERS, Peer, local_level, smoothed, trended
from usp.stages.bench.accuracy.series import BURN_IN

OWN = {peer.name: peer for peer in OWN_PEERS}
LIBRARY = {peer.name: peer for peer in installed_peers()[0]}


def error(peer: Peer, name: str) -> float:
    """RMSE over that of the Bayes forecast."""
    series = series_of(name, 5)
    found = peer.forecast(series.values, BURN_IN)
    ours, bayes = (np.mean(np.square((each - series.values)[BURN_IN:])) for each in (found, series.bayes))
    return float(np.sqrt(ours / bayes))


PEERS = [*OWN_PEERS, *(pytest.param(peer, marks=pytest.mark.slow) for peer in LIBRARY.values())]


@pytest.mark.parametrize("peer", PEERS, ids=[*OWN, *LIBRARY])
def test_a_peer_never_sees_what_it_forecasts(peer: Peer) -> None:
    """Values from 700 on are changed; forecasts up to that of value 700 stay, the next one moves."""
    values = series_of("ar2", 2).values[:800]
    changed = values.copy()
    changed[700:] += np.linspace(3.0, 9.0, 100)
    before, after = peer.forecast(values, BURN_IN), peer.forecast(changed, BURN_IN)
    assert len(values) == len(before)
    assert np.allclose(before[1:701], after[1:701], rtol=1e-9, atol=1e-9)  # threads of BLAS may round otherwise
    assert abs(before[701] - after[701]) > 1e-6
    assert np.all(np.isfinite(before[BURN_IN:]))


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out, not an error."""
    ghost = LibraryPeer("ghost", "a-package-that-nobody-has", OWN["ewma"].forecast)
    monkeypatch.setattr(library_peers, "LIBRARY_PEERS", (ghost,))
    assert ([], ["ghost"]) == installed_peers()


@pytest.mark.parametrize(
    ("peer", "family"),
    [("last_value", "rw"), ("mean", "white"), ("ar1_rls", "ar1"), ("ar1_rls", "ou"), ("ar5_rls", "ar2")],
)
def test_a_peer_is_next_to_bayes_on_its_own_law(peer: str, family: str) -> None:
    """Within a percent and a half."""
    assert error(OWN[peer], family) < 1.015


def test_smoothing_by_hand() -> None:
    """Level 2, then 2 + .5 (4 - 2) = 3, then 3 + .5 (0 - 3) = 1.5."""
    assert [2.0, 3.0, 1.5] == smoothed(np.array([2.0, 4.0, 0.0, 9.0]), 0.5).tolist()[1:]


def test_holt_follows_a_line() -> None:
    """On a straight line the error dies out."""
    line = 3.0 + 2.0 * np.arange(400.0)
    assert trended(line, 0.5, 0.3)[-1] == pytest.approx(line[-1], abs=1e-9)


def test_the_local_level_has_its_steady_gain() -> None:
    """The variance ahead tends to v = (q + sqrt(q^2 + 4 q)) / 2, the gain to v / (v + 1): an EWMA of that gain."""
    ratio = 0.5
    steady = (ratio + np.sqrt(ratio * ratio + 4.0 * ratio)) / 2.0
    gain = steady / (steady + 1.0)
    values = np.random.default_rng(4).standard_normal(400)
    assert local_level(values, ratio)[0][-1] == pytest.approx(smoothed(values, gain)[-1], abs=1e-9)


def test_kernel_ridge_learns_what_lines_cannot() -> None:
    """On the logistic map it beats the autoregression by far."""
    assert error_to_last(OWN["kernel_ridge"]) < 0.2 * error_to_last(OWN["ar5_rls"])


def error_to_last(peer: Peer) -> float:
    """RMSE on a logistic map relative to the last value."""
    values = series_of("logistic", 1).values[:1000]
    found = peer.forecast(values, BURN_IN)
    last = OWN["last_value"].forecast(values, BURN_IN)
    ratio = np.mean(np.square((found - values)[BURN_IN:])) / np.mean(np.square((last - values)[BURN_IN:]))
    return float(np.sqrt(ratio))
