# SPDX-License-Identifier: MIT
"""`usp replay`: did the log lead to these predictions and this state?"""

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from ...config.deployment import DeploymentSettings
from .console import (
    CALLERS_FAULT,
    JSON,
    STATE_IN_DOUBT,
    answer,
    console,
    fail,
    faults_told,
    servers_of,
    settings,
    wire_of,
)


def replay(
    from_snapshot: Annotated[str, typer.Option("--from-snapshot", help="File name, path, or first digits of its id.")],
    to_offset: Annotated[
        int, typer.Option("--to-offset", help="Stop before this offset; -1 is the committed one.")
    ] = -1,
    tolerance: Annotated[
        float, typer.Option(help="Relative; used only if another build wrote the snapshot.", min=0.0)
    ] = 1e-9,
    as_json: JSON = False,
) -> None:
    """Compute a partition again from a snapshot and compare every prediction and every later snapshot.

    The same build must give the same bytes. Ends with exit code 5 and the first difference if it does not.

    Example: usp replay --from-snapshot 3f2a9c --to-offset 120000
    """
    with faults_told():
        found = run_replay(settings(), from_snapshot, to_offset, tolerance)
    answer(found, as_json)
    if not as_json:
        Console().print(shown(found))
    if found["difference"] is not None:
        raise typer.Exit(STATE_IN_DOUBT)


def run_replay(chosen: DeploymentSettings, which: str, to_offset: int, tolerance: float) -> dict[str, Any]:
    """Load, read, replay; the report as a document."""
    from ...config.model import packaged_defaults
    from ...io.bus import Partition
    from ...io.kafka import PlainKafkaBus
    from ...io.snapshots import SnapshotStore, load_snapshot
    from ...io.wire import framed
    from .. import replay as core
    from .. import topology
    from ..fingerprint import build_fingerprint, prepare_jax
    from ..process import PREDICTING, Identity, kafka_settings
    from ..snapshot_migration import migrated
    from .snapshot_repair import load

    store = SnapshotStore(chosen.paths.resolved("snapshots"))
    path, snapshot = load(store, which)
    header = snapshot.header
    if header.stage in PREDICTING:
        prepare_jax(chosen.paths.resolved("cache_dir"))
    stage, config = topology.stage(header.stage), packaged_defaults()
    build = build_fingerprint(header.stage in PREDICTING, config.core.lane_width)
    who = Identity(header.stage, "replay", chosen.bus.log_id)
    reading = replace(
        kafka_settings(chosen, who, stage), bootstrap_servers=servers_of(chosen), delivery="at_least_once"
    )
    bus = framed(PlainKafkaBus(reading), wire_of(chosen))
    try:
        partition = Partition(stage.consumes[0].name, header.partition)
        stop = end_of(bus, partition, header.log_id, header.next_offset, to_offset)
        later = {
            file.next_offset: load_snapshot(file.path)
            for file in store.files(header.stage, header.partition)
            if header.next_offset < file.next_offset <= stop and file.path != path
        }
        ours = {offset: each for offset, each in later.items() if each.header.log_id == header.log_id}
        recorded = core.Recorded(core.recorded_predictions(bus, header.partition), ours)
        if stage.restore is None:
            raise fail(CALLERS_FAULT, f"found the stage {header.stage}, which keeps no state")
        document = migrated(header.stage, header.schema_version, config.meta.schema_version, snapshot.document)
        state = stage.restore(stage.init(config), header.partition, document)
        where = (partition, header.next_offset, stop)
        used = 0.0 if header.fingerprint == build else tolerance
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("replaying", total=stop - header.next_offset)
            report = core.replay(
                bus, stage, state, where, recorded, used,
                lambda offset: progress.update(task, completed=offset - header.next_offset),
            )  # fmt: skip
    finally:
        bus.close(5.0)
    comparison = "exact" if used == 0.0 else f"within {used:g}: build {build}, snapshot of build {header.fingerprint}"
    return {"snapshot": path.name, "comparison": comparison, **asdict(report), "difference": told(report.difference)}


def end_of(bus: Any, partition: Any, log_id: str, start: int, to_offset: int) -> int:
    """Where the replay stops; the caller's fault if the log is another or no longer holds what is needed."""
    found = bus.log_id(partition.topic)
    if found != log_id:
        raise fail(CALLERS_FAULT, f"found the log {found}; expected {log_id}, of which the snapshot was taken")
    begin, end = bus.bounds(partition)
    committed = bus.committed(partition)
    stop = to_offset if to_offset >= 0 else (end if committed is None else committed)
    if start < begin:
        raise fail(CALLERS_FAULT, f"found that the log begins at {begin}; expected {start} or before: take a newer one")
    if not start <= stop <= end:
        raise fail(CALLERS_FAULT, f"found --to-offset {stop}; expected {start} to {end}")
    return stop


def told(difference: Any) -> dict[str, Any] | None:
    """The first difference as plain values."""
    if difference is None:
        return None
    values = {name: {"recorded": str(was), "replayed": str(now)} for name, (was, now) in difference.values.items()}
    return {"offset": difference.offset, "what": difference.what, "values": values}


def shown(found: dict[str, Any]) -> Table:
    """The report for people."""
    table = Table("replay", Column("", overflow="fold"))
    for name, value in found.items():
        if name != "difference":
            table.add_row(name, str(value))
    difference: dict[str, Any] | None = found["difference"]
    table.add_row("result", "the same" if difference is None else f"DIFFERENT, first at {difference['what']}")
    values: dict[str, dict[str, str]] = {} if difference is None else difference["values"]
    for name, pair in values.items():
        table.add_row(f"  {name}", f"recorded {pair['recorded']}, replayed {pair['replayed']}")
    return table
