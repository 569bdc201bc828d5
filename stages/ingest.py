# SPDX-License-Identifier: MIT
"""Ingest: checks each market tick and writes the verdict into the stream, so that all behind it needs no clock.

In: Tick and TickBlock. Out, in the same partition number: a ValidatedTick per accepted tick and per outlier
(accept = false); a DeadLetter per refused tick and per outlier; an Alert where a condition begins or ends.
Heartbeats prove that a feed lives and are not passed on; a symbol that is quiet beyond its limit gives a Silence.

Each origin (partition, offset, row) is handled once: what is not above the highest one handled is dropped.
"""

from typing import Any, cast

from ..config.model import ModelConfig
from ..io.avro import adopt, encode
from ..io.ingest_events import FrozenSignalAlarmEvent, StaleSignalEvent
from ..io.ingest_rules import IngestRules, ingest_rules
from ..io.loaders import IngestionDecision, judge
from ..io.signal_history import SignalHistory
from ..io.tick_block import row_count, single_row, unpack_ticks
from ..schemas.records import Tick, TickBlock, ValidatedTick
from .contract import Batch, Output, Record, Send, Stage
from .ingest_draft import Draft, NAME, PartitionDraft, Source
from .ingest_faults import Fault, bad_value, misaddressed, misplaced, sequence_note
from .ingest_silence import silences
from .ingest_snapshot import restore, snapshot
from .ingest_state import IngestState, SymbolState, content_of
from .topology import ALERTS, MARKET_TICKS, REJECTED, SNAPSHOTS, VALIDATED
