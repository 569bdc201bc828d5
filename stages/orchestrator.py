# SPDX-License-Identifier: MIT
"""Turns validated ticks into predictions; a pure function of its input log.

In: ticks with their verdict, silence, configuration epochs (in-band, so a change takes effect at a definite offset).
Out: one prediction per accepted or outlier tick into the same partition number, alerts, telemetry references.
A tick that is not above the partition's newest origin was seen before and is dropped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..config.model import ModelConfig
from ..predictor import structure_of
from ..predictor.structure import Structure
from ..schemas.records import Alert, AuditHead, ConfigDecision, ConfigEpoch, EpochVerdict, Silence, ValidatedTick
from . import topology
from .contract import Batch, Effect, Output, Record, Send, Stage
from .lanes import ShadowKey, Step, SymbolKey, inputs_of
from .orchestrator_snapshot import restore, snapshot
from .orchestrator_state import Epoch, OrchestratorState, Recipe, Symbol, pool_of, release
from .predictions import Flags, Observation, flags_of, prediction, transitions
from .rollout import Compiled, Control, EpochChange, Preparation, Verdict, acknowledge, apply, asked, epoch_of


@dataclass(frozen=True)
class Observe(Effect):
    """Telemetry of some steps: references for the ring, nothing is computed here."""

    observations: Sequence[Observation]


class Planned(NamedTuple):
    """A tick that will step, under its epoch. `silent`: the symbol's silence before it is not over."""

    key: SymbolKey
    tick: ValidatedTick
    epoch: Epoch
    silent: bool


def init(config: ModelConfig) -> OrchestratorState:
    """Epoch 0 is the packaged configuration; its program is compiled here, before anything is consumed."""
    state = OrchestratorState(Epoch(0, config.content_hash, config))
    pool_of(state, structure_of(config, "")).warm_up()
    return state


def handle(batch: Batch, state: OrchestratorState) -> tuple[list[Output], OrchestratorState]:
    """Plan the whole batch without touching the state, then run it, stopping where a control record stands."""
    epochs, origins, heads = dict(state.epochs), dict(state.origins), dict(state.heads)
    parts: list[list[Planned]] = [[]]
    controls: list[Control] = []
    silences: list[Silence] = []
    quiet: dict[SymbolKey, bool] = {}  # as the log says it, whatever else is in the batch
    replies: list[Compiled] = []
    for record in batch.records:
        partition = record.partition.number
        match record.value:
            case ValidatedTick() as tick:
                origin = (tick.origin_offset, tick.origin_row)
                if origin > origins.get(partition, (-1, -1)):
                    origins[partition] = origin
                    key = (partition, tick.symbol)
                    known = quiet.get(key, key in state.symbols and state.symbols[key].silent)
                    parts[-1].append(plan(record, tick, epochs.get(partition, state.epoch_zero), known))
                    quiet[key] = known and not tick.accept
            case ConfigEpoch() as epoch:
                before = epochs.get(partition, state.epoch_zero)
                epochs[partition] = epoch_of(epoch, before, record.partition)
                if epochs[partition] is not before:
                    controls.append(EpochChange(partition, before, epochs[partition], epoch))
            case EpochVerdict() as verdict:
                controls.append(Verdict(partition, verdict))
            case ConfigDecision() as decision:
                controls.append(Preparation(partition, decision))
            case AuditHead(head=head):
                heads[partition] = head
            case Silence() as silence:
                silences.append(silence)
                key = (silence.origin_partition, silence.symbol)
                if key in state.symbols or key in quiet:
                    quiet[key] = True
            case Compiled() as reply:
                replies.append(reply)
            case _:
                pass
        if len(controls) == len(parts):
            parts.append([])
    state.epochs, state.origins, state.heads = epochs, origins, heads
    outputs = run(parts[0], state)
    for control, planned in zip(controls, parts[1:], strict=True):
        apply(control, state)
        outputs += run(planned, state)
    for key, silent in quiet.items():
        state.symbols[key] = state.symbols[key]._replace(silent=silent)
    outputs += [heard(silence, batch.now_ns) for silence in silences]
    if batch.timer is not None and state.prepares:
        outputs += asked(state)
    return outputs + acknowledge(replies, state, batch.now_ns), state


def plan(record: Record, tick: ValidatedTick, epoch: Epoch, silent: bool) -> Planned:
    """A tick that is fit to step. Ingest guarantees a finite price; a record that breaks this is nobody's forecast."""
    if not math.isfinite(tick.price):
        raise ValueError(f"found price {tick.price} of {tick.symbol}; expected a finite number behind ingest")
    return Planned((record.partition.number, tick.symbol), tick, epoch, silent)


def run(planned: Sequence[Planned], state: OrchestratorState) -> list[Output]:
    """Step every planned tick, and its shadow, program by program; outputs in the order of the input.

    Rows are numbered by the ticks; that of a tick's shadow has the number's complement.
    """
    steps: dict[Structure, list[tuple[int, Step]]] = {}
    for i, item in enumerate(planned):
        recipe = recipe_of(item.epoch, item.tick.symbol, state)
        settle(item, recipe.structure, state)
        step = step_of(item, recipe.params)
        steps.setdefault(recipe.structure, []).append((i, step))
        if state.watches and state.symbols[item.key].shadow is not None:
            shadow = recipe_of(state.watches[item.key[0]].previous, item.tick.symbol, state)
            beside = Step(ShadowKey(*item.key), shadow.params, step.inputs)
            steps.setdefault(shadow.structure, []).append((~i, beside))
    rows: dict[int, list[float]] = {}
    for structure, indexed in steps.items():
        results = state.pools[structure].advance([step for _, step in indexed])
        rows |= {i: row for (i, _), row in zip(indexed, results, strict=True)}
    outputs: list[Output] = []
    observations: list[Observation] = []
    for i, item in enumerate(planned):
        outputs += published(item, rows[i], rows.get(~i), state, observations)
    return [*outputs, Observe(observations)] if observations else outputs


def settle(item: Planned, structure: Structure, state: OrchestratorState) -> None:
    """Give a new symbol a lane in its program."""
    if item.key not in state.symbols:
        pool = pool_of(state, structure)
        pool.put(item.key, pool.program.init_column(item.epoch.config, item.tick.symbol))
        state.symbols[item.key] = Symbol(structure, Flags(), False)


def recipe_of(epoch: Epoch, symbol: str, state: OrchestratorState) -> Recipe:
    """The program and the numeric parameters of a symbol under an epoch."""
    name = (epoch.config_hash, symbol)
    if name not in state.recipes:
        structure = structure_of(epoch.config, symbol)
        params = pool_of(state, structure).program.params(epoch.config, symbol)
        state.recipes[name] = Recipe(structure, params)
    return state.recipes[name]


def step_of(item: Planned, params: np.ndarray) -> Step:
    """The packed inputs of a tick."""
    return Step(item.key, params, inputs_of(item.tick, item.silent))


def published(
    item: Planned,
    row: Sequence[float],
    shadow: Sequence[float] | None,
    state: OrchestratorState,
    observations: list[Observation],
) -> list[Output]:
    """The prediction of a step and the alerts of the flags that turned."""
    key, tick, epoch, _ = item
    record = prediction(tick, epoch.number, epoch.config_hash, row, shadow)
    observations.append(Observation(record, row, config=epoch.config))
    alerts: list[Alert] = []
    if tick.accept:
        state.steps[key[0]] = state.steps.get(key[0], 0) + 1
        before, after = state.symbols[key].flags, flags_of(row)
        if after != before:
            alerts = transitions(tick, before, after)
            state.symbols[key] = state.symbols[key]._replace(flags=after)
    return [
        Send(topology.PREDICTIONS, record, tick.symbol, key[0]),
        *(Send(topology.ALERTS, alert, tick.symbol) for alert in alerts),
    ]


def heard(silence: Silence, now_ns: int) -> Output:
    """Silence degrades the symbol's next step and is told; it makes no prediction and no step."""
    alert = Alert(
        event="DegradedInferenceModeActivated",
        severity="warning",
        stage="orchestrator",
        symbol=silence.symbol,
        origin_partition=silence.origin_partition,
        origin_offset=silence.after_offset,
        timestamp_ns=now_ns,
        detail={"cause": "silence", "quiet_limit_ns": str(silence.quiet_limit_ns)},
    )
    return Send(topology.ALERTS, alert, silence.symbol)


def steps(state: OrchestratorState, partition: int) -> int:
    """Steps of a partition so far."""
    return state.steps.get(partition, 0)


STAGE = Stage(
    "orchestrator",
    *topology.STAGES["orchestrator"],
    topology.DEAD_LETTERS,
    init,
    handle,
    snapshot,
    restore,
    release,
    steps,
)
