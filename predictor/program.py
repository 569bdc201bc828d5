# SPDX-License-Identifier: MIT
"""A compiled step and the handling of its state: one `Program` per structure, compiled once per process."""

from collections.abc import Mapping
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ..config.model import ModelConfig
from . import params, rng, state
from .records import INPUT_COUNT, Inputs
from .step import step
from .structure import Structure

BLOCK_CALLS = 4


class Program:
    """The step for one structure; numpy in, numpy out, but for the blocks, which stay on the device.

    A block [R, state_size] holds the states of R symbols, a row each. A call gathers up to L of them into its lanes,
    steps them and puts them back, so that ticks of any L symbols of a block share a call. R is fixed as L is: the
    bits of a step depend on neither which rows nor which lanes.
    """

    def __init__(self, structure: Structure, layout: state.Layout) -> None:
        self.structure = structure
        self.layout = layout
        self.lane_width = structure.lane_width
        self.state_size = layout.size
        self.param_count = params.count(structure)
        self.block_rows = BLOCK_CALLS * structure.lane_width
        self.first_rows = np.arange(structure.lane_width, dtype=np.int32)
        self.compiled = jax.jit(partial(step_rows, structure, layout), donate_argnums=0)
        self.put = jax.jit(put_row, donate_argnums=0)

    def init_column(self, config: ModelConfig, symbol: str) -> np.ndarray:
        """Fresh state [state_size] of `symbol`, with a key of its own."""
        key = rng.symbol_key(config.core.prng_seed, symbol)
        fresh = state.fresh(self.structure, params.column_params(config, symbol), key)
        return state.to_column(self.layout, fresh)

    def params(self, config: ModelConfig, symbol: str) -> np.ndarray:
        """Numeric parameters [n_params] of `symbol`; a new configuration of equal structure compiles nothing."""
        return params.pack_column(params.values_of(config, symbol))

    def new_block(self) -> jax.Array:
        """An empty block, to be filled by `load_column`."""
        return jnp.zeros((self.block_rows, self.state_size), jnp.float64)

    def load_column(self, block: jax.Array, row: int, column: np.ndarray) -> jax.Array:
        """The block with `column` [state_size] in `row`; `block` is consumed."""
        if column.shape != (self.state_size,):
            raise ValueError(f"state column was {column.shape}, expected ({self.state_size},) for this structure")
        return self.put(block, np.int32(row), np.ascontiguousarray(column, np.float64))

    def read_columns(self, block: jax.Array) -> np.ndarray:
        """A copy of the block on the host, [state_size, R]."""
        return np.array(block).T

    def view(self, block: jax.Array) -> np.ndarray:
        """The block [R, state_size] as it is now, to be read; it stays so, since a later step finds it in use."""
        return np.asarray(block)

    def step(
        self, block: jax.Array, parameters: np.ndarray, inputs: np.ndarray, rows: np.ndarray | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """One tick per lane: (new block, outputs [n_outputs, L] on the device). `block` is consumed.

        Lane i works on row `rows[i]`, int32 [L], no two alike; a row of R or more is of a lane that stands idle. By
        default the first L rows.
        """
        return self.compiled(block, self.first_rows if rows is None else rows, parameters, inputs)

    def idle_rows(self) -> np.ndarray:
        """Rows [L] in which every lane stands idle."""
        return self.first_rows + np.int32(self.block_rows)

    def idle_inputs(self) -> np.ndarray:
        """Inputs [n_inputs, L] in which no lane is active."""
        return np.zeros((INPUT_COUNT, self.lane_width))

    def warm_up(self, parameters: np.ndarray) -> None:
        """Compile everything now: one step of an empty block, one load."""
        block = self.load_column(self.new_block(), 0, np.zeros(self.state_size))
        jax.block_until_ready(self.step(block, parameters, self.idle_inputs()))

    def compilations(self) -> int:
        """Executables held; it stays the same after `warm_up`."""
        return sum(getattr(function, "_cache_size")() for function in (self.compiled, self.put))  # noqa: B009

    def to_document(self, column: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """A column as segments `global`, `A` to `D` of named arrays in their true dtypes."""
        return state.to_document(self.layout, column)

    def to_stacked(self, columns: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """Many columns [state_size, n] as segments of named arrays whose first axis is the column."""
        return state.to_stacked(self.layout, columns)

    def from_stacked(self, document: Mapping[str, Mapping[str, np.ndarray]], count: int) -> np.ndarray:
        """The columns [state_size, count] of such a document, bit for bit; ValueError for another structure."""
        return state.from_stacked(self.layout, document, count)

    def from_document(self, document: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
        """The column of a document, bit for bit; ValueError if it belongs to another structure."""
        return state.from_document(self.layout, document)


def step_rows(
    structure: Structure,
    layout: state.Layout,
    block: jax.Array,
    rows: jax.Array,
    parameters: jax.Array,
    inputs: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """`step` on some rows of a block; who does not advance keeps every bit, since nothing is written for it.

    The branch keeps the copy of the rows from being repeated inside the step's loops.
    """
    lanes = jax.lax.cond(
        jnp.any(inputs[Inputs.ACTIVE] > 0.5),
        lambda: block.at[rows].get(mode="clip").T,
        lambda: jnp.zeros((layout.size, len(rows))),
    )
    moved, advance, outputs = step(structure, layout, lanes, parameters, inputs)
    written = jnp.where(advance, rows, len(block) + jnp.arange(len(rows), dtype=rows.dtype))
    return block.at[written].set(moved, mode="drop", unique_indices=True), outputs


def put_row(block: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """Write one symbol's state."""
    return jax.lax.dynamic_update_slice(block, column[None, :], (row, jnp.int32(0)))


@cache
def program_for(structure: Structure) -> Program:
    """The program of a structure, made once per process; compilation happens at the first step or `warm_up`."""
    return Program(structure, state.layout_of(structure, params.example(structure)))
