# SPDX-License-Identifier: MIT
"""Writes telemetry down: hashes and values of every step for parity audits, and the adaptive values.

In: telemetry records. Out: lines for two logs, and alerts when steps are missing, when the ring of a predicting
process has dropped some, or when a level of `adaptive_alerts.py` is crossed. The stage keeps nothing that a restart
needs: the logs know what they hold, and a level that is still crossed is told once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..config.model import ModelConfig
from ..io.bus import Headers
from ..io.telemetry_block import Telemetry, unpack
from ..io.telemetry_line import BUILD_HEADER, Gap, Source, TelemetryLine
from ..schemas.records import Alert, Severity, TelemetryBlock
from . import topology
from .adaptive_alerts import KURTOSIS_LIMIT, Crossing, Levels, Watch, watched
from .contract import Batch, Effect, Output, Reply, Send, Stage
from .poison import raw_of, refused

NO_STRIDE = 2**62
PARITY_FIELDS = (
    "sequence",
    "dropped",
    "origin_partition",
    "origin_offset",
    "timestamp_ns",
    "prediction",
    "weights",
    "ot_cost",
    "free_energy",
    "kurtosis",
    "holder_exponent",
    "dgm_entropy",
    "mode_collapse_warning",
    "degraded_mode",
    "emergency_mode",
    "parity_hashes",
    "snapshot_hash",
)
GAPS_TOLD = 8
QUIET = Watch()

LogName = Literal["parity", "adaptive"]


@dataclass(frozen=True)
class AppendLines(Effect):
    """Append what is new of these lines to a log. Answers LinesAppended if something is missing, else nothing."""

    log: LogName
    lines: tuple[TelemetryLine, ...]


@dataclass(frozen=True)
class LinesAppended(Reply):
    """What the log found out while appending. `restarted` are partitions whose topic was made anew."""

    log: LogName
    gaps: tuple[Gap, ...]
    restarted: tuple[int, ...]


@dataclass
class TelemetrySinkState:
    """`stride` is how far apart two records of a symbol may be; `dropped` the last count per input partition.

    `watches` is what is known of each (partition, symbol) whose levels are not all quiet.
    """

    stride: int
    levels: Levels
    dropped: dict[int, int] = field(default_factory=dict[int, int])
    watches: dict[tuple[int, str], Watch] = field(default_factory=dict[tuple[int, str], Watch])


def init(config: ModelConfig) -> TelemetrySinkState:
    """The interval is a locked key: it cannot change while this process runs."""
    levels = Levels(config.bank.interval_coverage, config.io.telemetry_adaptive_window_size)
    return TelemetrySinkState(config.io.telemetry_hash_interval_steps, levels)


def handle(batch: Batch, state: TelemetrySinkState) -> tuple[list[Output], TelemetrySinkState]:
    """Lines for the logs, alerts for what is missing."""
    parity: list[TelemetryLine] = []
    adaptive: list[TelemetryLine] = []
    outputs: list[Output] = []
    dropped, watches = dict(state.dropped), dict(state.watches)
    for record in batch.records:
        match record.value:
            case TelemetryBlock() as block:
                build = text_header(record.headers, BUILD_HEADER)
                for row, telemetry in enumerate(unpack(block)):
                    source = Source(record.partition.number, record.offset, row, record.timestamp_ns)
                    parity.append(parity_line(source, telemetry, state.stride, build))
                    if telemetry.adaptive is not None:
                        adaptive.append(adaptive_line(source, telemetry, telemetry.adaptive))
                    outputs += crossings(telemetry, watches, state.levels)
                dropped[record.partition.number] = block.dropped
            case LinesAppended() as reply:
                outputs += alerts_of(reply, batch.now_ns)
            case _:
                found = f"found a {type(record.value).__name__}, expected a TelemetryBlock"
                outputs += refused(STAGE, raw_of(record), "unexpected_record", found, batch.now_ns)
    lost = newly_dropped(state.dropped, dropped)
    state.dropped, state.watches = dropped, watches
    if lost:
        outputs.append(alert("TelemetryDroppedEvent", "warning", {"dropped": str(lost)}, batch.now_ns))
    effects = [AppendLines("parity", tuple(parity)), AppendLines("adaptive", tuple(adaptive))]
    return outputs + [effect for effect in effects if effect.lines], state


def crossings(telemetry: Telemetry, watches: dict[tuple[int, str], Watch], levels: Levels) -> list[Output]:
    """Alerts of the levels that a step crossed; `watches` is brought up to date, and holds no quiet symbol."""
    key = (telemetry.origin_partition, telemetry.symbol)
    before = watches.get(key, QUIET)
    if before is QUIET and telemetry.adaptive is None and not telemetry.kurtosis > KURTOSIS_LIMIT:
        return []
    watch, found = watched(before, telemetry, levels)
    watches[key] = watch
    if watch == QUIET:
        del watches[key]
    return [crossing_alert(telemetry, each) for each in found]


def crossing_alert(telemetry: Telemetry, found: Crossing) -> Send:
    """The alert of one crossed level, with what was measured."""
    detail = {found.measure: f"{found.value:g}", "limit": f"{found.limit:g}", "step": str(telemetry.step)}
    value = Alert(
        event=found.event,
        severity=found.severity,
        stage=STAGE.name,
        symbol=telemetry.symbol,
        origin_partition=telemetry.origin_partition,
        origin_offset=telemetry.origin_offset,
        timestamp_ns=telemetry.timestamp_ns,
        detail=detail,
    )
    return Send(topology.ALERTS, value, telemetry.symbol)


def parity_line(source: Source, telemetry: Telemetry, stride: int, build: str | None) -> TelemetryLine:
    """All that a parity audit needs: hashes, the values behind them, and the build that computed them."""
    fields: dict[str, Any] = {name: getattr(telemetry, name) for name in PARITY_FIELDS}
    fields["build"] = build
    return TelemetryLine(telemetry.record_id, telemetry.symbol, telemetry.step, stride, source, fields)


def adaptive_line(source: Source, telemetry: Telemetry, adaptive: Mapping[str, float]) -> TelemetryLine:
    """The adaptive values of one look."""
    fields: dict[str, Any] = {"timestamp_ns": telemetry.timestamp_ns, **dict(sorted(adaptive.items()))}
    return TelemetryLine(telemetry.record_id, telemetry.symbol, telemetry.step, NO_STRIDE, source, fields)


def text_header(headers: Headers, name: str) -> str | None:
    """The text of a header; None if it is not there."""
    return next((value.decode(errors="replace") for key, value in headers if key == name), None)


def newly_dropped(before: Mapping[int, int], now: Mapping[int, int]) -> int:
    """By how much a count of drops has grown; a lower count is that of a new process, which begins at zero."""
    growth = [
        count - before.get(number, 0) if count >= before.get(number, 0) else count for number, count in now.items()
    ]
    return max(growth, default=0)


def alerts_of(reply: LinesAppended, now_ns: int) -> list[Output]:
    """One alert for all the steps that are missing, one for topics that were made anew."""
    outputs: list[Output] = []
    if reply.gaps:
        told = "; ".join(f"{gap.symbol} {gap.after_step}..{gap.before_step}" for gap in reply.gaps[:GAPS_TOLD])
        detail = {"log": reply.log, "gaps": str(len(reply.gaps)), "steps_between": told}
        outputs.append(alert("TelemetryGapEvent", "warning", detail, now_ns))
    if reply.restarted:
        detail = {"log": reply.log, "partitions": ", ".join(map(str, reply.restarted))}
        outputs.append(alert("TelemetryLogRestartedEvent", "warning", detail, now_ns))
    return outputs


def alert(event: str, severity: Severity, detail: dict[str, str], now_ns: int) -> Send:
    """An alert of this stage; no tick is concerned."""
    value = Alert(
        event=event,
        severity=severity,
        stage=STAGE.name,
        symbol=None,
        origin_partition=None,
        origin_offset=None,
        timestamp_ns=now_ns,
        detail=detail,
    )
    return Send(topology.ALERTS, value, STAGE.name)


def release(state: TelemetrySinkState, partition: int) -> TelemetrySinkState:
    """Another process reads this partition now."""
    state.dropped.pop(partition, None)
    for key in [key for key in state.watches if key[0] == partition]:
        del state.watches[key]
    return state


STAGE: Stage[TelemetrySinkState] = Stage(
    name="telemetry-sink",
    consumes=(topology.TELEMETRY,),
    produces=(topology.ALERTS, topology.DEAD_LETTERS),
    dead_letters=topology.DEAD_LETTERS,
    init=init,
    handle=handle,
    gather_s=0.5,
    release=release,
)
