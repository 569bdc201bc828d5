# SPDX-License-Identifier: MIT
"""The state of a symbol as a tree of named arrays, and the same state as one column of float64.

A column is what travels: many columns side by side are a block [state_size, L], one donated array, because a jitted
call costs time per array. Inside the step the block is cut into named leaves [..., L]. Integers, flags and the key
are held exactly in float64 (all are below 2^53); a document gives each leaf back in its true dtype.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import aggregation, intervals, kernels, reference, regime, scaling
from .kernels import dgm, levy_sde, rkhs, signature
from .leaves import leaf, none, zero, zeros
from .params import Params
from .records import KERNELS, OUTPUT_COUNT
from .structure import Structure

SEGMENTS = ("global", *KERNELS)


class Global(NamedTuple):
    """What belongs to no single kernel; prices and errors in price units."""

    rng_key: jax.Array  # uint32 [2]
    state_step: jax.Array  # accepted ticks
    last_price: jax.Array
    last_time_s: jax.Array
    last_time_remainder_ns: jax.Array
    last_prediction: jax.Array  # forecast of the next price, held against which the next error is taken
    scaling: scaling.Scaling
    residual_window: jax.Array  # [residual_window] signed one-step errors in price units, newest last
    residual_count: jax.Array
    rho: jax.Array  # [4] published weights
    mixture: aggregation.Bank  # over the four kernels
    kernel_means: jax.Array  # [4] last forecasts of the kernels, price units
    kernel_power: jax.Array  # [4] EWMA of each kernel's squared error, price units
    cusum: regime.Cusum
    reference: reference.Reference  # against which a change of level shows
    breaker: regime.Breaker
    degraded: regime.Degraded
    collapse: regime.Collapse
    ema_variance: jax.Array
    interval: intervals.Interval
    outputs: jax.Array  # [n_outputs] last published outputs, repeated when a tick is refused


class State(NamedTuple):
    """One segment per kernel and one for the rest."""

    shared: Global
    a: rkhs.State
    b: dgm.State
    c: levy_sde.State
    d: signature.State


class Leaf(NamedTuple):
    """Where one array of the tree lies in a column."""

    segment: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    size: int


class Layout(NamedTuple):
    """The order of all leaves, and the tree to put them back into."""

    leaves: tuple[Leaf, ...]
    tree: Any
    size: int


def fresh(structure: Structure, params: Params, key: np.ndarray) -> State:
    """The state of one symbol before its first tick; leaves are numpy arrays [...] in their true dtypes."""
    shared = Global(
        rng_key=leaf(key),
        state_step=none(),
        last_price=zero(),
        last_time_s=zero(),
        last_time_remainder_ns=zero(),
        last_prediction=zero(),
        scaling=scaling.init(structure.history),
        residual_window=zeros(structure.residual_window),
        residual_count=none(),
        rho=leaf(np.full(len(KERNELS), 1.0 / len(KERNELS))),
        mixture=aggregation.init(len(KERNELS)),
        kernel_means=zeros(len(KERNELS)),
        kernel_power=zeros(len(KERNELS)),
        cusum=regime.init_cusum(params),
        reference=reference.init(),
        breaker=regime.init_breaker(),
        degraded=regime.init_degraded(),
        collapse=regime.init_collapse(),
        ema_variance=zero(),
        interval=intervals.init(structure.interval_window, params),
        outputs=zeros(OUTPUT_COUNT),
    )
    return State(shared, *(module.init(structure, params) for module in kernels.MODULES))


def layout_of(structure: Structure, params: Params) -> Layout:
    """Where each leaf of the state lies; it depends on the structure alone."""
    paths, tree = jax.tree_util.tree_flatten_with_path(fresh(structure, params, np.zeros(2, np.uint32)))
    leaves: list[Leaf] = []
    start = 0
    for path, value in paths:
        array = np.asarray(value)
        names = [str(getattr(part, "name", getattr(part, "idx", part))) for part in path]
        segment = SEGMENTS[State._fields.index(names[0])]
        leaves.append(Leaf(segment, ".".join(names[1:]), array.shape, array.dtype, start, array.size))
        start += array.size
    return Layout(tuple(leaves), tree, start)


def to_column(layout: Layout, state: State) -> np.ndarray:
    """A state tree of numpy leaves as one float64 column."""
    leaves = jax.tree_util.tree_leaves(state)
    return np.concatenate([np.asarray(place, np.float64).reshape(-1) for place in leaves])


def unpack(layout: Layout, block: jax.Array) -> State:
    """Block [state_size, L] -> tree of [..., L]: flags as bool, the key as uint32, everything else as float64."""
    lanes = block.shape[-1:]
    leaves = []
    for place in layout.leaves:
        rows = block[place.start : place.start + place.size].reshape(place.shape + lanes)
        if place.dtype == np.bool_:
            rows = rows > 0.5
        elif place.dtype == np.uint32:
            rows = rows.astype(jnp.uint32)
        leaves.append(rows)
    return jax.tree_util.tree_unflatten(layout.tree, leaves)


def pack(state: State) -> jax.Array:
    """State tree -> the states of the lanes as rows [L, state_size]; `unpack` of its transpose gives the tree back."""
    leaves = jax.tree_util.tree_leaves(state)
    return jnp.concatenate([leaf.astype(jnp.float64).reshape((-1, leaf.shape[-1])).T for leaf in leaves], axis=1)


def to_document(layout: Layout, column: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Segment -> name -> array in its true dtype; `from_document` gives the same column back, bit for bit."""
    document: dict[str, dict[str, np.ndarray]] = {segment: {} for segment in SEGMENTS}
    for place in layout.leaves:
        values = np.asarray(column[place.start : place.start + place.size], np.float64).reshape(place.shape)
        document[place.segment][place.name] = values.astype(place.dtype)
    return document


def from_document(layout: Layout, document: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
    """The column of a document. Raises ValueError that names the first leaf which is missing or has another form."""
    expected = {(place.segment, place.name) for place in layout.leaves}
    found = {(segment, name) for segment, names in document.items() for name in names}
    if expected != found:
        raise ValueError(
            f"state document does not fit this structure: missing {sorted(expected - found)[:5]}, "
            f"unknown {sorted(found - expected)[:5]}; load it with the structure that wrote it"
        )
    column = np.zeros(layout.size)
    for place in layout.leaves:
        array = np.asarray(document[place.segment][place.name])
        if array.shape != place.shape or array.dtype != place.dtype:
            raise ValueError(
                f"state leaf {place.segment}.{place.name} was {array.dtype}{array.shape}, "
                f"expected {place.dtype}{place.shape}"
            )
        column[place.start : place.start + place.size] = array.astype(np.float64).reshape(-1)
    return column


def to_stacked(layout: Layout, columns: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """`to_document` of many columns [state_size, n] at once; the first axis of each array is the column."""
    document: dict[str, dict[str, np.ndarray]] = {segment: {} for segment in SEGMENTS}
    for place in layout.leaves:
        values = np.asarray(columns[place.start : place.start + place.size], np.float64).T
        document[place.segment][place.name] = values.reshape(-1, *place.shape).astype(place.dtype, order="C")
    return document


def from_stacked(layout: Layout, document: Mapping[str, Mapping[str, np.ndarray]], count: int) -> np.ndarray:
    """`from_document` of many: columns [state_size, count]. Raises ValueError like it."""
    if count == 0:
        return np.zeros((layout.size, 0))
    first = {s: {n: np.asarray(v)[0] for n, v in arrays.items()} for s, arrays in document.items()}
    from_document(layout, first)
    columns = np.zeros((layout.size, count))
    for place in layout.leaves:
        array = np.asarray(document[place.segment][place.name])
        if len(array) != count:
            raise ValueError(f"state leaf {place.segment}.{place.name} had {len(array)} columns, expected {count}")
        columns[place.start : place.start + place.size] = array.reshape(count, place.size).T
    return columns
