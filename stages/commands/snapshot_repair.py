# SPDX-License-Identifier: MIT
"""What an operator may do with snapshots while a stage is stopped: go back to one, or go on over a gap in the log.

A gap is there when retention has deleted records that the newest state has not seen (`RetentionTrap`). Nothing can
bring them back; accepting the gap writes a snapshot of the last state that claims the first offset that is left, so
that the next start is an ordinary one. The event comes before the file: a gap is never bridged unseen.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...config.deployment import DeploymentSettings
from ...config.model import packaged_defaults
from ...io.atomic_file import write_atomically
from ...io.avro import encode
from ...io.bus import Bus, Outgoing, Partition
from ...io.kafka import PlainKafkaBus
from ...io.registry import open_wire
from ...io.snapshot_files import file_name, read_name
from ...io.snapshots import (
    Snapshot,
    SnapshotError,
    SnapshotFile,
    SnapshotHeader,
    SnapshotStore,
    decode_snapshot,
    encode_snapshot,
    load_snapshot,
    snapshot_id,
)
from ...io.wire import framed
from ...schemas.records import Alert
from .. import topology
from ..contract import Document
from ..fingerprint import build_fingerprint
from ..process import PREDICTING, Identity, kafka_settings

SET_ASIDE = "set-aside"
LEAST_DIGITS = 4
GAP_ANCHOR = "accepted_gap"


class Request(NamedTuple):
    """Whose gap is accepted, why, by which build (its fingerprint goes into the bridging snapshot), and when."""

    stage: str
    partition: int
    reason: str
    fingerprint: str
    now_ns: int


class NothingToRepair(SnapshotError):
    """The caller's fault: there is no gap."""


def named(store: SnapshotStore, which: str) -> SnapshotFile:
    """The one file of the folder with this name or these first digits of its id; SnapshotError otherwise."""
    name = Path(which).name
    matches = [
        file
        for file in store.files()
        if file.path.name == name or (len(which) >= LEAST_DIGITS and file.short_hash.startswith(which[:16]))
    ]
    if len(matches) != 1:
        raise SnapshotError(
            f"{store.folder}: found {len(matches)} snapshots for {which!r}; expected one: give its name or at least"
            f" {LEAST_DIGITS} digits of its id (usp snapshot list)"
        )
    return matches[0]


def load(store: SnapshotStore, which: str) -> tuple[Path, Snapshot]:
    """A verified snapshot: of the folder by name or id, or anywhere by its path."""
    path = Path(which) if "/" in which else named(store, which).path
    return path, load_snapshot(path)


def go_back(store: SnapshotStore, which: str) -> dict[str, Any]:
    """Make this snapshot the newest of its stage and partition; what is newer is moved to `set-aside`."""
    path, snapshot = load(store, which)
    target = store.folder / file_name(snapshot.header, snapshot.snapshot_id)
    if path.absolute() != target.absolute():
        write_atomically(target, path.read_bytes())
    mine = read_name(target)
    newer = [
        file
        for file in store.files(snapshot.header.stage, snapshot.header.partition)
        if mine is not None and file.path != target and file.position > mine.position
    ]
    aside = store.folder / SET_ASIDE
    for file in newer:
        aside.mkdir(exist_ok=True)
        file.path.replace(aside / file.path.name)
    return {"restored": target.name, "set_aside": [file.path.name for file in newer], "undo": f"move back from {aside}"}


def accept_gap(
    chosen: DeploymentSettings, servers: str, stage: str, partition: int, reason: str, now_ns: int
) -> dict[str, Any]:
    """Record the gap, move the group's offset behind it if it lies before, and write the bridging snapshot."""
    who = Identity(stage, f"{chosen.bus.instance}.repair", chosen.bus.log_id)
    settings = replace(
        kafka_settings(chosen, who, topology.stage(stage)), bootstrap_servers=servers, delivery="at_least_once"
    )
    bus = framed(PlainKafkaBus(settings), open_wire(chosen.bus.schema_registry_url))
    try:
        store = SnapshotStore(chosen.paths.resolved("snapshots"))
        build = build_fingerprint(stage in PREDICTING, packaged_defaults().core.lane_width)
        return bridge(bus, store, Request(stage, partition, reason, build, now_ns))
    finally:
        bus.close(5.0)


def bridge(bus: Bus, store: SnapshotStore, wish: Request) -> dict[str, Any]:
    """`accept_gap` on an open bus. NothingToRepair if the log still holds what the newest state needs."""
    stage, number = wish.stage, wish.partition
    topic = topology.STAGES[stage][0][0].name
    partition = Partition(topic, number)
    begin, _ = bus.bounds(partition)
    committed = bus.committed(partition)
    position = max(begin, begin if committed is None else committed)
    log_id = bus.log_id(topic)
    newest = store.newest(stage, number, log_id, position)
    ends_at = 0 if newest is None else newest.header.next_offset
    if ends_at >= begin:
        raise NothingToRepair(
            f"found no gap: {topic}/{number} begins at {begin}, the newest snapshot ends at {ends_at}"
        )
    header, document = bridging(wish, begin, newest, log_id)
    data = encode_snapshot(header, document)
    detail = {
        "topic": topic, "partition": str(number), "lost_from": str(ends_at), "lost_to": str(begin),
        "reason": wish.reason, "state": "empty" if newest is None else newest.snapshot_id, "bridge": snapshot_id(data),
    }  # fmt: skip
    alert = Alert(
        event="GapAcceptedEvent", severity="critical", stage=stage, symbol=None, origin_partition=number,
        origin_offset=None, timestamp_ns=wish.now_ns, detail=detail,
    )  # fmt: skip
    bus.commit([Outgoing(topology.ALERTS.name, None, stage.encode(), encode(alert))], {partition: position})
    path = store.folder / file_name(header, snapshot_id(data))
    write_atomically(path, data)
    decode_snapshot(path.read_bytes(), source=str(path))
    return detail | {"event": alert.event, "snapshot": path.name}


def bridging(wish: Request, begin: int, newest: Snapshot | None, log_id: str) -> tuple[SnapshotHeader, Document]:
    """The last state there is (an empty one if there is none), as if it had seen all before `begin`."""
    if newest is not None:
        gap = f"{newest.header.next_offset}..{begin}"
        header = replace(
            newest.header, next_offset=begin, created_ns=wish.now_ns, previous_hash=newest.snapshot_id,
            clean_stop=False, fingerprint=wish.fingerprint, anchors={**newest.header.anchors, GAP_ANCHOR: gap},
        )  # fmt: skip
        return header, newest.document
    config = packaged_defaults()
    stage = topology.stage(wish.stage)
    if stage.snapshot is None:
        raise NothingToRepair(f"found the stage {wish.stage}, which keeps no state; expected ingest or orchestrator")
    document = stage.snapshot(stage.init(config), wish.partition)
    header = SnapshotHeader(
        log_id=log_id, stage=wish.stage, partition=wish.partition, next_offset=begin, step=0,
        config_epoch=int(document.get("config_epoch", 0)), config_hash=str(document.get("config_hash", "")),
        fingerprint=wish.fingerprint, schema_version=config.meta.schema_version, created_ns=wish.now_ns,
        anchors={GAP_ANCHOR: f"0..{begin}"},
    )  # fmt: skip
    return header, document
