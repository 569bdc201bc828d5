# SPDX-License-Identifier: MIT
"""The real prices that ship with the package; `data/PROVENANCE.md` says where each comes from."""

from importlib.resources import files
from importlib.resources.abc import Traversable

DATA = files(__package__ or "usp.io") / "data"

# symbol -> file of io/data
BUNDLED_SERIES = {"EURUSD": "eurusd_hourly.csv", "SP500": "sp500_daily.csv"}


def bundled_file(symbol: str) -> Traversable:
    """The tick file of a bundled symbol; KeyError names the ones there are."""
    if symbol not in BUNDLED_SERIES:
        raise KeyError(f"bundled series was {symbol!r}, expected one of {sorted(BUNDLED_SERIES)}")
    return DATA / BUNDLED_SERIES[symbol]
