# SPDX-License-Identifier: MIT
"""The figures of a run keep the digits that matter."""

import pytest

from usp.stages.dashboard.live_table import rounded


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0066, "0.0066"), (1.37101, "1.371"), (26.69, "26.69"), (6735.06, "6735.1"), (0.0, "0"), (-0.003, "-0.003")],
)
def test_a_small_rate_is_not_nothing(value: float, shown: str) -> None:
    """Nor does a large number drown in digits."""
    assert rounded(value) == shown
