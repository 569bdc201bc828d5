# SPDX-License-Identifier: MIT
"""The predictor without Kafka: the very handlers of the pipeline, fed by hand.

from usp import Predictor
predictor = Predictor()
for timestamp_ns, price in ticks:
    forecast = predictor.update("EURUSD", timestamp_ns, price)
    if forecast: print(forecast.mean, forecast.lo, forecast.hi)
"""

from collections.abc import Sequence

from ..config.model import ModelConfig, packaged_defaults
from ..io.avro import encode
from ..io.bus import Partition
from ..schemas.records import AnyRecord, DeadLetter, Prediction, Tick, TickKind
from . import ingest, orchestrator, topology
from .contract import Batch, Record, Send
from .orchestrate_step import orchestrate_step

__all__ = ["Predictor", "orchestrate_step"]


class Predictor:
    """Forecasts for any number of symbols; the same bits as the pipeline's for the same verdicts."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        """`config` None means the packaged defaults."""
        self.config = config or packaged_defaults()
        self.gate = ingest.STAGE.init(self.config)
        self.core = orchestrator.STAGE.init(self.config)
        self.rows = 0
        self.rejected: list[DeadLetter] = []

    def update(
        self,
        symbol: str,
        timestamp_ns: int,
        price: float,
        *,
        bid: float | None = None,
        ask: float | None = None,
        size: float | None = None,
        now_ns: int | None = None,
    ) -> Prediction | None:
        """The forecast of the symbol's next value, or None if the tick was rejected (see `rejected`).

        `timestamp_ns` is the event time in nanoseconds since 1970; `now_ns` the caller's clock, by default the event
        time itself. Not safe for several threads.
        """
        tick = tick_of(symbol, timestamp_ns, price, bid, ask, size)
        predictions = self.predict(self.admit(tick, timestamp_ns if now_ns is None else now_ns))
        return predictions[0] if predictions else None

    def admit(self, tick: Tick, now_ns: int) -> list[Record]:
        """The tick through ingest: its validated record, or none; what was refused is kept in `rejected`."""
        where = Partition(topology.MARKET_TICKS.name, 0)
        record = Record(where, self.rows, tick.symbol.encode(), tick, tick.ts_publish_ns, (), encode(tick))
        self.rows += 1
        outputs, self.gate = ingest.STAGE.handle(Batch(now_ns, (record,)), self.gate)
        values = [output.value for output in outputs if isinstance(output, Send)]
        self.rejected += [value for value in values if isinstance(value, DeadLetter)]
        return [validated(value, record) for output, value in sent(outputs) if output is topology.VALIDATED]

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Validated records through the orchestrator."""
        if not records:
            return []
        outputs, self.core = orchestrator.STAGE.handle(Batch(0, records), self.core)
        return [value for _, value in sent(outputs) if isinstance(value, Prediction)]


def sent(outputs: Sequence[object]) -> list[tuple[object, AnyRecord]]:
    """(topic, record) of what a stage published."""
    return [(output.topic, output.value) for output in outputs if isinstance(output, Send)]


def validated(value: AnyRecord, source: Record) -> Record:
    """A record of ingest as the orchestrator reads it."""
    return Record(Partition(topology.VALIDATED.name, 0), source.offset, source.key, value, source.timestamp_ns)


def tick_of(
    symbol: str, timestamp_ns: int, price: float, bid: float | None, ask: float | None, size: float | None
) -> Tick:
    """A tick published the moment it happened."""
    kind: TickKind = "quote" if bid is not None and ask is not None else "trade"
    return Tick(
        symbol=symbol,
        venue="",
        kind=kind,
        price=price,
        size=size,
        bid=bid,
        ask=ask,
        sequence=None,
        ts_event_ns=timestamp_ns,
        ts_publish_ns=timestamp_ns,
        producer_id="library",
    )
