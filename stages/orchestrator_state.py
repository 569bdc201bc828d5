# SPDX-License-Identifier: MIT
"""What the orchestrator keeps: epochs, origins and step counts per partition, and the symbols with their lanes."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..config.model import ModelConfig
from ..predictor.structure import Structure
from ..schemas.records import ConfigDecision
from .lanes import Pool, ShadowKey, SymbolKey
from .predictions import Flags


class Epoch(NamedTuple):
    """The configuration in force in a partition."""

    number: int
    config_hash: str
    config: ModelConfig


class Watch(NamedTuple):
    """An epoch that is judged in a partition, and the one before, under which the shadows run."""

    epoch: int
    previous: Epoch


class Symbol(NamedTuple):
    """What is kept per symbol beside its lane. `shadow` is the program of its shadow's lane, None without one."""

    structure: Structure
    flags: Flags
    silent: bool
    shadow: Structure | None = None


class Recipe(NamedTuple):
    """How a symbol is computed under a configuration; derived from both, kept to be fast."""

    structure: Structure
    params: np.ndarray


@dataclass
class OrchestratorState:
    """Epochs, origins, step counts, watches and open PREPAREs per partition; symbols with their lanes.

    `acknowledged` are the partitions whose PREPARE this process has answered; a new process answers again. `heads` are
    the newest lines of the governor's audit log that the partitions were told of.
    """

    epoch_zero: Epoch
    epochs: dict[int, Epoch] = field(default_factory=dict[int, Epoch])
    origins: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    steps: dict[int, int] = field(default_factory=dict[int, int])
    symbols: dict[SymbolKey, Symbol] = field(default_factory=dict[SymbolKey, Symbol])
    pools: dict[Structure, Pool] = field(default_factory=dict[Structure, Pool])
    recipes: dict[tuple[str, str], Recipe] = field(default_factory=dict[tuple[str, str], Recipe])
    watches: dict[int, Watch] = field(default_factory=dict[int, Watch])
    prepares: dict[int, ConfigDecision] = field(default_factory=dict[int, ConfigDecision])
    heads: dict[int, str] = field(default_factory=dict[int, str])
    acknowledged: set[int] = field(default_factory=set[int])


def pool_of(state: OrchestratorState, structure: Structure) -> Pool:
    """The pool of a program, made on first use."""
    if structure not in state.pools:
        state.pools[structure] = Pool(structure)
    return state.pools[structure]


def drop_shadow(key: SymbolKey, state: OrchestratorState) -> None:
    """Free the lane of a symbol's shadow, if it has one."""
    symbol = state.symbols[key]
    if symbol.shadow is not None:
        state.pools[symbol.shadow].remove(ShadowKey(*key))
        state.symbols[key] = symbol._replace(shadow=None)


def release(state: OrchestratorState, partition: int) -> OrchestratorState:
    """Forget a partition."""
    for key in [key for key in state.symbols if key[0] == partition]:
        drop_shadow(key, state)
        state.pools[state.symbols.pop(key).structure].remove(key)
    for table in (state.epochs, state.origins, state.steps, state.watches, state.prepares, state.heads):
        table.pop(partition, None)
    state.acknowledged.discard(partition)
    return state
