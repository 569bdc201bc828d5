# SPDX-License-Identifier: MIT
"""The log ties a record to its tick and never shows what the record holds."""

import structlog
from structlog.testing import capture_logs

from harness import MemoryBroker, drain, runner_on
from usp.io.bus import Outgoing
from usp.schemas.records import Alert, DeadLetter
from usp.stages import topology
from usp.stages.contract import Send
from usp.stages.told import tell

PRICE = "61837.25"


def sends():
    """What a stage publishes about one bad tick."""
    alert = Alert(
        event="OutlierRejectedEvent", severity="critical", stage="ingest", symbol="AAA", origin_partition=3,
        origin_offset=42, timestamp_ns=1, detail={"found": PRICE},
    )  # fmt: skip
    letter = DeadLetter(
        stage="orchestrator", reason="handler_failed", detail=f"found {PRICE}", source_topic="ticks.validated.v1",
        source_partition=3, source_offset=40, source_row=0, symbol="AAA", key=b"AAA", value=PRICE.encode(),
        refused_ns=1,
    )  # fmt: skip
    return [Send(topology.ALERTS, alert, "AAA"), Send(topology.DEAD_LETTERS, letter, "AAA")]


def test_lines_name_the_place_and_show_no_content():
    """The tick's place is what verdict, prediction and alert share."""
    with capture_logs() as lines:
        tell(structlog.get_logger(), sends())
    assert ["OutlierRejectedEvent", "record refused"] == [line["event"] for line in lines]
    assert ["error", "warning"] == [line["log_level"] for line in lines]
    assert ("market.ticks.v1/3@42", "ticks.validated.v1/3@40") == (lines[0]["tick"], lines[1]["record"])
    assert PRICE not in str(lines)


def test_a_stage_tells_what_it_refused():
    """Garbage on the topic: one line, with its reason as the event's name."""
    broker = MemoryBroker()
    broker.append(Outgoing(topology.MARKET_TICKS.name, 0, b"AAA", b"garbage " + PRICE.encode()))
    with capture_logs() as lines:
        drain(lambda: runner_on(topology.stage("ingest"), broker))
    assert ["RecordRefusedEvent"] == [line["event"] for line in lines]
    assert PRICE not in str(lines)
