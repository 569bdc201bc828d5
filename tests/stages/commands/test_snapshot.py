# SPDX-License-Identifier: MIT
"""`usp snapshot`: what an operator sees and may do, and the way out of the retention trap."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness import MemoryBroker, MemoryBus, assembled, drain, runner_on
from snapshot_examples import DOCUMENT, HEADER
from usp.io.bus import Partition
from usp.io.snapshots import SnapshotStore, decode_snapshot, encode_snapshot, snapshot_id
from usp.schemas.records import Alert, Tick
from usp.stages import ingest, topology
from usp.stages.cli import app
from usp.stages.commands.snapshot_repair import NothingToRepair, Request, bridge
from usp.stages.recovery import RetentionTrap

NOW_NS = 1_700_000_000_000_000_000
INPUT = Partition(topology.MARKET_TICKS.name, 3)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SnapshotStore:
    """Three snapshots of one owner in the folder that the commands look at."""
    monkeypatch.setenv("USP_PATHS__DATA_DIR", str(tmp_path))
    found = SnapshotStore(tmp_path / "io/snapshots", fsync=False)
    for next_offset in (10, 20, 30):
        data = encode_snapshot(replace(HEADER, next_offset=next_offset, step=next_offset), DOCUMENT)
        found.persist(data, snapshot_id(data), NOW_NS)
    return found


def usp(*arguments: str) -> Result:
    """The command, as a shell would run it."""
    return CliRunner().invoke(app, ["snapshot", *arguments])


def test_the_list_shows_every_file_and_what_was_set_aside(store: SnapshotStore) -> None:
    """In order of the log, and broken files by name."""
    store.set_aside(store.files()[0].path)
    found = json.loads(usp("list", "--json").stdout)
    assert [each["next_offset"] for each in found["snapshots"]] == [20, 30]
    assert [name.endswith(".snapshot.broken") for name in found["broken"]] == [True]


def test_one_is_shown_with_its_proven_hashes(store: SnapshotStore) -> None:
    """A few digits of the id are enough; the header and the hash of each part come out."""
    file = store.files()[1]
    found = json.loads(usp("show", file.short_hash[:8], "--json").stdout)
    expected = decode_snapshot(file.path.read_bytes())
    assert (found["next_offset"], found["body_hash"]) == (20, expected.body_hash)
    assert found["segment S_A"] == expected.segment_hashes["S_A"]


def test_verifying_names_the_bad_file_and_fails(store: SnapshotStore) -> None:
    """A single flipped byte is told with exit code 3; the others are good."""
    path = store.files()[1].path
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(bytes(data))
    done = usp("verify", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["checked"], list(found["bad"])) == (3, 3, [path.name])
    assert "DigestMismatch" in found["bad"][path.name]
    assert usp("show", path.name).exit_code == 3


@pytest.mark.parametrize("which", ["nothing", "abc", "../../etc/passwd", ""])
def test_a_name_that_is_none_is_the_callers_fault(store: SnapshotStore, which: str) -> None:
    """A sentence and exit code 2 (3 for a file that is no snapshot), never a traceback; nothing outside is touched."""
    for command in ("show", "pin", "restore"):
        done = usp(command, which)
        assert done.exit_code == 2 or "USPSNAP" in done.output, (command, done.output)
        assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_pin_holds_until_it_is_taken_away(store: SnapshotStore) -> None:
    """As the list shows it."""
    digits = store.files()[0].short_hash
    assert usp("pin", digits).exit_code == 0
    assert [file.pinned for file in store.files()] == [True, False, False]
    assert usp("unpin", digits).exit_code == 0
    assert not any(file.pinned for file in store.files())


def test_going_back_keeps_the_newer_ones_aside_and_can_be_undone(store: SnapshotStore) -> None:
    """The chosen one becomes the newest; restoring the other brings it back."""
    names = [file.path.name for file in store.files()]
    found = json.loads(usp("restore", names[0], "--json").stdout)
    assert found["set_aside"] == names[1:]
    assert [file.path.name for file in store.files()] == names[:1]
    assert usp("restore", str(store.folder / "set-aside" / names[2])).exit_code == 0
    newest = store.newest(HEADER.stage, HEADER.partition, HEADER.log_id, 10**9)
    assert newest is not None
    assert newest.header.next_offset == 30


def test_a_broken_file_is_never_restored(store: SnapshotStore, tmp_path: Path) -> None:
    """Verified before anything moves."""
    bad = tmp_path / "bad.snapshot"
    bad.write_bytes(store.files()[0].path.read_bytes()[:-1])
    before = store.files()
    assert usp("restore", str(bad)).exit_code == 3
    assert store.files() == before


def tick(number: int) -> tuple[str, Tick]:
    """The n-th tick."""
    at_ns = NOW_NS + number * 1_000_000
    return "X", Tick(symbol="X", venue="t", kind="trade", price=100 + number % 7 / 8, size=None, bid=None, ask=None,
                     sequence=None, ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t")  # fmt: skip


def trapped(folder: Path, snapshots: bool) -> tuple[MemoryBroker, SnapshotStore]:
    """Ingest has handled 40 ticks; its snapshot ends at 20, and retention has deleted all before 30."""
    broker, store = MemoryBroker(), SnapshotStore(folder, fsync=False)
    broker.publish(topology.MARKET_TICKS, [tick(n) for n in range(20)], 3)
    runner = drain(lambda: runner_on(ingest.STAGE, broker))
    if snapshots:
        runner.outbox.finish(runner.state, runner.positions)
        for body in assembled(broker.records(topology.SNAPSHOTS)):
            store.persist(body, snapshot_id(body), NOW_NS)
    broker.publish(topology.MARKET_TICKS, [tick(n) for n in range(20, 40)], 3)
    drain(lambda: runner_on(ingest.STAGE, broker))
    broker.begins[INPUT] = 30
    return broker, store


def events(broker: MemoryBroker) -> list[Alert]:
    """The alerts about the gap."""
    return [each for each in broker.records(topology.ALERTS) if "Gap" in each.event or "Trap" in each.event]


@pytest.mark.parametrize("snapshots", [True, False], ids=["with an old snapshot", "without any"])
def test_a_log_that_begins_too_late_stops_the_stage_until_an_operator_chooses(tmp_path: Path, snapshots: bool) -> None:
    """Fail closed with the choices and an alert; accepting the gap is recorded, and the stage goes on behind it."""
    broker, store = trapped(tmp_path, snapshots)
    with pytest.raises(RetentionTrap, match=r"usp snapshot restore --accept-gap --stage ingest --partition 3"):
        drain(lambda: runner_on(ingest.STAGE, broker, snapshots=store))
    bus = MemoryBus(broker, ingest.STAGE.name, [topology.MARKET_TICKS])
    found = bridge(bus, store, Request("ingest", 3, "test", "harness", NOW_NS))
    assert (found["lost_from"], found["lost_to"]) == ("20" if snapshots else "0", "30")
    assert [each.event for each in events(broker)] == ["RetentionTrapEvent", "GapAcceptedEvent"]
    bridged = store.newest("ingest", 3, bus.log_id(INPUT.topic), 40)
    assert bridged is not None
    assert bridged.header.anchors["accepted_gap"] == f"{found['lost_from']}..30"
    before = len(broker.values(topology.VALIDATED)[3])
    broker.publish(topology.MARKET_TICKS, [tick(n) for n in range(40, 45)], 3)
    drain(lambda: runner_on(ingest.STAGE, broker, snapshots=store))
    assert len(broker.values(topology.VALIDATED)[3]) == before + 5


def test_without_a_gap_nothing_is_accepted(tmp_path: Path) -> None:
    """The command is no way to skip records."""
    broker, store = trapped(tmp_path, True)
    broker.begins[INPUT] = 20
    bus = MemoryBus(broker, ingest.STAGE.name, [topology.MARKET_TICKS])
    with pytest.raises(NothingToRepair, match="no gap"):
        bridge(bus, store, Request("ingest", 3, "", "harness", NOW_NS))
    assert events(broker) == []


def test_a_file_that_cannot_be_used_is_told_on_the_alerts(tmp_path: Path) -> None:
    """The reader says so; it renames nothing."""
    broker, store = trapped(tmp_path, True)
    broker.begins.clear()
    path = store.files()[0].path
    path.write_bytes(path.read_bytes()[:-1])

    def start():
        runner = runner_on(ingest.STAGE, broker, snapshots=store)
        store.report = lambda file, fault: runner.world.refusals.append((file, fault))
        return runner

    drain(start)
    told = [each for each in broker.records(topology.ALERTS) if each.event == "CorruptedSnapshotEvent"]
    assert [each.detail["path"] for each in told] == [str(path)]
    assert path.exists()
