# SPDX-License-Identifier: MIT
"""`usp snapshot ...`: what lies in the snapshot folder, is it sound, keep it, go back to it, go on over a gap.

`list` and `show` read; `verify` proves; `pin` and `unpin` keep from the retention; `restore` decides with which state
a stopped stage begins.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from ...config.deployment import DeploymentSettings
from .console import CALLERS_FAULT, JSON, WORLDS_FAULT, answer, console, fail, faults_told, servers_of, settings

if TYPE_CHECKING:  # other commands start without numpy
    from ...io.snapshots import Snapshot, SnapshotFile, SnapshotStore

app = typer.Typer(no_args_is_help=True, help="Look at the snapshots of all stages, check them, go back to one.")

STAGE_OPTION = Annotated[str, typer.Option("--stage", help="Only this stage.")]
PARTITION_OPTION = Annotated[int, typer.Option("--partition", help="Only this partition; -1 is all of them.")]
WHICH = Annotated[str, typer.Argument(help="File name, path, or the first digits of the snapshot's id.")]


def store_of(chosen: DeploymentSettings) -> "SnapshotStore":
    """The folder that the settings name."""
    from ...io.snapshots import SnapshotStore

    return SnapshotStore(chosen.paths.resolved("snapshots"))


@app.command("list")
def list_snapshots(stage: STAGE_OPTION = "", partition: PARTITION_OPTION = -1, as_json: JSON = False) -> None:
    """Show the files by their names, newest last, and those that were set aside as broken; nothing is opened.

    Example: usp snapshot list --stage orchestrator
    """
    with faults_told():
        store = store_of(settings())
        files = store.files(stage or None, None if partition < 0 else partition)
        broken = store.broken()
    if as_json:
        answer({"snapshots": [facts_of(file) for file in files], "broken": [path.name for path in broken]}, True)
        return
    Console().print(listing(files) if files else f"no snapshots in {store.folder}", markup=False)
    for path in broken:
        console.print(f"set aside as broken: {path.name}", style="yellow", markup=False)


def facts_of(file: "SnapshotFile") -> dict[str, Any]:
    """What a file's name says, for machines."""
    return file._asdict() | {"path": str(file.path), "name": file.path.name}


def listing(files: "list[SnapshotFile]") -> Table:
    """One line per file."""
    table = Table(
        Column("id", no_wrap=True), Column("of", no_wrap=True), "next offset", "step", "written (UTC)", "bytes"
    )
    for file in files:
        written = datetime.fromtimestamp(file.written_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
        mark = " pinned" if file.pinned else ""
        row = (
            file.short_hash,
            f"{file.stage}/{file.partition}",
            file.next_offset,
            file.step,
            written + mark,
            file.size,
        )
        table.add_row(*map(str, row))
    return table


@app.command()
def show(which: WHICH, as_json: JSON = False) -> None:
    """Verify one snapshot and show its header, its hashes and the size of each part.

    Example: usp snapshot show 3f2a9c
    """
    from .snapshot_repair import load

    with faults_told():
        path, snapshot = load(store_of(settings()), which)
    found = described(path, snapshot)
    answer(found, as_json)
    if not as_json:
        table = Table("field", Column("value", overflow="fold"))
        for name, value in found.items():
            table.add_row(name, str(value))
        Console().print(table)


def described(path: Path, snapshot: "Snapshot") -> dict[str, Any]:
    """Header and hashes of a verified snapshot."""
    header = {name: value for name, value in vars(snapshot.header).items() if name != "anchors"}
    segments = {f"segment {name}": digest for name, digest in snapshot.segment_hashes.items()}
    anchors = {f"anchor {name}": value for name, value in snapshot.header.anchors.items()}
    proof = {"snapshot_id": snapshot.snapshot_id, "body_hash": snapshot.body_hash}
    return {"path": str(path), **proof, **header, **anchors, **segments}


@app.command()
def verify(
    which: Annotated[list[str] | None, typer.Argument(help="Which ones; all of the folder without it.")] = None,
    as_json: JSON = False,
) -> None:
    """Prove files whole, byte by byte, and parse the state in them. Ends with exit code 3 if one is bad.

    Example: usp snapshot verify
    """
    from ...io.snapshots import SnapshotError
    from .snapshot_repair import load

    verdicts: dict[str, str] = {}
    with faults_told():
        store = store_of(settings())
        names = which or [file.path.name for file in store.files()]
        for name in names:
            try:
                load(store, name)
                verdicts[name] = "good"
            except SnapshotError as fault:
                verdicts[name] = f"{type(fault).__name__}: {fault}"
    bad = {name: verdict for name, verdict in verdicts.items() if verdict != "good"}
    answer({"checked": len(verdicts), "bad": bad}, as_json)
    for name, verdict in bad.items():
        console.print(f"BAD {name}: {verdict}", style="red", markup=False, highlight=False)
    if not as_json:
        Console().print(f"{len(verdicts) - len(bad)} of {len(verdicts)} snapshots are whole")
    if bad:
        raise typer.Exit(WORLDS_FAULT)


@app.command()
def pin(which: WHICH) -> None:
    """Keep a snapshot, whatever the retention says.

    Example: usp snapshot pin 3f2a9c
    """
    from .snapshot_repair import named

    with faults_told():
        store = store_of(settings())
        name = named(store, which).path.name
        store.pin(name)
    console.print(f"pinned {name}; let it go with: usp snapshot unpin {which}", markup=False)


@app.command()
def unpin(which: WHICH) -> None:
    """Let the retention decide about a snapshot again.

    Example: usp snapshot unpin 3f2a9c
    """
    from .snapshot_repair import named

    with faults_told():
        store = store_of(settings())
        name = named(store, which).path.name
        store.unpin(name)
    console.print(f"unpinned {name}", markup=False)


@app.command()
def restore(
    which: Annotated[str, typer.Argument(help="File name, path, or first digits of the id; may be elsewhere.")] = "",
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Go on where the log begins now; what lies between is lost.")
    ] = False,
    stage: Annotated[str, typer.Option("--stage", help="With --accept-gap: whose state.")] = "orchestrator",
    partition: Annotated[int, typer.Option("--partition", help="With --accept-gap: of which partition.")] = -1,
    reason: Annotated[str, typer.Option(help="With --accept-gap: goes into the event.")] = "",
    as_json: JSON = False,
) -> None:
    """Choose the state with which a stopped stage begins: go back to a snapshot, or go on over a gap in the log.

    Newer files of the same stage and partition are moved to `set-aside`, never deleted. A gap is recorded as
    GapAcceptedEvent on alerts.v1 and in the header of the snapshot that bridges it.

    Example: usp snapshot restore 3f2a9c
    Example: usp snapshot restore --accept-gap --stage orchestrator --partition 3 --reason "retention, ticket 12"
    """
    from .snapshot_repair import go_back

    with faults_told():
        chosen = settings()
        if accept_gap:
            found = over_the_gap(chosen, stage, partition, reason)
        elif not which:
            raise fail(CALLERS_FAULT, "found no snapshot; expected one (usp snapshot list), or --accept-gap")
        else:
            found = go_back(store_of(chosen), which)
    answer(found, as_json)
    for name, value in found.items() if not as_json else ():
        console.print(f"{name}: {value}", markup=False, highlight=False)


def over_the_gap(chosen: DeploymentSettings, stage: str, partition: int, reason: str) -> dict[str, Any]:
    """Bridge the gap of one stage and partition; the stage must be stopped."""
    import time

    from .. import topology
    from .snapshot_repair import accept_gap

    if stage not in topology.STAGES or topology.stage(stage).restore is None:
        raise fail(CALLERS_FAULT, f"found stage {stage!r}; expected one that keeps snapshots: ingest, orchestrator")
    if not 0 <= partition < topology.PARTITIONS:
        raise fail(CALLERS_FAULT, f"found --partition {partition}; expected 0 to {topology.PARTITIONS - 1}")
    return accept_gap(chosen, servers_of(chosen), stage, partition, reason, time.time_ns())
