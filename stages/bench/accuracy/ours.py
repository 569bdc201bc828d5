# SPDX-License-Identifier: MIT
"""Our forecasts: many series as lanes of one program, each with its own state, at the times of its values.

The predictor alone, without ingest: every value counts as accepted. Lane and company change no bit.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ....config.model import ModelConfig, load, packaged_defaults
from ....predictor import INPUT_COUNT, OUTPUT_COUNT, OUTPUTS, Inputs, Program, program_for, split_time_ns, structure_of
from .metrics import Forecasts, losses
from .series import Numbers, Series

EXPERTS = "bank.forecasts"
SCALE = "scaling.scale"
SYMBOL = "SERIES"  # one name for all: what is kept of a series must not depend on what it is called


def config_of(bank: str) -> ModelConfig:
    """The packaged configuration with this bank for every symbol."""
    mapping = packaged_defaults().to_mapping()
    mapping["bank"]["name"] = bank
    mapping["symbols"] = {"default": {**mapping["symbols"]["default"], "bank": bank}}
    return load(mapping)


def forecast_all(series: Sequence[Series], bank: str, burn_in: int, advanced: Callable[[int], None]) -> list[Forecasts]:
    """Forecasts of each series; at most as many series as the program has lanes. `advanced` hears of steps done."""
    config = config_of(bank)
    program = program_for(structure_of(config, SYMBOL))
    if len(series) > program.lane_width:
        raise ValueError(f"found {len(series)} series, expected at most {program.lane_width} lanes")
    parameters = np.repeat(program.params(config, SYMBOL)[:, None], program.lane_width, axis=1)
    block = program.new_block()
    for lane in range(len(series)):
        block = program.load_column(block, lane, program.init_column(config, SYMBOL))
    longest = max(len(each.values) for each in series)
    outputs = np.full((longest + 1, OUTPUT_COUNT, len(series)), np.nan)
    experts = ExpertLosses(program, series, burn_in)
    for t in range(longest):
        block, told = program.step(block, parameters, inputs_at(series, t, program.lane_width))
        outputs[t + 1] = np.asarray(told)[:, : len(series)]
        experts.add(t, program.read_columns(block))
        advanced(sum(t < len(each.values) for each in series))
    return [lane_forecasts(outputs[:, :, i], len(s.values), experts.mean(i)) for i, s in enumerate(series)]


def inputs_at(series: Sequence[Series], t: int, width: int) -> Numbers:
    """Packed inputs [n_inputs, width]: the t-th value of each series that has one."""
    inputs = np.zeros((INPUT_COUNT, width))
    for lane, each in enumerate(series):
        if t < len(each.values):
            inputs[[Inputs.ACTIVE, Inputs.ACCEPT], lane] = 1.0
            inputs[Inputs.PRICE, lane] = each.values[t]
            inputs[[Inputs.TIME_S, Inputs.TIME_REMAINDER_NS], lane] = split_time_ns(int(each.times_ns[t]))
    return inputs


def lane_forecasts(rows: Numbers, count: int, expert_losses: Numbers) -> Forecasts:
    """One lane's outputs [n + 1, n_outputs], row i made before value i, as forecasts."""
    seen = rows[:count]
    kernels = seen[:, OUTPUTS.kernel_mean].T.copy()
    mean, lo, hi = (seen[:, row].copy() for row in (OUTPUTS.mean, OUTPUTS.lo, OUTPUTS.hi))
    return Forecasts(mean, lo, hi, kernels, expert_losses)


class ExpertLosses:
    """Running losses of the kernels' inner experts, read from the forecasts that wait in the state for their target."""

    def __init__(self, program: Program, series: Sequence[Series], burn_in: int) -> None:
        leaves = program.layout.leaves
        self.rows = np.concatenate(
            [np.arange(p.start, p.start + p.size) for p in leaves if p.name.endswith(EXPERTS)] or [np.zeros(0, int)]
        )
        self.scale_row = next(place.start for place in leaves if place.name == SCALE)
        self.series, self.burn_in = series, burn_in
        self.sums = np.zeros((len(self.rows), len(series)))
        self.waiting: Numbers | None = None

    def add(self, t: int, columns: Numbers) -> None:
        """Score what waited for value `t`, then keep the forecasts of the next; `columns` [state_size, L]."""
        prices = np.array([s.values[t] if t < len(s.values) else np.nan for s in self.series])
        if self.waiting is not None and t >= self.burn_in:
            for lane, each in enumerate(self.series):
                if t < len(each.values):
                    self.sums[:, lane] += losses(self.waiting[:, lane] - prices[lane], each.metric)
        lanes = columns[:, : len(self.series)]
        self.waiting = prices + lanes[self.scale_row] * lanes[self.rows]

    def mean(self, lane: int) -> Numbers:
        """Mean loss of each expert [k] on this lane's series."""
        return self.sums[:, lane] / max(len(self.series[lane].values) - self.burn_in, 1)
