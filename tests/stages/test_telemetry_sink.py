# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import MemoryBroker, MemorySnapshots, drain, runner_on
from usp.config.model import packaged_defaults
from usp.io.bus import Partition
from usp.io.line_log import LineLog, read_lines
from usp.io.parity import parity_hashes
from usp.io.telemetry_block import COLUMNS, Origin, Steps, pack
from usp.io.telemetry_line import Gap
from usp.schemas.records import Alert, DeadLetter, Silence, TelemetryBlock
from usp.stages import poison, topology
from usp.stages.contract import Batch, Effect, Output, Record, Reply, Send
from usp.stages.telemetry_effects import append_lines
from usp.stages.telemetry_sink import STAGE, AppendLines, LinesAppended

NOW_NS = 1_700_000_000_000_000_000
INPUT = Partition(topology.TELEMETRY.name, 2)


def record_id(step: int) -> str:
    """An id as the orchestrator makes them."""
    return f"{step:032x}"


def steps(*numbers: int, dropped: int = 0, adaptive: Any = None) -> TelemetryBlock:
    """What a predicting process says about some steps."""
    values = dict.fromkeys(COLUMNS, 0.0) | {
        "prediction": 1.25,
        "weight_a": 0.25,
        "weight_d": 0.75,
        "degraded_mode": 1.0,
    }
    rows = [[values[name] for name in COLUMNS]] * len(numbers)
    ids, symbols, times_ns = [record_id(n) for n in numbers], ["EURUSD"] * len(numbers), [NOW_NS] * len(numbers)
    looks = {} if adaptive is None else dict.fromkeys(range(len(numbers)), adaptive)
    return pack(Steps(ids, symbols, numbers, numbers, times_ns, rows, looks), Origin(2, numbers[0], dropped, "sha256"))


def telemetry(step: int, **other: Any) -> TelemetryBlock:
    """A block of one step."""
    return steps(step, **other)


def handled(*values: Any, state: Any = None, headers: Any = ()) -> list[Output]:
    """What the stage asks for."""
    state = state or STAGE.init(packaged_defaults())
    records = [Record(INPUT, 10 + n, None, value, NOW_NS + n, headers, b"raw") for n, value in enumerate(values)]
    outputs, _ = STAGE.handle(Batch(NOW_NS, records), state)
    return outputs


def logs(folder: Path) -> Any:
    """Both logs in a folder."""
    return {"parity": LineLog(folder / "parity.jsonl", fsync=False), "adaptive": LineLog(folder / "adaptive.jsonl")}


def test_every_step_becomes_a_line_of_the_parity_log(tmp_path: Path):
    """Hashes, the values behind them, the build, and where the line came from."""
    (effect,) = handled(steps(7, 8), headers=(("usp-build", b"f00d"), ("other", b"x")))
    assert isinstance(effect, AppendLines)
    assert append_lines(logs(tmp_path), effect) == ()
    lines = list(read_lines(tmp_path / "parity.jsonl"))
    assert [(line["step"], line["sequence"], line["source"]["row"]) for line in lines] == [(7, 7, 0), (8, 8, 1)]
    found = lines[1]
    assert (found["record_id"], found["symbol"], found["build"]) == (record_id(8), "EURUSD", "f00d")
    assert (found["prediction"], found["weights"], found["degraded_mode"]) == (1.25, [0.25, 0.0, 0.0, 0.75], True)
    assert found["parity_hashes"] == parity_hashes([0.25, 0.0, 0.0, 0.75], 0.0, "sha256")
    assert found["source"] == {"partition": 2, "offset": 10, "row": 1, "logged_ns": NOW_NS}
    assert list(found)[-1] == "source"


def test_a_block_whose_parts_do_not_fit_becomes_a_dead_letter():
    """A torn or strange block is refused whole; its neighbours are written."""
    torn = replace(steps(1, 2), positions=b"12345678")
    strange = replace(steps(1), columns=["price"])
    changed = replace(steps(1), values=steps(1).values[:-8] + b"\0\0\0\0\0\0\xf0\x3f")
    unknown = replace(steps(1), hash_algorithm="md5")
    for bad in (torn, strange, changed, unknown, replace(steps(3), digest=b"x"), replace(steps(4), record_ids=b"")):
        batch = Batch(NOW_NS, [Record(INPUT, n, None, value, NOW_NS) for n, value in enumerate((bad, steps(5)))])
        outputs, _ = poison.handle(STAGE, batch, STAGE.init(packaged_defaults()))
        letters = [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, DeadLetter)]
        assert len(letters) == 1
        written = [each for each in outputs if isinstance(each, AppendLines)]
        assert [line.step for effect in written for line in effect.lines] == [5]


def test_adaptive_values_have_a_log_of_their_own(tmp_path: Path):
    """Only the records that carry them."""
    parity, adaptive = handled(telemetry(7), telemetry(8, adaptive={"b": 2.0, "a": 1.0}))
    assert isinstance(parity, AppendLines)
    assert isinstance(adaptive, AppendLines)
    assert (parity.log, len(parity.lines), adaptive.log, len(adaptive.lines)) == ("parity", 2, "adaptive", 1)
    append_lines(logs(tmp_path), adaptive)
    (line,) = read_lines(tmp_path / "adaptive.jsonl")
    assert (line["a"], line["b"], line["symbol"], line["step"]) == (1.0, 2.0, "EURUSD", 8)


def test_no_raw_signal_reaches_a_log():
    """Neither the price nor anything named like it; a forecast is not a signal."""
    (effect,) = handled(telemetry(7))
    assert isinstance(effect, AppendLines)
    assert not {"price", "value", "bid", "ask", "signal", "y"} & set(effect.lines[0].fields)


def alerts(outputs: Sequence[Output]) -> list[Alert]:
    """The alerts among the outputs."""
    return [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, Alert)]


def test_drops_of_the_ring_are_told_once():
    """A growing count is an alert with the growth; a lower one is a new process."""
    state = STAGE.init(packaged_defaults())
    assert alerts(handled(telemetry(1), telemetry(2), state=state)) == []
    (found,) = alerts(handled(telemetry(3, dropped=5), telemetry(4, dropped=8), state=state))
    assert (found.event, found.detail) == ("TelemetryDroppedEvent", {"dropped": "8"})
    assert alerts(handled(telemetry(5, dropped=8), telemetry(6, dropped=0), state=state)) == []
    assert alerts(handled(telemetry(7, dropped=2), state=state))[0].detail == {"dropped": "2"}


def test_missing_steps_are_an_alert():
    """One for all, with the first few named."""
    gaps = tuple(Gap(f"S{n}", 1, 5) for n in range(20))
    (found,) = alerts(handled(LinesAppended("parity", gaps, ())))
    assert found.event == "TelemetryGapEvent"
    assert found.detail["gaps"] == "20"
    assert found.detail["steps_between"].startswith("S0 1..5; S1 1..5")
    (anew,) = alerts(handled(LinesAppended("parity", (), (3, 4))))
    assert (anew.event, anew.detail["partitions"]) == ("TelemetryLogRestartedEvent", "3, 4")


def test_the_log_finds_missing_steps_at_the_configured_interval(tmp_path: Path):
    """The interval is the greatest honest distance between two records of a symbol."""
    (effect,) = handled(telemetry(1), telemetry(2), telemetry(4))
    assert isinstance(effect, AppendLines)
    assert append_lines(logs(tmp_path), effect) == (LinesAppended("parity", (Gap("EURUSD", 2, 4),), ()),)


def test_other_records_become_dead_letters():
    """Bad input is refused with its bytes, and the rest of the batch is written."""
    strange = Silence(symbol="X", origin_partition=0, after_offset=0, quiet_limit_ns=1)
    outputs = handled(strange, telemetry(1))
    letters = [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, DeadLetter)]
    assert [(letter.reason, letter.value) for letter in letters] == [("unexpected_record", b"raw")]
    assert [(each.event, each.severity) for each in alerts(outputs)] == [("RecordRefusedEvent", "warning")]
    assert isinstance(outputs[-1], AppendLines)


def test_a_header_that_is_no_text_does_no_harm():
    """Headers come from outside."""
    (effect,) = handled(telemetry(1), headers=(("usp-build", b"\xff"),))
    assert isinstance(effect, AppendLines)
    assert effect.lines[0].fields["build"] == "\ufffd"


@settings(max_examples=25, deadline=None)
@given(crashes=st.sets(st.integers(1, 30), max_size=5), most=st.integers(1, 6))
def test_whatever_crash_the_log_holds_every_record_once(
    crashes: set[int], most: int, tmp_path_factory: pytest.TempPathFactory
):
    """Dying at any failpoint: no line lost, doubled, torn or out of order."""
    folder = tmp_path_factory.mktemp("logs")
    broker = MemoryBroker()
    broker.publish(topology.TELEMETRY, [("2", steps(step, step + 1)) for step in range(0, 12, 2)], 2)

    def process() -> Any:
        held = logs(folder)

        def execute(effect: Effect) -> Sequence[Reply]:
            assert isinstance(effect, AppendLines)
            return append_lines(held, effect)

        return runner_on(STAGE, broker, most=most, execute=execute, snapshots=MemorySnapshots(MemoryBroker()))

    drain(process, crashes)
    assert [line["step"] for line in read_lines(folder / "parity.jsonl")] == list(range(12))
