# SPDX-License-Identifier: MIT
"""What a stage's log says about records: what happened and to which record, never what the record holds.

The place of the market tick (topic/partition@offset) is the same in verdict, prediction, alert and dead letter, and so
ties the logs of all stages together.
"""

from collections.abc import Sequence
from typing import Any

from ..io.bus import Partition
from ..io.reader import where
from ..schemas.records import Alert, DeadLetter
from . import topology
from .contract import Send

LEVELS = {"info": "info", "warning": "warning", "critical": "error"}


def tell(log: Any, sends: Sequence[Send]) -> None:
    """A line for each alert and each dead letter that was published; repeats are limited by the log."""
    for send in sends:
        if send.topic is topology.ALERTS and isinstance(send.value, Alert):
            tell_alert(log, send.value)
        elif send.topic is topology.DEAD_LETTERS and isinstance(send.value, DeadLetter):
            tell_letter(log, send.value)


def tell_alert(log: Any, alert: Alert) -> None:
    """Its event, its symbol and the tick that it is about; its detail may hold prices and stays on the topic."""
    tick = None
    if alert.origin_partition is not None and alert.origin_offset is not None:
        tick = where(Partition(topology.MARKET_TICKS.name, alert.origin_partition), alert.origin_offset)
    getattr(log, LEVELS[alert.severity])(alert.event, symbol=alert.symbol, tick=tick)


def tell_letter(log: Any, letter: DeadLetter) -> None:
    """Its reason and its place; its detail and its bytes stay on the topic."""
    place = where(Partition(letter.source_topic, letter.source_partition), letter.source_offset)
    log.warning("record refused", reason=letter.reason, record=place, symbol=letter.symbol)
