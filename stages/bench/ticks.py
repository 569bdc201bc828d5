# SPDX-License-Identifier: MIT
"""The ticks that benchmarks publish."""

from ...schemas.records import Tick


def bench_tick(number: int, symbols: int, now_ns: int) -> Tick:
    """A tick of a wandering price."""
    price = 100.0 + 0.01 * ((number * 7919) % 41 - 20) + 0.001 * (number % 997)
    return Tick(
        symbol=f"BENCH{number % symbols:02d}",
        venue="bench",
        kind="trade",
        price=price,
        size=None,
        bid=None,
        ask=None,
        sequence=None,
        ts_event_ns=now_ns,
        ts_publish_ns=now_ns,
        producer_id="bench",
    )
