# SPDX-License-Identifier: MIT
"""Feeds series through the compiled step, one series per lane."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from usp.config.model import ModelConfig, load, packaged_defaults
from usp.predictor import OUTPUT_COUNT, Inputs, Program, program_for, structure_of

CONFIG = packaged_defaults()


def config_with(**changes: Any) -> ModelConfig:
    """The packaged defaults with some keys changed: section__key=value."""
    mapping = CONFIG.to_mapping()
    for path, value in changes.items():
        section, key = path.split("__")
        mapping[section][key] = value
    return load(mapping)


def with_bank(config: ModelConfig, bank: str) -> ModelConfig:
    """The same configuration with this bank for every symbol."""
    mapping = config.to_mapping()
    mapping["symbols"]["default"]["bank"] = bank
    return load(mapping)


class Lanes:
    """A block with a symbol in every lane; `feed` advances it by one tick in each lane given."""

    def __init__(self, config: ModelConfig = CONFIG, count: int | None = None) -> None:
        self.program: Program = program_for(structure_of(config, "S0"))
        self.count = count or self.program.lane_width
        symbols = [f"S{lane}" for lane in range(self.program.lane_width)]
        self.parameters = np.stack([self.program.params(config, symbol) for symbol in symbols], axis=1)
        self.block = self.program.new_block()
        for lane in range(self.count):
            self.block = self.program.load_column(self.block, lane, self.program.init_column(config, symbols[lane]))
        self.clock = 0.0

    def feed(self, prices: Any, **flags: Any) -> np.ndarray:
        """Outputs [n_outputs, L] of one tick; `prices` and flags are numbers or one per lane."""
        inputs = self.program.idle_inputs()
        inputs[Inputs.ACTIVE, : self.count] = 1.0
        inputs[Inputs.ACCEPT] = 1.0
        inputs[Inputs.PRICE, : self.count] = prices
        self.clock += flags.pop("gap_s", 1.0)
        inputs[Inputs.TIME_S] = self.clock
        for name, value in flags.items():
            inputs[Inputs[name.upper()], : self.count] = value
        self.block, outputs = self.program.step(self.block, self.parameters, inputs)
        return np.array(outputs)

    def run(self, series: np.ndarray, **flags: Any) -> np.ndarray:
        """Outputs [steps, n_outputs, L] of series [steps, lanes]."""
        if len(series) == 0:
            return np.zeros((0, OUTPUT_COUNT, self.program.lane_width))
        return np.stack([self.feed(row, **flags) for row in series])

    def column(self, lane: int) -> np.ndarray:
        """State of a lane."""
        return self.program.read_columns(self.block)[:, lane].copy()

    def document(self, lane: int) -> Mapping[str, Mapping[str, np.ndarray]]:
        """State of a lane by name."""
        return self.program.to_document(self.column(lane))
