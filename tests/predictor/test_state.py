# SPDX-License-Identifier: MIT
"""Columns, blocks and documents of the state."""

import numpy as np
import pytest

from predictor_lanes import CONFIG, Lanes
from usp.predictor import program_for, split_time_ns, structure_of


def test_a_document_gives_back_every_bit_and_the_true_dtypes() -> None:
    """Column -> document -> column is exact; the key is uint32, counters int64, flags bool."""
    lanes = Lanes()
    lanes.run(np.cumsum(np.random.default_rng(0).standard_normal((60, 16)), axis=0))
    column = lanes.column(3)
    document = lanes.program.to_document(column)
    assert column.tobytes() == lanes.program.from_document(document).tobytes()
    assert ["global", "A", "B", "C", "D"] == list(document)
    dtypes = [document["global"][name].dtype for name in ("rng_key", "state_step", "degraded.active", "rho")]
    assert [np.dtype(t) for t in (np.uint32, np.int64, np.bool_, np.float64)] == dtypes
    assert (np.int64(60), (4,)) == (document["global"]["state_step"], document["global"]["rho"].shape)


def test_many_columns_at_once_are_the_same_bits_as_one_by_one() -> None:
    """What a snapshot holds of many symbols is what each alone would give, there and back."""
    lanes = Lanes()
    lanes.run(np.cumsum(np.random.default_rng(1).standard_normal((20, 16)), axis=0))
    columns = np.stack([lanes.column(n) for n in range(5)], axis=1)
    stacked = lanes.program.to_stacked(columns)
    for n in range(5):
        for segment, arrays in lanes.program.to_document(columns[:, n]).items():
            for name, array in arrays.items():
                found = stacked[segment][name][n]
                assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes()), name
    assert lanes.program.from_stacked(stacked, 5).tobytes() == columns.tobytes()
    with pytest.raises(ValueError, match="columns, expected"):
        lanes.program.from_stacked(stacked, 4)
    stacked["C"]["long.backward"] = np.zeros((5, 3))
    with pytest.raises(ValueError, match=r"C\.long\.backward was float64"):
        lanes.program.from_stacked(stacked, 5)


def test_a_document_of_another_structure_is_refused_by_name() -> None:
    """The error names the leaf that does not fit."""
    program = program_for(structure_of(CONFIG, "x"))
    document = program.to_document(program.init_column(CONFIG, "x"))
    document["C"]["long.backward"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"C\.long\.backward was float64"):
        program.from_document(document)
    del document["C"]["long.backward"]
    with pytest.raises(ValueError, match=r"missing.*long\.backward"):
        program.from_document(document)


def test_keys_are_stable_and_differ_between_symbols() -> None:
    """A fresh column is a function of configuration and symbol; symbols have independent keys."""
    program = program_for(structure_of(CONFIG, "x"))
    first, again, other = (program.init_column(CONFIG, symbol) for symbol in ("x", "x", "y"))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert 64 * 1024 >= 8 * program.state_size


def test_a_column_moves_between_lanes_unchanged() -> None:
    """load_column and read_columns move bits."""
    program = program_for(structure_of(CONFIG, "x"))
    column = np.random.default_rng(0).standard_normal(program.state_size)
    block = program.load_column(program.new_block(), 7, column)
    assert column.tobytes() == np.ascontiguousarray(program.read_columns(block)[:, 7]).tobytes()
    with pytest.raises(ValueError, match=r"expected \("):
        program.load_column(block, 0, column[:5])


def test_time_is_split_exactly() -> None:
    """Any int64 of nanoseconds survives the split."""
    for time_ns in (0, 1_723_161_254_087_896_568, 2**63 - 1, -1):
        seconds, remainder = split_time_ns(time_ns)
        assert time_ns == int(seconds) * 1_000_000_000 + int(remainder)
