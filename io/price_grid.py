# SPDX-License-Identifier: MIT
"""Prices in whole steps of a tick size."""

from decimal import Decimal


class Grid:
    """Prices in steps of the tick size, as the shortest decimals: 100.03, never 100.03000000000002."""

    def __init__(self, tick_size: float) -> None:
        self.tick_size = tick_size
        exponent = Decimal(repr(tick_size)).normalize().as_tuple().exponent
        self.decimals = max(0, -int(exponent))

    def price(self, steps: int) -> float:
        """The price of a whole number of steps."""
        return round(steps * self.tick_size, self.decimals)

    def mid(self, bid_steps: int, ask_steps: int) -> float:
        """The middle of two prices, which may lie half a step off the grid."""
        return round((bid_steps + ask_steps) / 2 * self.tick_size, self.decimals + 1)

    def moved(self, price: float, steps: int) -> float:
        """A price of this grid, or a mid of two, moved by whole steps."""
        return round(price + steps * self.tick_size, self.decimals + 1)
