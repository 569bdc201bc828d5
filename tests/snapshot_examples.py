# SPDX-License-Identifier: MIT
"""The state and header behind the golden snapshot files."""

import numpy as np

from usp.io.snapshots import SnapshotHeader

HEADER = SnapshotHeader(
    log_id="cluster-1/ticks.validated.v1",
    stage="orchestrator",
    partition=3,
    next_offset=4711,
    step=1234,
    config_epoch=2,
    config_hash="c0ffee",
    fingerprint="0123456789abcdef",
    schema_version="1.0",
    created_ns=1_700_000_000_000_000_000,
    previous_hash="ab" * 32,
    anchors={"audit_head": "cd" * 32},
)

DOCUMENT = {
    "S_A": {"weights": np.arange(6, dtype=np.float64).reshape(2, 3) / 3, "symbols": ["EURUSD", "SPX"]},
    "S_B": {"rng_key": np.array([1, 2**32 - 1], dtype=np.uint32)},
    "S_C": {"scale": [0.1, -0.0, 1e308], "alarm": False},
    "S_D": {"depth": 3, "empty": np.zeros((0, 4)), "flags": np.array([True, False])},
    "global": {"last_update_ns": 2**63 - 1, "note": "ünïcode", "nothing": None, "raw": b"\x00\xff"},
}
