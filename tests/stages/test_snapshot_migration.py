# SPDX-License-Identifier: MIT
"""States of earlier versions are brought up to date or refused, never half loaded."""

from pathlib import Path

import pytest

from harness import MemoryBroker, drain, runner_on
from usp.config.model import packaged_defaults
from usp.io.snapshots import document_hash, load_snapshot
from usp.schemas.records import Tick
from usp.stages import ingest, orchestrator, topology
from usp.stages.snapshot_migration import STEPS as MIGRATIONS
from usp.stages.snapshot_migration import Step, UnknownLayout, migrated

NOW_NS = 1_700_000_000_000_000_000
GOLDEN = Path(__file__).parents[1] / "golden" / "states"
STEPS = {
    ("ingest", "1.0"): Step("1.1", lambda old: {**old, "added": 0}),
    ("ingest", "1.1"): Step("2.0", lambda old: {"all": dict(old)}),
}


def test_every_step_is_taken_in_order() -> None:
    """From any version on the way; what is current stays as it is."""
    assert migrated("ingest", "1.0", "2.0", {"a": 1}, STEPS) == {"all": {"a": 1, "added": 0}}
    assert migrated("ingest", "1.1", "2.0", {"a": 1}, STEPS) == {"all": {"a": 1}}
    assert migrated("ingest", "2.0", "2.0", {"a": 1}, STEPS) == {"a": 1}


@pytest.mark.parametrize(("stage", "version"), [("ingest", "3.0"), ("orchestrator", "1.0"), ("ingest", "")])
def test_a_version_without_a_way_is_refused(stage: str, version: str) -> None:
    """A newer build's, another stage's, none at all."""
    with pytest.raises(UnknownLayout, match="load it with the build that wrote it"):
        migrated(stage, version, "2.0", {}, STEPS)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.snapshot")), ids=lambda path: path.stem)
def test_states_of_released_versions_are_restored(path: Path) -> None:
    """To the same state, bit for bit, in today's layout; the orchestrator's has shadows and an epoch of its own."""
    stored = load_snapshot(path)
    stage = {"ingest": ingest.STAGE, "orchestrator": orchestrator.STAGE}[stored.header.stage]
    current = packaged_defaults().meta.schema_version
    document = migrated(stage.name, stored.header.schema_version, current, stored.document)
    assert stage.restore is not None
    assert stage.snapshot is not None
    assert stage.steps is not None
    state = stage.restore(stage.init(packaged_defaults()), 3, document)
    assert document_hash(stage.snapshot(state, 3)) == document_hash(document)
    assert stage.steps(state, 3) == stored.header.step > 0


def test_every_stage_with_a_state_has_one_of_each_released_version() -> None:
    """A version that is raised comes with a file of the one before."""
    released = {path.stem for path in GOLDEN.glob("*.snapshot")}
    steps = {(stage.name, packaged_defaults().meta.schema_version) for stage in (ingest.STAGE, orchestrator.STAGE)}
    assert {f"{name}_{version}" for name, version in steps | set(MIGRATIONS)} <= released


def test_a_snapshot_of_an_unknown_version_is_a_cold_start() -> None:
    """Said loudly, and with the same end."""
    broker = MemoryBroker()
    ticks = [
        Tick(symbol="A", venue="t", kind="trade", price=100 + n % 7 / 8, size=None, bid=None, ask=None, sequence=n,
             ts_event_ns=NOW_NS + n, ts_publish_ns=NOW_NS + n, producer_id="t")
        for n in range(30)
    ]  # fmt: skip
    broker.publish(topology.MARKET_TICKS, [("A", tick) for tick in ticks], 3)
    drain(lambda: runner_on(ingest.STAGE, broker, snapshot_every=10, most=5))
    runner = runner_on(ingest.STAGE, broker)
    runner.recovery.schema_version = "9.9"
    runner.turn()
    count = runner.world.meter.registry.get_sample_value("usp_restores_total", {"stage": "ingest", "how": "cold"})
    assert count == topology.PARTITIONS
    assert ingest.STAGE.steps is not None
    assert ingest.STAGE.steps(runner.state, 3) == 30
