# SPDX-License-Identifier: MIT
"""A partition of the orchestrator's state as a document and back, bit for bit.

The kernel blocks S_A to S_D (and S_shared) are segments of their own. In each, symbols that share a program form a
group, and every array of the state is stacked over the symbols of the group, in order of their names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..config.model import from_canonical_bytes
from ..predictor import structure_of
from .contract import Document
from .lanes import SymbolKey
from .orchestrator_state import Epoch, OrchestratorState, Symbol, pool_of, release
from .poison import UnknownEpoch
from .predictions import Flags

SEGMENTS = {"S_shared": "global", "S_A": "A", "S_B": "B", "S_C": "C", "S_D": "D"}


def snapshot(state: OrchestratorState, partition: int) -> Document:
    """A partition's whole state: epoch, origin, step count, symbols, kernel blocks."""
    epoch = state.epochs.get(partition, state.epoch_zero)
    groups = grouped(state, partition)
    blocks = {str(number): stacked(state, keys) for number, keys in enumerate(groups)}
    return {
        "config_epoch": epoch.number,
        "config_hash": epoch.config_hash,
        "config": epoch.config.canonical_bytes,
        "origin": list(state.origins.get(partition, (-1, -1))),
        "steps": state.steps.get(partition, 0),
        "symbols": {
            str(number): {
                "names": [name for _, name in keys],
                "flags": np.array([state.symbols[key].flags for key in keys], dtype=bool),
                "silent": np.array([state.symbols[key].silent for key in keys], dtype=bool),
            }
            for number, keys in enumerate(groups)
        },
        **{segment: {number: block[name] for number, block in blocks.items()} for segment, name in SEGMENTS.items()},
    }


def grouped(state: OrchestratorState, partition: int) -> list[list[SymbolKey]]:
    """The symbols of a partition by program; both in order of the names."""
    groups: dict[Any, list[SymbolKey]] = {}
    for key in sorted(key for key in state.symbols if key[0] == partition):
        groups.setdefault(state.symbols[key].structure, []).append(key)
    return list(groups.values())


def stacked(state: OrchestratorState, keys: Sequence[SymbolKey]) -> dict[str, dict[str, np.ndarray]]:
    """Segment -> array name -> values of all these symbols, first axis the symbol."""
    pool = state.pools[state.symbols[keys[0]].structure]
    documents = [pool.program.to_document(column) for column in pool.columns(keys).values()]
    return {
        segment: {name: np.stack([document[segment][name] for document in documents]) for name in arrays}
        for segment, arrays in documents[0].items()
    }


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
    for number, symbols in document["symbols"].items():
        blocks = {name: document[segment][number] for segment, name in SEGMENTS.items()}
        for place, name in enumerate(symbols["names"]):
            put(state, (partition, name), epoch, blocks, place)
            flags = Flags(*(bool(flag) for flag in symbols["flags"][place]))
            structure = structure_of(config, name)
            state.symbols[partition, name] = Symbol(structure, flags, bool(symbols["silent"][place]))
    return state


def put(
    state: OrchestratorState,
    key: SymbolKey,
    epoch: Epoch,
    blocks: Mapping[str, Mapping[str, np.ndarray]],
    place: int,
) -> None:
    """Give a symbol a lane with the state that stands at `place` of the stacked arrays."""
    pool = pool_of(state, structure_of(epoch.config, key[1]))
    document = {segment: {name: values[place] for name, values in arrays.items()} for segment, arrays in blocks.items()}
    pool.put(key, pool.program.from_document(document))
