# SPDX-License-Identifier: MIT
"""A partition of the orchestrator's state as a document and back, bit for bit.

The kernel blocks S_A to S_D (and S_shared) are segments of their own. In each, symbols that share a program form a
group, and every array of the state is stacked over the symbols of the group, in order of their names. Shadows form
groups of their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..config.model import from_canonical_bytes
from ..io.audit_anchors import AUDIT_ANCHOR
from ..predictor import structure_of
from ..schemas.records import ConfigDecision
from .contract import Document
from .lanes import FrozenSegment, LaneKey, ShadowKey, SymbolKey
from .orchestrator_state import Epoch, OrchestratorState, Symbol, Watch, pool_of, release
from .poison import UnknownEpoch
from .predictions import Flags

SEGMENTS = {"S_shared": "global", "S_A": "A", "S_B": "B", "S_C": "C", "S_D": "D"}
SHADOW = "shadow-"


def snapshot(state: OrchestratorState, partition: int) -> Document:
    """A partition's whole state: epoch, origin, step count, symbols, watch with its shadows, kernel blocks.

    It is the state as it is now, whenever it is read and by whatever thread; what is large is copied only then.
    `anchors` bear witness to the governor's audit log: who rewrites it must rewrite the snapshots too.
    """
    epoch = state.epochs.get(partition, state.epoch_zero)
    watch = state.watches.get(partition)
    prepare = state.prepares.get(partition)
    keys = sorted(key for key in state.symbols if key[0] == partition)
    groups = grouped({key: state.symbols[key].structure for key in keys})
    shadows = grouped({key: s for key in keys if (s := state.symbols[key].shadow) is not None})
    blocks = {str(n): stacked(state, state.symbols[g[0]].structure, g) for n, g in enumerate(groups)}
    for n, group in enumerate(shadows):
        structure = state.symbols[group[0]].shadow or state.symbols[group[0]].structure
        blocks[f"{SHADOW}{n}"] = stacked(state, structure, [ShadowKey(*key) for key in group])
    return {
        "config_epoch": epoch.number,
        "config_hash": epoch.config_hash,
        "config": epoch.config.canonical_bytes,
        "origin": list(state.origins.get(partition, (-1, -1))),
        "steps": state.steps.get(partition, 0),
        "anchors": {AUDIT_ANCHOR: state.heads[partition]} if partition in state.heads else {},
        "watch": None if watch is None else {"epoch": watch.epoch, "previous": epoch_document(watch.previous)},
        "prepare": None if prepare is None else dict(vars(prepare)),
        "symbols": {
            str(number): {
                "names": [name for _, name in keys],
                "flags": np.array([state.symbols[key].flags for key in keys], dtype=bool),
                "silent": np.array([state.symbols[key].silent for key in keys], dtype=bool),
            }
            for number, keys in enumerate(groups)
        },
        "shadows": {f"{SHADOW}{number}": [name for _, name in keys] for number, keys in enumerate(shadows)},
        **{segment: {number: block[name] for number, block in blocks.items()} for segment, name in SEGMENTS.items()},
    }


def epoch_document(epoch: Epoch) -> Document:
    """An epoch with its whole configuration."""
    return {"number": epoch.number, "config_hash": epoch.config_hash, "config": epoch.config.canonical_bytes}


def grouped(programs: Mapping[SymbolKey, Any]) -> list[list[SymbolKey]]:
    """The symbols by program, in the order in which they are given."""
    groups: dict[Any, list[SymbolKey]] = {}
    for key, structure in programs.items():
        groups.setdefault(structure, []).append(key)
    return list(groups.values())


def stacked(state: OrchestratorState, structure: Any, keys: Sequence[LaneKey]) -> dict[str, FrozenSegment]:
    """Segment -> array name -> values of all these lanes as they are now, first axis the symbol."""
    frozen = state.pools[structure].frozen(keys)
    return {name: FrozenSegment(frozen, name) for name in SEGMENTS.values()}


def restore(state: OrchestratorState, partition: int, document: Document) -> OrchestratorState:
    """The inverse of `snapshot`. UnknownEpoch if it was taken under other packaged defaults."""
    config = from_canonical_bytes(document["config"])
    epoch = Epoch(document["config_epoch"], document["config_hash"], config)
    state = release(state, partition)
    if epoch.number:
        state.epochs[partition] = epoch
    elif epoch.config_hash != state.epoch_zero.config_hash:
        raise UnknownEpoch("the snapshot was taken under other packaged defaults; run the build that wrote it")
    first, row = document["origin"]
    state.origins[partition] = (first, row)
    state.steps[partition] = document["steps"]
    if AUDIT_ANCHOR in document.get("anchors", {}):
        state.heads[partition] = document["anchors"][AUDIT_ANCHOR]
    for number, symbols in document["symbols"].items():
        keys = [(partition, name) for name in symbols["names"]]
        structure = put(state, keys, epoch, document, number)
        for key, flags, silent in zip(keys, symbols["flags"].tolist(), symbols["silent"].tolist(), strict=True):
            state.symbols[key] = Symbol(structure, Flags(*flags), silent)
    if document.get("prepare"):
        state.prepares[partition] = ConfigDecision(**document["prepare"])
    if document.get("watch"):
        restore_watch(state, partition, document)
    return state


def restore_watch(state: OrchestratorState, partition: int, document: Document) -> None:
    """The epoch that is judged, and the shadows under the one before."""
    before = document["watch"]["previous"]
    previous = Epoch(before["number"], before["config_hash"], from_canonical_bytes(before["config"]))
    state.watches[partition] = Watch(document["watch"]["epoch"], previous)
    for number, names in document["shadows"].items():
        structure = put(state, [ShadowKey(partition, name) for name in names], previous, document, number)
        for name in names:
            state.symbols[partition, name] = state.symbols[partition, name]._replace(shadow=structure)


def put(state: OrchestratorState, keys: Sequence[LaneKey], epoch: Epoch, document: Document, number: str) -> Any:
    """Give lanes the states of a group's stacked arrays; returns the structure that the group shares."""
    structure = structure_of(epoch.config, keys[0][1])
    pool = pool_of(state, structure)
    arrays = {name: document[segment][number] for segment, name in SEGMENTS.items()}
    columns = np.ascontiguousarray(pool.program.from_stacked(arrays, len(keys)).T)
    for key, column in zip(keys, columns, strict=True):
        pool.put(key, column)
    return structure
