# SPDX-License-Identifier: MIT
"""A short run of the predictor whose telemetry is written to a parity log: python parity_run.py LOG CACHE."""

import sys
from pathlib import Path

from usp.config.model import packaged_defaults
from usp.io.bus import Partition
from usp.io.line_log import LineLog
from usp.io.telemetry_block import Origin, Steps, pack
from usp.stages import library, telemetry_sink, topology
from usp.stages.contract import Batch, Record
from usp.stages.fingerprint import build_fingerprint, prepare_jax
from usp.stages.predictions import Observation
from usp.stages.telemetry_effects import append_lines

TICKS = 200


def main(log: Path, cache: Path) -> None:
    """Two symbols, a wandering price with a jump."""
    prepare_jax(cache)
    from usp.stages.orchestrator import Observe
    from usp.stages.telemetry_pump import PLACE, VALUES

    config = packaged_defaults()
    predictor = library.Predictor(config)
    seen: list[Observation] = []
    for n in range(TICKS):
        price = 100.0 + 0.01 * ((n * 7919) % 41 - 20) + (5.0 if n > 150 else 0.0)
        at_ns = 1_700_000_000_000_000_000 + n * 1_000_000_000
        tick = library.tick_of(f"S{n % 2}", at_ns, price, None, None, None)
        records = predictor.admit(tick, at_ns)
        outputs, predictor.core = library.orchestrator.STAGE.handle(Batch(0, records), predictor.core)
        for effect in outputs:
            seen += effect.observations if isinstance(effect, Observe) else ()
    build = build_fingerprint(True, config.core.lane_width).encode()
    steps = Steps(*zip(*(PLACE(each.prediction) for each in seen), strict=True), [VALUES(each.row) for each in seen])
    block = pack(steps, Origin(0, 0, 0, config.io.telemetry_hash_algorithm))
    record = Record(Partition(topology.TELEMETRY.name, 0), 0, None, block, 0, (("usp-build", build),), b"")
    written, _ = telemetry_sink.STAGE.handle(Batch(0, (record,)), telemetry_sink.STAGE.init(config))
    for effect in written:
        if isinstance(effect, telemetry_sink.AppendLines):
            append_lines({effect.log: LineLog(log)}, effect)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
