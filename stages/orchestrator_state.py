# SPDX-License-Identifier: MIT
"""What the orchestrator keeps: epochs, origins and step counts per partition, and the symbols with their lanes."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..config.model import ModelConfig
from ..predictor.structure import Structure
from .lanes import Pool, SymbolKey
from .predictions import Flags


class Epoch(NamedTuple):
    """The configuration in force in a partition."""

    number: int
    config_hash: str
    config: ModelConfig


class Symbol(NamedTuple):
    """What is kept per symbol beside its lane."""

    structure: Structure
    flags: Flags
    silent: bool


class Recipe(NamedTuple):
    """How a symbol is computed under a configuration; derived from both, kept to be fast."""

    structure: Structure
    params: np.ndarray


@dataclass
class OrchestratorState:
    """Epochs, origins and step counts per partition; symbols with their lanes."""

    epoch_zero: Epoch
    epochs: dict[int, Epoch] = field(default_factory=dict[int, Epoch])
    origins: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    steps: dict[int, int] = field(default_factory=dict[int, int])
    symbols: dict[SymbolKey, Symbol] = field(default_factory=dict[SymbolKey, Symbol])
    pools: dict[Structure, Pool] = field(default_factory=dict[Structure, Pool])
    recipes: dict[tuple[str, str], Recipe] = field(default_factory=dict[tuple[str, str], Recipe])


def pool_of(state: OrchestratorState, structure: Structure) -> Pool:
    """The pool of a program, made on first use."""
    if structure not in state.pools:
        state.pools[structure] = Pool(structure)
    return state.pools[structure]


def release(state: OrchestratorState, partition: int) -> OrchestratorState:
    """Forget a partition."""
    for key in [key for key in state.symbols if key[0] == partition]:
        state.pools[state.symbols.pop(key).structure].remove(key)
    for table in (state.epochs, state.origins, state.steps):
        table.pop(partition, None)
    return state
